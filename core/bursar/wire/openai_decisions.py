"""OpenAI's decisions: questions about one input, answered in probabilities."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from bursar.usage import Usage
from bursar.wire.ask import Ask
from bursar.wire.endpoint import Endpoint
from bursar.wire.fields import Json, array_at, count_at, number_at, object_at, text_at
from bursar.wire.receipt import Receipt
from bursar.wire.weigh import Weight

if TYPE_CHECKING:
    from collections.abc import Iterable

_PER_QUESTION: Final = 1_024
"""What the provider puts around a question is not published: a figure on the high side."""


class OpenAIDecisions(Endpoint):
    """
    `POST /decisions`; only input is billed, at rates of its own.

    Whether the input is billed once or for every question is not published, so that it is held for every one; what is
    settled is the usage that the answer states.
    """

    name = "openai.decisions"
    billed_as = MappingProxyType({"openai": "openai-decisions"})

    def read_request(self, body: Json) -> Ask:
        """See `Endpoint.read_request`."""
        weight = Weight(text_at(body, "model") or "")
        questions = array_at(body, "questions")
        weight.add(body.get("input"))
        weight.add_schema(list(questions))
        many = max(len(questions), 1)
        return Ask(
            model=weight.model,
            input_tokens_most=(weight.tokens + _PER_QUESTION) * many,
            image_tokens_most=weight.image_tokens * many,
            input_unseen=tuple(weight.unseen),
            output_limit=0,
            generates=False,
        )

    def with_model(self, body: Json, model: str) -> dict[str, object]:
        """See `Endpoint.with_model`."""
        return {**body, "model": model}

    def with_output_limit(
        self, body: Json, tokens: int, *, model: str, host: str
    ) -> dict[str, object] | None:
        """Return None: there is no output to limit."""
        del body, tokens, model, host
        return None

    def read_response(self, body: Json) -> Receipt:
        """See `Endpoint.read_response`."""
        usage = object_at(body, "usage")
        sent = count_at(usage, "input_tokens")
        if sent is None:
            return Receipt(model=text_at(body, "model"), finished=True)
        into = object_at(usage, "input_tokens_details")
        return Receipt(
            usage=Usage(
                input_tokens=sent,
                cache_read_tokens=number_at(into, "cached_tokens"),
                cache_write_tokens=number_at(into, "cache_write_tokens"),
            ),
            model=text_at(body, "model"),
            finished=True,
        )

    def read_events(self, events: Iterable[Json]) -> Receipt:
        """See `Endpoint.read_events`; decisions do not stream."""
        seen = list(events)
        return self.read_response(seen[-1]) if seen else Receipt()
