"""Compiled prices equal genai-prices' own arithmetic, for every model that it has."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from decimal import ROUND_CEILING, Decimal
from random import Random
from typing import TYPE_CHECKING, Any

import pytest
from genai_prices import Usage as TheirUsage
from genai_prices import calc_price
from genai_prices.data import providers
from genai_prices.data_units import unit_data

from bursar import prices
from bursar.prices.catalogue import TIER_CONTEXTS, compile_model
from bursar.prices.units import CALL_MILLISECONDS, UNITS
from bursar.usage import Usage

if TYPE_CHECKING:
    from collections.abc import Iterator

    from genai_prices.types import ModelInfo, ModelPrice, Provider

    from bursar.prices.timeline import Timeline

FIELDS = {
    "input_tokens": "input_tokens",
    "cache_read_tokens": "cache_read_tokens",
    "cache_write_tokens": "cache_write_tokens",
    "cache_write_1h_tokens": "cache_write_1h_tokens",
    "output_tokens": "output_tokens",
    "output_reasoning_tokens": "reasoning_tokens",
}


OWN = {"web_search_previews", CALL_MILLISECONDS} | {
    name for name in UNITS if name.startswith(("output_images", "output_video_seconds"))
}
"""Units that genai-prices does not have."""


def model_prices(model: ModelInfo) -> list[ModelPrice]:
    """Every set of prices that a model has, of any date, time or variant."""
    standard = [one.prices for one in model.prices] if isinstance(model.prices, list) else [model.prices]
    return standard + [variant.prices for variant in model.price_variants or ()]


def thresholds(model: ModelInfo) -> set[int]:
    """Every number of input tokens above which a model's prices change."""
    values: list[Any] = [value for one in model_prices(model) for value in one.__dict__.values()]
    return {tier.start for value in values for tier in getattr(value, "tiers", ())}


def priced_units(model: ModelInfo) -> list[str]:
    """The units that a model has any price for."""
    by_key = {unit.price_key: unit.name for unit in UNITS.values()}
    keys = {key for one in model_prices(model) for key, value in one.__dict__.items() if value is not None}
    return sorted(by_key[key] for key in keys if by_key[key] != "requests")


def consistent(alone: dict[str, int]) -> dict[str, int]:
    """Add to every unit what is counted for the units that are part of it."""
    return {
        whole.name: sum(count for name, count in alone.items() if UNITS[name].is_part_of(whole))
        for whole in UNITS.values()
        if whole.name != "requests" and whole.name not in OWN
    }


