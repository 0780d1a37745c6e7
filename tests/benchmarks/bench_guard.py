"""
What `guard()` costs over the bare SDK call, on an in-process transport.

Both are timed in turns in CPU time of this process, so that neither noise nor another program counts for one of
them alone.  Run it with `make bench`.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import httpx2
import openai
from tests.benchmarks.pairs import overhead_us

from bursar import Budget, BudgetExceeded, guard
from bursar.stores.memory import MemoryStore
from bursar.stores.sqlite import SQLiteStore

if TYPE_CHECKING:
    from bursar.store import Store

ROUNDS: Final = 400
TARGET_US: Final = {"memory": 60.0, "sqlite": 250.0}
ANSWER: Final = json.dumps(
    {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1_795_521_600,
        "model": "gpt-4o-2024-08-06",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "Hello.", "refusal": None},
                "finish_reason": "stop",
                "logprobs": None,
            }
        ],
        "usage": {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11},
    }
).encode()


def answer(request: httpx2.Request) -> httpx2.Response:
    """Answer at once, and always the same."""
    del request
    return httpx2.Response(200, headers={"content-type": "application/json"}, content=ANSWER)


def prompt(size: int) -> list[dict[str, str]]:
    """Return messages of about *size* bytes."""
    return [{"role": "user", "content": ("What is the capital of France? " * (size // 31 + 1))[:size]}]


def refusal_us(client: openai.OpenAI, store: Store) -> float:
    """Return the median of a call that a broke budget refuses, in microseconds of the clock."""
    guarded: Any = guard(client, Budget("0.000001", store=store))
    ask = {"model": "gpt-4o", "messages": prompt(40), "max_tokens": 100}

    def refused() -> None:
        try:
            guarded.chat.completions.create(**ask)
        except BudgetExceeded:
            return
        raise AssertionError

    for _ in range(20):
        refused()
    times: list[float] = []
    for _ in range(ROUNDS):
        began_s = time.perf_counter()
        refused()
        times.append((time.perf_counter() - began_s) * 1e6)
    return statistics.median(times)


def main() -> None:
    """Print what is measured beside what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--strict", action="store_true", help="end with an error where a target is missed")
    is_strict = parser.parse_args().strict
    missed: list[str] = []
    with (
        tempfile.TemporaryDirectory() as folder,
        httpx2.Client(transport=httpx2.MockTransport(answer)) as http,
    ):
        client = openai.OpenAI(api_key="sk-none", base_url="http://provider.invalid/v1", http_client=http)
        stores: dict[str, Store] = {
            "memory": MemoryStore(),
            "sqlite": SQLiteStore(Path(folder) / "ledger.db"),
        }
        for name, store in stores.items():
            guarded: Any = guard(client, Budget("$1000", store=store), label="bench")
            short = 0.0
            for size in (40, 200_000):
                ask: dict[str, Any] = {"model": "gpt-4o", "messages": prompt(size), "max_tokens": 100}
                floor, over = overhead_us(
                    lambda ask=ask: client.chat.completions.create(**ask),  # pyright: ignore[reportUnknownLambdaType]
                    lambda ask=ask, guarded=guarded: guarded.chat.completions.create(**ask),
                )
                target = TARGET_US[name] if size == 40 else 2 * short
                short = short or over
                missed += [f"{name} {size}"] if over > target else []
                print(
                    f"{name:7} {size:>7} B  bare {floor:7.0f} µs  guard +{over:6.1f} µs  (target +{target:.0f} µs)"
                )
            refused = refusal_us(client, store)
            missed += [f"{name} refusal"] if refused > 1_000 else []
            print(f"{name:7} a refusal takes {refused:.0f} µs  (target 1000 µs)")
    if is_strict and missed:
        raise SystemExit(f"missed: {', '.join(missed)}")


if __name__ == "__main__":
    main()
