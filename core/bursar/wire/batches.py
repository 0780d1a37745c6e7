"""Batches: many requests in one file or body, answered within a day at batch rates, their results read later."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from bursar.wire.endpoint import Endpoint
from bursar.wire.fields import Json, array_at, is_mapping, number_at, object_at, objects_at, text_at
from bursar.wire.metered_routes import (
    ANTHROPIC_MESSAGES,
    OPENAI_CHAT,
    OPENAI_COMPLETIONS,
    OPENAI_EMBEDDINGS,
    OPENAI_IMAGES,
    OPENAI_RESPONSES,
)
from bursar.wire.routes import endpoint_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bursar.wire.ask import Ask
    from bursar.wire.receipt import Receipt

_OK: Final = 200
_FIRST_LINE: Final = 65_536
_SHAPES: Final[dict[str, Endpoint]] = {
    "chat.completion": OPENAI_CHAT,
    "text_completion": OPENAI_COMPLETIONS,
    "response": OPENAI_RESPONSES,
    "list": OPENAI_EMBEDDINGS,
}


def asks_in_file(content: bytes) -> tuple[Ask, ...] | str:
    """Return what each line of OpenAI's input file asks for, at batch rates, or why that cannot be told."""
    asks: list[Ask] = []
    lines = list(_lines(content))
    if len(lines) != sum(1 for line in content.splitlines() if line.strip()):
        return "a line of its input file is no JSON object"
    for line in lines:
        body = object_at(line, "body")
        found = endpoint_of(text_at(line, "method") or "POST", text_at(line, "url") or "")
        if not isinstance(found, Endpoint):
            return f"its requests go to {text_at(line, 'url')}, which is not metered"
        asks.append(found.read_request(body)._replace(tier="batch"))
    return tuple(asks) if asks else "its input file has no requests"


def asks_in_body(body: Json) -> tuple[Ask, ...] | str:
    """Return what each request of Anthropic's body asks for, at batch rates."""
    requests = [object_at(one, "params") for one in objects_at(body, "requests")]
    if not requests or len(requests) != len(array_at(body, "requests")):
        return "its requests cannot be read before it is sent"
    return tuple(ANTHROPIC_MESSAGES.read_request(one)._replace(tier="batch") for one in requests)


def holds_results(content: bytes) -> bool:
    """Whether *content* is a file of results, and not any other file."""
    first = next(_lines(content[:_FIRST_LINE].partition(b"\n")[0]), None)
    if first is None and len(content) > _FIRST_LINE:
        # A first line of that length is cut; its keys come first.
        return b'"custom_id"' in content[:_FIRST_LINE] and b'"response"' in content[:_FIRST_LINE]
    return first is not None and "custom_id" in first and ("response" in first or "result" in first)


def read_results(content: bytes) -> tuple[Receipt, ...]:
    """
    Return what the results in *content*, OpenAI's or Anthropic's, say about their cost.

    One receipt for each request that was answered: those that failed, expired or were cancelled are not billed.
    """
    return tuple(receipt for line in _lines(content) if (receipt := _receipt(line)) is not None)


def _receipt(line: Json) -> Receipt | None:
    if "result" in line:
        result = object_at(line, "result")
        if text_at(result, "type") != "succeeded":
            return None
        return ANTHROPIC_MESSAGES.read_response(object_at(result, "message"))._replace(tier="batch")
    response = object_at(line, "response")
    body = object_at(response, "body")
    if number_at(response, "status_code") != _OK or ("results" in body and "usage" not in body):
        # An error, or a moderation.
        return None
    shape = _SHAPES.get(text_at(body, "object") or "", OPENAI_IMAGES)
    return shape.completed(body, shape.read_response(body))._replace(tier="batch")


def _lines(content: bytes) -> Iterator[Json]:
    for line in content.splitlines():
        if not line.strip():
            continue
        try:
            parsed: object = json.loads(line)
        except ValueError:
            continue
        if is_mapping(parsed):
            yield parsed
