"""AWS Bedrock's Converse on the wire, its stream, and Claude's own format through `invoke`."""

from __future__ import annotations

from base64 import b64encode
from typing import TYPE_CHECKING, Any

from bursar.simulator import anthropic_messages
from bursar.simulator.errors import WireError
from bursar.simulator.openai_chat import whole_number
from bursar.simulator.prompts import Prompt, compact, mappings, part_of, read_messages
from bursar.simulator.sse import Event
from bursar.simulator.tokens import count_tokens
from bursar.wire.eventstream import encode_event

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from bursar.simulator.generation import Generation
    from bursar.simulator.script import Request, ToolCall

CONTENT_TYPE = "application/vnd.amazon.eventstream"
_STOP_REASONS = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use"}
_OTHER = 1_600
"""Tokens of whatever is no text: a picture, a document."""


def is_converse(endpoint: str) -> bool:
    """Whether *endpoint* is Converse, and not a model's own format."""
    return endpoint == "converse"


def read(endpoint: str, model: str, body: Mapping[str, Any]) -> Prompt:
    """
    Return the prompt of a request.

    Raises:
        WireError: There is none, or a model's own format is not one that is known here.
    """
    if not is_converse(endpoint):
        if "anthropic_version" not in body:
            msg = "Malformed input request: the simulator knows the format of Claude alone."
            raise WireError(400, msg)
        return read_messages(model, body)
    messages = mappings(body.get("messages") or [], "messages")
    if not messages:
        msg = "messages: at least one message is required"
        raise WireError(400, msg)
    system = _texts(body.get("system"))
    texts = [_texts(message.get("content")) for message in messages]
    tokens = sum(map(count_tokens, (system, *texts)))
    tokens += sum(_others(message.get("content")) for message in messages)
    if tools := part_of(body, "toolConfig"):
        tokens += count_tokens(compact(tools))
    return Prompt(system=system, messages=tuple(texts), tokens=tokens)


def output_limit(endpoint: str, body: Mapping[str, Any]) -> int | None:
    """Return the most output tokens, or None."""
    if not is_converse(endpoint):
        return anthropic_messages.output_limit(body)
    return whole_number(part_of(body, "inferenceConfig"), "maxTokens", least=1)


def response(request: Request, generation: Generation, *, id_: str, with_usage: bool) -> dict[str, Any]:
    """Return the whole response."""
    if not is_converse(request.endpoint):
        whole = anthropic_messages.message(request, generation, id_=id_)
        return whole if with_usage else {name: value for name, value in whole.items() if name != "usage"}
    calls = [{"toolUse": _tool(call, id_, index)} for index, call in enumerate(generation.tool_calls)]
    texts = [{"text": generation.text}] if generation.text or not calls else []
    whole = {
        "output": {"message": {"role": "assistant", "content": [*texts, *calls]}},
        "stopReason": _STOP_REASONS[generation.finish],
        "metrics": {"latencyMs": 1},
    }
    return whole | ({"usage": _usage(generation)} if with_usage else {})


def events(request: Request, generation: Generation, *, id_: str, with_usage: bool) -> Iterator[Event]:
    """Yield the events, in Amazon's own framing."""
    if not is_converse(request.endpoint):
        for event in anthropic_messages.events(request, generation, id_=id_, with_usage=with_usage):
            _, _, data = event.data.rstrip().partition(b"\ndata: ")
            yield Event(_chunk(data), event.output_tokens, ends=event.ends)
        return
    yield Event(encode_event("messageStart", {"role": "assistant"}), 0)
    tokens = 0
    for text, seen in generation.pieces():
        tokens = generation.reasoning_tokens + seen
        delta = {"delta": {"text": text}, "contentBlockIndex": 0}
        yield Event(encode_event("contentBlockDelta", delta), tokens)
    for index, call in enumerate(generation.tool_calls, start=1):
        begun = {"toolUse": {"toolUseId": f"tooluse_{id_}_{index}", "name": call.name}}
        yield Event(encode_event("contentBlockStart", {"start": begun, "contentBlockIndex": index}), tokens)
        delta = {"delta": {"toolUse": {"input": compact(dict(call.arguments))}}, "contentBlockIndex": index}
        yield Event(encode_event("contentBlockDelta", delta), tokens)
    total = generation.usage.output_tokens
    stop = {"stopReason": _STOP_REASONS[generation.finish]}
    yield Event(encode_event("messageStop", stop), total, ends=not with_usage)
    if with_usage:
        told = {"usage": _usage(generation), "metrics": {"latencyMs": 1}}
        yield Event(encode_event("metadata", told), total, ends=True)


def _chunk(data: bytes) -> bytes:
    return encode_event("chunk", {"bytes": b64encode(data).decode()})


def _tool(call: ToolCall, id_: str, index: int) -> dict[str, Any]:
    return {"toolUseId": f"tooluse_{id_}_{index}", "name": call.name, "input": dict(call.arguments)}


def _usage(generation: Generation) -> dict[str, int]:
    usage = generation.usage
    fresh = usage.input_tokens - usage.cache_read_tokens - usage.cache_write_tokens
    stated = {
        "inputTokens": fresh,
        "outputTokens": usage.output_tokens,
        "totalTokens": usage.input_tokens + usage.output_tokens,
    }
    if usage.cache_read_tokens or usage.cache_write_tokens:
        stated |= {
            "cacheReadInputTokens": usage.cache_read_tokens,
            "cacheWriteInputTokens": usage.cache_write_tokens,
        }
    return stated


def _texts(content: object) -> str:
    parts = mappings(content or [], "content")
    return "\n".join(str(part["text"]) for part in parts if "text" in part)


def _others(content: object) -> int:
    parts = [part for part in mappings(content or [], "content") if "text" not in part]
    return sum(
        count_tokens(compact(part)) if {"toolUse", "toolResult"} & set(part) else _OTHER for part in parts
    )
