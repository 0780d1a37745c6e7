"""A discount multiplies what is computed, exactly, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from bursar import prices
from bursar.billing import bill
from bursar.bound import bound
from bursar.prices.catalogue import find_in_catalogue
from bursar.usage import Usage
from bursar.wire import Receipt
from bursar.wire.ask import Ask

MILLION = Usage(input_tokens=1_000_000)
AT = datetime(2026, 11, 23, 12, tzinfo=UTC)


@pytest.fixture(autouse=True)
def declarations() -> Iterator[None]:
    """Every declaration of a test ends with it."""
    with prices.temporary():
        yield


def cost(provider: str | None, model: str, usage: Usage = MILLION, at: datetime = AT) -> Decimal:
    """What a usage costs, in dollars."""
    return Decimal(prices.price(provider, model, at=at).cost_nanousd(usage)).scaleb(-9)


def test_discount_is_the_providers_alone() -> None:
    """OpenAI's models at OpenAI cost four fifths, and the same models at Azure what they cost."""
    prices.discount(provider="openai", factor=0.8)

    assert (2, Decimal("2.5")) == (cost("openai", "gpt-4o"), cost("azure", "gpt-4o"))
    assert (2, 3) == (cost(None, "gpt-4o"), cost("anthropic", "claude-sonnet-4-6"))


def test_discount_for_a_model_comes_before_one_for_all() -> None:
    """By the name that is asked for, or the price data's; a factor of one exempts."""
    prices.discount(provider="openai", factor="0.8")
    prices.discount(provider="OpenAI", model="GPT-4o", factor=Decimal("0.5"))
    prices.discount(provider="openai", model="gpt-4o-mini", factor=1)

    assert Decimal("1.25") == cost("openai", "gpt-4o") == cost("openai", "openai/gpt-4o-2024-08-06")
    assert Decimal("0.15") == cost("openai", "gpt-4o-mini")
    assert prices.price("openai", "gpt-4o-mini").factor is None


def test_discount_begins_on_its_day_and_the_later_one_succeeds() -> None:
    """Contracts are renewed: what is asked for at an instant is what held then."""
    prices.discount(provider="openai", factor=0.8, since="2026-12-01")
    prices.discount(provider="openai", factor=0.6, since="2027-01-01")
    days = [
        datetime(2026, 11, 30, tzinfo=UTC),
        datetime(2026, 12, 1, tzinfo=UTC),
        datetime(2027, 1, 1, tzinfo=UTC),
    ]

    assert [Decimal("2.5"), 2, Decimal("1.5")] == [cost("openai", "gpt-4o", at=day) for day in days]


def test_discount_keeps_hours_thresholds_tiers_and_every_kind() -> None:
    """Each rate of each moment is scaled, and the cost rounded up once."""
    at_night, by_day = datetime(2026, 11, 23, 0, tzinfo=UTC), datetime(2026, 11, 23, 2, tzinfo=UTC)
    listed = {at: prices.price("deepseek", "deepseek-v4-pro", at=at) for at in (at_night, by_day)}
    long, batch = prices.price("anthropic", "claude-sonnet-4-5"), prices.price("openai", "gpt-4o")
    usages = [
        Usage(
            input_tokens=250_000,
            cache_read_tokens=7,
            cache_write_tokens=5,
            output_tokens=3,
            reasoning_tokens=1,
        ),
        Usage(input_tokens=1, output_tokens=1),
        Usage(input_tokens=9, other={"web_searches": 3}),
    ]
    for provider in ("deepseek", "anthropic", "openai"):
        prices.discount(provider=provider, factor="0.37")
    for usage in usages:
        pairs = [
            *((prices.price("deepseek", "deepseek-v4-pro", at=at), listed[at], None) for at in listed),
            (prices.price("anthropic", "claude-sonnet-4-5"), long, None),
            (prices.price("openai", "gpt-4o"), batch, "batch"),
        ]
        for lowered, whole, tier in pairs:
            exact = Decimal("0.37") * whole.cost_nanousd(usage, tier=tier)

            assert 0 <= lowered.cost_nanousd(usage, tier=tier) - exact + Decimal("0.37") < 2

    assert listed[at_night] != listed[by_day]


def test_bound_and_cost_are_lowered_alike() -> None:
    """What is held for a call is what it can cost under the contract."""
    ask = Ask(model="gpt-4o", input_tokens_most=1_000, output_limit=1_000)

    def most() -> int:
        return bound(ask, provider="openai", model="gpt-4o", min_output_tokens=1).amounts.nanousd

    before = most()
    prices.discount(provider="openai", factor=0.8)

    assert before * 4 == most() * 5
    assert most() >= prices.price("openai", "gpt-4o").cost_nanousd(
        Usage(input_tokens=1_000, output_tokens=1_000)
    )


