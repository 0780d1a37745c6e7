"""Cohere's chat, of both versions, and its embeddings on the wire."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bursar.simulator.errors import encode
from bursar.simulator.openai_chat import whole_number
from bursar.simulator.prompts import Prompt, compact, mappings, read_chat
from bursar.simulator.sse import Event, named
from bursar.simulator.tokens import count_tokens

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from bursar.simulator.generation import Generation
    from bursar.simulator.script import Endpoint

LINES = "application/stream+json"
"""What a stream of the first version is: JSON, one object on each line."""

_FINISH = {"stop": "COMPLETE", "length": "MAX_TOKENS", "tool_calls": "TOOL_CALL"}
_DIMENSIONS = 3


def read(endpoint: Endpoint, model: str, body: Mapping[str, Any]) -> Prompt:
    """Return the prompt of a request."""
    if endpoint == "embeddings":
        texts = embedded(body)
        return Prompt(messages=tuple(texts), tokens=sum(map(count_tokens, texts)))
    if endpoint == "chat":
        return read_chat(model, body)
    earlier = [str(turn.get("message")) for turn in mappings(body.get("chat_history") or [], "chat_history")]
    messages = [*earlier, str(body.get("message") or "")]
    system = str(body.get("preamble") or "")
    tokens = sum(map(count_tokens, (system, *messages)))
    if tools := body.get("tools"):
        tokens += count_tokens(compact(tools))
    return Prompt(system=system, messages=tuple(messages), tokens=tokens)


def output_limit(body: Mapping[str, Any]) -> int | None:
    """Return the most output tokens, or None."""
    return whole_number(body, "max_tokens", least=1)


def response(endpoint: Endpoint, generation: Generation, *, id_: str, with_usage: bool) -> dict[str, Any]:
    """Return the whole response."""
    finish = {"finish_reason": _FINISH[generation.finish]}
    used = _usage(generation) if with_usage else {}
    if endpoint == "chat_v1":
        calls = [
            {"name": call.name, "parameters": dict(call.arguments)} for call in generation.tool_calls
        ] or None
        said = {"text": generation.text, "generation_id": id_, "tool_calls": calls, **finish}
        return said | ({"meta": {"api_version": {"version": "1"}, **used}} if with_usage else {})
    message: dict[str, Any] = {"role": "assistant"}
    if generation.tool_calls:
        message["tool_calls"] = [
            _tool(call.name, call.arguments, id_, index) for index, call in _calls(generation)
        ]
    if generation.text or not generation.tool_calls:
        message["content"] = [{"type": "text", "text": generation.text}]
    return {"id": id_, "message": message, **finish} | ({"usage": used} if with_usage else {})


def events(endpoint: Endpoint, generation: Generation, *, id_: str, with_usage: bool) -> Iterator[Event]:
    """Yield the events; the last states what was used."""
    whole = response(endpoint, generation, id_=id_, with_usage=with_usage)
    total = generation.usage.output_tokens
    if endpoint == "chat_v1":
        yield Event(_line({"event_type": "stream-start", "generation_id": id_, "is_finished": False}), 0)
        for text, tokens in generation.pieces():
            yield Event(_line({"event_type": "text-generation", "text": text, "is_finished": False}), tokens)
        end = {"event_type": "stream-end", "is_finished": True, "finish_reason": whole["finish_reason"]}
        yield Event(_line({**end, "response": whole}), total, ends=True)
        return
    begun: dict[str, Any] = {
        "message": {"role": "assistant", "content": [], "tool_plan": "", "tool_calls": [], "citations": []}
    }
    yield Event(named({"type": "message-start", "id": id_, "delta": begun}), 0)
    content: dict[str, Any] = {"message": {"content": {"type": "text", "text": ""}}}
    yield Event(named({"type": "content-start", "index": 0, "delta": content}), 0)
    for text, tokens in generation.pieces():
        delta = {"message": {"content": {"text": text}}}
        yield Event(
            named({"type": "content-delta", "index": 0, "delta": delta}), generation.reasoning_tokens + tokens
        )
    yield Event(named({"type": "content-end", "index": 0}), total)
    for index, call in _calls(generation):
        tool = _tool(call.name, call.arguments, id_, index)
        delta = {"message": {"tool_calls": tool}}
        yield Event(named({"type": "tool-call-start", "index": index, "delta": delta}), total)
        yield Event(named({"type": "tool-call-end", "index": index}), total)
    ended = {"finish_reason": whole["finish_reason"]} | ({"usage": whole["usage"]} if with_usage else {})
    yield Event(named({"type": "message-end", "delta": ended}), total, ends=True)


def embedded(body: Mapping[str, Any]) -> list[str]:
    """Return the texts that are to be embedded."""
    texts: list[object] = body.get("texts") or []
    return [str(text) for text in texts]


def embeddings(body: Mapping[str, Any], *, id_: str, tokens: int, with_usage: bool) -> dict[str, Any]:
    """Return the response of `/v1/embed` or `/v2/embed`."""
    texts = embedded(body)
    vectors = [[0.5] * _DIMENSIONS for _ in texts]
    asked = body.get("embedding_types")
    kind, made = ("embeddings_by_type", {"float": vectors}) if asked else ("embeddings_floats", vectors)
    whole = {"id": id_, "response_type": kind, "embeddings": made, "texts": texts}
    used = {"api_version": {"version": "2"}, "billed_units": {"input_tokens": tokens}}
    return whole | ({"meta": used} if with_usage else {})


def _calls(generation: Generation) -> Iterator[tuple[int, Any]]:
    return iter(enumerate(generation.tool_calls))


def _tool(name: str, arguments: Mapping[str, Any], id_: str, index: int) -> dict[str, Any]:
    function = {"name": name, "arguments": compact(dict(arguments))}
    return {"id": f"{name}_{id_}_{index}", "type": "function", "function": function}


def _usage(generation: Generation) -> dict[str, Any]:
    billed = {
        "input_tokens": generation.usage.input_tokens,
        "output_tokens": generation.usage.output_tokens,
    }
    return {"billed_units": billed, "tokens": billed}


def _line(body: Mapping[str, Any]) -> bytes:
    return encode(body) + b"\n"
