"""What a call costs, and the most that it can."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from random import Random
from typing import Any

import pytest
from genai_prices.data import providers
from genai_prices.types import Provider
from hypothesis import given
from hypothesis import strategies as st

from bursar import prices
from bursar.errors import UnknownPrice
from bursar.prices import Price
from bursar.prices.catalogue import TIER_CONTEXTS, compile_model
from bursar.prices.units import billable_counts
from bursar.usage import Usage

AT = datetime(2026, 11, 23, 12, tzinfo=UTC)


def price(provider: str, model: str) -> Price:
    """The price on one fixed day."""
    return prices.price(provider, model, at=AT)


def nanousd(dollars: str) -> int:
    """Dollars in nano-dollars."""
    return int(Decimal(dollars).scaleb(9))


def test_cost_is_rounded_up_once() -> None:
    """One token at $0.15 a million is 150 nano-dollars; a fraction of one is billed as a whole one."""
    with prices.temporary():
        prices.add("acme-7b", input="0.0001", output="0.0001")
        tiny = prices.price("acme", "acme-7b")

    assert 150 == price("openai", "gpt-4o-mini").cost_nanousd(Usage(input_tokens=1))
    assert 1 == tiny.cost_nanousd(Usage(input_tokens=1))
    assert 1 == tiny.cost_nanousd(Usage(input_tokens=5, output_tokens=5))
    assert 2 == tiny.cost_nanousd(Usage(input_tokens=6, output_tokens=5))
    assert 0 == tiny.cost_nanousd(Usage())


def test_threshold_reprices_every_token() -> None:
    """At 200,000 input tokens the base rates hold; one token more doubles all of them."""
    sonnet = price("anthropic", "claude-sonnet-4-5")

    assert nanousd("0.615") == sonnet.cost_nanousd(Usage(input_tokens=200_000, output_tokens=1_000))
    assert nanousd("1.222506") == sonnet.cost_nanousd(Usage(input_tokens=200_001, output_tokens=1_000))


def test_cache_writes_for_an_hour_cost_more_than_for_five_minutes() -> None:
    """An hour's write costs twice the input, five minutes' one and a quarter, a read a tenth."""
    sonnet = price("anthropic", "claude-sonnet-4-5")
    usage = Usage(
        input_tokens=4_000, cache_read_tokens=1_000, cache_write_tokens=2_000, cache_write_1h_tokens=500
    )

    assert nanousd("0.003") + nanousd("0.0003") + nanousd("0.005625") + nanousd(
        "0.003"
    ) == sonnet.cost_nanousd(usage)


def test_tiers_cost_what_they_say_and_unknown_tiers_the_standard() -> None:
    """Batch is half, priority is dearer; `auto`, `default` and a tier nobody priced are standard."""
    gpt = price("openai", "gpt-4.1")
    usage = Usage(input_tokens=1_000_000)
    standard = gpt.cost_nanousd(usage)

    assert nanousd("2") == standard
    assert nanousd("1") == gpt.cost_nanousd(usage, tier="batch")
    assert nanousd("3.5") == gpt.cost_nanousd(usage, tier="priority")
    assert {standard} == {gpt.cost_nanousd(usage, tier=tier) for tier in ("auto", "default", "scale", "")}
    assert gpt.input_rate_most_pico(1, tier="priority") > gpt.input_rate_most_pico(1)


def test_tool_fees_and_audio_are_billed() -> None:
    """Web searches cost their fee; audio costs its own rate where it has one, and a cached part less."""
    assert nanousd("0.02") == price("anthropic", "claude-sonnet-4-5").cost_nanousd(
        Usage(other={"web_searches": 2})
    )
    flash = price("google", "gemini-2.5-flash")
    text = flash.cost_nanousd(Usage(input_tokens=1_000_000))
    audio = flash.cost_nanousd(Usage(input_tokens=1_000_000, other={"input_audio_tokens": 1_000_000}))

    assert nanousd("0.3") == text
    assert nanousd("1") == audio


def test_audio_seconds_have_a_floor_at_groq() -> None:
    """Groq bills ten seconds at least, and no seconds as none."""
    whisper = price("groq", "whisper-large-v3")
    one, ten, eleven = (
        whisper.cost_nanousd(Usage(other={"audio_seconds": seconds, "input_audio_seconds": seconds}))
        for seconds in (1, 10, 11)
    )

    assert one == ten < eleven
    assert 0 == whisper.cost_nanousd(Usage())


@pytest.mark.parametrize(
    ("stated", "billed"),
    [
        # Azure-hosted grok leaves what it read from the cache out of the prompt.
        ({"input_tokens": 10, "cache_read_tokens": 161}, {"input_tokens": 171, "cache_read_tokens": 161}),
        # Gemini's compatible endpoint leaves its reasoning out of the completion.
        ({"output_tokens": 12, "reasoning_tokens": 62}, {"output_tokens": 74, "reasoning_tokens": 62}),
        (
            {"input_tokens": 10, "cache_write_1h_tokens": 7},
            {"input_tokens": 10, "cache_write_tokens": 7, "cache_write_1h_tokens": 7},
        ),
        ({"input_tokens": -5, "output_tokens": 3}, {"output_tokens": 3}),
        ({"input_tokens": 10, "cache_read_tokens": -4}, {"input_tokens": 10}),
        ({"input_tokens": 10, "cache_write_1h_tokens": -4}, {"input_tokens": 10}),
    ],
)
def test_inconsistent_usage_is_billed_as_what_it_must_mean(
    stated: dict[str, int], billed: dict[str, int]
) -> None:
    """A part larger than its whole was left out of it, so both are billed; a negative count is nothing."""
    sonnet = price("anthropic", "claude-sonnet-4-5")

    kinds: list[dict[str, Any]] = [dict(billed), dict(stated)]
    expected, actual = (sonnet.cost_nanousd(Usage(**counts)) for counts in kinds)

    assert expected == actual


COUNT = st.integers(min_value=-10, max_value=300_000)
KINDS = (
    "input_audio_tokens",
    "cache_audio_read_tokens",
    "web_searches",
    "output_audio_tokens",
    "requests",
    "x",
)


@given(
    model=st.sampled_from(
        [
            ("openai", "gpt-4o"),
            ("anthropic", "claude-sonnet-4-5"),
            ("google", "gemini-2.5-flash"),
            ("openai", "gpt-realtime"),
            ("openai", "gpt-5.6-sol"),
        ]
    ),
    counts=st.lists(COUNT, min_size=6, max_size=6),
    other=st.dictionaries(st.sampled_from(KINDS), COUNT),
)
def test_any_usage_costs_at_least_each_part_that_was_stated(
    model: tuple[str, str], counts: list[int], other: dict[str, int]
) -> None:
    """However little the counts fit together, nothing is raised, and no stated part is billed for less."""
    one = price(*model)
    sent, read, written, written_1h, answered, reasoning = counts
    usage = Usage(
        input_tokens=sent,
        cache_read_tokens=read,
        cache_write_tokens=written,
        cache_write_1h_tokens=written_1h,
        output_tokens=answered,
        reasoning_tokens=reasoning,
        other=other,
    )
    parts = [
        Usage(input_tokens=read, cache_read_tokens=read),
        Usage(input_tokens=written, cache_write_tokens=written),
        Usage(output_tokens=answered),
        Usage(output_tokens=reasoning, reasoning_tokens=reasoning),
    ]

    assert one.cost_nanousd(usage) >= max(one.cost_nanousd(part) for part in parts)


def bound_nanousd(one: Price, usage: Usage, *, tier: str | None) -> int:
    """The most that a call with so many tokens can cost."""
    writes = None
    if usage.cache_write_tokens:
        writes = "1h" if usage.cache_write_1h_tokens else "5m"
    pico = (
        usage.input_tokens * one.input_rate_most_pico(usage.input_tokens, cache_write=writes, tier=tier)
        + usage.output_tokens * one.output_rate_most_pico(usage.input_tokens, tier=tier)
        + (one.fee_pico("requests", tier=tier) or 0)
    )
    return -(-pico // 1_000)


@pytest.mark.parametrize("provider", providers, ids=lambda provider: provider.id)
def test_no_cost_is_above_the_dearest_rates(provider: Provider) -> None:
    """For every model and tier, a call costs at most its tokens at the dearest rates that it can reach."""
    for model in provider.models:
        one = compile_model(provider, model).at(AT)
        random = Random(model.id)
        if one is None or "input_tokens" not in dict(one.rates.order):
            continue
        starts = [band.above for band in one.rates.bands]
        for most in {1, random.randrange(1, 2_000_000), *(start + 1 for start in starts)}:
            for tier in (None, *one.tier_rates):
                sent = random.randint(0, most)
                read, written = sorted(random.randint(0, sent) for _ in range(2))
                usage = Usage(
                    input_tokens=sent,
                    cache_read_tokens=read,
                    cache_write_tokens=written - read if random.random() < 0.7 else 0,
                    cache_write_1h_tokens=(written - read) // 2 if random.random() < 0.3 else 0,
                    output_tokens=random.randrange(10_000),
                )
                cost = one.cost_nanousd(usage, tier=tier)
                at_most = Usage(
                    input_tokens=most,
                    cache_write_tokens=usage.cache_write_tokens or usage.cache_write_1h_tokens,
                    cache_write_1h_tokens=usage.cache_write_1h_tokens,
                    output_tokens=usage.output_tokens,
                )

                assert cost <= bound_nanousd(one, at_most, tier=tier), (model.id, tier, usage)


def test_dearest_input_rate_covers_every_band_that_can_be_reached() -> None:
    """The rate above a threshold counts from one token above it, as it does in the cost."""
    sonnet = price("anthropic", "claude-sonnet-4-5")

    assert 3_000_000 == sonnet.input_rate_most_pico(200_000)
    assert 6_000_000 == sonnet.input_rate_most_pico(200_001)
    assert 15_000_000 == sonnet.output_rate_most_pico(200_000)
    assert 22_500_000 == sonnet.output_rate_most_pico(200_001)


def test_cache_writes_count_where_asked_for_or_automatic() -> None:
    """Anthropic writes where it is told to; OpenAI's newer models write by themselves, so it always counts."""
    sonnet = price("anthropic", "claude-sonnet-4-5")
    sol = price("openai", "gpt-5.6-sol")

    assert [3_000_000, 3_750_000, 6_000_000] == [
        sonnet.input_rate_most_pico(1, cache_write=time) for time in (None, "5m", "1h")
    ]
    written = Usage(input_tokens=1_000, cache_write_tokens=1_000)
    assert sol.cost_nanousd(written) == sol.input_rate_most_pico(1_000)
    assert sol.cost_nanousd(Usage(input_tokens=1_000)) < sol.input_rate_most_pico(1_000)


