"""
AWS Bedrock's InvokeModel, and its stream: the body is the vendor's own format.

Anthropic's, Nova's (Converse in other words), OpenAI's (AI21, Mistral, Qwen, OpenAI, Writer) and Cohere's are read
by their own modules.  Prompts of plain text (Titan, Llama, older Mistral, AI21 and Anthropic) are read here.

Some answers hold no counts at all: Bedrock then states them in headers only.  A response is read with boto3's
`ResponseMetadata` beside the vendor's fields, where the caller adds it.
"""

from __future__ import annotations

import json
from base64 import b64decode
from binascii import Error
from typing import TYPE_CHECKING, Final, Literal

from bursar.usage import Usage
from bursar.wire.anthropic_messages import AnthropicMessages
from bursar.wire.ask import Ask
from bursar.wire.bedrock_converse import BedrockConverse
from bursar.wire.bedrock_converse import read_usage as read_converse_usage
from bursar.wire.cohere import CohereChat, CohereEmbed, CohereRerank, is_cohere_answer
from bursar.wire.endpoint import Endpoint
from bursar.wire.eventstream import encode_event
from bursar.wire.fields import (
    Json,
    array_at,
    count_at,
    count_in,
    first_count,
    is_mapping,
    number_at,
    object_at,
    objects_at,
    text_at,
)
from bursar.wire.openai_chat import OpenAIChat
from bursar.wire.openai_common import texts_in
from bursar.wire.receipt import Receipt, known_tier
from bursar.wire.weigh import Weight

if TYPE_CHECKING:
    from collections.abc import Iterable

_ANTHROPIC: Final = AnthropicMessages()
_NOVA: Final = BedrockConverse()
_CHAT: Final = OpenAIChat()
_COHERE: Final = CohereChat(version=1)
_EMBED: Final = CohereEmbed()
_RERANK: Final = CohereRerank()

_PROMPT_KEYS: Final = ("prompt", "inputText", "inputImage")
# The first that a prompt's vendor knows; Titan keeps its limit one level down.
_LIMITS: Final = ("max_gen_len", "max_tokens_to_sample", "maxTokens", "max_tokens")
_TITAN: Final = "textGenerationConfig"
_METRICS: Final = "amazon-bedrock-invocationMetrics"
_HEADER: Final = "x-amzn-bedrock-"
_NONE: Final[Json] = {}
_OUTPUT_KEYS: Final = frozenset(
    {"generation", "outputText", "completion", "text", "content", "name", "arguments"}
)

_Vendor = Literal["anthropic", "nova", "chat", "cohere", "embed", "rerank", "prompt"]
_VENDORS: Final[dict[_Vendor, Endpoint]] = {
    "anthropic": _ANTHROPIC,
    "nova": _NOVA,
    "chat": _CHAT,
    "cohere": _COHERE,
    "embed": _EMBED,
    "rerank": _RERANK,
}


