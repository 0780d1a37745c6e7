"""HTTP responses of `httpx` and `httpx2`: taking one as it came, and making one that says why a call was stopped."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from bursar.clients.answer import AnswerReader
from bursar.clients.transport import http_package, read_through
from bursar.wire import Receipt
from bursar.wire.fields import is_mapping, parsed

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
    content_type = response.headers.get("content-type", "")
    if response.is_stream_consumed or response.is_closed:
        content = response.content
        said = _json_object(content) if "json" in content_type else None
        if said is None:
            read = endpoint.read_content(content, content_type)
        else:
            read = endpoint.read_response(said)
            response.json = ReadJson(said, content)
        meter.settle(endpoint.completed(body, read or Receipt()))
        return False
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


class ReadJson:
    """
    Stands for the `json` of a response that was read here: the SDK need not read it again.

    A large answer, as one of embeddings is, would take twice the time.  What is read is given away once, as it is the
    receiver's to change.
    """

    __slots__ = ("_content", "_said")

    def __init__(self, said: Json, content: bytes) -> None:
        self._said = [said]
        self._content = content

    def __call__(self, **options: Any) -> Any:
        """Return what the body says, as `Response.json` does."""
        if not options:
            try:
                return self._said.pop()
            except IndexError:
                pass
        return json.loads(self._content, **options)


def _json_object(content: bytes) -> Json | None:
    try:
        said = parsed(content)
    except ValueError:
        return None
    return said if is_mapping(said) else None


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
