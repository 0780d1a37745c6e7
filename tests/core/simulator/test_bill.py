"""The bill: what genai-prices says, once for each request, and for aborted streams what was generated."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import ROUND_CEILING, Decimal
from typing import TYPE_CHECKING

import genai_prices
import pytest

from bursar.prices import output_ceiling
from bursar.simulator import Answer
from bursar.simulator.generation import Habits
from bursar.simulator.generation import output_ceiling as simulated_ceiling
from bursar.usage import Usage

if TYPE_CHECKING:
    from tests.core.simulator.conftest import Stage, Start

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)


def listed_nanousd(model: str, provider: str, context: dict[str, str] | None = None, **counts: int) -> int:
    """Return what genai-prices says, rounded up to the nano-dollar."""
    price = genai_prices.calc_price(
        genai_prices.Usage(**counts),
        model,
        provider_id=provider,
        genai_request_timestamp=NOW,
        price_context=context,
    )
    return int((price.total_price * 10**9).to_integral_value(ROUND_CEILING))


def test_openai_bill_is_what_genai_prices_says(start: Start) -> None:
    """Input, cached input and output, each at its own rate."""
    answer = Answer(input_tokens=2000, cached_tokens=1536, output_tokens=77)
    stage = start(script={"gpt-4o-mini": answer}, clock=lambda: NOW)
    stage.chat(model="gpt-4o-mini")
    expected = listed_nanousd(
        "gpt-4o-mini", "openai", input_tokens=2000, cache_read_tokens=1536, output_tokens=77
    )

    # 464 at $0.15, 1,536 at $0.075 and 77 at $0.60 a million.
    assert expected == 69_600 + 115_200 + 46_200
    assert expected == stage.sim.bill.total_nanousd
    assert stage.sim.bill.total == Decimal("0.000231")


def test_anthropic_bill_knows_both_cache_writes(start: Start) -> None:
    """Five-minute and one-hour writes have their own rates."""
    answer = Answer(
        input_tokens=10_000,
        cached_tokens=4000,
        cache_write_tokens=5000,
        cache_write_1h_tokens=2000,
        output_tokens=10,
    )
    stage = start(script={"claude-sonnet-4-6": answer}, clock=lambda: NOW)
    stage.message()
    expected = listed_nanousd(
        "claude-sonnet-4-6",
        "anthropic",
        input_tokens=10_000,
        cache_read_tokens=4000,
        cache_write_tokens=5000,
        cache_write_1h_tokens=2000,
        output_tokens=10,
    )

    # 1,000 at $3, 4,000 at $0.30, 3,000 at $3.75, 2,000 at $6 and 10 at $15 a million.
    assert expected == 3_000_000 + 1_200_000 + 11_250_000 + 12_000_000 + 150_000
    assert expected == stage.sim.bill.total_nanousd


def test_service_tier_is_billed_at_its_own_rates(start: Start) -> None:
    """A flex request costs what flex costs, and priority what priority does."""
    stage = start(output_tokens=1000, clock=lambda: NOW)
    for tier in ("flex", "priority"):
        stage.chat(model="gpt-5", service_tier=tier)
    counts = {"input_tokens": (stage.sim.requests[0].usage or Usage()).input_tokens, "output_tokens": 1000}
    costs = [record.cost_nanousd for record in stage.sim.requests]

    assert costs == [
        listed_nanousd("gpt-5", "openai", {"service_tier": tier}, **counts) for tier in ("flex", "priority")
    ]
    assert costs[0] < listed_nanousd("gpt-5", "openai", None, **counts) < costs[1]


def test_each_request_is_rounded_up_once(start: Start) -> None:
    """A price below a nano-dollar is billed as one, for each request."""
    stage = start(prices={"acme-7b": {"input": "0.0001", "output": 0}}, output_tokens=1)
    for _ in range(3):
        stage.chat(model="acme-7b")

    assert stage.sim.bill.total_nanousd == 3


def test_own_prices_make_a_model(start: Start) -> None:
    """A model that genai-prices does not know is billed at the user's rates."""
    rates = {"input": 1, "output": "2.5", "cached": Decimal("0.5")}
    answer = Answer(input_tokens=1000, cached_tokens=400, output_tokens=100)
    stage = start(prices={"acme-7b": rates}, script={"acme-7b": answer})
    stage.chat(model="acme-7b")

    assert stage.sim.bill.total_nanousd == 600_000 + 200_000 + 250_000


