"""Runs and names that begin in a generator hold for all of it, in whichever context and thread it is stepped."""

# What an SDK returns depends on unpacked options, which its overloads do not follow.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncGenerator, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from contextvars import Context, ContextVar, copy_context
from typing import Any

import pytest

from bursar import Budget, BudgetExceeded, agent, guard
from bursar.entry import Agent
from bursar.meter import Meter, plan_request
from bursar.meter.around import AtWork
from bursar.run import Run
from bursar.scope import agent_around, agents_in, run_around
from bursar.store import Where
from bursar.wire import OPENAI_CHAT

from .conftest import CHAT, Stage

Steps = Generator[Run]


def answers(client: Any, run: Run) -> Steps:
    """Make a call at each step, as what a web framework streams from does."""
    with run:
        while True:
            client.chat.completions.create(**CHAT)
            yield run


def answers_by_a_stack(client: Any, run: Run) -> Steps:
    """Do the same, with the run on a stack of contexts."""
    with ExitStack() as stack:
        stack.enter_context(run)
        while True:
            client.chat.completions.create(**CHAT)
            yield run


def in_threads(steps: Steps, most: int = 10) -> Run | None:
    """Step it in threads, each time in a copy of this context, as Starlette does; return what it gave last."""
    last = None
    with ThreadPoolExecutor(2) as pool:
        for _ in range(most):
            last = pool.submit(copy_context().run, next, steps).result()
    return last


@pytest.mark.parametrize("generator", [answers, answers_by_a_stack])
def test_a_generator_that_is_stepped_in_threads(generator: Any, stage: Stage) -> None:
    """Every call in it is paid from its run, though the context of each step is another."""
    run = Budget(calls=2, store=stage.store).run("stream")
    client = guard(stage.openai, agent="writer", store=stage.store)

    with pytest.raises(BudgetExceeded, match="stream"):
        in_threads(generator(client, run))

    assert stage.sim.arrived == 2
    assert run.calls == 2
    assert run_around() is None


def test_a_run_in_it_is_inside_the_run_around_it(stage: Stage) -> None:
    """What is innermost pays, and what is around that; outside of the generator, only the latter."""
    client = guard(stage.openai, agent="writer")
    with Budget(calls=5, store=stage.store).run("outer") as outer:
        steps = answers(client, Budget(calls=3, store=stage.store).run("inner"))
        inner = in_threads(steps, most=2)
        assert run_around() is outer
        client.chat.completions.create(**CHAT)
        with pytest.raises(BudgetExceeded, match="inner"):
            in_threads(steps)

    assert inner is not None
    assert inner.parent is outer
    assert (inner.calls, outer.calls) == (3, 4)


def test_a_run_that_begins_below_a_generators_is_innermost(stage: Stage) -> None:
    """A run in a function that the generator calls is inside the generator's."""

    def steps() -> Steps:
        with Budget(calls=5, store=stage.store).run("outer") as outer:
            yield outer
            with_inner(outer)
            assert run_around() is outer
            yield outer

    def with_inner(outer: Run) -> None:
        with Budget(calls=5, store=stage.store).run("inner") as inner:
            assert run_around() is inner
            assert inner.parent is outer

    assert in_threads(steps(), most=2) is not None


def test_an_async_generator_whose_steps_are_tasks(stage: Stage) -> None:
    """Each step is a task with a context of its own, as `wait_for` makes one."""
    run = Budget(calls=2, store=stage.store).run("stream")
    client = guard(stage.async_openai, agent="writer", store=stage.store)

    async def answers() -> AsyncGenerator[None]:
        async with run:
            while True:
                await client.chat.completions.create(**CHAT)
                yield

    async def main() -> None:
        steps = answers()
        for _ in range(2):
            await asyncio.create_task(anext(steps), context=Context())
        with pytest.raises(BudgetExceeded):
            await asyncio.create_task(anext(steps), context=Context())

    stage.run(main())
    assert run.calls == 2


def test_a_generator_that_is_left(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    """Its run ends with it, wherever the garbage collector finds it."""
    run = Budget(calls=9, store=stage.store).run("stream")
    steps = answers(guard(stage.openai, agent="writer", store=stage.store), run)
    in_threads(steps, most=1)
    del steps
    gc.collect()

    (known,) = [one.run for one in stage.store.runs(Where(run_ids=(run.id,)))]
    assert known.ended_s is not None
    assert run_around() is None
    assert "another context" not in caplog.text


def test_a_run_that_nobody_could_see(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    """A dependency that a web framework enters in a thread pays for nothing, and the log says why and what to do."""

    def dependency() -> Steps:
        with Budget(calls=1, store=stage.store).run("request") as run:
            yield run

    client = guard(stage.openai, agent="writer", store=stage.store)
    entered = dependency()
    copy_context().run(next, entered)
    client.chat.completions.create(**CHAT)
    copy_context().run(next, entered, None)

    assert 'run "request" ended in another context than it began in' in caplog.text
    assert '"async with"' in caplog.text


class TestAgents:
    """`with agent(...)` in a generator."""

    def test_names_every_call_in_it(self, stage: Stage) -> None:
        """Though the context of each step is another; outside of it the name is what it was."""
        client = guard(stage.openai, Budget(store=stage.store))

        def steps() -> Steps:
            with agent("writer"):
                while True:
                    client.chat.completions.create(**CHAT)
                    yield client.bursar.run

        with agent("planner"):
            given = steps()
            in_threads(given, most=2)
            client.chat.completions.create(**CHAT)
            assert agent_around() == "planner"
        given.close()

        assert {name: sums.calls for name, sums in stage.store.totals("agent", Where())} == {
            "writer": 2,
            "planner": 1,
        }
        assert agent_around() is None

    def test_what_begins_further_in_is_nearer(self, stage: Stage) -> None:
        """A block in a function that it calls names the calls of that; the one around its step names none."""
        client = guard(stage.openai, Budget(store=stage.store))

        def reviewed() -> None:
            with agent("reviewer"):
                client.chat.completions.create(**CHAT)

        def steps() -> Steps:
            with agent("writer"), agent("editor"):
                yield client.bursar.run
                reviewed()
                yield client.bursar.run
                client.chat.completions.create(**CHAT)
            with agent("writer"):
                yield client.bursar.run
                client.chat.completions.create(**CHAT)
                yield client.bursar.run

        given = steps()
        for _ in range(4):
            with agent("consumer"):
                in_threads(given, most=1)
        given.close()

        assert {name: sums.calls for name, sums in stage.store.totals("agent", Where())} == {
            "reviewer": 1,
            "editor": 1,
            "writer": 1,
        }

    def test_a_call_at_work_in_it_is_nearer(self, stage: Stage) -> None:
        """What a model asks while it makes a call is asked by whom that call is booked to."""
        payer = guard(stage.openai, Budget(store=stage.store)).bursar
        booking = payer.booking(Agent("researcher", "researcher"))
        meter = Meter(plan_request(OPENAI_CHAT, CHAT, booking, provider="openai"))

        def asked() -> str | None:
            with AtWork(meter, ContextVar("at_work", default=0), 1):
                return agent_around()

        def steps() -> Generator[str | None]:
            with agent("writer"):
                yield asked()
                yield agent_around()

        assert ["researcher", "writer"] == list(steps())

    def test_one_that_is_left_names_nothing_more(self, stage: Stage) -> None:
        """Wherever the garbage collector finds it."""

        def steps() -> Steps:
            with agent("writer"):
                yield Budget(store=stage.store).run()

        given = steps()
        in_threads(given, most=1)
        del given
        gc.collect()

        assert not agents_in