def test_modalities_have_their_own_dearest_rate() -> None:
    """Audio counts at the audio rate, text without it."""
    flash = price("google", "gemini-2.5-flash")

    assert 300_000 == flash.input_rate_most_pico(1)
    assert 1_000_000 == flash.input_rate_most_pico(1, modality="audio")
    assert flash.output_rate_most_pico(1) == flash.output_rate_most_pico(1, modality="audio")


def test_fees_are_known_or_none() -> None:
    """A fee that nobody published is None, not zero; there being none for a request is zero."""
    sonnet = price("anthropic", "claude-sonnet-4-5")

    assert 10_000_000_000 == sonnet.fee_pico("web_searches")
    assert sonnet.fee_pico("code_executions") is None
    assert 0 == sonnet.fee_pico("requests")


def test_every_kind_of_usage_is_counted() -> None:
    """No field of a usage is forgotten when it is counted for billing."""
    for kind in Usage._fields:
        stated: dict[str, Any] = {kind: {"web_searches": 3} if kind == "other" else 3}

        assert 3 in billable_counts(Usage(**stated)).values(), kind


def test_unpriced_counts_are_named() -> None:
    """What the price says nothing about is told, so that a cost is not taken for the whole."""
    sonnet = price("anthropic", "claude-sonnet-4-5")
    usage = Usage(
        input_tokens=9,
        reasoning_tokens=1,
        other={"web_searches": 1, "code_executions": 1, "image_generations": 2},
    )

    assert ("code_executions", "image_generations") == sonnet.unpriced(usage)
    assert () == sonnet.unpriced(Usage(input_tokens=9, output_tokens=3))