class BedrockInvoke(Endpoint):
    """`POST /model/{modelId}/invoke`, and with *stream* `/invoke-with-response-stream`."""

    is_model_in_path = True

    def __init__(self, *, stream: bool = False) -> None:
        self.stream = stream
        self.name = "aws.invoke_stream" if stream else "aws.invoke"

    def read_request(self, body: Json) -> Ask:
        """See `Endpoint.read_request`; what generates images or speech has no bound."""
        model = text_at(body, "modelId") or text_at(body, "model") or ""
        vendor = _VENDORS.get(_vendor_of(body, model))
        if vendor is None:
            return _read_prompt(body, model, stream=self.stream)
        return vendor.read_request(body)._replace(model=model, stream=self.stream)

    def with_model(self, body: Json, model: str) -> dict[str, object]:
        """See `Endpoint.with_model`; the caller moves it into the path.  Mind that each vendor has its own body."""
        return {**body, ("modelId" if "modelId" in body else "model"): model}

    def with_output_limit(
        self, body: Json, tokens: int, *, model: str, host: str
    ) -> dict[str, object] | None:
        """See `Endpoint.with_output_limit`, under the name that the vendor knows."""
        kind = _vendor_of(body, model)
        vendor = _VENDORS.get(kind)
        if vendor is not None:
            # Vendors behind Bedrock know the older name alone.
            return vendor.with_output_limit(body, tokens, model="" if kind == "chat" else model, host=host)
        if tokens < 1:
            return None
        if "inputText" in body:
            config = object_at(body, _TITAN)
            limit = count_at(config, "maxTokenCount")
            return {
                **body,
                _TITAN: {**config, "maxTokenCount": tokens if limit is None else min(limit, tokens)},
            }
        key = next((key for key in _LIMITS if key in body), _limit_key(model))
        limit = count_at(body, key)
        return {**body, key: tokens if limit is None else min(limit, tokens)}

    def read_response(self, body: Json) -> Receipt:
        """See `Endpoint.read_response`."""
        return self.read_events((body,))

    def read_events(self, events: Iterable[Json]) -> Receipt:
        """See `Endpoint.read_events`; Bedrock's own counts, in the last event, hold for every vendor."""
        seen = [unwrapped(event) for event in events]
        # Bedrock bills by the id that was asked for; the vendor's own name leaves out the region.
        receipt = _receipt(seen)._replace(model=None)
        if receipt.usage is not None:
            return receipt
        metrics = next((found for one in reversed(seen) if (found := object_at(one, _METRICS))), None)
        usage = _from_metrics(metrics) if metrics else _from_headers(seen)
        return receipt._replace(usage=usage)

    def output_seen(self, events: Iterable[Json]) -> str:
        """See `Endpoint.output_seen`."""
        seen = [unwrapped(event) for event in events]
        return (
            _ANTHROPIC.output_seen(seen) or _NOVA.output_seen(seen) or "".join(texts_in(seen, _OUTPUT_KEYS))
        )

    def stop_response(self, body: Json, text: str) -> dict[str, object] | None:
        """See `Endpoint.stop_response`; None for a prompt of plain text, whose answers are many shapes."""
        model = text_at(body, "modelId") or text_at(body, "model") or ""
        vendor = _VENDORS.get(_vendor_of(body, model))
        return None if vendor is None else vendor.stop_response(body, text)

    def stop_events(self, body: Json, text: str) -> list[dict[str, object]] | None:
        """See `Endpoint.stop_events`."""
        model = text_at(body, "modelId") or text_at(body, "model") or ""
        vendor = _VENDORS.get(_vendor_of(body, model))
        return None if vendor is None else vendor.stop_events(body, text)

    def encode_events(self, events: Iterable[Json]) -> bytes:
        """See `Endpoint.encode_events`; each in base64 within a chunk, in Amazon's binary framing."""
        from base64 import b64encode

        return b"".join(
            encode_event("chunk", {"bytes": b64encode(json.dumps(dict(event)).encode()).decode()})
            for event in events
        )


def unwrapped(event: Json) -> Json:
    """Return the vendor's event within *event*: a chunk as boto3 or the wire has it, or the vendor's own already."""
    chunk = object_at(event, "chunk") or event
    content = chunk.get("bytes")
    try:
        if isinstance(content, str):
            content = b64decode(content, validate=True)
        found = json.loads(content) if isinstance(content, bytes | bytearray) else None
    except (Error, ValueError):
        return event
    return found if is_mapping(found) else event


def _vendor_of(body: Json, model: str) -> _Vendor:
    chats = "messages" in body
    rules: tuple[tuple[bool, _Vendor], ...] = (
        ("anthropic_version" in body or (chats and "anthropic." in model), "anthropic"),
        ("inferenceConfig" in body or "schemaVersion" in body or (chats and "amazon.nova" in model), "nova"),
        (chats and "cohere." not in model, "chat"),
        ("query" in body and "documents" in body, "rerank"),
        ("input_type" in body or "texts" in body, "embed"),
        ("message" in body or "cohere." in model, "cohere"),
    )
    found: list[_Vendor] = [vendor for holds, vendor in rules if holds]
    return found[0] if found else "prompt"


def _limit_key(model: str) -> str:
    if "meta." in model:
        return "max_gen_len"
    if "anthropic." in model:
        return "max_tokens_to_sample"
    return "maxTokens" if "ai21." in model else "max_tokens"


