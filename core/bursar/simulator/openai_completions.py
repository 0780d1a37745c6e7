"""OpenAI's legacy text completions on the wire."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bursar.simulator.openai_chat import usage_body, whole_number
from bursar.simulator.prompts import Prompt, embedding_inputs, part_of
from bursar.simulator.sse import Event, unnamed

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from bursar.simulator.generation import Generation
    from bursar.simulator.script import Request

_LIMIT_USUAL = 16


def output_limit(body: Mapping[str, Any]) -> int:
    """Return the most output tokens of one answer; 16 where the request does not say."""
    limit = whole_number(body, "max_tokens", least=0)
    return _LIMIT_USUAL if limit is None else limit


def read(body: Mapping[str, Any]) -> Prompt:
    """Return the prompts, counted."""
    inputs = embedding_inputs(body.get("prompt"))
    return Prompt(messages=tuple(text for text, _ in inputs), tokens=sum(tokens for _, tokens in inputs))


def answers(body: Mapping[str, Any]) -> int:
    """Return how many answers are generated, and billed, for each prompt."""
    asked = [whole_number(body, name, least=1) or 1 for name in ("n", "best_of")]
    return max(asked) * len(embedding_inputs(body.get("prompt")))


def completion(generation: Generation, *, id_: str, created: int) -> dict[str, Any]:
    """Return the whole response."""
    return {
        **_head(generation, id_, created),
        "choices": [
            {"index": index, "text": generation.text, "logprobs": None, "finish_reason": generation.finish}
            for index in range(generation.choices)
        ],
        "usage": usage_body(generation),
    }


def events(
    request: Request, generation: Generation, *, id_: str, created: int, with_usage: bool
) -> Iterator[Event]:
    """Yield the chunks; the usage comes in one of its own, and only where the request asks for it."""
    head = _head(generation, id_, created)
    before = 0
    for text, tokens in generation.pieces():
        for index in range(generation.choices):
            done = before * generation.choices + (tokens - before) * (index + 1)
            choice = {"index": index, "text": text, "logprobs": None, "finish_reason": None}
            yield Event(unnamed({**head, "choices": [choice]}), done)
        before = tokens
    total = generation.usage.output_tokens
    for index in range(generation.choices):
        choice = {"index": index, "text": "", "logprobs": None, "finish_reason": generation.finish}
        yield Event(unnamed({**head, "choices": [choice]}), total, ends=index == generation.choices - 1)
    if part_of(request.body, "stream_options").get("include_usage") and with_usage:
        yield Event(unnamed({**head, "choices": [], "usage": usage_body(generation)}), total, ends=True)
    yield Event(b"data: [DONE]\n\n", total, ends=True)


def _head(generation: Generation, id_: str, created: int) -> dict[str, Any]:
    return {"id": id_, "object": "text_completion", "created": created, "model": generation.model}
