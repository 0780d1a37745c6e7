"""
The LLM that makes one call: a copy of the user's, over guarded clients, with the model and the limit that were granted.

A copy of CrewAI's shares counters and connections with what it is a copy of, so that nothing is lost with it, and an
LLM that several agents share is changed for one call of one of them.
"""

# What is copied is of whatever class the user's LLM has.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

import copy
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakKeyDictionary

from crewai.llms import base_llm

from bursar.attributes import attributes
from bursar.clients.guarded import guard_client
from bursar.clients.sdk import sdk_of
from bursar.payer import Payer
from bursar_crewai.request import limit_fields

if TYPE_CHECKING:
    from collections.abc import Generator

_CLIENTS: Final = {False: ("_client", "_get_sync_client"), True: ("_async_client", "_get_async_client")}
_guarded: Final[WeakKeyDictionary[Any, Any]] = WeakKeyDictionary()
_AROUND: Final = Payer(None, agent=None, workflow="crewai", made_in=None, outer=None, store=None)
"""Pays for what a client is asked besides the call it was made for: from the run around that."""


def guarded_client(llm: Any, *, is_async: bool) -> Any:
    """Return a guarded twin of the SDK's client that *llm* calls, or None where it calls none that bursar knows."""
    client, make = _CLIENTS[is_async]
    found = attributes(llm, frozenset((client, make, "is_litellm")))
    if found.get("is_litellm"):
        return None
    return guarded_twin(found[make]() if callable(found.get(make)) else found.get(client))


def guarded_twin(client: Any) -> Any:
    """Return a guarded twin of *client*, or None where it is of no SDK that bursar knows."""
    if client is None or hasattr(client, "bursar_plain"):
        return client
    try:
        sdk = sdk_of(client)
    except TypeError:
        return None
    twin = _guarded.get(client)
    if twin is None:
        twin = _guarded[client] = guard_client(client, sdk, _AROUND)
    return twin


@contextmanager
def serving(llm: Any, client: Any, *, is_async: bool, model: str | None, limit: int | None) -> Generator[Any]:
    """
    Yield the LLM to call in the place of *llm*.

    Args:
        client: The guarded client that it shall call, or None.

        model, limit: What it shall ask for, where no client below changes that; or None.
    """
    twin = copy.copy(llm)
    before = dict(twin.__pydantic_private__ or {})
    if client is not None:
        setattr(twin, _CLIENTS[is_async][0], client)
    if model is not None:
        twin.model = model
    if limit is not None:
        for name in limit_fields(llm):
            setattr(twin, name, limit)
    with ExitStack() as scopes:
        scopes.enter_context(base_llm.call_stop_override(twin, list(llm.stop_sequences)))
        streams = getattr(llm, "_effective_stream", None)
        if callable(streams) and streams() != llm.stream:
            scopes.enter_context(base_llm.call_stream_override(twin, bool(streams())))
        try:
            yield twin
        finally:
            _tell(llm, twin, before)


def _tell(llm: Any, twin: Any, before: dict[str, Any]) -> None:
    """Let *llm* have what its twin remembers of the call: the id of the last response, for one."""
    clients = {name for name, _ in _CLIENTS.values()}
    for name, value in (twin.__pydantic_private__ or {}).items():
        if name not in clients and value is not before.get(name, value):
            setattr(llm, name, value)
