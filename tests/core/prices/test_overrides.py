"""What the user declares stands above what genai-prices says."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest

from bursar import prices
from bursar.billing import bill
from bursar.usage import Usage
from bursar.wire import Receipt

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


def test_added_price_bills_every_kind() -> None:
    """Input, cached, written, output, reasoning and each request have the price that was declared."""
    prices.add(
        "acme-7b",
        input="$1",
        output=Decimal(2),
        cached_input="0.10",
        cache_write=1.25,
        reasoning=3,
        request="0.005",
    )
    usage = Usage(
        input_tokens=1_000_000,
        cache_read_tokens=400_000,
        cache_write_tokens=200_000,
        output_tokens=1_000_000,
        reasoning_tokens=500_000,
    )

    assert Decimal("0.4") + Decimal("0.04") + Decimal("0.25") + 1 + Decimal("1.5") + Decimal("0.005") == cost(
        "acme", "acme-7b", usage
    )
    added = prices.price("acme", "ACME-7b")
    assert ("acme", "acme-7b", "override", "override:acme-7b") == (
        added.provider,
        added.model,
        added.data_version,
        added.row,
    )


def test_every_rarer_kind_has_the_price_that_was_declared() -> None:
    """An hour's cache write, audio and images in and out, and each use of a tool."""
    prices.add(
        "acme-7b",
        input=1,
        output=2,
        cache_write=4,
        cache_write_1h=8,
        audio=16,
        audio_output=32,
        image=64,
        image_output=128,
        fees={"web_searches": "$0.01", "code_executions": "0.03"},
    )
    usage = Usage(
        input_tokens=1_000_000,
        cache_write_tokens=300_000,
        cache_write_1h_tokens=100_000,
        output_tokens=1_000_000,
        other={
            "input_audio_tokens": 100_000,
            "input_image_tokens": 100_000,
            "output_audio_tokens": 100_000,
            "output_image_tokens": 100_000,
            "web_searches": 3,
            "code_executions": 1,
        },
    )
    sent = Decimal("0.5") + 4 * Decimal("0.2") + 8 * Decimal("0.1") + (16 + 64) * Decimal("0.1")
    answered = 2 * Decimal("0.8") + (32 + 128) * Decimal("0.1")

    assert sent + answered + Decimal("0.06") == cost("acme", "acme-7b", usage)


def test_price_by_the_second_counts_milliseconds() -> None:
    """Tokens cost nothing then, and a request may have a fee besides."""
    prices.add("llama-local", per_second="$0.0006", request="0.001", longest_s=600)
    price = prices.price("acme", "llama-local")

    assert (True, 600) == (price.is_by_the_second, price.longest_s)
    assert 1_000_000 + 1_234 * 600 == price.cost_nanousd(
        Usage(input_tokens=5, output_tokens=7, other={"call_milliseconds": 1_234})
    )
    assert 0 == price.input_rate_most_pico(1_000)


def test_free_by_name_needs_no_amounts() -> None:
    """`free=True` says all; zero without it is refused elsewhere."""
    prices.add("llama-local", free=True, context=8_192)
    local = prices.price(None, "llama-local")

    assert (True, 8_192, 0) == (local.is_free, local.context_window, local.cost_nanousd(MILLION))


def test_declared_price_holds_for_the_snapshot_that_served() -> None:
    """The answer names `gpt-4o-2024-08-06`; who declared a price for `gpt-4o` meant that call."""
    prices.add("gpt-4o", input=7, output=7)
    receipt = Receipt(usage=MILLION, model="gpt-4o-2024-08-06", finished=True)

    assert 7 * 10**9 == bill(receipt, provider="openai", model="gpt-4o").nanousd
    prices.add("gpt-4o-2024-08-06", input=8, output=8)
    assert 8 * 10**9 == bill(receipt, provider="openai", model="gpt-4o").nanousd


@pytest.mark.parametrize(
    ("provider", "name", "model"),
    [
        (
            "aws",
            "arn:aws:bedrock:eu-west-1:123456789012:application-inference-profile/a1b2",
            "anthropic.claude-haiku-4-5-20251001-v1:0",
        ),
        ("openai", "ft:gpt-4.1-mini-2025-04-14:acme::abc123", "gpt-4.1-mini"),
        ("azure", "prod-chat", "gpt-4o"),
    ],
)
def test_alias_stands_for_what_no_price_data_can_know(provider: str, name: str, model: str) -> None:
    """Application profiles, fine-tuned models and deployments have names that their owner knows alone."""
    assert prices.find_price(provider, name) is None
    prices.alias(name, model)

    assert prices.price(provider, model) == prices.price(provider, name)