def test_model_not_priced_by_the_token_has_no_token_rate() -> None:
    """A model that is sold by the hour cannot be bounded by its tokens, and says so."""
    whisper = price("groq", "whisper-large-v3")

    with pytest.raises(
        UnknownPrice, match=r'"whisper-large-v3" .* no price for a token, only for audio_seconds'
    ):
        whisper.input_rate_most_pico(1)
    with pytest.raises(UnknownPrice, match="no price for a token"):
        whisper.output_rate_most_pico(1)


def test_embedding_has_no_output_rate() -> None:
    """A model that answers in vectors has an output rate of zero."""
    assert 0 == price("openai", "text-embedding-3-small").output_rate_most_pico(1)


def test_free_model_costs_nothing_and_says_so() -> None:
    """A model that genai-prices lists as free is a price of zero; one that lost its price is none."""
    free = price("openrouter", "openai/gpt-oss-20b:free")

    assert free.is_free
    assert 0 == free.cost_nanousd(Usage(input_tokens=1_000_000, output_tokens=1_000_000))
    assert 0 == free.input_rate_most_pico(1) == free.output_rate_most_pico(1) == free.fee_pico("web_searches")
    assert prices.find_price("cerebras", "qwen-3-coder-480b", at=AT) is None
    assert set(TIER_CONTEXTS) >= set(price("openai", "gpt-4.1").tier_rates)
