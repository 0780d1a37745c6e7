"""A busy budget makes callers wait, and wakes them as others settle; then the list goes on downwards."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

import bursar
from bursar import Budget, BudgetExceeded

if TYPE_CHECKING:
    from tests.core.budget.conftest import Eventually, Open, RushTasks, RushThreads

guard: Callable[..., Any] = bursar.guard
"""Typed loosely: the SDKs' overloads lose the thread on unpacked options."""

HI: list[dict[str, str]] = [{"role": "user", "content": "hi"}]
ASK: dict[str, Any] = {"model": "gpt-4o", "messages": HI, "max_tokens": 100}
CALL = Decimal("0.00102")
"""What ASK costs at most: 8 input tokens and 100 of output, counted exactly."""

ROOM = CALL / 2
"""Room for what many short answers cost, and not for one more call."""


def test_callers_wait_for_what_others_hold(open_desk: Open, rush: RushThreads) -> None:
    """Calls that do not fit beside one another, and do after one another, are all made."""
    desk = open_desk(output_tokens=1, latency_s=0.02)
    client = guard(desk.openai(), Budget(2 * CALL + ROOM, store=desk.store, warn_at=None))

    done = rush(lambda _: client.chat.completions.create(**ASK), 12)

    assert (12, 0) == (len(done.answers), len(done.refusals))
    assert 2 == desk.sim.most_in_flight
    assert all(100 == record.body["max_tokens"] for record in desk.sim.requests)


def test_waiting_tasks_do_not_block_their_loop(open_desk: Open, arush: RushTasks) -> None:
    """While tasks wait for a budget, the loop goes on."""
    desk = open_desk(output_tokens=1, latency_s=0.05)
    client = guard(desk.aopenai(), Budget(CALL + ROOM, store=desk.store, warn_at=None))

    async def main() -> tuple[Any, float]:
        longest_s = 0.0

        async def beat() -> None:
            nonlocal longest_s
            while True:
                before_s = time.monotonic()
                await asyncio.sleep(0.001)
                longest_s = max(longest_s, time.monotonic() - before_s)

        beating = asyncio.create_task(beat())
        done = await arush(lambda _: client.chat.completions.create(**ASK), 6)
        beating.cancel()
        return done, longest_s

    done, longest_s = desk.run(main())

    assert 6 == len(done.answers)
    assert 1 == desk.sim.most_in_flight
    assert longest_s < 0.05 * 5


def test_a_large_call_is_not_starved_by_small_ones(open_desk: Open, eventually: Eventually) -> None:
    """A call that waits for all of a budget goes before small calls that come after it."""
    desk = open_desk(output_tokens=1)
    client = guard(desk.openai(), Budget(2 * CALL + ROOM, store=desk.store, warn_at=None))
    first = client.chat.completions.create(**ASK, stream=True)

    def call(max_tokens: int) -> None:
        client.chat.completions.create(**(ASK | {"max_tokens": max_tokens}))

    def is_waiting(count: int) -> bool:
        return count == sum(len(queue) for queue in desk.store.waiters.queues.values())

    with ThreadPoolExecutor(4) as pool:
        calls = [pool.submit(call, 200)]
        assert eventually(lambda: is_waiting(1))
        for count in (2, 3):
            calls.append(pool.submit(call, 60))
            assert eventually(lambda count=count: is_waiting(count))
        assert 1 == desk.sim.arrived
        list(first)
        for made in calls:
            made.result()

    assert [100, 200, 60, 60] == [record.body["max_tokens"] for record in desk.sim.requests]


@pytest.mark.parametrize("can_wait", [True, False])
def test_a_caller_with_a_stream_open_can_still_call(open_desk: Open, *, can_wait: bool) -> None:
    """Nobody waits for a hold of its own stream: the call is lowered to what is left, at once."""
    desk = open_desk(output_tokens=5)
    budget = Budget(
        CALL * Decimal("1.5"), store=desk.store, min_output_tokens=10, wait_s=30 if can_wait else 0
    )
    client = guard(desk.openai(), budget)
    stream = client.chat.completions.create(**ASK, stream=True)
    began_s = time.monotonic()

    client.chat.completions.create(**ASK)
    list(stream)

    assert time.monotonic() - began_s < 5
    assert 10 <= desk.sim.requests[1].body["max_tokens"] < 100
    assert {} == desk.reserved()