def test_parts_without_a_price_cost_what_their_whole_costs() -> None:
    """Cached input is input, and reasoning is output, unless they are declared."""
    prices.add("acme-7b", input=1, output=2)
    usage = Usage(
        input_tokens=1_000_000, cache_read_tokens=900_000, output_tokens=1_000_000, reasoning_tokens=900_000
    )

    assert 3 == cost("acme", "acme-7b", usage)


def test_price_may_be_finer_than_a_pico_dollar() -> None:
    """A third of a pico-dollar a token stays exact until the end."""
    prices.add("acme-7b", input="1", output="1", per=3_000_000_000_000)

    assert 1 == prices.price("acme", "acme-7b").cost_nanousd(Usage(input_tokens=3_000))
    assert 2 == prices.price("acme", "acme-7b").cost_nanousd(Usage(input_tokens=3_001))


def test_override_beats_genai_prices_and_ends_when_removed() -> None:
    """The declared price holds from the next call on, and the data's again after its removal."""
    before = cost("openai", "gpt-4o")
    prices.add("gpt-4o", input=1, output=1)
    declared = cost("openai", "gpt-4o")
    prices.remove("gpt-4o")

    assert (Decimal("2.5"), 1, Decimal("2.5")) == (before, declared, cost("openai", "gpt-4o"))


def test_override_for_one_provider_leaves_the_others() -> None:
    """A price at a provider is that provider's only, under any of its names, and beats one for everybody."""
    prices.add("gpt-4o", provider="azure_openai", input=7, output=7)

    assert (7, Decimal("2.5")) == (cost("azure", "gpt-4o"), cost("openai", "gpt-4o"))
    assert 7 == cost("openai", "azure/gpt-4o")
    prices.add("gpt-4o", input=9, output=9)
    assert (7, 9) == (cost("azure", "gpt-4o"), cost("openai", "openai/gpt-4o"))


def test_override_since_a_day_succeeds_what_was_before() -> None:
    """Until its first day the earlier price holds: the data's, or the one declared before."""
    prices.add("gpt-4o", input=1, output=1, since="2027-01-01")
    prices.add("gpt-4o", input=3, output=3, since=date(2027, 3, 1))
    days = [
        datetime(2026, 12, 31, 23, 59, tzinfo=UTC),
        *(datetime(2027, m, 1, tzinfo=UTC) for m in (1, 2, 3)),
    ]

    assert [Decimal("2.5"), 1, 1, 3] == [cost("openai", "gpt-4o", at=day) for day in days]
    prices.add("gpt-4o", input=2, output=2, since=datetime(2027, 1, 1, 5, tzinfo=UTC))

    assert [Decimal("2.5"), 2, 2, 3] == [cost("openai", "gpt-4o", at=day) for day in days]


def test_override_since_keeps_the_hours_before_it() -> None:
    """A model with hours of its own keeps them until the declared price begins."""
    prices.add("deepseek-v4-pro", input=9, output=9, since="2027-01-01")
    hours = [datetime(2026, 11, 23, hour, tzinfo=UTC) for hour in (0, 1, 4)]
    before = [cost("deepseek", "deepseek-v4-pro", at=at) for at in hours]

    assert before[0] == before[2] < before[1] == Decimal("1.32")
    assert 9 == cost("deepseek", "deepseek-v4-pro", at=datetime(2027, 1, 1, 1, tzinfo=UTC))


def test_unknown_model_is_unknown_until_its_declared_day() -> None:
    """A price that begins later is none before."""
    prices.add("acme-7b", input=1, output=1, since="2027-01-01")

    assert prices.find_price("acme", "acme-7b", at=AT) is None
    assert prices.find_price("acme", "acme-7b", at=datetime(2027, 1, 1, tzinfo=UTC)) is not None


def test_declared_free_model_costs_nothing() -> None:
    """A local model is free because somebody said so."""
    prices.free("llama-local", context=8_192)
    local = prices.price(None, "llama-local")

    assert (True, 8_192, 0) == (local.is_free, local.context_window, local.cost_nanousd(MILLION))


def test_alias_has_the_price_and_the_ceiling_of_what_it_stands_for() -> None:
    """An Azure deployment is its model, with or without the prefix, and through other aliases."""
    prices.alias("prod-chat", "gpt-4o")
    prices.alias("chat", "prod-chat")

    assert {Decimal("2.5")} == {cost("azure", name) for name in ("prod-chat", "azure/prod-chat", "CHAT")}
    assert ("azure", "gpt-4o") == (
        prices.price("azure", "chat").provider,
        prices.price("azure", "chat").model,
    )
    assert 16_384 == prices.output_ceiling("azure", "chat")


def test_alias_may_name_whose_price_is_meant() -> None:
    """A gateway's own name can stand for another provider's model."""
    prices.alias("fast", "claude-haiku-4-5", provider="anthropic")

    assert "anthropic" == prices.price("gateway", "fast").provider
    assert 64_000 == prices.output_ceiling("gateway", "fast")


