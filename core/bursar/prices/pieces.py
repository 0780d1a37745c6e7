"""
Prices by the piece that genai-prices does not have: an image of a size and quality, a second of video.

A row holds from its date on; where genai-prices, an alias or the user has a price for the model, that one holds.
"""

from __future__ import annotations

import re
from datetime import date, datetime
from functools import cache
from typing import TYPE_CHECKING, Final, NamedTuple

from bursar.prices.price import Price
from bursar.prices.rates import compile_rates
from bursar.prices.timeline import Timeline

if TYPE_CHECKING:
    from collections.abc import Mapping


class PieceRow(NamedTuple):
    """
    What a model bills by the piece.

    Attributes:
        providers: Who sells it so.

        models: A pattern of the names it is meant for, whole.

        starts: The first day, in UTC, from which this is known to hold.

        usd: Dollars for one, by unit.

        source: Where it was read, and when.
    """

    providers: tuple[str, ...]
    models: str
    starts: date
    usd: Mapping[str, str]
    source: str


PIECES: Final = (
    PieceRow(
        ("openai",),
        r"dall-e-2",
        date(2022, 11, 3),
        {
            "output_images_256x256": "0.016",
            "output_images_512x512": "0.018",
            "output_images_1024x1024": "0.020",
        },
        'OpenAI, "Pricing": image models; as LiteLLM\'s price list repeats it, read 2026-11-25',
    ),
    PieceRow(
        ("openai", "azure"),
        r"dall-e-3(-3\.0)?",
        date(2023, 11, 6),
        {
            "output_images_1024x1024": "0.040",
            "output_images_1024x1792": "0.080",
            "output_images_hd_1024x1024": "0.080",
            "output_images_hd_1024x1792": "0.120",
        },
        'OpenAI, "Pricing": image models; as LiteLLM\'s price list repeats it, read 2026-11-25',
    ),
    PieceRow(
        ("openai", "azure"),
        r"sora-2(-20\d\d-\d\d-\d\d)?",
        date(2025, 10, 6),
        {"output_video_seconds_720x1280": "0.10"},
        'OpenAI, "Pricing": video; as price comparisons of October 2025 to May 2026 repeat it, read 2026-11-25',
    ),
    PieceRow(
        ("openai", "azure"),
        r"sora-2-pro(-20\d\d-\d\d-\d\d)?",
        date(2025, 10, 6),
        {"output_video_seconds_720x1280": "0.30", "output_video_seconds_1024x1792": "0.50"},
        'OpenAI, "Pricing": video; as price comparisons of October 2025 to May 2026 repeat it, read 2026-11-25',
    ),
)
"""Newer rows of the same model go after older ones."""


@cache
def price_by_piece(provider: str | None, model: str) -> Timeline | None:
    """Return what *model* bills by the piece at *provider* (None is its maker), or None."""
    rows = [
        row
        for row in PIECES
        if re.fullmatch(row.models, model.lower()) and (provider or row.providers[0]) in row.providers
    ]
    if not rows:
        return None

    def price_in(instant: datetime) -> Price | None:
        begun = [row for row in rows if row.starts <= instant.date()]
        return _price(provider, model, begun[-1]) if begun else None

    return Timeline(price_in, days=[row.starts for row in rows])


def _price(provider: str | None, model: str, row: PieceRow) -> Price:
    from fractions import Fraction

    seller = provider or row.providers[0]
    return Price(
        provider=seller,
        model=model,
        row=f"{seller}:{model}@{row.starts}",
        data_version="bursar",
        rates=compile_rates({unit: [(-1, Fraction(usd))] for unit, usd in row.usd.items()}),
        starts=row.starts,
    )