def test_a_task_with_a_stream_open_can_still_call(open_desk: Open) -> None:
    """Nobody waits for a hold of its own stream, in a task either."""
    desk = open_desk(output_tokens=5)
    client = guard(desk.aopenai(), Budget(CALL * Decimal("1.5"), store=desk.store, min_output_tokens=10))

    async def main() -> float:
        stream = await client.chat.completions.create(**ASK, stream=True)
        began_s = time.monotonic()
        await client.chat.completions.create(**ASK)
        took_s = time.monotonic() - began_s
        async for _ in stream:
            pass
        return took_s

    assert desk.run(main()) < 5
    assert 10 <= desk.sim.requests[1].body["max_tokens"] < 100


def test_a_caller_with_a_stream_open_does_not_stand_behind_others(
    open_desk: Open, eventually: Eventually
) -> None:
    """Others that wait for the very stream that a caller holds do not keep that caller from calling."""
    desk = open_desk(output_tokens=5)
    client = guard(desk.openai(), Budget(2 * CALL + ROOM, store=desk.store, min_output_tokens=10))
    stream = client.chat.completions.create(**ASK, stream=True)

    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(lambda: client.chat.completions.create(**(ASK | {"max_tokens": 200})))
        assert eventually(lambda: bool(desk.store.waiters.queues))
        began_s = time.monotonic()
        client.chat.completions.create(**ASK)
        took_s = time.monotonic() - began_s
        list(stream)
        other.result()

    assert took_s < 5
    assert 200 == desk.sim.requests[2].body["max_tokens"]


def test_a_call_that_blocks_does_not_wait_for_a_task_of_its_own_thread(open_desk: Open) -> None:
    """A blocking call inside a task cannot wait for what another task of that thread holds."""
    desk = open_desk(output_tokens=5)
    budget = Budget(CALL, store=desk.store, min_output_tokens=10)
    tasks, blocking = guard(desk.aopenai(), budget), guard(desk.openai(), budget)

    async def main() -> float:
        opened, done = asyncio.Event(), asyncio.Event()

        async def hold() -> None:
            stream = await tasks.chat.completions.create(**ASK, stream=True)
            opened.set()
            await done.wait()
            async for _ in stream:
                pass

        holding = asyncio.create_task(hold())
        await opened.wait()
        began_s = time.monotonic()
        with pytest.raises(BudgetExceeded):
            blocking.chat.completions.create(**ASK)
        took_s = time.monotonic() - began_s
        done.set()
        await holding
        return took_s

    assert desk.run(main()) < 5


def test_a_call_that_blocks_does_not_stand_behind_the_tasks_of_its_own_thread(
    open_desk: Open, eventually: Eventually
) -> None:
    """A task cannot go on while its thread blocks, so a blocking call goes before the tasks that wait."""
    desk = open_desk(output_tokens=5)
    budget = Budget(CALL + ROOM, store=desk.store, warn_at=None)
    tasks, blocking = guard(desk.aopenai(), budget), guard(desk.openai(), budget)
    opened, let_go = threading.Event(), threading.Event()

    def hold() -> None:
        stream = blocking.chat.completions.create(**ASK, stream=True)
        opened.set()
        let_go.wait(20)
        list(stream)

    async def main() -> float:
        waiting = asyncio.create_task(tasks.chat.completions.create(**ASK))
        while not desk.store.waiters.queues:
            await asyncio.sleep(0.001)
        began_s = time.monotonic()
        threading.Timer(0.05, let_go.set).start()
        blocking.chat.completions.create(**ASK)
        took_s = time.monotonic() - began_s
        await waiting
        return took_s

    with ThreadPoolExecutor(1) as pool:
        holding = pool.submit(hold)
        assert eventually(opened.is_set)
        took_s = desk.run(main())
        holding.result()

    assert took_s < 5
    assert 3 == desk.sim.arrived
    assert {} == desk.reserved()


