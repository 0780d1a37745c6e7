"""
Google's generateContent, on the Gemini API and on Vertex AI.

The path names the model and whether the answer is a stream, so there is one endpoint for each of the two, and a body
is read with the path's model put under `model` (`model_in_path`).  Google takes names in `camelCase` and in
`snake_case`; both are read.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from bursar.usage import Usage
from bursar.wire.ask import SERVER_TOOL_UNITS, Ask
from bursar.wire.endpoint import Endpoint
from bursar.wire.fields import Json, array_at, count_at, is_array, is_mapping, number_at, text_at
from bursar.wire.google_common import (
    any_at,
    bare_model,
    counts_by_modality,
    has_counts,
    object_in,
    objects_in,
    snake,
    tier_of,
)
from bursar.wire.media import audio_tokens_most, document_tokens_most
from bursar.wire.openai_common import texts_in
from bursar.wire.receipt import Receipt
from bursar.wire.weigh import Weight

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

# What is around a prompt is not billed, but an empty system instruction, roles and separators are a few tokens.
_BASE: Final = 16
_PER_TURN: Final = 4
# Measured: declaring functions adds an instruction and a signature for each; the schema is billed below its bytes.
_TOOLS: Final = 64
_PER_TOOL: Final = 16
_CLIENT_TOOLS: Final = frozenset(
    {"functionDeclarations", "function_declarations", "computerUse", "computer_use"}
)
_TOOL_KINDS: Final = {
    "googleSearch": "web_search",
    "googleSearchRetrieval": "web_search",
    "enterpriseWebSearch": "enterprise_web_search",
    "googleMaps": "maps",
    "codeExecution": "code_execution",
    "urlContext": "url_context",
    "fileSearch": "store_search",
    "retrieval": "retrieval",
    "mcpServers": "mcp",
}
_ROUNDS_MOST: Final = 11
"""Google's own tools run within one request; ten rounds of them are the most that its SDKs allow themselves."""
_OUTPUT_KEYS: Final = frozenset({"text", "name", "code"})
_QUERIES_PER_FEE: Final = frozenset({"gemini-1", "gemini-2"})
"""Families whose grounding is billed once a request; from Gemini 3 on each query is ("Pricing", ai.google.dev)."""


