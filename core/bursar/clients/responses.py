"""HTTP responses of `httpx` and `httpx2`: taking one as it came, and making one that says why a call was stopped."""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, Any

from bursar.clients.answer import AnswerReader
from bursar.clients.transport import http_package, read_through
from bursar.wire import Receipt
from bursar.wire.fields import parsed_object

if TYPE_CHECKING:
    from bursar.errors import BudgetExceeded
    from bursar.meter import Meter, Observer
    from bursar.wire import Endpoint
    from bursar.wire.fields import Json


def take_response(
    response: Any,
    meter: Meter | Observer,
    endpoint: Endpoint | None,
    body: Json,
    *,
    is_stream: bool,
    hides_usage: bool = False,
) -> bool:
    """
    Settle a successful *response* if it is read, else let it be read through us; return whether that is so.

    Args:
        endpoint: None where what the call costs cannot be known.

        body: The request's, as it was sent.

        hides_usage: Whether the usage of a stream was asked for by bursar alone.
    """
    if endpoint is None:
        meter.settle(Receipt())
        return False
    if response.is_stream_consumed or response.is_closed:
        content = response.content
        # By how it begins, as nearly all do: to look a header up takes longer.
        said = parsed_object(content) if content[:1] == b"{" else None
        if said is None:
            read = endpoint.read_content(content, response.headers.get("content-type", ""))
        else:
            read = endpoint.read_response(said)
            response.json = partial(_give_json, [said], content)
        meter.settle(endpoint.completed(body, read or Receipt()))
        return False
    content_type = response.headers.get("content-type", "")
    # Bedrock's own framing of events is not read here; as nothing is seen of it, its bound is booked.
    is_events = is_stream and "json" not in content_type and "amazon" not in content_type
    reader = AnswerReader(
        meter,
        endpoint,
        body,
        content_type=content_type,
        is_events=is_events,
        hides_usage=hides_usage and is_events,
    )
    read_through(response, reader)
    return True


def _give_json(said: list[Json], content: bytes, **options: Any) -> Any:
    """
    Return what the body says, as `Response.json` does, for which this stands.

    The SDK need not read again what was read here: a large answer, as one of embeddings is, would take twice the
    time.  What is read is given away once, as it is the receiver's to change.
    """
    if not options:
        try:
            return said.pop()
        except IndexError:
            pass
    return json.loads(content, **options)


def stop_response(
    endpoint: Endpoint, body: Json, exceeded: BudgetExceeded, request: Any, *, is_stream: bool
) -> Any:
    """Return a response to *request* that says why it was not sent, or None where its endpoint has no such thing."""
    text = f"[Stopped by the budget: {exceeded}]"
    response_type = http_package(request).Response
    if not is_stream:
        whole = endpoint.stop_response(body, text)
        return None if whole is None else response_type(200, json=whole, request=request)
    events = endpoint.stop_events(body, text)
    if events is None:
        return None
    headers = {"content-type": "text/event-stream"}
    return response_type(200, headers=headers, content=endpoint.encode_events(events), request=request)
