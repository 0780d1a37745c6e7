"""Rates of our own yield to those of genai-prices, and each is needed as long as it is there."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from genai_prices.data import providers

from bursar import prices
from bursar.bound import bound
from bursar.prices.additions import ADDITIONS, TIER_ADDITIONS, Addition, TierAddition
from bursar.prices.catalogue import compile_model
from bursar.prices.units import UNITS
from bursar.wire import GEMINI_GENERATE


def models_of(provider: str, pattern: str) -> list[str]:
    """Return the models of *provider* whose name *pattern* means."""
    owner = next(one for one in providers if one.id == provider)
    return [model.id for model in owner.models if re.match(pattern, model.id)]


@pytest.mark.parametrize("addition", ADDITIONS, ids=lambda one: f"{one.models} {one.starts}")
def test_an_addition_is_still_needed(addition: Addition) -> None:
    """It names a model and units that there are, and at least one of those models has no such rate of its own."""
    owner = next(one for one in providers if one.id == addition.provider)
    named = [model for model in owner.models if re.match(addition.models, model.id)]
    lacking = [
        model
        for model in named
        if (price := compile_model(owner, model).at(None)) is not None
        and not addition.usd.keys() <= price.rates.bands[0].rates.keys()
    ]

    assert addition.usd.keys() <= UNITS.keys()
    assert lacking
    assert addition.source


@pytest.mark.parametrize("addition", TIER_ADDITIONS, ids=lambda one: f"{one.provider} {one.tier}")
def test_a_tier_is_a_share_of_standard(addition: TierAddition) -> None:
    """From its first day on, a token of the tier costs its share of the standard rate."""
    model = models_of(addition.provider, addition.models)[0]
    at = datetime(2026, 11, 23, tzinfo=UTC)
    price = prices.price(addition.provider, model, at=at)
    standard, tier = (price.input_rate_most_pico(1, tier=name) for name in (None, addition.tier))

    assert 100 * tier == addition.percent * standard
    assert addition.is_range is not price.is_certain(addition.tier)


def test_a_rate_of_genai_prices_holds() -> None:
    """What genai-prices has is not replaced: the search of a model that has a price for it."""
    at = datetime(2026, 11, 23, tzinfo=UTC)

    assert Decimal("0.01") == Decimal(
        prices.price("openai", "gpt-4o", at=at).fee_pico("web_searches") or 0
    ).scaleb(-12)


def test_a_tier_begins_on_its_day() -> None:
    """The day before, it cost what standard did."""
    before, after = (
        prices.price("aws", "amazon.nova-pro-v1:0", at=datetime.combine(day, datetime.min.time(), UTC))
        for day in (date(2025, 11, 17), date(2025, 11, 18))
    )

    assert "flex" not in before.tier_rates
    assert "flex" in after.tier_rates


def test_an_answer_in_pictures_is_bounded_as_pictures() -> None:
    """A token of a picture costs twelve times one of text, unless the request asks for text alone."""
    model = "gemini-2.5-flash-image"
    bounds = [
        bound(
            GEMINI_GENERATE.read_request(
                {
                    "model": model,
                    "generationConfig": {"maxOutputTokens": 1_000_000, "responseModalities": kinds},
                }
            ),
            provider="google",
            model=model,
            min_output_tokens=1,
        ).shrink.output_picousd
        for kinds in ([], ["TEXT", "IMAGE"], ["TEXT"])
    ]

    assert [30_000_000, 30_000_000, 2_500_000] == bounds


def test_a_film_that_is_not_in_the_body_is_bounded_as_what_is_dearest() -> None:
    """What is only named may be audio, which costs more than text."""
    asks = [
        GEMINI_GENERATE.read_request({"model": "gemini-2.5-flash", "contents": {"parts": [part]}})
        for part in ({"fileData": {"fileUri": "gs://x"}}, {"text": "hello"})
    ]
    film, text = (
        bound(ask, provider="google", model="gemini-2.5-flash", min_output_tokens=1) for ask in asks
    )

    assert film.shrink.fixed_picousd == film.input_tokens * 1_000_000
    assert text.shrink.fixed_picousd == text.input_tokens * 300_000
