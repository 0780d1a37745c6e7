"""
What one exchange did cost, from nothing but its path, its request and its response.

It is what a guarded client books after a call, for a response that was recorded: by a gateway, by a proxy, in a log.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from typing import TYPE_CHECKING, Final

from bursar.billing import bill
from bursar.money import to_usd
from bursar.tokens import count_tokens
from bursar.usage import Usage
from bursar.wire import Endpoint, Free, endpoint_of, endpoint_of_answer, model_in_path
from bursar.wire.fields import Json, is_array, is_mapping, text_at

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from decimal import Decimal

    from bursar.billing import Bill
    from bursar.entry import Source
    from bursar.wire import Ask, Receipt


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """
    What one exchange did cost.

    Attributes:
        usd: Dollars, rounded up once to the nano-dollar; None where it is not known, which is never zero.

        usage: What is billed; `usage.counts()` has it by kind.

        source: How the cost is known: `"stated"` by the provider, `"priced"` from the usage that it reported,
            `"estimated"` where a part of it is not known for certain (no usage was reported and what was seen was
            counted, a count has no rate, counts contradict one another), `"unknown"`, or `"none"` where nothing was
            billed: a free endpoint, an error.

        model: The model that is billed.

        price: The row and the data version that it was computed from; empty where it was not.
    """

    usd: Decimal | None
    usage: Usage
    source: Source
    model: str
    price: str = ""


def cost_of(
    *,
    provider: str,
    path: str,
    request: Mapping[str, object] | None = None,
    response: Mapping[str, object] | Sequence[object],
    at: datetime | date | None = None,
    tier: str | None = None,
) -> Cost:
    """
    Return what one exchange did cost, by the provider's own response; never raises on what it holds.

    Args:
        provider: Who billed, as genai-prices, OpenTelemetry, LiteLLM or LangChain calls it: `"openai"`, `"azure"`,
            `"aws"`, `"google-vertex"`, ...

        path: Where the request was sent, with or without its host, prefix and query: `"/v1/chat/completions"`,
            `"/v1beta/models/gemini-2.5-flash:generateContent"`.

        request: The request's body, whole or in part.  It names the model where the response does not, and is what
            is counted where the response states no usage; None where it was not kept.

        response: The response's body; or the events of a stream in their order, each its data, or an object that has
            the data under `data` (and a name under `event`); or an object that has those events under `events`.

        at: When the call was made; a date is its midnight, a naive datetime is UTC, None is now.

        tier: The service tier where the response does not say it: `"batch"` for a line of a batch's results.
    """
    found = endpoint_of("POST", path)
    body, events = _parts(response)
    if isinstance(found, Endpoint):
        endpoint: Endpoint | None = found
    else:
        # What is free at one provider may be billed at another, which then states its usage.
        endpoint = endpoint_of_answer(events or [body])
    asked = request or {}
    model = text_at(asked, "model") or text_at(asked, "modelId") or model_in_path(path) or ""
    if endpoint is None:
        if isinstance(found, Free) or _is_error(body, events):
            return _nothing(model)
        return Cost(usd=None, usage=Usage(), source="unknown", model=model)
    receipt = endpoint.read_events(events) if events is not None else endpoint.read_response(body)
    if tier is not None and receipt.tier is None:
        receipt = receipt.with_tier(tier)
    if receipt.usage is None and receipt.stated_nanousd is None and _is_error(body, events):
        return _nothing(model)
    instant = _instant(at)
    known = bill(receipt, provider=provider, model=model, at=instant)
    if known.nanousd is None and receipt.usage is None and request is not None:
        ask = endpoint.read_request({**asked, "model": model})
        usage = _estimate(endpoint, ask, asked, receipt, events or [body])
        if usage is not None:
            served_in = receipt.tier or tier or ask.tier
            seen = receipt._replace(usage=usage, tier=served_in)
            known = bill(seen, provider=provider, model=model, at=instant)
            if known.nanousd is not None:
                known = known._replace(source="estimated")
    return _as_cost(known)


def _parts(response: object) -> tuple[Json, list[Json] | None]:
    """Return a body and no events, or the events that a response is."""
    if is_mapping(response):
        events = response.get("events")
        if not is_array(events):
            return response, None
    else:
        events = response
    return {}, [data for event in (events if is_array(events) else ()) if (data := _data(event)) is not None]


def _data(event: object) -> Json | None:
    if not is_mapping(event):
        return None
    if "data" not in event or not event.keys() <= _WIRE_KEYS:
        return event
    # An event of the wire's has a name and data; anything else is the data itself.
    data = event["data"]
    return data if is_mapping(data) else None


_WIRE_KEYS: Final = frozenset({"event", "data", "id", "retry"})


def _is_error(body: Json, events: list[Json] | None) -> bool:
    """Whether the answer is nothing but an error, which no provider bills."""
    if events is not None:
        return len(events) == 1 and _is_error(events[0], None)
    return bool(body.get("error")) and not body.get("output") and not body.get("choices")


def _instant(at: datetime | date | None) -> datetime | None:
    if at is None or isinstance(at, datetime):
        return at
    return datetime.combine(at, time(), UTC)


def _nothing(model: str) -> Cost:
    return Cost(usd=to_usd(0), usage=Usage(), source="none", model=model)


def _as_cost(known: Bill) -> Cost:
    usd = None if known.nanousd is None else to_usd(known.nanousd)
    return Cost(usd=usd, usage=known.usage, source=known.source, model=known.model, price=known.price)


def _estimate(
    endpoint: Endpoint, ask: Ask, request: Json, receipt: Receipt, events: Iterable[Json]
) -> Usage | None:
    """Return what the request and the answer themselves show that was used, or None where the request shows none."""
    nothing = endpoint.read_request({"model": ask.model})
    if ask.input_tokens_most <= nothing.input_tokens_most:
        return None
    counted = endpoint.count_input_tokens(request)
    text = endpoint.output_seen(events) if ask.generates else ""
    model = receipt.model or ask.model
    output = count_tokens(model, text)
    return Usage(
        input_tokens=ask.input_tokens_most if counted is None else counted,
        # As many tokens as bytes at most: what is not known is not made small.
        output_tokens=len(text.encode("utf-8", "replace")) if output is None else output,
    )
