"""Anthropic messages, stable and beta."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from bursar.usage import Usage, sum_of
from bursar.wire.ask import SERVER_TOOL_UNITS, Ask
from bursar.wire.endpoint import Endpoint
from bursar.wire.fields import Json, array_at, count_at, number_at, object_at, objects_at, text_at
from bursar.wire.openai_common import at_most, longest_ttl
from bursar.wire.reasoning import asked_reasoning
from bursar.wire.receipt import Part, Receipt, known_tier, stated_nanousd
from bursar.wire.weigh import Weight

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

# What Anthropic adds to a prompt.  The hidden prompt for tools is 159 to 804 tokens by model and choice ("Tool use:
# pricing"); a tool of its own brings its definition (computer 735, web search and fetch together 2 700, memory
# 1 500: the last two measured); a schema for the answer an instruction of about 150 (measured).
_BASE: Final = 64
_TOOLS: Final = 1_024
_PER_TOOL: Final = 48
_PER_BUILT_IN: Final = 3_072
_FORMAT: Final = 512
_THINKING: Final = 128

_ROUNDS_MOST: Final = 11
"""A request that runs server tools stops after ten iterations with `pause_turn` ("Server tools"), the first apart."""
_LEAST_THINKING: Final = 1_024
"""The lowest `budget_tokens`, which must stay below `max_tokens` ("Extended thinking")."""
_LEAST_ANSWER: Final = 256
_SERVER_TOOLS: Final = ("web_search", "web_fetch", "code_execution", "tool_search", "mcp_toolset", "advisor")
_KINDS: Final = {"code_execution": "code_interpreter", "mcp_toolset": "mcp"}


class AnthropicMessages(Endpoint):
    """`POST /v1/messages`, with `?beta=true` or without."""

    name = "anthropic.messages"

    def read_request(self, body: Json) -> Ask:
        """See `Endpoint.read_request`."""
        weight = Weight(text_at(body, "model") or "")
        weight.note_cache(body)
        weight.add(body.get("system") or "")
        weight.add(body.get("messages"))
        _add_overheads(weight, body)
        if object_at(body, "thread").get("type") == "continue":
            # The provider holds what was said before.
            weight.add_unseen("thread")
        server_tools = _server_tools(body)
        for kind in server_tools:
            # What a search of tools finds is in the body already.
            if kind != "tool_search":
                weight.add_unseen(kind)
        return Ask(
            model=weight.model,
            stream=body.get("stream") is True,
            input_tokens_most=weight.tokens,
            image_tokens_most=weight.image_tokens,
            audio_tokens_most=weight.audio_tokens,
            input_unseen=tuple(weight.unseen),
            input_rounds_most=_rounds_most(body, server_tools),
            output_limit=count_at(body, "max_tokens"),
            cache_write=longest_ttl(weight.cache_ttls),
            tier=known_tier(body.get("speed"), _place(body)),
            server_tools=server_tools,
            also_models=tuple(
                filter(None, (text_at(item, "model") for item in objects_at(body, "fallbacks")))
            ),
            reasoning=asked_reasoning(body),
            unbounded="the advisor tool bills another model" if "advisor" in server_tools else None,
        )

    def with_model(self, body: Json, model: str) -> dict[str, object]:
        """See `Endpoint.with_model`."""
        return {**body, "model": model}

    def with_output_limit(
        self, body: Json, tokens: int, *, model: str, host: str
    ) -> dict[str, object] | None:
        """
        See `Endpoint.with_output_limit`; a thinking budget is lowered with it.

        None where the request thinks on a budget and *tokens* does not leave 1 024 for that and one for the answer.
        """
        del model, host
        copy: dict[str, object] = {**body, "max_tokens": at_most(body, "max_tokens", tokens)}
        thinking = object_at(body, "thinking")
        budget = count_at(thinking, "budget_tokens")
        if tokens < 1 or (budget is not None and tokens <= _LEAST_THINKING):
            return None
        if budget is not None and budget >= tokens:
            copy["thinking"] = {**thinking, "budget_tokens": max(tokens - _LEAST_ANSWER, _LEAST_THINKING)}
        return copy

    def read_response(self, body: Json) -> Receipt:
        """See `Endpoint.read_response`."""
        return _receipt(body, object_at(body, "usage"), finished=body.get("stop_reason") is not None)

    def read_events(self, events: Iterable[Json]) -> Receipt:
        """See `Endpoint.read_events`; counts are cumulative, so that the last one of each kind holds."""
        message: Json = {}
        usage: dict[str, object] = {}
        finished = False
        for event in events:
            kind = event.get("type")
            if kind == "message_start":
                message = object_at(event, "message")
                usage |= object_at(message, "usage")
            elif kind == "message_delta":
                usage |= {key: value for key, value in object_at(event, "usage").items() if value is not None}
                finished = finished or object_at(event, "delta").get("stop_reason") is not None
        return _receipt(message, usage, finished=finished)

    def output_seen(self, events: Iterable[Json]) -> str:
        """See `Endpoint.output_seen`: texts, thinking that is shown, names and arguments of tools."""
        texts: list[str] = []
        for event in events:
            delta, block = object_at(event, "delta"), object_at(event, "content_block")
            texts += [text for key in ("text", "thinking", "partial_json") if (text := text_at(delta, key))]
            texts += [text for key in ("text", "thinking", "name") if (text := text_at(block, key))]
        return "".join(texts)

    def stop_response(self, body: Json, text: str) -> dict[str, object] | None:
        """See `Endpoint.stop_response`."""
        content = [] if _asks_json(body) else [{"type": "text", "text": text}]
        return {**_head(body), "content": content, **_stopped(body, text)}

    def stop_events(self, body: Json, text: str) -> list[dict[str, object]] | None:
        """See `Endpoint.stop_events`."""
        begun: dict[str, object] = {**_head(body), "content": [], "stop_reason": None, "stop_sequence": None}
        block: list[dict[str, object]] = [
            {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
            {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}},
            {"type": "content_block_stop", "index": 0},
        ]
        return [
            {"type": "message_start", "message": begun},
            *(() if _asks_json(body) else block),
            {"type": "message_delta", "delta": _stopped(body, text), "usage": {"output_tokens": 0}},
            {"type": "message_stop"},
        ]


def _asks_json(body: Json) -> bool:
    return bool(body.get("output_format") or object_at(body, "output_config").get("format"))


def _stopped(body: Json, text: str) -> dict[str, object]:
    """Return how the answer ends: as usual, or refused where JSON was asked for and a caller would try to read text."""
    if not _asks_json(body):
        return {"stop_reason": "end_turn", "stop_sequence": None}
    details = {"type": "refusal", "category": None, "explanation": text}
    return {"stop_reason": "refusal", "stop_sequence": None, "stop_details": details}


def _add_overheads(weight: Weight, body: Json) -> None:
    weight.tokens += _BASE
    tools = array_at(body, "tools")
    if tools or body.get("mcp_servers"):
        built_in = sum(text_at(tool, "type") not in {None, "custom"} for tool in objects_at(body, "tools"))
        weight.tokens += _TOOLS + _PER_TOOL * len(tools) + _PER_BUILT_IN * built_in
        weight.add_schema(tools)
        weight.add_schema(body.get("tool_choice"))
    for key in ("output_format", "output_config"):
        if body.get(key):
            weight.tokens += _FORMAT
            weight.add_schema(body[key])
    if body.get("thinking"):
        weight.tokens += _THINKING
    if object_at(body, "container").get("skills"):
        weight.add_unseen("skills")


def _server_tools(body: Json) -> dict[str, int | None]:
    kinds: dict[str, int | None] = {}
    for tool in objects_at(body, "tools"):
        kind = next((name for name in _SERVER_TOOLS if (text_at(tool, "type") or "").startswith(name)), None)
        if kind is not None:
            kinds[_KINDS.get(kind, kind)] = count_at(tool, "max_uses")
    if body.get("mcp_servers"):
        kinds["mcp"] = None
    return kinds


def _rounds_most(body: Json, server_tools: Mapping[str, int | None]) -> int | None:
    if any((text_at(edit, "type") or "").startswith("compact") for edit in _edits(body)):
        # A compaction reads the whole window and writes a summary, as often as it triggers.
        return None
    if not server_tools:
        return 1 + len(objects_at(body, "fallbacks"))
    uses = [use for use in server_tools.values() if use is not None]
    limited = sum(uses) + 1 if len(uses) == len(server_tools) else _ROUNDS_MOST
    return min(limited, _ROUNDS_MOST) + len(objects_at(body, "fallbacks"))


def _edits(body: Json) -> list[Json]:
    return objects_at(object_at(body, "context_management"), "edits")


def _receipt(message: Json, usage: Json, *, finished: bool) -> Receipt:
    model = text_at(message, "model")
    if count_at(usage, "input_tokens") is None or count_at(usage, "output_tokens") is None:
        return Receipt(model=model, finished=finished)
    top = _read_usage(usage)
    used = object_at(usage, "server_tool_use")
    counts = {
        "web_search": number_at(used, "web_search_requests"),
        "web_fetch": number_at(used, "web_fetch_requests"),
        "code_interpreter": number_at(used, "code_execution_requests"),
    }
    parts = _parts(usage, top)
    return Receipt(
        usage=sum_of(part.usage for part in parts) if parts else top,
        parts=parts,
        model=model,
        tier=known_tier(usage.get("speed"), usage.get("service_tier"), _place(usage)),
        # OpenRouter speaks this format, too.
        stated_nanousd=stated_nanousd(usage),
        finished=finished,
        server_tools={kind: count for kind, count in counts.items() if count},
    )


def _place(body: Json) -> str | None:
    """Return the tier that a place of inference is billed as ("Data residency"): only the US has rates of its own."""
    return "us_only" if body.get("inference_geo") == "us" else None


def _read_usage(usage: Json) -> Usage:
    read, written = (
        number_at(usage, "cache_read_input_tokens"),
        number_at(usage, "cache_creation_input_tokens"),
    )
    creation = object_at(usage, "cache_creation")
    hour = number_at(creation, "ephemeral_1h_input_tokens")
    written = max(written, hour + number_at(creation, "ephemeral_5m_input_tokens"))
    used = object_at(usage, "server_tool_use")
    searches = number_at(used, "web_search_requests")
    return Usage(
        # Anthropic's input leaves out what a cache gave or took; ours has it.
        input_tokens=number_at(usage, "input_tokens") + read + written,
        cache_read_tokens=read,
        cache_write_tokens=written,
        cache_write_1h_tokens=hour,
        output_tokens=number_at(usage, "output_tokens"),
        reasoning_tokens=number_at(object_at(usage, "output_tokens_details"), "thinking_tokens"),
        other={SERVER_TOOL_UNITS["web_search"]: searches} if searches else {},
    )


def _parts(usage: Json, top: Usage) -> tuple[Part, ...]:
    """Return the iterations where they say more than the top: compaction and advisors are only in them."""
    iterations = objects_at(usage, "iterations")
    parts = [Part(model=text_at(item, "model"), usage=_read_usage(item)) for item in iterations]
    if not parts or (len(parts) == 1 and parts[0].model is None and _same(parts[0].usage, top)):
        return ()
    if top.other:
        # Searches are counted for the whole call only; they are a part without tokens.
        parts.append(Part(model=None, usage=Usage(other=top.other)))
    missing = top.output_tokens - sum(part.usage.output_tokens for part in parts)
    if missing > 0 or top.input_tokens > sum(part.usage.input_tokens for part in parts):
        # Iterations that cover less than the top would lose money: trust the top.
        return ()
    return tuple(parts)


def _same(one: Usage, other: Usage) -> bool:
    return one.input_tokens == other.input_tokens and one.output_tokens == other.output_tokens


def _head(body: Json) -> dict[str, object]:
    return {
        "id": f"msg_{os.urandom(12).hex()}",
        "type": "message",
        "role": "assistant",
        "model": text_at(body, "model") or "",
        "usage": {
            "input_tokens": 0,
            "output_tokens": 0,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
        },
    }
