"""OpenAI's legacy text completions, and the servers that speak the same format."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeGuard

from bursar.tokens import token_counter
from bursar.wire.ask import Ask
from bursar.wire.fields import Json, count_at, is_array, number_at, objects_at, text_at
from bursar.wire.openai_chat import OpenAIChat
from bursar.wire.openai_common import at_most
from bursar.wire.receipt import known_tier
from bursar.wire.weigh import Weight

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

# Servers of other models put a mark before each prompt.
_PER_PROMPT = 4


class OpenAICompletions(OpenAIChat):
    """`POST /completions`; usage and stream are those of chat completions, prompt and answer are plain text."""

    name = "openai.completions"

    def read_request(self, body: Json) -> Ask:
        """
        See `Endpoint.read_request`.

        Several prompts have an answer each, and of `best_of` answers all are billed, whatever is returned.  OpenAI
        stops at 16 tokens where the request sets no limit, but others do not: then the model's own holds.
        """
        model = text_at(body, "model") or ""
        weight = Weight(model)
        prompts = _prompts(body)
        for prompt in prompts:
            weight.tokens += _PER_PROMPT
            if _is_tokens(prompt):
                weight.tokens += len(prompt)
            else:
                weight.add(prompt)
        weight.add(body.get("suffix"))
        return Ask(
            model=model,
            stream=body.get("stream") is True,
            # Each answer that is asked for of one prompt reads it once in the usage.
            input_tokens_most=weight.tokens,
            output_limit=count_at(body, "max_tokens"),
            choices=_answers(body) * len(prompts),
            tier=known_tier(body.get("service_tier")),
        )

    def count_input_tokens(self, body: Json) -> int | None:
        """See `Endpoint.count_input_tokens`."""
        count = token_counter(text_at(body, "model") or "")
        if count is None or body.get("suffix"):
            return None
        total = 0
        for prompt in _prompts(body):
            tokens = len(prompt) if _is_tokens(prompt) else count(prompt) if isinstance(prompt, str) else None
            if tokens is None:
                return None
            total += tokens
        return total

    def with_model(self, body: Json, model: str) -> dict[str, object]:
        """See `Endpoint.with_model`."""
        return {**body, "model": model}

    def with_output_limit(
        self, body: Json, tokens: int, *, model: str, host: str
    ) -> dict[str, object] | None:
        """See `Endpoint.with_output_limit`."""
        del model, host
        return None if tokens < 1 else {**body, "max_tokens": at_most(body, "max_tokens", tokens)}

    def output_seen(self, events: Iterable[Json]) -> str:
        """See `Endpoint.output_seen`."""
        return "".join(
            text_at(choice, "text") or "" for event in events for choice in objects_at(event, "choices")
        )

    def stop_response(self, body: Json, text: str) -> dict[str, object] | None:
        """See `Endpoint.stop_response`; each prompt is answered so."""
        whole = super().stop_response({**body, "n": max(number_at(body, "n"), 1) * len(_prompts(body))}, text)
        return None if whole is None else self._plain(whole, text)

    def stop_events(self, body: Json, text: str) -> list[dict[str, object]] | None:
        """See `Endpoint.stop_events`; one event, as there is no role to open with."""
        whole = self.stop_response(body, text)
        return None if whole is None else [whole]

    @staticmethod
    def _plain(whole: dict[str, object], text: str) -> dict[str, object]:
        choices = [
            {"index": choice.get("index"), "text": text, "finish_reason": "stop", "logprobs": None}
            for choice in objects_at(whole, "choices")
        ]
        return {**whole, "object": "text_completion", "choices": choices}


class MistralFim(OpenAICompletions):
    """`POST /fim/completions`: what stands between two texts, asked for as a completion and answered as a chat."""

    name = "mistral.fim"

    def output_seen(self, events: Iterable[Json]) -> str:
        """See `Endpoint.output_seen`."""
        return OpenAIChat.output_seen(self, events)

    def stop_response(self, body: Json, text: str) -> dict[str, object] | None:
        """See `Endpoint.stop_response`."""
        return OpenAIChat.stop_response(self, body, text)

    def stop_events(self, body: Json, text: str) -> list[dict[str, object]] | None:
        """See `Endpoint.stop_events`."""
        return OpenAIChat.stop_events(self, body, text)


def _answers(body: Json) -> int:
    return max(number_at(body, "n"), number_at(body, "best_of"), 1)


def _prompts(body: Json) -> Sequence[object]:
    given = body.get("prompt")
    if not is_array(given) or _is_tokens(given):
        return (given,)
    return given or (None,)


def _is_tokens(item: object) -> TypeGuard[Sequence[int]]:
    return is_array(item) and bool(item) and isinstance(item[0], int)
