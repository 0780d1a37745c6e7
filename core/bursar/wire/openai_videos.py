"""OpenAI's videos: billed by the second of the length and size that were asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from bursar.prices import VIDEO_SIZES
from bursar.usage import Usage
from bursar.wire.ask import Ask
from bursar.wire.endpoint import Endpoint
from bursar.wire.fields import Json, count_in, text_at
from bursar.wire.receipt import Receipt

if TYPE_CHECKING:
    from collections.abc import Iterable

_DEFAULT_MODEL: Final = "sora-2"
_DEFAULT_SIZE: Final = "720x1280"
_DEFAULT_SECONDS: Final = 4
"""API reference, "Create video": what holds where the request says nothing."""


class OpenAIVideos(Endpoint):
    """
    `POST /videos`: a job that is answered at once and made later.

    It is billed in full when the provider takes it on; a video that fails afterwards is not billed by the provider, and
    stays in the ledger, as nobody tells.
    """

    name = "openai.videos"
    is_billed_whole = True

    def read_request(self, body: Json) -> Ask:
        """See `Endpoint.read_request`."""
        seconds = _seconds(body)
        return Ask(
            model=text_at(body, "model") or _DEFAULT_MODEL,
            input_tokens_most=0,
            generates=False,
            pieces={_unit(body): seconds or 0},
            unbounded=None if seconds is not None else "its seconds are no whole number",
        )

    def with_model(self, body: Json, model: str) -> dict[str, object]:
        """See `Endpoint.with_model`."""
        return {**body, "model": model}

    def with_output_limit(
        self, body: Json, tokens: int, *, model: str, host: str
    ) -> dict[str, object] | None:
        """Return None: a video has no tokens to limit."""
        del body, tokens, model, host
        return None

    def read_response(self, body: Json) -> Receipt:
        """See `Endpoint.read_response`; what is billed is what the request asked for."""
        return Receipt(model=text_at(body, "model"), finished=True)

    def read_events(self, events: Iterable[Json]) -> Receipt:
        """See `Endpoint.read_events`; videos do not stream."""
        seen = list(events)
        return self.read_response(seen[-1]) if seen else Receipt()

    def completed(self, request: Json, receipt: Receipt) -> Receipt:
        """See `Endpoint.completed`."""
        seconds = _seconds(request)
        return receipt if seconds is None else receipt._replace(usage=Usage(other={_unit(request): seconds}))


def _seconds(body: Json) -> int | None:
    asked = body.get("seconds")
    if asked is None:
        return _DEFAULT_SECONDS
    return count_in(str(asked))


def _unit(body: Json) -> str:
    size = text_at(body, "size") or _DEFAULT_SIZE
    turned = "x".join(sorted(size.split("x"), key=lambda side: (len(side), side)))
    return f"output_video_seconds_{turned}" if turned in VIDEO_SIZES else "output_video_seconds"