def test_bill_is_kept_by_model_and_agent(start: Start) -> None:
    """The parts add up to the total, and know whose they are."""
    stage = start(script={"planner": Answer(output_tokens=50)})
    stage.chat(extra_headers={"x-agent": "planner"})
    stage.chat(extra_headers={"x-agent": "somebody"})
    stage.message()
    bill = stage.sim.bill

    assert set(bill.by_agent) == {"planner", "somebody", ""}
    assert set(bill.by_model) == {"gpt-4o", "claude-sonnet-4-6"}
    assert sum(bill.by_agent.values()) == bill.total == sum(bill.by_model.values())
    assert bill.total_nanousd == sum(record.cost_nanousd for record in stage.sim.requests)
    assert (bill.calls, bill.output_tokens) == (3, 50 + 6 + 6)


def test_reset_forgets_the_bill_and_the_requests(stage: Stage) -> None:
    """After a reset there is nothing, and the next request counts again."""
    stage.chat()
    stage.sim.reset()

    assert (stage.sim.bill.calls, stage.sim.bill.total, stage.sim.requests) == (0, 0, [])


def test_aborted_stream_is_billed_for_what_was_generated(start: Start) -> None:
    """A client that leaves after three events pays the input and eight tokens."""
    stage = start(output_tokens=1000, token_latency_s=0.05)
    stream = stage.chat(stream=True)
    for _ in range(3):
        next(stream)
    stream.close()

    assert stage.sim.wait_idle()
    record = stage.sim.requests[0]

    assert record.aborted
    assert record.billed == "generated"
    assert 8 <= (record.usage or Usage()).output_tokens <= 12
    assert record.cost_nanousd == stage.sim.bill.total_nanousd > 0


def test_aborted_stream_can_be_billed_in_full(start: Start) -> None:
    """With `bill_aborted="all"` leaving early saves nothing."""
    stage = start(output_tokens=1000, token_latency_s=0.05, bill_aborted="all")
    stream = stage.message(stream=True, max_tokens=1000)
    next(iter(stream))
    stream.close()

    assert stage.sim.wait_idle()
    assert stage.sim.requests[0].aborted
    assert (stage.sim.requests[0].usage or Usage()).output_tokens == 1000


def test_stream_is_billed_before_its_end_arrives(stage: Stage) -> None:
    """Who has read the last event can trust the bill."""
    for _ in range(20):
        list(stage.chat(stream=True))

        assert stage.sim.bill.calls == stage.sim.arrived


MODELS = (
    "gpt-4o gpt-4o-mini gpt-4.1 gpt-4-turbo gpt-4-vision-preview gpt-3.5-turbo gpt-5 gpt-5-pro gpt-6-sol o1 o1-mini o3 "
    "o4-mini claude-3-haiku-20240307 claude-opus-4-1 claude-opus-4-5 claude-sonnet-4-6 claude-haiku-4-5 claude-opus-5"
)


@pytest.mark.parametrize("model", MODELS.split())
def test_no_simulated_model_outruns_its_ceiling(model: str) -> None:
    """The longest simulated answer is within the longest that bursar knows of."""
    habits = Habits(output_tokens=None, talkative=True, tokens_per_event=4, ceilings={})
    ceiling = output_ceiling("anthropic" if model.startswith("claude") else "openai", model)

    assert ceiling is not None
    assert simulated_ceiling(model, habits) <= ceiling


def test_only_the_newest_requests_are_kept(start: Start) -> None:
    """Memory is bounded: the bill and the count go on, the records do not."""
    stage = start(keep_requests=3)
    for number in range(5):
        stage.chat(str(number))

    assert [r.body["messages"][0]["content"] for r in stage.sim.requests] == ["2", "3", "4"]
    assert (stage.sim.arrived, stage.sim.bill.calls) == (5, 5)


def test_prices_follow_the_clock(start: Start) -> None:
    """The bill is made at the time that the clock says, like genai-prices' own."""
    costs: list[int] = []
    for year in (2024, 2026):
        at = datetime(year, 11, 1, 12, tzinfo=UTC)
        stage = start(script={"o3": Answer(input_tokens=1000, output_tokens=0)}, clock=lambda at=at: at)
        stage.chat(model="o3")
        costs.append(stage.sim.bill.total_nanousd)

    # o3 went from $10 to $2 a million in June 2025.
    assert costs == [10_000_000, 2_000_000]
