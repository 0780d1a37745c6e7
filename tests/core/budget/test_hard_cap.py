"""The hard cap: whatever is called at once, no more reaches the server than the budget pays for."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

import bursar
from bursar import Budget
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


between_processes = pytest.mark.parametrize("store", ["sqlite", "postgres"], indirect=True)


@between_processes
def test_processes_share_a_budget_by_its_name(open_desk: Open, ledger_url: str) -> None:
    """Eight processes that share a ledger and a named budget for ten calls send ten of 48."""
    desk = open_desk(latency_s=0.01)
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
    command = [sys.executable, "-c", source, desk.sim.openai_base_url, ledger_url]

    with ThreadPoolExecutor(8) as pool:
        started = [
            pool.submit(subprocess.run, command, capture_output=True, text=True, check=False)
            for _ in range(8)
        ]
        ended = [process.result() for process in started]

    assert [""] * 8 == [process.stderr for process in ended]
    assert 10 == sum(int(process.stdout) for process in ended)
    assert 10 == desk.sim.arrived
    state = desk.store.state("budget:shared:total")
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


@between_processes
def test_processes_threads_tasks_and_streams_share_dollars(open_desk: Open, ledger_url: str) -> None:
    """
    Four processes, each with threads and tasks, answers and streams, stay within an odd amount of dollars.

    Less than one call's bound is left of it, and nothing stays reserved.
    """
    desk = open_desk(talkative=True, latency_s=0.005)
    limit = 12_345_678
    source = textwrap.dedent("""
        import asyncio
        import sys
        from concurrent.futures import ThreadPoolExecutor
        import openai
        from bursar import Budget, BudgetExceeded, guard

        url, store = sys.argv[1:]
        options = {"base_url": url, "api_key": "sk-planted", "max_retries": 0}
        asked = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 60}
        budget = Budget("$0.012345678", per="total", name="shared", store=store, warn_at=None, min_output_tokens=20)
        blocking, tasks = guard(openai.OpenAI(**options), budget), guard(openai.AsyncOpenAI(**options), budget)

        def call(index):
            try:
                answer = blocking.chat.completions.create(**asked, stream=bool(index % 2))
                index % 2 and list(answer)
            except BudgetExceeded:
                pass

        async def acall(index):
            try:
                answer = await tasks.chat.completions.create(**asked, stream=bool(index % 2))
                if index % 2:
                    async for _ in answer:
                        pass
            except BudgetExceeded:
                pass

        async def main():
            with ThreadPoolExecutor(3) as pool:
                loop = asyncio.get_running_loop()
                threads = [loop.run_in_executor(pool, call, index) for index in range(6)]
                await asyncio.gather(*threads, *(acall(index) for index in range(6)))
            await tasks.close()

        asyncio.run(main())
    """)
    command = [sys.executable, "-c", source, desk.sim.openai_base_url, ledger_url]
    with ThreadPoolExecutor(4) as pool:
        started = [
            pool.submit(subprocess.run, command, capture_output=True, text=True, check=False)
            for _ in range(4)
        ]
        ended = [process.result() for process in started]
    state = desk.store.state("budget:shared:total")

    assert [""] * 4 == [process.stderr for process in ended]
    assert state is not None
    assert desk.billed_nanousd == state.spent.nanousd <= limit
    # What is left does not pay for the prompt and the smallest answer worth sending.
    assert limit - state.spent.nanousd < 8 * 2_500 + 20 * 10_000
    assert 0 == state.reserved.nanousd == state.presumed.nanousd


def test_children_of_two_levels_share_dollars(open_desk: Open, rush: RushThreads) -> None:
    """Runs inside a run inside a day's budget, each for more than its share: the narrowest level holds everywhere."""
    desk = open_desk(talkative=True)
    day = Budget("$0.02", per="day", name="org", store=desk.store, warn_at=None)
    parent = Budget("$0.012", within=day, warn_at=None)
    with parent.run("outer") as outer:
        clients: list[Any] = []
        for index in range(4):
            with Budget("$0.005", warn_at=None, name=f"child {index}").run("inner"):
                clients.append(guard(desk.openai(), label=f"agent {index}"))
        done = rush(lambda i: clients[i % 4].chat.completions.create(**(ASK | {"max_tokens": 100})), MANY)

    assert done.refusals
    assert desk.billed_nanousd == desk.ledger_nanousd == outer.spent_nanousd <= 12_000_000
    assert 12_000_000 - desk.billed_nanousd < 1_100_000
    assert all(client.bursar.spent <= Decimal("0.005") for client in clients)
    assert {} == desk.reserved()