def counts(model: ModelInfo) -> Iterator[dict[str, int]]:
    """Consistent counts on both sides of each threshold, with all kinds that the model prices and some others."""
    random = Random(model.id)
    named = [name for name in FIELDS if name not in {"input_tokens", "output_tokens"}]
    totals = {0, 1, random.randrange(100_000), random.randrange(3_000_000)}
    totals |= {start + step for start in thresholds(model) for step in (-1, 0, 1, 1_000)}
    for total in sorted(total for total in totals if total >= 0):
        for kinds in (
            named,
            priced_units(model),
            random.sample(sorted(UNITS.keys() - {"requests"} - OWN), 12),
        ):
            alone = {"output_tokens": random.choice([0, 1, 999, random.randrange(200_000)])}
            left = total
            for name in sorted(set(kinds) - {"input_tokens"}):
                of_input = UNITS[name].is_part_of(UNITS["input_tokens"])
                count = random.choice([0, random.randrange(left // 2 + 1 if of_input else 50_000)])
                left -= count if of_input else 0
                alone[name] = alone.get(name, 0) + count
            yield consistent({**alone, "input_tokens": left})


def instants(timeline: Timeline) -> list[datetime]:
    """Both sides of every moment at which the prices change."""
    days = [datetime.combine(day, time(), UTC) for day in timeline.days] or [
        datetime(2026, 11, 23, tzinfo=UTC)
    ]
    edges = [day + timedelta(seconds=second) for day in days for second in timeline.seconds]
    return [edge + timedelta(seconds=step) for edge in edges for step in (-1, 0)]


def ours(stated: dict[str, int]) -> Usage:
    """The counts as a `Usage` of ours."""
    fields = {field: stated[name] for name, field in FIELDS.items()}
    return Usage(
        **fields, other={name: count for name, count in stated.items() if name not in FIELDS and count}
    )


def theirs_nanousd(
    provider: Provider, model: ModelInfo, stated: dict[str, int], at: datetime, context: dict[str, str] | None
) -> int:
    """What genai-prices says the counts cost, rounded up to the nano-dollar."""
    calculated = model.calc_price(
        TheirUsage(**stated), provider, genai_request_timestamp=at, price_context=context
    )
    return int(calculated.total_price.scaleb(9).to_integral_value(ROUND_CEILING))


@pytest.mark.parametrize("provider", providers, ids=lambda provider: provider.id)
def test_every_cost_equals_calc_price(provider: Provider) -> None:
    """Every model, date, hour, tier and side of a threshold costs what genai-prices says, rounded up once."""
    for model in provider.models:
        timeline = compile_model(provider, model)
        usages = [(stated, ours(stated)) for stated in counts(model)]
        for at in instants(timeline):
            price = timeline.at(at)
            for tier, context in ((None, None), *TIER_CONTEXTS.items()):
                if tier is not None and not model.price_variants:
                    continue
                for stated, usage in usages:
                    expected = theirs_nanousd(provider, model, stated, at, dict(context) if context else None)
                    actual = 0 if price is None else price.cost_nanousd(usage, tier=tier)

                    assert expected == actual, (model.id, at, tier, {k: v for k, v in stated.items() if v})


def test_every_model_without_price_is_unknown_or_declared_free() -> None:
    """A model is refused only where genai-prices has no rate for it, and free only where that is said."""
    unknown: set[str] = set()
    free: set[str] = set()
    for provider in providers:
        for model in provider.models:
            price = compile_model(provider, model).at(datetime(2026, 11, 23, tzinfo=UTC))
            if price is None:
                unknown.add(f"{provider.id}:{model.id}")
            elif price.is_free and not model.id.endswith(":free"):
                free.add(f"{provider.id}:{model.id}")

    assert {"cerebras:qwen-3-coder-480b", "openrouter:google/lyria-3-clip-preview"} <= unknown
    assert {
        "github-copilot:gpt-3.5-turbo",
        "github-copilot:gpt-4.1",
        "github-copilot:gpt-4o",
        "github-copilot:gpt-4o-mini",
        "openai:moderation",
    } >= free


def test_units_equal_those_of_genai_prices() -> None:
    """The generated units are the ones that genai-prices registers, dimension by dimension."""
    expected = {
        name: (unit.get("price_key", name), unit["per"], dict(unit["dimensions"]))
        for name, unit in unit_data.items()
    }
    actual = {unit.name: (unit.price_key, unit.per, dict(unit.dimensions)) for unit in UNITS.values()}
    for name in OWN:
        del actual[name]

    assert expected == actual


@pytest.mark.parametrize(
    ("provider", "model"),
    [
        ("azure", "gpt-4o"),
        ("azure", "gpt-35-turbo"),
        ("azure", "claude-sonnet-4-5"),
        ("google", "claude-opus-4-1"),
    ],
)
def test_fallback_provider_costs_what_calc_price_says(provider: str, model: str) -> None:
    """A provider that sells another's model charges that one's price, as genai-prices has it."""
    at = datetime(2026, 11, 23, tzinfo=UTC)
    theirs = calc_price(
        TheirUsage(input_tokens=10_000, cache_read_tokens=1_000, output_tokens=500),
        model,
        provider_id=provider,
        genai_request_timestamp=at,
    )
    price = prices.price(provider, model, at=at)
    usage = Usage(input_tokens=10_000, cache_read_tokens=1_000, output_tokens=500)

    assert theirs.total_price * 10**9 == price.cost_nanousd(usage)
    assert provider == price.provider


@pytest.mark.parametrize("tier", sorted(TIER_CONTEXTS))
def test_fallback_provider_has_no_service_tiers(tier: str) -> None:
    """genai-prices applies a maker's tiers at the maker only, so a tier at a fallback costs the standard rates."""
    at = datetime(2026, 11, 23, tzinfo=UTC)
    theirs = calc_price(
        TheirUsage(input_tokens=10_000, output_tokens=500),
        "gpt-4.1",
        provider_id="azure",
        genai_request_timestamp=at,
        price_context=dict(TIER_CONTEXTS[tier]),
    )
    ours_nanousd = prices.price("azure", "gpt-4.1", at=at).cost_nanousd(
        Usage(input_tokens=10_000, output_tokens=500), tier=tier
    )

    assert theirs.total_price * 10**9 == ours_nanousd


def test_price_changes_at_midnight_utc_of_its_start() -> None:
    """The last moment of a row and the first of its successor are one second apart, in whatever zone."""
    earlier = prices.price("openai", "gpt-4o", at=datetime.fromisoformat("2026-10-14T01:59:59+02:00"))
    later = prices.price("openai", "gpt-4o", at=datetime.fromisoformat("2026-10-14T02:00:00+02:00"))

    assert "openai:gpt-4o@2026-10-14" == later.row
    assert later.row != earlier.row


def test_naive_instant_is_utc() -> None:
    """An instant without a zone is read as UTC."""
    naive = datetime(2026, 11, 23, 1, 30)
    expected = prices.price("deepseek", "deepseek-v4-pro", at=naive.replace(tzinfo=UTC))

    assert expected is prices.price("deepseek", "deepseek-v4-pro", at=naive)


def test_hours_of_the_day_have_their_own_price() -> None:
    """DeepSeek's hours are told apart, and the row says which they are."""
    peak = prices.price("deepseek", "deepseek-v4-pro", at=datetime(2026, 11, 23, 1, tzinfo=UTC))
    usage = Usage(input_tokens=1_000_000)
    rest = prices.price("deepseek", "deepseek-v4-pro", at=datetime(2026, 11, 23, 4, tzinfo=UTC))

    assert (time(1), time(4)) == peak.hours
    assert Decimal("1.32") * 10**9 == peak.cost_nanousd(usage)
    assert rest.cost_nanousd(usage) < peak.cost_nanousd(usage)
