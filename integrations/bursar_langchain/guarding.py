"""
`guard()`: for embedding models, which LangChain has no callbacks for, and for OpenAI's and Anthropic's chat models.

Where a model calls an SDK that bursar knows, the SDK's client is guarded: it sees every attempt, lowers limits and
downgrades.  Any other embedding model is paid for around its methods.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

from langchain_core.callbacks import BaseCallbackManager
from langchain_core.embeddings import Embeddings
from langchain_core.language_models import BaseChatModel

from bursar.budget import Budget
from bursar.budget.arguments import parse_name
from bursar.clients.guarded import guard_client
from bursar.clients.sdk import sdk_of
from bursar.payer import Booking, Payer
from bursar.scope import run_around
from bursar_langchain.embedding import guard_embeddings
from bursar_langchain.handler import BudgetCallbackHandler
from bursar_langchain.identity import NAMED_BY_USER, agent_of
from bursar_langchain.payers import place_of, runs_of

if TYPE_CHECKING:
    from bursar.clients.sdk import Sdk
    from bursar.entry import Agent
    from bursar.money import Money
    from bursar.run import Run

ModelT = TypeVar("ModelT")

_RESOURCES: Final = ("client", "async_client")
_CLIENTS: Final = ("root_client", "root_async_client", "_client", "_async_client", *_RESOURCES)
"""Where OpenAI's and Anthropic's models keep the SDK clients that they call, and resources of these."""


def guard(model: ModelT, budget: Money | Budget | None = None, *, agent: str | None = None) -> ModelT:
    """
    Return a model like *model* whose every call is paid from a budget before it is sent.

    ```python
    embeddings = guard(OpenAIEmbeddings(), Budget("$1.00"))
    ```

    It is of a class that is the same or a subclass, over the same connections; *model* is not changed. It pays from
    *budget*, from the run around the call, and from the handlers of the LangChain run that it is called in, and is
    booked to the agent that LangChain would name.

    Embedding models that do not call OpenAI's SDK state no usage: their input is counted, or bounded, and the entry
    is marked estimated.

    Args:
        model: Any `Embeddings`, or a chat model that calls OpenAI's or Anthropic's SDK.

        budget: Dollars that this model may spend as long as it lives, or a `Budget`; None to pay from what is around.

        agent: Who the calls are booked to; it wins over what LangChain would say.

    Raises:
        TypeError: *model* is neither of the two.
        ValueError: The budget or the name makes no sense.
    """
    own = budget if isinstance(budget, Budget) or budget is None else Budget(budget)
    payer = _payer(own, parse_name(agent, "agent"))
    payer.check_agent()
    twin = _over_guarded_clients(model, payer)
    if isinstance(twin, BaseChatModel):
        _tell_who_pays(twin, payer)
    if twin is not None:
        return twin
    if isinstance(model, Embeddings):
        return guard_embeddings(model, payer)
    kind = f"{type(model).__module__}.{type(model).__qualname__}"
    hint = (
        "give it a BudgetCallbackHandler, or its agent a BudgetMiddleware"
        if isinstance(model, BaseChatModel)
        else "an SDK's own client is guarded by bursar.guard()"
    )
    msg = f"guard() takes embeddings, or a chat model that calls OpenAI's or Anthropic's SDK, not {kind}; {hint}"
    raise TypeError(msg)


def _tell_who_pays(model: BaseChatModel, payer: PlacedPayer) -> None:
    """Let a chat model itself say by LangChain's own means who its calls are booked to, and what they are paid from."""
    if payer.agent is not None:
        model.metadata = {**(model.metadata or {}), NAMED_BY_USER: payer.agent}
    if payer.budget is None:
        return
    handler = BudgetCallbackHandler(payer.budget)
    handler.roots = payer
    if isinstance(model.callbacks, BaseCallbackManager):
        model.callbacks = model.callbacks.copy()
        model.callbacks.add_handler(handler)
    else:
        model.callbacks = [*(model.callbacks or []), handler]


class PlacedPayer(Payer):
    """Pays for a model's calls as the LangChain run says that they are made in."""

    def booking(self, named: Agent | None = None, *, run: Run | None = None) -> Booking:
        """See `Payer.booking`; the place in LangChain's runs says who asks, and who pays besides."""
        place = place_of(None)
        if place is None:
            return super().booking(named, run=run)
        runs = runs_of(place, (), root_id=place.root.run_id, workflow=place.root.name or "langchain")
        first = run or (runs[0] if runs else None)
        booking = super().booking(named or agent_of(place, place.metadata), run=first)
        besides = tuple(other for other in runs if other is not booking.run)
        if not besides:
            return booking
        chain = booking.run.chain(booking.agent.name, (*self._payers(booking.run), *besides))
        return booking._replace(chain=chain)

    def open(self, root_id: str, workflow: str) -> Run:
        """Return the run that stands for the model as long as it lives, whatever run of LangChain's it is called in."""
        del root_id, workflow
        return self._own_run(run_around())

    def close(self, root_id: str) -> None:
        """End nothing: the model may be called again."""


def with_seen_attempts(model: ModelT) -> ModelT:
    """Return *model* over SDK clients whose every HTTP attempt is seen, if it calls an SDK that bursar knows."""
    while len(_seen) > _CLIENTS_REMEMBERED:
        _seen.pop(next(iter(_seen)), None)
    return _over_guarded_clients(model, _SEEING, _seen) or model


def _payer(budget: Budget | None, agent: str | None) -> PlacedPayer:
    workflow = agent or "langchain"
    return PlacedPayer(budget, agent=agent, workflow=workflow, made_in=run_around(), outer=None, store=None)


_CLIENTS_REMEMBERED: Final = 64
_SEEING: Final = _payer(None, None)
_seen: Final[dict[int, tuple[Any, Any]]] = {}


def _over_guarded_clients(
    model: ModelT, payer: Payer, guarded: dict[int, tuple[Any, Any]] | None = None
) -> ModelT | None:
    """
    Return a copy of *model* that calls guarded SDK clients, or None where it has none.

    Args:
        guarded: Clients that were guarded before, by id, each with the client that it was made from.
    """
    guarded = {} if guarded is None else guarded
    changed: dict[str, Any] = {}
    for name in _CLIENTS:
        held = getattr(model, name, None)
        client = getattr(held, "_client", None) if name in _RESOURCES else held
        sdk = _sdk_of(client)
        if sdk is None:
            continue
        if id(client) not in guarded:
            guarded[id(client)] = client, guard_client(client, sdk, payer)
        twin = guarded[id(client)][1]
        make = cast("Any", type(held))
        changed[name] = twin if held is client else make(twin)
    if not changed:
        return None
    copied = copy.copy(model)
    vars(copied).update(changed)
    return copied


def _sdk_of(client: object) -> Sdk | None:
    try:
        return None if client is None else sdk_of(client)
    except TypeError:
        return None