def test_aliases_in_a_circle_find_nothing() -> None:
    """Two names that stand for each other have no price, and end."""
    prices.alias("a", "b")
    prices.alias("b", "a")

    assert prices.find_price("acme", "a") is None
    assert prices.output_ceiling("acme", "a") is None


def test_declared_output_limit_is_the_ceiling() -> None:
    """What the user says of a model's limit comes before the table, through an alias, too."""
    prices.add("acme-7b", input=1, output=1, output_limit=2_048)
    prices.alias("deployed", "acme-7b")

    assert (2_048, 2_048) == (
        prices.output_ceiling("acme", "acme-7b"),
        prices.output_ceiling(None, "deployed"),
    )


def test_temporary_declarations_end_with_their_block() -> None:
    """What was declared in the block is gone after it, what was declared before stays, and errors change nothing."""
    prices.add("before", input=1, output=1)
    block = contextlib.ExitStack()
    block.enter_context(prices.temporary())
    prices.add("inside", input=1, output=1)
    prices.remove("before")
    with pytest.raises(RuntimeError), block:
        raise RuntimeError

    assert prices.find_price(None, "before") is not None
    assert prices.find_price(None, "inside") is None


def test_removing_what_was_not_declared_is_an_error() -> None:
    """There is nothing to remove but what was declared."""
    with pytest.raises(LookupError, match=r'nothing was declared for "gpt-4o" at provider "openai"'):
        prices.remove("gpt-4o", provider="openai")


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"input": -1}, ValueError, 'input price of "acme-7b" must not be negative'),
        ({"input": float("nan")}, ValueError, "must be finite"),
        ({"output": "inf"}, ValueError, "output price"),
        ({"output": "cheap"}, ValueError, "'cheap' is not an amount of dollars"),
        ({"input": None}, ValueError, "needs an input price"),
        ({"input": True}, TypeError, "not bool"),
        ({"reasoning": []}, TypeError, "reasoning price"),
        ({"per": 0}, ValueError, "per must be at least 1"),
        ({"per": 1.5}, TypeError, "per must be a whole number"),
        ({"context": -1}, ValueError, "context must be at least 1"),
        ({"output_limit": 0}, ValueError, "output_limit must be at least 1"),
        ({"since": "soon"}, ValueError, "'soon'"),
        ({"since": 2027}, TypeError, "since must be a date"),
        ({"input": 0, "output": 0}, ValueError, r'bursar\.prices\.free\("acme-7b"\)'),
        ({"free": True}, ValueError, "cannot be free and have a price"),
        ({"provider": " "}, ValueError, "provider must have a name"),
        ({"output": None}, ValueError, "needs an input price and an output price"),
        ({"cache_write_1h": -1}, ValueError, "cache_write_1h price"),
        ({"fees": {"web_search": 1}}, ValueError, r"fees: 'web_search' is nothing .* web_searches"),
        ({"fees": {"web_searches": -1}}, ValueError, r"fees\.web_searches price"),
        ({"per_second": 1}, ValueError, "by the second and one by the token"),
        ({"longest_s": 60}, ValueError, "has no per_second"),
        ({"inptu": 1}, TypeError, "no option inptu; there are audio, "),
        ({"free": "yes"}, TypeError, "free must be true or false"),
    ],
)
def test_bad_declaration_is_refused_with_its_reason(
    arguments: dict[str, Any], error: type[Exception], words: str
) -> None:
    """A price that cannot be meant is refused, and nothing is declared."""
    stated: dict[str, Any] = {"input": 1, "output": 2, **arguments}
    with pytest.raises(error, match=words):
        prices.add("acme-7b", **stated)

    assert prices.find_price("acme", "acme-7b") is None


@pytest.mark.parametrize(("name", "model"), [("", "gpt-4o"), ("x", " "), ("x", "X")])
def test_bad_alias_is_refused(name: str, model: str) -> None:
    """An alias needs two names that differ."""
    with pytest.raises(ValueError, match="name"):
        prices.alias(name, model)


def test_threads_see_all_of_a_declaration_or_nothing() -> None:
    """While others look up, every price found is one of the two that were declared, and the last one stays."""
    seen: set[Decimal] = set()
    stop = threading.Event()

    def look() -> None:
        while not stop.is_set():
            seen.add(cost("acme", "acme-7b"))

    prices.add("acme-7b", input=1, output=1)
    threads = [threading.Thread(target=look) for _ in range(4)]
    for thread in threads:
        thread.start()
    for turn in range(300):
        prices.add("acme-7b", input=1 + turn % 2, output=1)
        expected = 1 + turn % 2

        assert expected == cost("acme", "acme-7b")
    stop.set()
    for thread in threads:
        thread.join()

    assert seen <= {Decimal(1), Decimal(2)}
