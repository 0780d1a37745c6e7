"""Anthropic messages on the wire."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bursar.simulator.errors import WireError
from bursar.simulator.openai_chat import whole_number
from bursar.simulator.prompts import compact, part_of
from bursar.simulator.sse import Event, named

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from bursar.simulator.generation import Generation
    from bursar.simulator.script import Request

_STOP_REASONS = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use"}
_THINKING = "Simulated thinking."


def output_limit(body: Mapping[str, Any]) -> int:
    """
    Return the most output tokens.

    Raises:
        WireError: It is missing, or not above the budget for thinking, as Anthropic refuses it.
    """
    limit = whole_number(body, "max_tokens", least=1)
    if limit is None:
        msg = "max_tokens: Field required"
        raise WireError(400, msg)
    thinking = part_of(body, "thinking")
    if thinking.get("type") == "enabled" and limit <= int(thinking.get("budget_tokens") or 0):
        msg = "`max_tokens` must be greater than `thinking.budget_tokens`."
        raise WireError(400, msg)
    return limit


def check(body: Mapping[str, Any]) -> None:
    """Refuse what Anthropic refuses of a message besides its limit."""
    if not body.get("messages"):
        msg = "messages: at least one message is required"
        raise WireError(400, msg)


def message(request: Request, generation: Generation, *, id_: str) -> dict[str, Any]:
    """Return the whole response."""
    return {
        **_shell(generation, id_),
        "content": [block for block, _ in _blocks(request, generation, id_)],
        "stop_reason": _STOP_REASONS[generation.finish],
        "usage": usage_body(generation),
    }


def usage_body(generation: Generation) -> dict[str, Any]:
    """Return the usage as Anthropic states it: the input apart from what was cached."""
    usage = generation.usage
    body = _input_usage(generation) | {
        "cache_creation": {
            "ephemeral_5m_input_tokens": usage.cache_write_tokens - usage.cache_write_1h_tokens,
            "ephemeral_1h_input_tokens": usage.cache_write_1h_tokens,
        },
        "output_tokens": usage.output_tokens,
        "output_tokens_details": {"thinking_tokens": usage.reasoning_tokens},
        "service_tier": "standard",
        "inference_geo": "global",
    }
    return body | ({"speed": generation.speed} if generation.speed else {})


def events(request: Request, generation: Generation, *, id_: str, with_usage: bool) -> Iterator[Event]:
    """Yield the events: the input's usage comes first, the output's last and cumulated."""
    # Of the output nothing is known yet.
    begun = {**usage_body(generation), "output_tokens": 1, "output_tokens_details": {"thinking_tokens": 0}}
    opened = {**_shell(generation, id_), "usage": begun}
    if not with_usage:
        opened["usage"] = {"input_tokens": 0, "output_tokens": 0}
    yield Event(named({"type": "message_start", "message": opened}), 0)
    tokens = 0
    for index, (block, deltas) in enumerate(_blocks(request, generation, id_)):
        empty = _emptied(block)
        yield Event(named({"type": "content_block_start", "index": index, "content_block": empty}), tokens)
        if index == 0:
            yield Event(named({"type": "ping"}), tokens)
        for delta, tokens in deltas:
            yield Event(named({"type": "content_block_delta", "index": index, "delta": delta}), tokens)
        yield Event(named({"type": "content_block_stop", "index": index}), tokens)
    total = generation.usage.output_tokens
    stop = {"stop_reason": _STOP_REASONS[generation.finish], "stop_sequence": None}
    last: dict[str, Any] = {"type": "message_delta", "delta": stop, "usage": {"output_tokens": 0}}
    if with_usage:
        last["usage"] = {
            **_input_usage(generation),
            "output_tokens": total,
            "output_tokens_details": {"thinking_tokens": generation.usage.reasoning_tokens},
        }
    yield Event(named(last), total, ends=True)
    yield Event(named({"type": "message_stop"}), total, ends=True)


def _shell(generation: Generation, id_: str) -> dict[str, Any]:
    return {
        "id": id_,
        "type": "message",
        "role": "assistant",
        "model": generation.model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
    }


def _input_usage(generation: Generation) -> dict[str, Any]:
    usage = generation.usage
    return {
        "input_tokens": usage.input_tokens - usage.cache_read_tokens - usage.cache_write_tokens,
        "cache_creation_input_tokens": usage.cache_write_tokens,
        "cache_read_input_tokens": usage.cache_read_tokens,
    }


def _blocks(
    request: Request, generation: Generation, id_: str
) -> Iterator[tuple[dict[str, Any], Iterator[tuple[dict[str, Any], int]]]]:
    """Yield each content block as it ends, with the deltas that build it and the tokens generated by each."""
    thought = generation.reasoning_tokens
    if thought and part_of(request.body, "thinking").get("type") in ("enabled", "adaptive"):
        block: dict[str, Any] = {"type": "thinking", "thinking": _THINKING, "signature": "c2ltdWxhdGVk"}
        written = {"type": "thinking_delta", "thinking": _THINKING}
        signed = {"type": "signature_delta", "signature": block["signature"]}
        yield block, iter([(written, thought), (signed, thought)])
    if generation.text or not generation.tool_calls:
        deltas = (
            ({"type": "text_delta", "text": text}, thought + tokens) for text, tokens in generation.pieces()
        )
        yield {"type": "text", "text": generation.text, "citations": None}, deltas
    total = generation.usage.output_tokens
    for position, call in enumerate(generation.tool_calls):
        arguments = dict(call.arguments)
        block = {
            "type": "tool_use",
            "id": f"toolu_{id_[-6:]}_{position}",
            "name": call.name,
            "input": arguments,
        }
        yield block, iter([({"type": "input_json_delta", "partial_json": compact(arguments)}, total)])


def _emptied(block: dict[str, Any]) -> dict[str, Any]:
    """Return *block* as it starts."""
    empty: dict[str, dict[str, Any]] = {
        "thinking": {"thinking": "", "signature": ""},
        "text": {"text": ""},
        "tool_use": {"input": {}},
    }
    return {**block, **empty[block["type"]]}
