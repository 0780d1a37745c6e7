"""
AWS Bedrock's Converse, and its stream.

The path names the model (boto3 calls it `modelId`), so a body is read with it under `model` or `modelId`.  Events are
read as they are on the wire, where their name is apart, and as boto3 hands them out, each in an object of its name.
"""

from __future__ import annotations

from base64 import b64encode
from typing import TYPE_CHECKING, Final

from bursar.usage import Usage
from bursar.wire.ask import Ask
from bursar.wire.endpoint import Endpoint
from bursar.wire.eventstream import encode_event
from bursar.wire.fields import (
    Json,
    array_at,
    count_at,
    first_count,
    is_array,
    is_mapping,
    number_at,
    object_at,
    objects_at,
    text_at,
)
from bursar.wire.media import document_tokens_most
from bursar.wire.openai_common import longest_ttl, texts_in
from bursar.wire.receipt import Receipt, known_tier
from bursar.wire.weigh import CITATION_PROMPT, Weight

if TYPE_CHECKING:
    from collections.abc import Iterable

_BASE: Final = 128
_PER_TURN: Final = 16
# Claude brings 159 to 804 tokens for tools; Nova and Llama an instruction of their own of about that size.
_TOOLS: Final = 1_024
_PER_TOOL: Final = 64
_OUTPUT_KEYS: Final = frozenset({"text", "name", "input", "toolUseId"})


class BedrockConverse(Endpoint):
    """`POST /model/{modelId}/converse`, and with *stream* `/converse-stream`."""

    is_model_in_path = True

    def __init__(self, *, stream: bool = False) -> None:
        self.stream = stream
        self.name = "aws.converse_stream" if stream else "aws.converse"

    def read_request(self, body: Json) -> Ask:
        """See `Endpoint.read_request`; a prompt of Bedrock's own, and a guardrail's fee, are not in the body."""
        model = text_at(body, "modelId") or text_at(body, "model") or ""
        weight = Weight(model)
        weight.tokens += _BASE
        for message in [*objects_at(body, "messages"), {"content": body.get("system")}]:
            weight.tokens += _PER_TURN
            _add_content(weight, message.get("content"))
        tools = object_at(body, "toolConfig")
        if tools:
            weight.tokens += _TOOLS + _PER_TOOL * len(array_at(tools, "tools"))
            _add_content(weight, [one for one in objects_at(tools, "tools") if "cachePoint" in one])
            weight.add_schema(tools)
        extra, output = object_at(body, "additionalModelRequestFields"), object_at(body, "outputConfig")
        weight.add_schema(extra)
        weight.add_schema(output)
        server_tools: dict[str, int | None] = {
            text_at(object_at(tool, "systemTool"), "name") or "system tool": None
            for tool in objects_at(tools, "tools")
            if "systemTool" in tool
        }
        for kind in server_tools:
            weight.add_unseen(kind)
        if body.get("promptVariables"):
            weight.add_unseen("managed prompt")
        optimized = object_at(body, "performanceConfig").get("latency") == "optimized"
        return Ask(
            model=model,
            stream=self.stream,
            input_tokens_most=weight.tokens,
            image_tokens_most=weight.image_tokens,
            audio_tokens_most=weight.audio_tokens,
            input_unseen=tuple(weight.unseen),
            input_rounds_most=None if server_tools else 1,
            output_limit=_limit(body),
            cache_write=longest_ttl(weight.cache_ttls),
            tier=known_tier(object_at(body, "serviceTier").get("type")),
            server_tools=server_tools,
            unbounded="latency-optimized inference has rates that are not known" if optimized else None,
        )

    def with_model(self, body: Json, model: str) -> dict[str, object]:
        """See `Endpoint.with_model`; the caller moves it into the path, boto3 takes it as `modelId`."""
        return {**body, ("modelId" if "modelId" in body else "model"): model}

    def with_output_limit(
        self, body: Json, tokens: int, *, model: str, host: str
    ) -> dict[str, object] | None:
        """See `Endpoint.with_output_limit`; None where a thinking budget does not leave a token for the answer."""
        del model, host
        extra = object_at(body, "additionalModelRequestFields")
        thinking = object_at(extra, "thinking") or object_at(extra, "reasoning_config")
        budget = count_at(thinking, "budget_tokens")
        if tokens < 1 or (budget is not None and budget >= tokens):
            return None
        config = object_at(body, "inferenceConfig")
        key = next((key for key in _LIMITS if key in config), "maxTokens")
        limit = count_at(config, key)
        lowered = {**config, key: tokens if limit is None else min(limit, tokens)}
        return {**body, "inferenceConfig": lowered}

    def read_response(self, body: Json) -> Receipt:
        """See `Endpoint.read_response`."""
        return self.read_events((body,))

    def read_events(self, events: Iterable[Json]) -> Receipt:
        """See `Endpoint.read_events`; the usage comes last, in `metadata`."""
        usage: Json = {}
        tier: object = None
        model: str | None = None
        finished = False
        for event in events:
            inner = event.get("metadata") or event.get("messageStop")
            if is_mapping(inner):
                event = inner  # noqa: PLW2901 (boto3 wraps each event in its name)
            finished = finished or event.get("stopReason") is not None
            if "usage" in event:
                usage = object_at(event, "usage")
                tier = object_at(event, "serviceTier").get("type")
                router = object_at(object_at(event, "trace"), "promptRouter")
                model = text_at(router, "invokedModelId")
        return Receipt(usage=read_usage(usage), model=model, tier=known_tier(tier), finished=finished)

    def output_seen(self, events: Iterable[Json]) -> str:
        """See `Endpoint.output_seen`: texts, shown reasoning, names and arguments of tools."""
        return "".join(
            text
            for event in events
            for text in texts_in(
                [
                    event.get(key)
                    for key in ("contentBlockDelta", "contentBlockStart", "delta", "start", "output")
                ],
                _OUTPUT_KEYS,
            )
        )

    def stop_response(self, body: Json, text: str) -> dict[str, object] | None:
        """See `Endpoint.stop_response`."""
        del body
        return {
            "output": {"message": {"role": "assistant", "content": [{"text": text}]}},
            "stopReason": "end_turn",
            "usage": {"inputTokens": 0, "outputTokens": 0, "totalTokens": 0},
            "metrics": {"latencyMs": 0},
        }

    def stop_events(self, body: Json, text: str) -> list[dict[str, object]] | None:
        """See `Endpoint.stop_events`; each in an object of its name."""
        del body
        usage = {"inputTokens": 0, "outputTokens": 0, "totalTokens": 0}
        return [
            {"messageStart": {"role": "assistant"}},
            {"contentBlockDelta": {"contentBlockIndex": 0, "delta": {"text": text}}},
            {"contentBlockStop": {"contentBlockIndex": 0}},
            {"messageStop": {"stopReason": "end_turn"}},
            {"metadata": {"usage": usage, "metrics": {"latencyMs": 0}}},
        ]

    def encode_events(self, events: Iterable[Json]) -> bytes:
        """See `Endpoint.encode_events`; in Amazon's binary framing, *events* as `stop_events` gives them."""
        return b"".join(
            encode_event(name, data) for event in events for name, data in event.items() if is_mapping(data)
        )


