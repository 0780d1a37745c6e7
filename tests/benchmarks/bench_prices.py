"""
How long it takes to price one call, next to a call of an empty function with the same arguments.

All cases are timed in turns, so that a busy machine slows them alike; the figures are medians of the turns.

Run it with `python tests/benchmarks/bench_prices.py`.
"""

from __future__ import annotations

from datetime import UTC, datetime
from statistics import median
from time import perf_counter_ns
from typing import TYPE_CHECKING

from bursar import prices
from bursar.usage import Usage

if TYPE_CHECKING:
    from collections.abc import Callable

CALLS = 2_000
TURNS = 51
TARGET_US = 5.0

PLAIN = Usage(input_tokens=1_200, output_tokens=300)
CACHED = Usage(
    input_tokens=250_000,
    cache_read_tokens=100_000,
    cache_write_tokens=50_000,
    cache_write_1h_tokens=10_000,
    output_tokens=300,
    reasoning_tokens=100,
)
SEARCHED = Usage(input_tokens=1_200, output_tokens=300, other={"web_searches": 2})


def floor(provider: str, model: str, usage: Usage, at: datetime | None) -> int:
    """Do nothing with the same arguments."""
    return 0


def priced(provider: str, model: str, usage: Usage, at: datetime | None) -> int:
    """Price one call."""
    return prices.price(provider, model, at=at).cost_nanousd(usage)


def medians_us(cases: dict[str, Callable[[], int]]) -> dict[str, float]:
    """Return the median microseconds of one call of each case."""
    turns: dict[str, list[float]] = {name: [] for name in cases}
    for _ in range(TURNS):
        for name, call in cases.items():
            start = perf_counter_ns()
            for _ in range(CALLS):
                call()
            turns[name].append((perf_counter_ns() - start) / CALLS / 1_000)
    return {name: median(values) for name, values in turns.items()}


def bench() -> dict[str, float]:
    """Measure every case, print the table and return the medians in microseconds."""
    at = datetime(2026, 11, 23, 12, tzinfo=UTC)
    calls: dict[str, tuple[str, str, Usage, datetime | None]] = {
        "one row": ("openai", "gpt-4o-audio-preview", PLAIN, None),
        "dated rows, now": ("openai", "gpt-4o", PLAIN, None),
        "dated rows, at an instant": ("openai", "gpt-4o", PLAIN, at),
        "dated rows, thresholds, every kind": ("anthropic", "claude-sonnet-4-5", CACHED, None),
        "hours of the day": ("deepseek", "deepseek-v4-pro", PLAIN, None),
        "web searches (the general way)": ("anthropic", "claude-sonnet-4-5", SEARCHED, None),
    }
    cases: dict[str, Callable[[], int]] = {"empty function": lambda: floor("openai", "gpt-4o", PLAIN, None)}
    for name, (provider, model, usage, instant) in calls.items():
        priced(provider, model, usage, instant)
        cases[name] = lambda p=provider, m=model, u=usage, i=instant: priced(p, m, u, i)
    medians = medians_us(cases)
    base = medians["empty function"]
    print(f"price one call, warm: at most {TARGET_US} µs (genai-prices {prices.data_version()})")
    for name, value in medians.items():
        print(f"{name:<40} {value:7.3f} µs  {value / base:5.1f} x floor")
    return medians


if __name__ == "__main__":
    bench()
