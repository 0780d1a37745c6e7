"""The hard cap: whatever is called at once, no more reaches the server than the budget pays for."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import bursar
from bursar import Budget
from bursar.stores.sqlite import SQLiteStore
from bursar.tokens import count_tokens

if TYPE_CHECKING:
    from tests.core.budget.conftest import Open, RushTasks, RushThreads

guard: Callable[..., Any] = bursar.guard
"""Typed loosely: the SDKs' overloads lose the thread on unpacked options."""

MANY = 50
ASK: dict[str, Any] = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}]}


def test_fifty_threads_send_the_ten_calls_of_the_budget(open_desk: Open, rush: RushThreads) -> None:
    """Of 50 calls made by threads at once under a budget for ten, ten reach the server."""
    desk = open_desk(latency_s=0.02)
    client = guard(desk.openai(), Budget(calls=10, store=desk.store))

    done = rush(lambda _: client.chat.completions.create(**ASK), MANY)

    assert (10, 40) == (len(done.answers), len(done.refusals))
    assert 10 == desk.sim.arrived
    assert {} == desk.reserved()
    assert desk.billed_nanousd == desk.ledger_nanousd


def test_fifty_tasks_send_the_ten_calls_of_the_budget(open_desk: Open, arush: RushTasks) -> None:
    """Of 50 calls made by tasks at once under a budget for ten, ten reach the server."""
    desk = open_desk(latency_s=0.02)
    client = guard(desk.aopenai(), Budget(calls=10, store=desk.store))

    done = desk.run(arush(lambda _: client.chat.completions.create(**ASK), MANY))

    assert (10, 40) == (len(done.answers), len(done.refusals))
    assert 10 == desk.sim.arrived
    assert {} == desk.reserved()


def test_fifty_streams_send_the_ten_calls_of_the_budget(open_desk: Open, rush: RushThreads) -> None:
    """Of 50 streams opened by threads at once under a budget for ten, ten reach the server."""
    desk = open_desk(token_latency_s=0.002)
    client = guard(desk.openai(), Budget(calls=10, store=desk.store))

    done = rush(lambda _: list(client.chat.completions.create(**ASK, stream=True)), MANY)

    assert (10, 40) == (len(done.answers), len(done.refusals))
    assert 10 == desk.sim.arrived
    assert {} == desk.reserved()
    assert desk.billed_nanousd == desk.ledger_nanousd


def test_fifty_async_streams_send_the_ten_calls_of_the_budget(open_desk: Open, arush: RushTasks) -> None:
    """Of 50 streams opened by tasks at once under a budget for ten, ten reach the server."""
    desk = open_desk(token_latency_s=0.002)
    client = guard(desk.aopenai(), Budget(calls=10, store=desk.store))

    async def stream(_: int) -> list[Any]:
        return [event async for event in await client.chat.completions.create(**ASK, stream=True)]

    done = desk.run(arush(stream, MANY))

    assert (10, 40) == (len(done.answers), len(done.refusals))
    assert 10 == desk.sim.arrived
    assert {} == desk.reserved()


def test_children_share_what_their_parent_may_spend(open_desk: Open, rush: RushThreads) -> None:
    """Five runs with calls of their own, inside a run for ten calls, send ten together."""
    desk = open_desk(latency_s=0.01)
    plain = desk.openai()
    with Budget(calls=10, store=desk.store).run("parent") as parent:
        runs = [Budget(calls=4).run(f"child-{i}") for i in range(5)]
        clients: list[Any] = []
        for run in runs:
            with run:
                clients.append(guard(plain, label="child"))

        done = rush(lambda i: clients[i % 5].chat.completions.create(**ASK), MANY)

    assert 10 == desk.sim.arrived == len(done.answers) == parent.calls
    assert all(run.calls <= 4 for run in runs)
    assert {} == desk.reserved()


def test_processes_share_a_budget_by_its_name(open_desk: Open, tmp_path: Path) -> None:
    """Eight processes that share a file and a named budget for ten calls send ten of 48."""
    desk = open_desk(latency_s=0.01)
    path = tmp_path / "shared.db"
    source = textwrap.dedent("""
        import sys
        from concurrent.futures import ThreadPoolExecutor
        import openai
        from bursar import Budget, BudgetExceeded, guard

        url, store = sys.argv[1:]
        budget = Budget(calls=10, per="total", name="shared", store=store, warn_at=None)
        client = guard(openai.OpenAI(base_url=url, api_key="sk-planted", max_retries=0), budget)

        def call(_):
            try:
                client.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": "hi"}])
            except BudgetExceeded:
                return 0
            return 1

        with ThreadPoolExecutor(6) as pool:
            print(sum(pool.map(call, range(6))))
    """)
    command = [sys.executable, "-c", source, desk.sim.openai_base_url, f"sqlite:///{path}"]

    with ThreadPoolExecutor(8) as pool:
        started = [
            pool.submit(subprocess.run, command, capture_output=True, text=True, check=False)
            for _ in range(8)
        ]
        ended = [process.result() for process in started]

    assert [""] * 8 == [process.stderr for process in ended]
    assert 10 == sum(int(process.stdout) for process in ended)
    assert 10 == desk.sim.arrived
    state = SQLiteStore(path).state("budget:shared:total")
    assert state is not None
    assert (10, 0) == (state.spent.calls, state.reserved.calls)


# $2.50 and $10 per million tokens of gpt-4o.
PROMPT_TOKENS = 8
CALL_USD = Decimal("2.5e-6") * PROMPT_TOKENS + Decimal("10e-6") * 100


@pytest.mark.parametrize("limit_name", ["max_tokens", "max_completion_tokens"])
def test_dollars_for_exactly_ten_calls_send_ten(open_desk: Open, rush: RushThreads, limit_name: str) -> None:
    """Of 50 calls under dollars for ten whose prompts are known exactly, ten reach the server and nothing is left."""
    assert count_tokens("gpt-4o", "hi") == 1
    desk = open_desk(talkative=True, latency_s=0.02)
    client = guard(desk.openai(), Budget(10 * CALL_USD, store=desk.store))

    done = rush(lambda _: client.chat.completions.create(**ASK, **{limit_name: 100}), MANY)

    assert (10, 40) == (len(done.answers), len(done.refusals))
    assert 10 == desk.sim.arrived
    assert 10 * CALL_USD == desk.sim.bill.total == client.bursar.spent
    assert {} == desk.reserved()
