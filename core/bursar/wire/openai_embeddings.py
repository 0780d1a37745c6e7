"""OpenAI embeddings, and the providers that speak the same format."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeGuard

from bursar.tokens import token_counter
from bursar.usage import Usage
from bursar.wire.ask import Ask
from bursar.wire.endpoint import Endpoint
from bursar.wire.fields import Json, first_count, is_array, object_at, text_at
from bursar.wire.receipt import Receipt, known_tier, stated_nanousd
from bursar.wire.weigh import Weight

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

# Models of others put a mark before and after each text.
_PER_TEXT: Final = 4


class OpenAIEmbeddings(Endpoint):
    """`POST /embeddings`; it generates nothing, so that only the input is billed."""

    name = "openai.embeddings"

    def read_request(self, body: Json) -> Ask:
        """See `Endpoint.read_request`."""
        model = text_at(body, "model") or ""
        weight = Weight(model)
        for item in _inputs(body):
            weight.tokens += _PER_TEXT
            if _is_tokens(item):
                weight.tokens += len(item)
            else:
                weight.add(item)
        return Ask(
            model=model,
            input_tokens_most=weight.tokens,
            image_tokens_most=weight.image_tokens,
            input_unseen=tuple(weight.unseen),
            output_limit=0,
            generates=False,
            tier=known_tier(body.get("service_tier")),
        )

    def count_input_tokens(self, body: Json) -> int | None:
        """See `Endpoint.count_input_tokens`; exact for texts and for token ids."""
        count = token_counter(text_at(body, "model") or "")
        if count is None:
            return None
        total = 0
        for item in _inputs(body):
            tokens = count(item) if isinstance(item, str) else len(item) if _is_tokens(item) else None
            if tokens is None:
                return None
            total += tokens
        return total

    def with_model(self, body: Json, model: str) -> dict[str, object]:
        """See `Endpoint.with_model`; mind that vectors of two models cannot be compared."""
        return {**body, "model": model}

    def with_output_limit(
        self, body: Json, tokens: int, *, model: str, host: str
    ) -> dict[str, object] | None:
        """Return a copy of *body* as it is: there is no output to limit."""
        del tokens, model, host
        return dict(body)

    def read_response(self, body: Json) -> Receipt:
        """See `Endpoint.read_response`."""
        usage = object_at(body, "usage")
        # Voyage states a total alone.
        tokens = first_count(usage, "prompt_tokens", "total_tokens")
        return Receipt(
            usage=None if tokens is None else Usage(input_tokens=tokens),
            model=text_at(body, "model"),
            stated_nanousd=stated_nanousd(usage),
            finished=True,
        )

    def read_events(self, events: Iterable[Json]) -> Receipt:
        """See `Endpoint.read_events`; embeddings do not stream, so the last event is the response."""
        seen = list(events)
        return self.read_response(seen[-1]) if seen else Receipt()


def _inputs(body: Json) -> Sequence[object]:
    # Voyage's multimodal models take `inputs`, of texts and pictures.
    given = body.get("input") or body.get("inputs")
    if not is_array(given) or _is_tokens(given):
        return (given,)
    return given


def _is_tokens(item: object) -> TypeGuard[Sequence[int]]:
    return is_array(item) and bool(item) and isinstance(item[0], int)
