"""
How long it takes to price one call and one exchange, and how far a reservation is above the bill.

All cases are timed in turns, so that a busy machine slows them alike; the figures are medians of the turns.  The
exchanges are recorded ones where their folder is beside this repository, and a few that are written here elsewhere.

Run it with `python tests/benchmarks/bench_prices.py`.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any, cast

from bursar import prices
from bursar.bound import bound
from bursar.errors import UnmeteredEndpoint
from bursar.usage import Usage
from bursar.wire import Endpoint, endpoint_of, model_in_path

if TYPE_CHECKING:
    from collections.abc import Callable

CALLS = 2_000
TURNS = 51
TARGET_US = 5.0
TARGET_BODY_US = 40.0
TARGET_EVENT_US = 2.0
EVENTS = 200
CORPUS = Path(__file__).resolve().parents[3] / "shared" / "corpus"

Row = dict[str, Any]

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
HEARD = Usage(input_tokens=1_200, output_tokens=300, other={"input_audio_tokens": 200})


def floor(provider: str, model: str, usage: Usage, at: datetime | None) -> int:
    """Do nothing with the same arguments."""
    return 0


def priced(provider: str, model: str, usage: Usage, at: datetime | None) -> int:
    """Price one call."""
    return prices.price(provider, model, at=at).cost_nanousd(usage)


def medians_us(cases: dict[str, Callable[[], Any]], *, calls: int = CALLS) -> dict[str, float]:
    """Return the median microseconds of one call of each case."""
    turns: dict[str, list[float]] = {name: [] for name in cases}
    for _ in range(TURNS):
        for name, call in cases.items():
            start = perf_counter_ns()
            for _ in range(calls):
                call()
            turns[name].append((perf_counter_ns() - start) / calls / 1_000)
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
        "web searches": ("anthropic", "claude-sonnet-4-5", SEARCHED, None),
        "audio (the general way)": ("google", "gemini-2.5-flash", HEARD, None),
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


CHAT: Row = {
    "provider": "openai",
    "kind": "chat",
    "path": "/v1/chat/completions",
    "stream": False,
    "request_body": {"model": "gpt-4o", "messages": [{"role": "user", "content": "hello"}]},
    "response_bytes": 1_000,
    "response": {
        "object": "chat.completion",
        "model": "gpt-4o-2024-08-06",
        "choices": [
            {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "x" * 600}}
        ],
        "usage": {"prompt_tokens": 100, "completion_tokens": 200, "total_tokens": 300},
    },
}
CHUNK: Row = {
    "model": "gpt-4o-2024-08-06",
    "choices": [{"index": 0, "delta": {"content": "x"}, "finish_reason": None}],
}
LAST: Row = {"model": "gpt-4o-2024-08-06", "choices": [], "usage": CHAT["response"]["usage"]}
STREAM: Row = {
    **CHAT,
    "stream": True,
    "response": {"events": [{"event": None, "data": CHUNK}, {"data": LAST}]},
}


def recorded() -> list[Row]:
    """Return the recorded exchanges, or those that are written here where there are none."""
    file = CORPUS / "exchanges.jsonl"
    if not file.is_file():
        return [CHAT, STREAM]
    return [json.loads(line) for line in file.read_text().splitlines()]


def bench_exchanges(rows: list[Row]) -> dict[str, float]:
    """Measure one body of about a kilobyte, and one stream of 200 events, of each provider and kind."""
    bodies: dict[str, Callable[[], Any]] = {}
    streams: dict[str, Callable[[], Any]] = {}
    for row in rows:
        name = f"{row['provider']} {row['kind']}"
        answer: Any = row["response"]
        if not row["stream"] and 700 < row["response_bytes"] < 1_500 and name not in bodies:
            bodies[name] = lambda row=row, answer=answer: cost(row, answer)
        elif row["stream"] and isinstance(answer, dict) and name not in streams:
            events = cast("list[Any]", answer["events"])
            # The events in their order, one after another until there are 200 of them, and then the last.
            many: list[Any] = [*(events * (EVENTS // len(events) + 1))[: EVENTS - 1], events[-1]]
            streams[name] = lambda row=row, many=many: cost(row, many)
    medians = medians_us(bodies, calls=CALLS // 10)
    print(f"\nextract and price a body of about 1 kB: at most {TARGET_BODY_US} µs")
    for name, value in medians.items():
        print(f"{name:<40} {value:7.1f} µs")
    each = {name: value / EVENTS for name, value in medians_us(streams, calls=CALLS // 200).items()}
    print(f"\nextract and price a stream of {EVENTS} events: at most {TARGET_EVENT_US} µs an event")
    for name, value in each.items():
        print(f"{name:<40} {value:7.2f} µs an event")
    return {**medians, **{f"{name} stream": value for name, value in each.items()}}


def cost(row: Row, answer: Any) -> prices.Cost:
    """Return what *row* comes to with *answer*."""
    return prices.cost_of(
        provider=row["provider"], path=row["path"], request=row["request_body"], response=answer
    )


def bench_bounds(rows: list[Row]) -> dict[str, tuple[float, float, float]]:
    """Print by provider how many times the bill a reservation is: all of it, with the caller's limit, its input."""
    ratios: dict[str, list[tuple[float, float | None, float]]] = {}
    for row in rows:
        if ratio := _ratio(row):
            ratios.setdefault(row["provider"], []).append(ratio)
    print("\nreservation from the request alone, as a multiple of the bill (median)")
    print(
        f"{'':<16} {'calls':>6} {'whole':>9} {'limited':>9} {'input':>7}   (limited: calls with an output limit)"
    )
    medians: dict[str, tuple[float, float, float]] = {}
    for provider, found in sorted(ratios.items()):
        limited = [one[1] for one in found if one[1] is not None]
        medians[provider] = (
            median(one[0] for one in found),
            median(limited) if limited else float("nan"),
            median(one[2] for one in found),
        )
        whole, with_limit, sent = medians[provider]
        print(f"{provider:<16} {len(found):>6} {whole:>9.1f} {with_limit:>9.1f} {sent:>7.2f}")
    return medians


def _ratio(row: Row) -> tuple[float, float | None, float] | None:
    endpoint, billed = endpoint_of("POST", row["path"]), cost(row, row["response"])
    body: Row = row["request_body"]
    model = body.get("model") or model_in_path(row["path"]) or ""
    if not isinstance(endpoint, Endpoint) or not billed.usd or "<elided:" in json.dumps(body):
        return None
    ask, counted = endpoint.read_request({**body, "model": model}), endpoint.count_input_tokens(body)
    try:
        held = bound(ask, provider=row["provider"], model=model, min_output_tokens=1, input_tokens=counted)
    except UnmeteredEndpoint:
        return None
    if held.price is None:
        return None
    whole = held.amounts.nanousd / float(billed.usd.scaleb(9))
    is_limited = ask.output_limit is not None and ask.generates
    return whole, whole if is_limited else None, held.input_tokens / max(billed.usage.input_tokens, 1)


if __name__ == "__main__":
    bench()
    exchanges = recorded()
    bench_exchanges(exchanges)
    bench_bounds(exchanges)