def test_a_task_does_not_wait_for_a_stream_that_it_opened_with_a_client_that_blocks(open_desk: Open) -> None:
    """What a task holds is its own, by whatever client."""
    desk = open_desk(output_tokens=5)
    budget = Budget(CALL * Decimal("1.5"), store=desk.store, min_output_tokens=10)
    tasks, blocking = guard(desk.aopenai(), budget), guard(desk.openai(), budget)

    async def main() -> float:
        stream = blocking.chat.completions.create(**ASK, stream=True)
        began_s = time.monotonic()
        await tasks.chat.completions.create(**ASK)
        took_s = time.monotonic() - began_s
        list(stream)
        return took_s

    assert desk.run(main()) < 5
    assert 10 <= desk.sim.requests[1].body["max_tokens"] < 100


def test_a_refusal_says_whether_the_budget_is_busy_or_broke(open_desk: Open) -> None:
    """A call that would fit but for what others hold is refused as busy; after they took it all, as broke."""
    desk = open_desk(talkative=True)
    client = guard(desk.openai(), Budget(CALL, store=desk.store, wait_s=0.01, warn_at=None))
    stream = client.chat.completions.create(**ASK, stream=True)

    with ThreadPoolExecutor(1) as pool, pytest.raises(BudgetExceeded) as busy:
        pool.submit(lambda: client.chat.completions.create(**ASK)).result()
    list(stream)
    with pytest.raises(BudgetExceeded) as broke:
        client.chat.completions.create(**ASK)

    assert ("busy", "broke") == (busy.value.details.reason, broke.value.details.reason)
    assert (CALL, 0) == (busy.value.details.reserved, broke.value.details.reserved)
    assert "waiting 0.01 s did not help" in str(busy.value)
    assert 1 == desk.sim.arrived


def test_a_waiter_goes_on_down_the_list_when_its_time_is_up(open_desk: Open) -> None:
    """After wait_s the cheaper model is tried, and seen on the wire."""
    desk = open_desk(output_tokens=5)
    budget = Budget(CALL * Decimal("1.2"), store=desk.store, wait_s=0.05, downgrade={"gpt-4o": "gpt-4o-mini"})
    client = guard(desk.openai(), budget)
    stream = client.chat.completions.create(**ASK, stream=True)

    with ThreadPoolExecutor(1) as pool:
        pool.submit(lambda: client.chat.completions.create(**ASK)).result()
    list(stream)

    assert ["gpt-4o", "gpt-4o-mini"] == [record.model for record in desk.sim.requests]


def test_a_cancelled_waiter_leaves_the_queue(open_desk: Open) -> None:
    """A task that is cancelled while it waits holds nothing and keeps nobody waiting."""
    desk = open_desk(output_tokens=1)
    client = guard(desk.aopenai(), Budget(CALL, store=desk.store, warn_at=None))

    async def main() -> None:
        stream = await client.chat.completions.create(**ASK, stream=True)
        waiting = asyncio.create_task(client.chat.completions.create(**ASK))
        while not desk.store.waiters.queues:
            await asyncio.sleep(0.001)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        async for _ in stream:
            pass

    desk.run(main())

    assert {} == desk.store.waiters.queues
    assert {} == desk.reserved()
    assert 1 == desk.sim.arrived


def test_a_raised_limit_wakes_those_who_wait(open_desk: Open, eventually: Eventually) -> None:
    """A limit that is raised while a call waits lets it go at once."""
    desk = open_desk(output_tokens=1)
    budget = Budget(CALL, store=desk.store, warn_at=None)
    client = guard(desk.openai(), budget)
    stream = client.chat.completions.create(**ASK, stream=True)

    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(lambda: client.chat.completions.create(**ASK))
        assert eventually(lambda: bool(desk.store.waiters.queues))
        budget.limit = 1
        waiting.result(timeout=5)
    list(stream)

    assert 2 == desk.sim.arrived
