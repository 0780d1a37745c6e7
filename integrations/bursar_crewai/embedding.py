"""
The embedders of memory and knowledge, which CrewAI has no hook for: the `__call__` of every class of theirs.

One that computes on this machine costs nothing and is left alone.
"""

# What is called is of whatever class the user's embedder has.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

import copy
from contextvars import ContextVar
from typing import Any, Final

from chromadb.api.types import EmbeddingFunction as ChromaEmbeddingFunction
from crewai.rag.core.base_embeddings_callable import EmbeddingFunction

from bursar.dropped import dropped
from bursar.errors import BudgetExceeded
from bursar.meter import Meter, Observer, plan_request
from bursar.meter.failures import failure_of
from bursar.prices import find_price
from bursar.scope import current_meter
from bursar.wire import OPENAI_EMBEDDINGS, Receipt
from bursar_crewai.clones import guarded_twin
from bursar_crewai.identity import place_of
from bursar_crewai.payers import payers_of
from bursar_crewai.placing import booking_at
from bursar_crewai.stopping import blocked

BASES: Final = (EmbeddingFunction, ChromaEmbeddingFunction)
"""What the classes of embedders are made of, of CrewAI's and of its vector store's."""

_PROVIDERS: Final = {
    "OpenAI": "openai",
    "Azure": "azure",
    "AmazonBedrock": "aws",
    "Cohere": "cohere",
    "Google": "google",
    "VoyageAI": "voyageai",
    "Jina": "jina",
    "Mistral": "mistral",
    "Together": "together",
}
"""Who bills, by the beginning of the class's name; of others a model's price must be known by its name."""

_inside: Final[ContextVar[bool]] = ContextVar("bursar_crewai_embedding", default=False)


def paid_embedding(plain: Any, embedder: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Make a call of *embedder*, whose class has *plain* for it, and pay for it."""
    texts = args[0] if args else kwargs.get("input")
    found = None if _inside.get() else _model_of(embedder)
    place = place_of(embedder, None, None) if found is not None else None
    payers = payers_of(place) if place is not None else []
    if found is None or place is None or not payers:
        return plain(embedder, *args, **kwargs)
    dropped.do_all()
    provider, model = found
    client = guarded_twin(getattr(embedder, "client", None))
    around = current_meter.get()
    outer = None if around is None else around.inner()
    meter: Meter | Observer
    if outer is not None:
        meter = Observer(outer)
    else:
        plan = plan_request(
            OPENAI_EMBEDDINGS,
            {"model": model, "input": [str(text) for text in texts or ()]},
            booking_at(place, payers),
            provider=provider,
            can_downgrade=False,
            is_sent_at_once=client is None,
        )
        meter = Meter(plan)
    try:
        meter.reserve()
    except BudgetExceeded as exceeded:
        raise blocked(exceeded) from exceeded
    if client is not None:
        embedder = copy.copy(embedder)
        embedder.client = client
    else:
        meter.dispatch()
    return _embedded(meter, lambda: plain(embedder, *args, **kwargs))


def _embedded(meter: Meter | Observer, send: Any) -> Any:
    tokens = _inside.set(True), current_meter.set(meter)
    try:
        vectors = send()
    except Exception as error:  # Booked by what failed, and raised again.
        is_billed, reason = failure_of(error)
        meter.fail(reason, is_billed=is_billed)
        raise
    except BaseException as error:  # Cancelled: it may be billed all the same; raised again.
        meter.abort(Receipt(), None, reason=type(error).__name__)
        raise
    finally:
        _inside.reset(tokens[0])
        current_meter.reset(tokens[1])
    # A client that bursar knows has told what was used; of others the input is counted, or bounded.
    meter.estimate(Receipt(finished=True), 0)
    return vectors


def _model_of(embedder: Any) -> tuple[str, str] | None:
    """Return who bills for *embedder* and its model, or None where it costs nothing that is known."""
    names = (
        getattr(embedder, name, None) for name in ("model_name", "_model_name", "model", "deployment_id")
    )
    model = next((name for name in names if isinstance(name, str) and name), None)
    if model is None:
        return None
    kind = type(embedder).__name__
    provider = next((by for start, by in _PROVIDERS.items() if kind.startswith(start)), "")
    if getattr(embedder, "api_type", None) == "azure":
        provider = "azure"
    return (provider, model) if provider or find_price(provider, model) is not None else None