def read_usage(usage: Json) -> Usage | None:
    """Return a *usage* of Bedrock's own, whose input leaves out what a cache gave or took; None without counts."""
    sent, answered = first_count(usage, "inputTokens"), first_count(usage, "outputTokens")
    if sent is None and answered is None:
        return None
    read = number_at(usage, "cacheReadInputTokens") or number_at(usage, "cacheReadInputTokenCount")
    written = number_at(usage, "cacheWriteInputTokens") or number_at(usage, "cacheWriteInputTokenCount")
    details = objects_at(usage, "cacheDetails")
    hour = sum(number_at(one, "inputTokens") for one in details if one.get("ttl") == "1h")
    written = max(written, sum(number_at(one, "inputTokens") for one in details))
    return Usage(
        input_tokens=(sent or 0) + read + written,
        cache_read_tokens=read,
        cache_write_tokens=written,
        cache_write_1h_tokens=hour,
        output_tokens=answered or 0,
    )


_LIMITS: Final = ("maxTokens", "max_new_tokens", "maxNewTokens")
"""Nova's own body names the limit in its own ways."""


def _limit(body: Json) -> int | None:
    limit = first_count(object_at(body, "inferenceConfig"), *_LIMITS)
    if limit is not None:
        return limit
    return first_count(
        object_at(body, "additionalModelRequestFields"), "max_tokens", "maxTokens", "max_gen_len"
    )


def _add_content(weight: Weight, content: object) -> None:
    for block in content if is_array(content) else [content]:
        if is_mapping(block):
            _add_block(weight, block)
        elif block is not None:
            weight.add(block)


def _add_block(weight: Weight, block: Json) -> None:
    for key, value in block.items():
        if key == "cachePoint":
            weight.cache_ttls.add((text_at(value, "ttl") if is_mapping(value) else None) or "5m")
        elif key == "image":
            weight.add_image()
        elif key in {"video", "audio"}:
            weight.add_unseen(key)
        elif key == "document" and is_mapping(value):
            _add_document(weight, value)
        elif key == "toolResult" and is_mapping(value):
            weight.tokens += _PER_TURN
            weight.add({name: one for name, one in value.items() if name != "content"})
            _add_content(weight, value.get("content"))
        elif key != "type":
            weight.add({key: value})


def _add_document(weight: Weight, document: Json) -> None:
    source = object_at(document, "source")
    weight.add([text_at(document, "name") or "", text_at(document, "context") or ""])
    before = weight.tokens
    _add_source(weight, document, source)
    if object_at(document, "citations").get("enabled") is True:
        # As Anthropic sends it then: sentence by sentence, each in marks of its own, below an instruction.
        weight.tokens += CITATION_PROMPT + weight.tokens - before


def _add_source(weight: Weight, document: Json, source: Json) -> None:
    if isinstance(text := source.get("text"), str):
        weight.add(text)
    elif isinstance(content := source.get("bytes"), bytes | str):
        _add_document_bytes(weight, content, text_at(document, "format") or "")
    else:
        _add_content(weight, source.get("content"))
        if not source.get("content"):
            weight.add_unseen("document")


def _add_document_bytes(weight: Weight, content: bytes | str, kind: str) -> None:
    data = b64encode(content).decode() if isinstance(content, bytes) else content
    media = (
        "application/pdf" if kind == "pdf" else f"text/{kind}" if kind in {"txt", "md", "csv", "html"} else ""
    )
    most = document_tokens_most(data, media, weight.model)
    if most is None:
        weight.add_unseen("document")
    else:
        weight.tokens += most