def test_stated_cost_is_never_lowered_and_still_held_for() -> None:
    """Where a provider says what a call cost, that is what it cost; its bound is the list price's."""
    ask = Ask(model="openai/gpt-4o", input_tokens_most=1_000, output_limit=1_000)

    def most() -> int:
        return bound(ask, provider="openrouter", model="openai/gpt-4o", min_output_tokens=1).amounts.nanousd

    before = most()
    prices.discount(provider="openrouter", factor=0.5)
    stated = bill(Receipt(usage=MILLION, stated_nanousd=42), provider="openrouter", model="openai/gpt-4o")
    computed = bill(Receipt(usage=MILLION), provider="openrouter", model="openai/gpt-4o")

    assert (42, "stated", "") == (stated.nanousd, stated.source, stated.price)
    assert (1_250_000_000, "priced") == (computed.nanousd, computed.source)
    assert before == most()


def test_discount_for_the_name_asked_for_holds_for_what_served() -> None:
    """A deployment's contract is not lost when the answer names the snapshot; nor is that of the snapshot."""
    prices.alias("prod-chat", "gpt-4o")
    prices.discount(provider="azure", model="prod-chat", factor=0.5)
    prices.discount(provider="azure", model="gpt-4o-mini-2024-07-18", factor=0.1)
    chat = Receipt(usage=MILLION, model="gpt-4o-2024-08-06")
    mini = Receipt(usage=MILLION, model="gpt-4o-mini-2024-07-18")

    assert 1_250_000_000 == bill(chat, provider="azure", model="prod-chat").nanousd
    assert 2_500_000_000 == bill(chat, provider="azure", model="gpt-4o").nanousd
    assert 15_000_000 == bill(mini, provider="azure", model="gpt-4o-mini").nanousd


def test_discount_is_in_the_provenance() -> None:
    """The ledger says what a cost was computed from: row, tier, discount, version."""
    prices.discount(provider="openai", factor=0.80)
    row = prices.price("openai", "gpt-4o").row
    receipt = Receipt(usage=MILLION, model="gpt-4o-2024-08-06", tier="batch")

    assert (
        f"{row} [batch] x0.8 ({prices.data_version()})"
        == bill(receipt, provider="openai", model="gpt-4o").price
    )


def test_discount_applies_to_declared_prices_but_not_to_free_ones() -> None:
    """What is computed is lowered, whoever wrote the row."""
    prices.add("acme-7b", provider="acme", input=1, output=1)
    prices.free("acme-free", provider="acme")
    prices.discount(provider="acme", factor=0.5)

    assert (Decimal("0.5"), 0) == (cost("acme", "acme-7b"), cost("acme", "acme-free"))
    assert prices.price("acme", "acme-free").factor is None


def test_discounted_rates_equal_the_list_prices_scaled_for_every_model() -> None:
    """For a thousand usages, the discounted cost is the list cost times the factor, rounded up once."""
    prices.discount(provider="openai", factor="0.9")
    for model in ("gpt-4o", "gpt-4o-audio-preview", "gpt-5", "text-embedding-3-small", "o3", "gpt-4.1-mini"):
        found = find_in_catalogue("openai", model)
        assert found is not None
        listed, lowered = found.at(AT), prices.price("openai", model, at=AT)
        assert listed is not None
        for count in range(0, 100_000, 733):
            usage = Usage(input_tokens=count * 10, output_tokens=count, other={"input_audio_tokens": count})

            assert listed.cost_nanousd(usage) * 9 <= lowered.cost_nanousd(usage) * 10 + 9
            assert lowered.cost_nanousd(usage) * 10 <= listed.cost_nanousd(usage) * 9 + 10


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"factor": 0}, ValueError, "above 0"),
        ({"factor": -0.5}, ValueError, "above 0"),
        ({"factor": 80}, ValueError, "20% off is 0.8"),
        ({"factor": "20%"}, ValueError, "'20%'"),
        ({"factor": float("nan")}, ValueError, "above 0"),
        ({"factor": True}, TypeError, "not bool"),
        ({"provider": ""}, ValueError, "provider must have a name"),
        ({"model": " "}, ValueError, "model must have a name"),
        ({"since": "soon"}, ValueError, "'soon'"),
    ],
)
def test_bad_discount_is_refused(arguments: dict[str, Any], error: type[Exception], words: str) -> None:
    """A factor that cannot be meant is refused, and nothing is declared."""
    stated: dict[str, Any] = {"provider": "openai", "factor": 0.8, **arguments}
    with pytest.raises(error, match=words):
        prices.discount(**stated)

    assert Decimal("2.5") == cost("openai", "gpt-4o")
