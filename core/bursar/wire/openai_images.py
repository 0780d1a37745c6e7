"""
OpenAI's images: made, edited and varied.

Newer models bill tokens and state them; older ones, and those of others, bill each image by its size and quality, and
state nothing, so that what the request asked for is what was used.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, TypeVar

from bursar.prices import IMAGE_SIZES
from bursar.prices.lookup import resolve_alias
from bursar.usage import Usage
from bursar.wire.ask import Ask
from bursar.wire.endpoint import Endpoint
from bursar.wire.fields import Json, array_at, is_array, is_mapping, number_at, object_at, text_at
from bursar.wire.receipt import Receipt, known_tier, stated_nanousd
from bursar.wire.uploads import asks_stream, uploads_at
from bursar.wire.weigh import text_tokens_most

if TYPE_CHECKING:
    from collections.abc import Iterable

_BASE: Final = 64
_TOKENS_PER_INPUT: Final = (
    # Guide "Image generation": 65 and 129 for each tile of 512 within a shortest side of 512, and 6 144 more with high
    # input fidelity; an aspect ratio of 3 to 1 has 3 tiles.
    (r"gpt-image-1(?!\d)|chatgpt-image-latest", 65 + 3 * 129 + 6_144),
    # "Always high fidelity" at up to 3 840 x 2 160, in patches of 32 as its text models count them.
    (r"gpt-image-", 16_384),
)
_TOKENS_PER_INPUT_UNKNOWN: Final = 49_152
_TOKENS_PER_OUTPUT: Final = (
    # Guide "Image generation", "Cost and latency": the largest size at each quality.
    (r"gpt-image-1(?!\d)|chatgpt-image-latest", {"low": 408, "medium": 1_584, "high": 6_240}),
    # 12 329 tokens were billed for 3 584 x 2 048 at "high" (OpenAI's community, April 2026); its limit is 8.3 million
    # pixels, 13 % more.
    (r"gpt-image-2(?!\.)", {"low": 2_048, "medium": 8_192, "high": 16_384}),
)
_TOKENS_PER_PARTIAL: Final = 100
"""Guide "Image generation", "Partial images": each is billed as that many more."""
_TEXT_MOST: Final = 2_048
"""What `gpt-image-1.5` and later write down before they draw, which is billed as text; no limit is published."""
_IMAGES_KEY: Final = "output_images"

T = TypeVar("T")


class OpenAIImages(Endpoint):
    """`POST /images/generations`, `/images/edits` and `/images/variations`."""

    is_billed_whole = True

    def __init__(self, name: str, *, default_model: str = "") -> None:
        """
        Make one of the three.

        Args:
            default_model: What the provider takes where the request names none; empty where that has changed with
                the years, so that such a request cannot be bounded.
        """
        self.name = name
        self._default_model = default_model

    def read_request(self, body: Json) -> Ask:
        """
        See `Endpoint.read_request`.

        Input images count at their ceiling, output at the most tokens of the quality asked for, in any size; where a
        model's tokens for an image are not published, at its declared output limit, else at a million.
        """
        model = text_at(body, "model") or self._default_model
        meant = _meant(model)
        images = max(number_at(body, "n"), 1)
        inputs = sum(_inputs(body, key) for key in ("image", "images", "mask", "markup"))
        input_images = inputs * _first(_TOKENS_PER_INPUT, meant, _TOKENS_PER_INPUT_UNKNOWN)
        tokens = self._output_tokens(body, meant)
        return Ask(
            model=model,
            stream=asks_stream(body),
            input_tokens_most=_BASE + text_tokens_most(text_at(body, "prompt") or "") + input_images,
            image_tokens_most=input_images,
            output_limit=tokens,
            choices=images,
            pieces={_piece(body): images},
            modalities=("image",),
            tier=known_tier(body.get("service_tier")),
            unbounded=_unbounded(body)
            if model
            else "it names no model, and which one the provider takes is not known",
        )

    @staticmethod
    def _output_tokens(body: Json, model: str) -> int | None:
        """Return the most output tokens of one image, or None where they are not known."""
        found = _first(_TOKENS_PER_OUTPUT, model, None)
        if found is None:
            return None
        quality = text_at(body, "quality") or "auto"
        most = found["high"] if quality == "auto" else found.get(quality)
        return (
            None
            if most is None
            else most + _TEXT_MOST + _TOKENS_PER_PARTIAL * number_at(body, "partial_images")
        )

    def with_model(self, body: Json, model: str) -> dict[str, object]:
        """See `Endpoint.with_model`."""
        return {**body, "model": model}

    def with_output_limit(
        self, body: Json, tokens: int, *, model: str, host: str
    ) -> dict[str, object] | None:
        """Return None: an image cannot be cut short."""
        del body, tokens, model, host
        return None

    def read_response(self, body: Json) -> Receipt:
        """See `Endpoint.read_response`; the images are counted, for models that state no usage."""
        usage = object_at(body, "usage")
        read = _read_usage(usage)
        made = {_IMAGES_KEY: len(array_at(body, "data"))}
        return Receipt(
            usage=Usage(other=made) if read is None else read._replace(other={**read.other, **made}),
            model=text_at(body, "model"),
            stated_nanousd=stated_nanousd(usage),
            finished=True,
        )

    def read_events(self, events: Iterable[Json]) -> Receipt:
        """See `Endpoint.read_events`; each image ends with its own usage, and they add up."""
        total: Usage | None = None
        made = 0
        for event in events:
            read = _read_usage(object_at(event, "usage"))
            if read is None:
                continue
            made += 1
            total = read if total is None else _sum(total, read)
        if total is None:
            return Receipt()
        return Receipt(usage=total._replace(other={**total.other, _IMAGES_KEY: made}), finished=True)

    def completed(self, request: Json, receipt: Receipt) -> Receipt:
        """See `Endpoint.completed`; an image is of the size and quality that the request asked for."""
        usage = receipt.usage
        if usage is None:
            return receipt
        made = usage.other.get(_IMAGES_KEY, 0)
        rest = {name: count for name, count in usage.other.items() if name != _IMAGES_KEY}
        if usage.total_tokens:
            # In a stream of several, the caller may have left before the last.
            is_whole = made >= max(number_at(request, "n"), 1) or not asks_stream(request)
            return receipt._replace(usage=usage._replace(other=rest), finished=receipt.finished and is_whole)
        if _bills_tokens(text_at(request, "model") or self._default_model) or not made:
            return receipt._replace(usage=None)
        return receipt._replace(usage=Usage(other={_piece(request): made}))


def _inputs(body: Json, key: str) -> int:
    value = body.get(key)
    if uploads := uploads_at(body, key):
        return len(uploads)
    if is_array(value):
        return len(value)
    return int(isinstance(value, str) or is_mapping(value))


def _piece(body: Json) -> str:
    """Return the unit of an image of the size and quality that *body* asks for, either way up."""
    size = text_at(body, "size") or "1024x1024"
    size = "1024x1024" if size == "auto" else size
    turned = "x".join(sorted(size.split("x"), key=lambda side: (len(side), side)))
    if turned not in IMAGE_SIZES:
        return _IMAGES_KEY
    quality = "hd_" if text_at(body, "quality") == "hd" else ""
    return f"{_IMAGES_KEY}_{quality}{turned}"


def _meant(model: str) -> str:
    """Return the model that a deployment of any name stands for, where that was declared."""
    return resolve_alias(None, model)[1]


def _bills_tokens(model: str) -> bool:
    return re.match(r"(?:.*/)?(?:chat)?gpt-", _meant(model)) is not None


def _unbounded(body: Json) -> str | None:
    kind = text_at(body, "output_format")
    if kind == "svg" or body.get("svg"):
        return "another model writes the SVG, and how much is not limited"
    return "how many tokens the frames of a GIF are is not published" if kind == "gif" else None


def _first(table: Iterable[tuple[str, T]], model: str, otherwise: T) -> T:
    bare = model.rsplit("/", 1)[-1]
    return next((value for pattern, value in table if re.match(pattern, bare)), otherwise)


def _read_usage(usage: Json) -> Usage | None:
    if "input_tokens" not in usage or "output_tokens" not in usage:
        return None
    into, out = object_at(usage, "input_tokens_details"), object_at(usage, "output_tokens_details")
    output = number_at(usage, "output_tokens")
    # Without details all output is image, as it was before models wrote text too.
    drawn = number_at(out, "image_tokens") if out else output
    other = {
        "input_image_tokens": number_at(into, "image_tokens"),
        "output_image_tokens": drawn,
    }
    return Usage(
        input_tokens=number_at(usage, "input_tokens"),
        cache_read_tokens=number_at(into, "cached_tokens"),
        output_tokens=output,
        other={name: count for name, count in other.items() if count},
    )


def _sum(one: Usage, other: Usage) -> Usage:
    kinds = {*one.other, *other.other}
    return Usage(
        input_tokens=one.input_tokens + other.input_tokens,
        cache_read_tokens=one.cache_read_tokens + other.cache_read_tokens,
        output_tokens=one.output_tokens + other.output_tokens,
        other={kind: one.other.get(kind, 0) + other.other.get(kind, 0) for kind in kinds},
    )
