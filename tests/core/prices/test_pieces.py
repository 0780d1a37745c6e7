"""What is sold by the piece has dated rows of its own, below everything that the user or genai-prices says."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from bursar import prices
from bursar.bound import bound
from bursar.errors import UnmeteredEndpoint
from bursar.prices.pieces import PIECES, PieceRow
from bursar.prices.units import UNITS
from bursar.usage import Usage
from bursar.wire import Ask


@pytest.mark.parametrize("row", PIECES, ids=[row.models for row in PIECES])
def test_rows_are_dated_and_say_where_they_are_from(row: PieceRow) -> None:
    """Each row has units that are known, a first day, and a source with the day it was read."""
    assert row.usd.keys() <= UNITS.keys()
    assert row.starts.year >= 2022
    assert "read 20" in row.source


@pytest.mark.parametrize(
    ("model", "unit", "nanousd"),
    [
        ("dall-e-2", "output_images_256x256", 16_000_000),
        ("dall-e-3", "output_images_1024x1024", 40_000_000),
        ("DALL-E-3", "output_images_hd_1024x1792", 120_000_000),
        ("sora-2", "output_video_seconds_720x1280", 100_000_000),
        ("sora-2-pro-2025-10-06", "output_video_seconds_1024x1792", 500_000_000),
    ],
)
def test_pieces_cost_what_their_row_says(model: str, unit: str, nanousd: int) -> None:
    """A piece of a size and quality has its own rate."""
    price = prices.price("openai", model)

    assert 3 * nanousd == price.cost_nanousd(Usage(other={unit: 3}))
    assert () == price.unpriced(Usage(other={unit: 3}))
    assert "bursar" == price.data_version


def test_a_piece_without_a_rate_is_not_free() -> None:
    """A size that has no rate is unpriced, and a call that asks for it cannot be bounded."""
    price = prices.price("openai", "dall-e-2")
    ask = Ask(model="dall-e-2", input_tokens_most=0, generates=False, pieces={"output_images_1024x1792": 1})

    assert ("output_images_1024x1792",) == price.unpriced(Usage(other={"output_images_1024x1792": 1}))
    with pytest.raises(UnmeteredEndpoint, match="no rate"):
        bound(ask, provider="openai", model="dall-e-2", min_output_tokens=1)


def test_rows_begin_on_their_day() -> None:
    """Before its first day, a model is unknown."""
    assert prices.find_price("openai", "sora-2", at=datetime(2025, 10, 5, 23, tzinfo=UTC)) is None
    assert prices.find_price("openai", "sora-2", at=datetime(2025, 10, 6, tzinfo=UTC)) is not None


def test_what_the_user_says_comes_first() -> None:
    """An override holds above a row."""
    with prices.temporary():
        prices.add("dall-e-3", input=1, output=2)

        assert "override" == prices.price("openai", "dall-e-3").data_version


def test_others_do_not_sell_it() -> None:
    """A row is for whoever sells the model so, and for no one else."""
    assert prices.find_price("groq", "dall-e-3") is None
    assert prices.price("azure", "dall-e-3").provider == "azure"
