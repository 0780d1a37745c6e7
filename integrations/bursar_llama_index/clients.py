"""
The clients of OpenAI's and Anthropic's SDKs below LlamaIndex's models.

A guarded one sees every attempt and the provider's own usage, and changes the request to what was granted, which
LlamaIndex itself does only for some of it.
"""

# What is overridden is of whatever class the user's model has.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from bursar.clients.guarded import guard_client, unguard_client
from bursar.clients.sdk import sdk_of

if TYPE_CHECKING:
    from bursar.payer import Payer

_CLIENTS: Final = ("_client", "_aclient")
_MAKERS: Final = ("_get_client", "_get_aclient")

if TYPE_CHECKING:
    Model = Any
else:
    Model = object


class OverGuardedClients(Model):
    """For models that make their clients when first asked: what they make is guarded."""

    def _get_client(self) -> Any:
        return _kept(self, "_client", super()._get_client())

    def _get_aclient(self) -> Any:
        return _kept(self, "_aclient", super()._get_aclient())


def makes_clients(model_class: type) -> bool:
    """Whether models of this class make their SDK clients when first asked."""
    return all(callable(getattr(model_class, name, None)) for name in _MAKERS)


def has_clients(model: object) -> bool:
    """Whether *model* keeps clients of an SDK that bursar knows."""
    return any(_is_guardable(getattr(model, name, None)) for name in _CLIENTS)


def has_guarded_clients(model: object) -> bool:
    """Whether the user guarded the SDK's client that *model* keeps."""
    return any(hasattr(getattr(model, name, None), "bursar_plain") for name in _CLIENTS)


def unguard_clients(model: Any) -> None:
    """Undo `guard_clients`."""
    for name in _CLIENTS:
        client = getattr(model, name, None)
        if hasattr(client, "bursar_plain"):
            setattr(model, name, unguard_client(client))


def keep_clients(model: Any, memo: dict[int, Any]) -> None:
    """Have a deep copy of *model* call by the same connections, which cannot be copied."""
    for name in _CLIENTS:
        client = getattr(model, name, None)
        if client is not None:
            memo[id(client)] = client


def guard_clients(model: Any, payer: Payer) -> None:
    """Put guarded clients in the place of those that *model*, a copy of the user's, keeps."""
    for name in _CLIENTS:
        client = getattr(model, name, None)
        if _is_guardable(client) and not hasattr(client, "bursar_plain"):
            setattr(model, name, guard_client(client, sdk_of(client), payer))


def unguarded_state(private: dict[str, Any]) -> dict[str, Any]:
    """Return a model's private attributes without the clients that were put there: those are made anew."""
    return {
        name: None if name in _CLIENTS and hasattr(value, "bursar_plain") else value
        for name, value in private.items()
    }


def _kept(model: Any, name: str, client: Any) -> Any:
    """Return *client* guarded; the model keeps that one, where it keeps any."""
    if hasattr(client, "bursar_plain") or not _is_guardable(client):
        return client
    guarded = guard_client(client, sdk_of(client), model.bursar)
    if getattr(model, name, None) is client:
        setattr(model, name, guarded)
    return guarded


def _is_guardable(client: object) -> bool:
    try:
        sdk_of(client)
    except TypeError:
        return False
    return True
