"""Google's embeddings: `embedContent` and `batchEmbedContents` on the Gemini API, `predict` on Vertex AI."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from bursar.usage import Usage
from bursar.wire.ask import Ask
from bursar.wire.endpoint import Endpoint
from bursar.wire.fields import Json, count_at, is_array, is_mapping, number_at, object_at, objects_at, text_at
from bursar.wire.gemini import add_inline
from bursar.wire.google_common import any_at, bare_model, counts_by_modality, object_in, objects_in, snake
from bursar.wire.receipt import Receipt
from bursar.wire.weigh import Weight

if TYPE_CHECKING:
    from collections.abc import Iterable

_PER_TEXT: Final = 4
_PER_TASK: Final = 32
"""A task type puts an instruction before the text."""


class GeminiEmbeddings(Endpoint):
    """`POST …/models/{model}:embedContent`, `:batchEmbedContents` and `:predict` of a text embedding model."""

    name = "google.embed_content"
    is_model_in_path = True

    def read_request(self, body: Json) -> Ask:
        """See `Endpoint.read_request`; a prediction of anything but an embedding has no bound."""
        requests = objects_at(body, "requests") or [body]
        model = text_at(body, "model") or text_at(requests[0], "model")
        weight = Weight(bare_model(model))
        for request in requests:
            _add_content(weight, request.get("content"))
            for content in objects_in(request, "contents"):
                _add_content(weight, content)
            weight.add(request.get("title") or "")
        instances = objects_at(body, "instances")
        for instance in instances:
            weight.tokens += _PER_TEXT + _PER_TASK
            weight.add([instance.get("content") or "", instance.get("title") or ""])
        others = any(set(one) - {"content", "title", "task_type", "taskType"} for one in instances)
        return Ask(
            model=weight.model,
            input_tokens_most=weight.tokens,
            image_tokens_most=weight.image_tokens,
            audio_tokens_most=weight.audio_tokens,
            input_unseen=tuple(weight.unseen),
            output_limit=0,
            generates=False,
            unbounded="this prediction is not of a text embedding" if others else None,
        )

    def with_model(self, body: Json, model: str) -> dict[str, object]:
        """See `Endpoint.with_model`; vectors of two models cannot be compared."""
        return {**body, "model": model}

    def with_output_limit(
        self, body: Json, tokens: int, *, model: str, host: str
    ) -> dict[str, object] | None:
        """Return a copy of *body* as it is: there is no output to limit."""
        del tokens, model, host
        return dict(body)

    def read_response(self, body: Json) -> Receipt:
        """
        See `Endpoint.read_response`.

        Vertex counts the tokens of each text (`statistics`), newer models of the Gemini API state `usageMetadata`,
        older ones state nothing.
        """
        usage = object_in(body, "usageMetadata")
        stated = count_at(usage, "promptTokenCount")
        stated = count_at(usage, snake("promptTokenCount")) if stated is None else stated
        details = counts_by_modality(
            any_at(usage, "promptTokensDetails") or any_at(usage, "promptTokenDetails")
        )
        counted = [
            count for one in _embeddings(body) if (count := _count(object_at(one, "statistics"))) is not None
        ]
        if stated is None and not counted and not details:
            return Receipt(finished=True)
        other = {f"input_{kind}_tokens": count for kind, count in details.items() if kind != "text" and count}
        tokens = max(stated or 0, sum(counted), sum(details.values()))
        return Receipt(usage=Usage(input_tokens=tokens, other=other), finished=True)

    def read_events(self, events: Iterable[Json]) -> Receipt:
        """See `Endpoint.read_events`; embeddings do not stream, so the last event is the response."""
        seen = list(events)
        return self.read_response(seen[-1]) if seen else Receipt()


def _add_content(weight: Weight, content: object) -> None:
    if content is None:
        return
    weight.tokens += _PER_TEXT + _PER_TASK
    if not is_mapping(content):
        weight.add(content)
        return
    parts = content.get("parts")
    for part in parts if is_array(parts) else [parts]:
        if not is_mapping(part):
            weight.add(part or "")
        elif inline := object_in(part, "inlineData"):
            add_inline(weight, inline)
        elif object_in(part, "fileData"):
            weight.add_unseen("file")
        else:
            weight.add(part)


def _embeddings(body: Json) -> list[Json]:
    """Return what holds a vector, in any of the three shapes."""
    found = [object_at(one, "embeddings") for one in objects_at(body, "predictions")]
    return [*found, *objects_at(body, "embeddings"), object_at(body, "embedding")]


def _count(statistics: Json) -> int | None:
    count = count_at(statistics, "token_count")
    return number_at(statistics, "tokenCount") or None if count is None else count