class GeminiGenerate(Endpoint):
    """`POST …/models/{model}:generateContent`, and with *stream* `:streamGenerateContent`."""

    is_model_in_path = True

    def __init__(self, *, stream: bool = False) -> None:
        self.stream = stream
        self.name = "google.stream_generate_content" if stream else "google.generate_content"

    def read_request(self, body: Json) -> Ask:
        """See `Endpoint.read_request`."""
        model = bare_model(text_at(body, "model"))
        config = object_in(body, "generationConfig")
        weight = Weight(model)
        weight.tokens += _BASE
        contents = [*_contents(body.get("contents")), *_contents(any_at(body, "systemInstruction"))]
        for content in contents:
            _add_content(weight, content)
        _add_overheads(weight, body, config)
        server_tools = _server_tools(body, model)
        for kind in server_tools:
            weight.add_unseen(kind)
        cached = any_at(body, "cachedContent")
        if cached:
            weight.add_unseen("cached content")
        return Ask(
            model=model,
            stream=self.stream,
            input_tokens_most=weight.tokens,
            image_tokens_most=weight.image_tokens,
            audio_tokens_most=weight.audio_tokens,
            input_unseen=tuple(weight.unseen),
            input_rounds_most=_ROUNDS_MOST if server_tools else 1,
            output_limit=count_at(config, "maxOutputTokens") or count_at(config, "max_output_tokens"),
            choices=max(number_at(config, "candidateCount") or number_at(config, "candidate_count"), 1),
            tier=tier_of(any_at(body, "serviceTier")),
            server_tools=server_tools,
            modalities=_modalities(config),
        )

    def with_model(self, body: Json, model: str) -> dict[str, object]:
        """See `Endpoint.with_model`; the caller moves it into the path."""
        return {**body, "model": model}

    def with_output_limit(
        self, body: Json, tokens: int, *, model: str, host: str
    ) -> dict[str, object] | None:
        """See `Endpoint.with_output_limit`; a thinking budget counts towards the limit and is lowered with it."""
        del model, host
        if tokens < 1:
            return None
        name = "generation_config" if "generation_config" in body else "generationConfig"
        config = object_in(body, "generationConfig")
        key = "max_output_tokens" if "max_output_tokens" in config else "maxOutputTokens"
        limit = count_at(config, key)
        lowered: dict[str, object] = {**config, key: tokens if not limit else min(limit, tokens)}
        thinking_key = "thinking_config" if "thinking_config" in config else "thinkingConfig"
        thinking = object_in(config, "thinkingConfig")
        budget_key = "thinking_budget" if "thinking_budget" in thinking else "thinkingBudget"
        if (budget := count_at(thinking, budget_key)) is not None and budget >= tokens:
            # Thinking would leave nothing for the answer.
            lowered[thinking_key] = {**thinking, budget_key: tokens // 2}
        return {**body, name: lowered}

    def read_response(self, body: Json) -> Receipt:
        """See `Endpoint.read_response`."""
        return self.read_events((body,))

    def read_events(self, events: Iterable[Json]) -> Receipt:
        """See `Endpoint.read_events`; counts are of the whole answer so far, and the last of each kind holds."""
        usage: dict[str, object] = {}
        model: str | None = None
        finished = False
        queries: dict[str, None] = {}
        maps = 0
        for event in events:
            # Each event of a stream has all of it so far: asked for directly, as there may be thousands.
            found = event.get("usageMetadata") or event.get("usage_metadata")
            if is_mapping(found):
                usage |= found
            model = text_at(event, "modelVersion") or text_at(event, "model_version") or model
            if "promptFeedback" in event and object_in(event, "promptFeedback").get("blockReason"):
                finished = True
            for candidate in array_at(event, "candidates"):
                if is_mapping(candidate):
                    finished = finished or bool(
                        candidate.get("finishReason") or candidate.get("finish_reason")
                    )
                    if "groundingMetadata" in candidate or "grounding_metadata" in candidate:
                        queries |= dict.fromkeys(map(str, _queries(candidate)))
                        maps = maps or _has_maps(candidate)
        searches = len(queries)
        if searches and any((model or "").startswith(family) for family in _QUERIES_PER_FEE):
            searches = 1
        return Receipt(
            usage=_read_usage(usage, {SERVER_TOOL_UNITS["web_search"]: searches, "map_searches": maps}),
            model=None if model is None else bare_model(model),
            tier=tier_of(any_at(usage, "serviceTier"), any_at(usage, "trafficType")),
            finished=finished,
            server_tools={"web_search": searches} if searches else {},
        )

    def output_seen(self, events: Iterable[Json]) -> str:
        """See `Endpoint.output_seen`: texts, thoughts that are shown, calls of functions and code."""
        texts: list[str] = []
        for event in events:
            for candidate in objects_in(event, "candidates"):
                for part in objects_in(object_in(candidate, "content"), "parts"):
                    texts += texts_in({key: part[key] for key in part if key != "functionCall"}, _OUTPUT_KEYS)
                    call = object_in(part, "functionCall")
                    if call:
                        texts += [text_at(call, "name") or "", json.dumps(any_at(call, "args"), default=str)]
        return "".join(texts)

    def stop_response(self, body: Json, text: str) -> dict[str, object] | None:
        """See `Endpoint.stop_response`; None where JSON was asked for, as there is no other way to refuse."""
        if _asks_json(body):
            return None
        return {
            "candidates": [
                {"content": {"role": "model", "parts": [{"text": text}]}, "finishReason": "STOP", "index": 0}
            ],
            "usageMetadata": {"promptTokenCount": 0, "candidatesTokenCount": 0, "totalTokenCount": 0},
            "modelVersion": bare_model(text_at(body, "model")),
        }

    def stop_events(self, body: Json, text: str) -> list[dict[str, object]] | None:
        """See `Endpoint.stop_events`: one event."""
        response = self.stop_response(body, text)
        return None if response is None else [response]

    def encode_events(self, events: Iterable[Json]) -> bytes:
        """See `Endpoint.encode_events`; Google's events have no names and no end mark."""
        return b"".join(f"data: {json.dumps(event)}\r\n\r\n".encode() for event in events)


def _queries(candidate: Json) -> Sequence[object]:
    grounding = object_in(candidate, "groundingMetadata")
    return array_at(grounding, "webSearchQueries") or array_at(grounding, "web_search_queries")


def _has_maps(candidate: Json) -> int:
    """Return 1 where the answer is grounded in maps, whose fee is not known, so that its cost is an estimate."""
    chunks = objects_in(object_in(candidate, "groundingMetadata"), "groundingChunks")
    return int(any("maps" in chunk for chunk in chunks))


def _contents(given: object) -> list[Json]:
    """Return the turns in *given*: one or several contents, parts, or texts."""
    items = given if is_array(given) else [given]
    contents: list[Json] = []
    for item in items:
        if isinstance(item, str):
            contents.append({"parts": [{"text": item}]})
        elif is_mapping(item):
            contents.append(item if "parts" in item else {"parts": [item]})
    return contents


def _add_content(weight: Weight, content: Json) -> None:
    weight.tokens += _PER_TURN
    parts = content.get("parts")
    for part in parts if is_array(parts) else [parts]:
        if not is_mapping(part):
            weight.add(part)
            continue
        inline, file = object_in(part, "inlineData"), object_in(part, "fileData")
        if inline:
            add_inline(weight, inline)
        elif file:
            weight.add_unseen("file")
        else:
            weight.add({key: value for key, value in part.items() if key != "thought"})


def add_inline(weight: Weight, inline: Json) -> None:
    """Count what a part carries besides text: an image, audio, a document; a film is not seen."""
    media = (text_at(inline, "mimeType") or text_at(inline, "mime_type") or "").lower()
    data = inline.get("data")
    if media.startswith("image/"):
        weight.add_image()
    elif media.startswith("audio/"):
        most = audio_tokens_most(data) if isinstance(data, str) else None
        if most is None:
            weight.add_unseen("audio")
        else:
            weight.tokens += most
            weight.audio_tokens += most
    elif media.startswith("video/") or not isinstance(data, str):
        weight.add_unseen("video" if media.startswith("video/") else "file")
    else:
        most = document_tokens_most(data, media, weight.model)
        if most is None:
            weight.add_unseen("document")
        else:
            weight.tokens += most


def _add_overheads(weight: Weight, body: Json, config: Json) -> None:
    tools = array_at(body, "tools")
    if tools:
        declared = [
            one for tool in objects_in(body, "tools") for one in objects_in(tool, "functionDeclarations")
        ]
        weight.tokens += _TOOLS + _PER_TOOL * (len(tools) + len(declared))
        weight.add_schema(tools)
    for schema in (
        any_at(body, "toolConfig"),
        any_at(config, "responseSchema"),
        any_at(config, "responseJsonSchema"),
    ):
        if schema:
            weight.tokens += _TOOLS
            weight.add_schema(schema)


def _server_tools(body: Json, model: str) -> dict[str, int | None]:
    kinds: dict[str, int | None] = {}
    for tool in objects_in(body, "tools"):
        for key in tool:
            if key in _CLIENT_TOOLS:
                continue
            camel = _camel(key)
            kind = _TOOL_KINDS.get(camel, camel)
            once = kind == "web_search" and any(model.startswith(family) for family in _QUERIES_PER_FEE)
            kinds[kind] = 1 if once else None
    return kinds


def _camel(key: str) -> str:
    head, *rest = key.split("_")
    return head + "".join(word.capitalize() for word in rest)


def _modalities(config: Json) -> tuple[str, ...]:
    asked = array_at(config, "responseModalities") or array_at(config, "response_modalities")
    return tuple(item.lower() for item in asked if isinstance(item, str))


def _asks_json(body: Json) -> bool:
    media = any_at(object_in(body, "generationConfig"), "responseMimeType")
    return isinstance(media, str) and "json" in media


def _read_usage(usage: Json, uses: Mapping[str, int]) -> Usage | None:
    """
    Return the usage, or None where it states no count.

    Google leaves out what is zero.  What its tools read (`toolUsePromptTokenCount`) is input besides the prompt, and
    thoughts are output besides the candidates.  Details that do not add up are parts of what is stated, and the
    stated whole is billed; a total above all of them has what they leave out.
    """
    if not has_counts(usage):
        return None
    prompt, tools = _count(usage, "promptTokenCount"), _count(usage, "toolUsePromptTokenCount")
    into = counts_by_modality(any_at(usage, "promptTokensDetails"))
    tools_into = counts_by_modality(any_at(usage, "toolUsePromptTokensDetails"))
    cached = counts_by_modality(any_at(usage, "cacheTokensDetails"))
    out = counts_by_modality(
        any_at(usage, "candidatesTokensDetails") or any_at(usage, "responseTokensDetails")
    )
    thoughts = _count(usage, "thoughtsTokenCount")
    candidates = _count(usage, "candidatesTokenCount") or _count(usage, "responseTokenCount")
    sent = max(prompt, sum(into.values())) + max(tools, sum(tools_into.values()))
    read = max(_count(usage, "cachedContentTokenCount"), sum(cached.values()))
    answered = max(candidates, sum(out.values())) + thoughts
    answered = max(answered, _count(usage, "totalTokenCount") - sent) if sent else answered
    other: dict[str, int] = dict(uses)
    for kind in ("audio", "image", "video"):
        other[f"input_{kind}_tokens"] = into.get(kind, 0) + tools_into.get(kind, 0)
        other[f"cache_{kind}_read_tokens"] = cached.get(kind, 0)
        other[f"output_{kind}_tokens"] = out.get(kind, 0)
    return Usage(
        input_tokens=max(sent, read),
        cache_read_tokens=read,
        output_tokens=answered,
        reasoning_tokens=thoughts,
        other={name: count for name, count in other.items() if count},
    )


def _count(usage: Json, key: str) -> int:
    return number_at(usage, key) or number_at(usage, snake(key))
