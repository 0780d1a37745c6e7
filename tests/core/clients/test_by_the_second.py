"""A model priced by the second of the call: held by the longest it may take, billed by what it took."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from bursar import BudgetExceeded, UnmeteredEndpoint, prices
from bursar.prices.units import CALL_MILLISECONDS

from .conftest import Stage, Start

NANO_PER_MS = 600
CALL: dict[str, Any] = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hello"}]}


@pytest.fixture(autouse=True)
def declarations() -> Iterator[None]:
    """Every declaration of a test ends with it."""
    with prices.temporary():
        yield


def declare(**options: Any) -> None:
    """Declare the model at $0.0006 a second."""
    prices.add("gpt-4o", per_second="$0.0006", **options)


def test_a_call_costs_the_time_it_took(stage: Stage) -> None:
    """The bound is the longest time; the cost is the time that the entry notes, to the millisecond."""
    declare(longest_s=60)
    stage.guard(stage.openai, 1).chat.completions.create(**CALL)
    (entry,) = stage.entries()

    assert 60_000 * NANO_PER_MS == entry.bound_nanousd
    assert entry.usage.other[CALL_MILLISECONDS] * NANO_PER_MS == entry.cost_nanousd
    assert abs(entry.usage.other[CALL_MILLISECONDS] - entry.duration_ms) <= 5
    assert ("priced", "override:gpt-4o (override)") == (entry.source, entry.price)
    assert entry.usage.input_tokens > 0


@pytest.mark.parametrize(("timeout", "seconds"), [(7, 7), (2.5, 2.5)])
def test_the_clients_timeout_bounds_what_is_not_declared(
    stage: Stage, timeout: float, seconds: float
) -> None:
    """A timeout of the client, or of one call, is the longest it may take."""
    declare()
    client = stage.guard(stage.openai.with_options(timeout=timeout), 1)
    client.chat.completions.create(**CALL)
    client.chat.completions.create(**CALL, timeout=3)

    assert [int(seconds * 1000) * NANO_PER_MS, 3_000 * NANO_PER_MS] == [
        e.bound_nanousd for e in stage.entries()
    ]


def test_the_longest_of_several_timeouts_counts(stage: Stage) -> None:
    """Each wait of a call has its own limit; with one that is endless, the call has none."""
    import openai

    declare()
    client = stage.guard(stage.openai, 1)
    client.chat.completions.create(**CALL, timeout=openai.Timeout(9, connect=1))
    assert [9_000 * NANO_PER_MS] == [entry.bound_nanousd for entry in stage.entries()]
    for endless in (None, openai.Timeout(None, connect=1)):
        with pytest.raises(UnmeteredEndpoint, match="no timeout is known"):
            client.chat.completions.create(**CALL, timeout=endless)


def test_a_stream_needs_its_longest_time_declared(stage: Stage) -> None:
    """A timeout does not end a stream, so a budget cannot be kept by it; without a limit nothing must be bounded."""
    declare()
    client = stage.guard(stage.openai, 1)
    with pytest.raises(UnmeteredEndpoint, match=r"timeout of a stream.*longest_s=600"):
        client.chat.completions.create(**CALL, stream=True)
    unlimited = stage.guard(stage.openai, None)
    list(unlimited.chat.completions.create(**CALL, stream=True))
    declare(longest_s=60)
    list(client.chat.completions.create(**CALL, stream=True))
    first, second = stage.entries()

    assert (0, "priced") == (first.bound_nanousd, first.source)
    assert (36_000_000, "priced") == (second.bound_nanousd, second.source)
    assert 0 < (second.cost_nanousd or 0) < 36_000_000


def test_a_dropped_stream_is_estimated_by_its_time(stage: Stage) -> None:
    """What was left running is paid for the time it was seen, and marked."""
    declare(longest_s=60)
    with stage.guard(stage.openai, 1).chat.completions.create(**CALL, stream=True) as stream:
        next(iter(stream))
    (entry,) = stage.entries()

    assert ("aborted", "estimated") == (entry.status, entry.source)
    assert entry.usage.other[CALL_MILLISECONDS] * NANO_PER_MS == entry.cost_nanousd


def test_a_call_that_cannot_be_held_is_refused(stage: Stage) -> None:
    """A minute at this price does not fit into three cents."""
    declare(longest_s=60)
    with pytest.raises(BudgetExceeded):
        stage.guard(stage.openai, "$0.03").chat.completions.create(**CALL)

    assert [("refused", 36_000_000)] == [(entry.status, entry.bound_nanousd) for entry in stage.entries()]


def test_a_call_beyond_its_longest_time_is_booked_in_full(start: Start) -> None:
    """A declaration is no wish: the overage is in the ledger."""
    stage = start(latency_s=1.05)
    declare(longest_s=1)
    stage.guard(stage.openai, 1).chat.completions.create(**CALL)
    (entry,) = stage.entries()

    assert 1_000 * NANO_PER_MS == entry.bound_nanousd
    assert entry.overage_nanousd == (entry.cost_nanousd or 0) - 600_000 > 0
