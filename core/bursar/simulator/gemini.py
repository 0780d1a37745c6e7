"""Google's generateContent and its embeddings on the wire, as the Gemini API and Vertex AI speak them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bursar.simulator.errors import WireError
from bursar.simulator.openai_chat import whole_number
from bursar.simulator.prompts import Prompt, compact, mappings, part_of
from bursar.simulator.sse import Event, unnamed
from bursar.simulator.tokens import count_tokens

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from bursar.simulator.generation import Generation

_FINISH = {"stop": "STOP", "length": "MAX_TOKENS", "tool_calls": "STOP"}
_IMAGE = 258
"""Google: a picture that fits into one tile ("Understand and count tokens", ai.google.dev)."""

_DIMENSIONS = 3


def read(body: Mapping[str, Any]) -> Prompt:
    """
    Return the prompt of a request.

    Raises:
        WireError: There are no contents.
    """
    contents = mappings(body.get("contents") or [], "contents")
    if not contents:
        msg = "* GenerateContentRequest.contents: contents is not specified"
        raise WireError(400, msg)
    system = _texts(part_of(body, "systemInstruction"))
    messages = [_texts(content) for content in contents]
    tokens = sum(map(count_tokens, (system, *messages))) + sum(map(_unread, contents))
    if tools := body.get("tools"):
        tokens += count_tokens(compact(tools))
    if schema := part_of(part_of(body, "generationConfig"), "responseSchema"):
        tokens += count_tokens(compact(schema))
    return Prompt(system=system, messages=tuple(messages), tokens=tokens)


def output_limit(body: Mapping[str, Any]) -> int | None:
    """Return the most output tokens, or None."""
    return whole_number(part_of(body, "generationConfig"), "maxOutputTokens", least=1)


def candidates(body: Mapping[str, Any]) -> int:
    """Return how many answers are asked for."""
    return whole_number(part_of(body, "generationConfig"), "candidateCount", least=1) or 1


def response(generation: Generation, *, id_: str, with_usage: bool) -> dict[str, Any]:
    """Return the whole response."""
    calls: list[dict[str, Any]] = [
        {"functionCall": {"name": call.name, "args": dict(call.arguments)}} for call in generation.tool_calls
    ]
    texts = [{"text": generation.text}] if generation.text or not calls else []
    answers = [
        _candidate([*texts, *calls], index, _FINISH[generation.finish]) for index in range(generation.choices)
    ]
    return _shell(answers, generation, id_) | (_usage(generation) if with_usage else {})


def events(generation: Generation, *, id_: str, with_usage: bool) -> Iterator[Event]:
    """Yield the events; each states what was used so far, and the last all of it."""
    thought = generation.reasoning_tokens
    for text, tokens in generation.pieces():
        answers = [_candidate([{"text": text}], index) for index in range(generation.choices)]
        body = _shell(answers, generation, id_)
        if with_usage:
            body["usageMetadata"] = {"promptTokenCount": generation.usage.input_tokens}
        yield Event(unnamed(body), (thought + tokens) * generation.choices)
    calls: list[dict[str, Any]] = [
        {"functionCall": {"name": call.name, "args": dict(call.arguments)}} for call in generation.tool_calls
    ]
    empty: list[dict[str, Any]] = [{"text": ""}]
    parts = [*calls] or empty
    answers = [_candidate(parts, index, _FINISH[generation.finish]) for index in range(generation.choices)]
    last = _shell(answers, generation, id_) | (_usage(generation) if with_usage else {})
    yield Event(unnamed(last), generation.usage.output_tokens, ends=True)


def embedded(body: Mapping[str, Any]) -> list[str]:
    """Return the texts that are to be embedded."""
    requests = mappings(body.get("requests") or [dict(body)], "requests")
    return [_texts(part_of(request, "content")) for request in requests]


def embeddings(body: Mapping[str, Any], texts: list[str], *, tokens: int, with_usage: bool) -> dict[str, Any]:
    """Return the response of `embedContent` or `batchEmbedContents`."""
    vectors = [{"values": [0.5] * _DIMENSIONS} for _ in texts]
    whole: dict[str, Any] = {"embeddings": vectors} if "requests" in body else {"embedding": vectors[0]}
    return whole | ({"usageMetadata": {"promptTokenCount": tokens}} if with_usage else {})


def _shell(answers: list[dict[str, Any]], generation: Generation, id_: str) -> dict[str, Any]:
    return {"candidates": answers, "modelVersion": generation.model, "responseId": id_}


def _candidate(parts: list[dict[str, Any]], index: int, finish: str | None = None) -> dict[str, Any]:
    candidate: dict[str, Any] = {"content": {"role": "model", "parts": parts}, "index": index}
    return candidate | ({"finishReason": finish} if finish else {})


def _usage(generation: Generation) -> dict[str, Any]:
    usage = generation.usage
    stated: dict[str, Any] = {
        "promptTokenCount": usage.input_tokens,
        "candidatesTokenCount": usage.output_tokens - usage.reasoning_tokens,
        "totalTokenCount": usage.input_tokens + usage.output_tokens,
    }
    if usage.cache_read_tokens:
        stated["cachedContentTokenCount"] = usage.cache_read_tokens
    if usage.reasoning_tokens:
        stated["thoughtsTokenCount"] = usage.reasoning_tokens
    return {"usageMetadata": stated}


def _texts(content: Mapping[str, Any]) -> str:
    parts = mappings(content.get("parts") or [], "parts")
    return "\n".join(str(part["text"]) for part in parts if "text" in part)


def _unread(content: Mapping[str, Any]) -> int:
    """Return the tokens of what is no text."""
    parts = [part for part in mappings(content.get("parts") or [], "parts") if "text" not in part]
    pictures = [part for part in parts if "inlineData" in part]
    others = [part for part in parts if "inlineData" not in part]
    return _IMAGE * len(pictures) + sum(count_tokens(compact(part)) for part in others)