def _read_prompt(body: Json, model: str, *, stream: bool) -> Ask:
    weight = Weight(model)
    weight.tokens += 8
    for key in ("prompt", "inputText"):
        weight.add(body.get(key) or "")
    for image in [*array_at(body, "images"), *([body["inputImage"]] if body.get("inputImage") else [])]:
        del image
        weight.add_image()
    embeds = "embed" in model
    limit = first_count(body, *_LIMITS)
    limit = count_at(object_at(body, _TITAN), "maxTokenCount") if limit is None else limit
    known = any(key in body for key in _PROMPT_KEYS) and "taskType" not in body and "text_prompts" not in body
    pictures = any(word in model for word in ("stability.", "titan-image", "nova-canvas", "nova-reel"))
    return Ask(
        model=model,
        stream=stream,
        input_tokens_most=weight.tokens,
        image_tokens_most=weight.image_tokens,
        output_limit=0 if embeds else limit,
        choices=max(number_at(body, "numResults"), number_at(body, "num_generations"), 1),
        generates=not embeds,
        unbounded=None if known and not pictures else "what this model makes is not billed by the token",
    )


def _receipt(seen: list[Json]) -> Receipt:
    """Return what the vendor's own fields say, by their shape: a response does not name its vendor."""
    last: Json = seen[-1] if seen else {}
    usages = [object_at(one, "usage") or object_at(object_at(one, "message"), "usage") for one in seen]
    stated = next((usage for usage in reversed(usages) if usage), _NONE)
    if "input_tokens" in stated or ("output_tokens" in stated and "prompt_tokens" not in stated):
        streamed = any(one.get("type") in {"message_start", "message_delta"} for one in seen)
        return _ANTHROPIC.read_events(seen) if streamed else _ANTHROPIC.read_response(last)
    if "prompt_tokens" in stated:
        return _CHAT.read_events(seen)
    nova = _NOVA.read_events(seen)
    if nova.usage is not None:
        return nova
    if is_cohere_answer(last):
        return _COHERE.read_events(seen)
    if "meta" in last:
        return _EMBED.read_response(last)
    finished = any(
        one.get("stop_reason")
        or one.get("completionReason")
        or one.get("is_finished")
        or any(part.get("stop_reason") or part.get("finish_reason") for part in _answers(one))
        for one in seen
    )
    embedded = "embedding" in last or "embeddings" in last
    tier = known_tier(*(one.get("service_tier") for one in seen))
    return Receipt(usage=_read_counts(seen), tier=tier, finished=finished or embedded)


def _answers(one: Json) -> list[Json]:
    return [part for key in ("results", "outputs", "choices", "completions") for part in objects_at(one, key)]


def _read_counts(seen: list[Json]) -> Usage | None:
    """Return the counts of Titan, Llama and AI21's Jurassic; they are of the whole answer so far."""
    sent = answered = None
    for one in seen:
        sent = _larger(sent, first_count(one, "inputTextTokenCount", "prompt_token_count"))
        answered = _larger(answered, first_count(one, "totalOutputTextTokenCount", "generation_token_count"))
        results = [
            count
            for part in objects_at(one, "results")
            if (count := count_at(part, "tokenCount")) is not None
        ]
        answered = _larger(answered, sum(results) if results else None)
        prompt = object_at(one, "prompt")
        if "tokens" in prompt:
            sent = len(array_at(prompt, "tokens"))
            answered = sum(
                len(array_at(object_at(part, "data"), "tokens")) for part in objects_at(one, "completions")
            )
    embedded = any("embedding" in one or "embeddingsByType" in one for one in seen)
    if sent is None or (answered is None and not embedded):
        return None
    return Usage(input_tokens=sent, output_tokens=answered or 0)


def _larger(one: int | None, other: int | None) -> int | None:
    return other if one is None else one if other is None else max(one, other)


def _from_metrics(metrics: Json) -> Usage | None:
    return read_converse_usage(
        {
            "inputTokens": metrics.get("inputTokenCount"),
            "outputTokens": metrics.get("outputTokenCount"),
            "cacheReadInputTokens": metrics.get("cacheReadInputTokenCount"),
            "cacheWriteInputTokens": metrics.get("cacheWriteInputTokenCount"),
        }
    )


def _from_headers(seen: list[Json]) -> Usage | None:
    for one in seen:
        headers = object_at(object_at(one, "ResponseMetadata"), "HTTPHeaders")
        counts = {
            key.lower().removeprefix(_HEADER): count
            for key, value in headers.items()
            if key.lower().startswith(_HEADER) and (count := count_in(str(value))) is not None
        }
        if "input-token-count" in counts:
            return read_converse_usage(
                {
                    "inputTokens": counts["input-token-count"],
                    "outputTokens": counts.get("output-token-count", 0),
                    "cacheReadInputTokens": counts.get("cache-read-input-token-count", 0),
                    "cacheWriteInputTokens": counts.get("cache-write-input-token-count", 0),
                }
            )
    return None
