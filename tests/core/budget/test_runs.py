"""Runs: nested, concurrent, in threads and tasks; and what a budget knows of them."""

from __future__ import annotations

import asyncio
import copy
import gc
import pickle
import threading
import tracemalloc
import weakref
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

import bursar
from bursar import Budget, BudgetExceeded, agent
from bursar.ledger import Report
from bursar.run import Run
from bursar.scope import current_run
from bursar.store import Where
from bursar.stores.memory import MemoryStore

if TYPE_CHECKING:
    from tests.core.budget.conftest import Desk, Open, RushTasks

guard: Callable[..., Any] = bursar.guard
"""Typed loosely: the SDKs' overloads lose the thread on unpacked options."""

ASK: dict[str, Any] = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 100}
CALL = Decimal("0.00102")


def test_each_run_has_the_whole_budget(open_desk: Open) -> None:
    """Two runs of one budget per run are apart, and the budget knows of both."""
    desk = open_desk(talkative=True)
    budget = Budget(2 * CALL, store=desk.store, warn_at=None)
    spent: list[Decimal] = []
    for _ in range(2):
        with budget.run("doc") as run:
            client = guard(desk.openai(), agent="writer")
            client.chat.completions.create(**ASK)
            client.chat.completions.create(**ASK)
            with pytest.raises(BudgetExceeded):
                client.chat.completions.create(**ASK)
            spent.append(run.spent)

    assert [2 * CALL] * 2 == spent
    assert 4 * CALL == budget.spent == budget.report().total
    assert 0 == budget.remaining
    assert 2 == budget.report().refusals


def test_only_the_agent_that_is_broke_is_refused(open_desk: Open) -> None:
    """An agent at the end of its share is refused and the others go on; the run's end stops them all."""
    desk = open_desk(talkative=True)
    budget = Budget(4 * CALL, agents={"a": "25%", "b": "50%"}, store=desk.store, warn_at=None)
    with budget.run("doc") as run:
        a, b, other = guard(desk.openai(), agent="a"), guard(desk.openai(), agent="b"), guard(desk.openai())
        a.chat.completions.create(**ASK)
        with pytest.raises(BudgetExceeded, match='agent "a" in run "doc"'):
            a.chat.completions.create(**ASK)
        b.chat.completions.create(**ASK)
        # Who has no allotment spends from what the others leave.
        other.chat.completions.create(**ASK)
        b.chat.completions.create(**ASK)
        with pytest.raises(BudgetExceeded, match=r'^run "doc"'):
            other.chat.completions.create(**ASK)

    assert 4 * CALL == run.spent == desk.sim.bill.total
    assert {"a": CALL, "b": 2 * CALL, "unattributed": CALL} == run.report().by_agent
    assert ["a", "unattributed"] == [refusal.agent for refusal in run.refusals]
    with pytest.raises(BudgetExceeded, match='agent "a"'):
        run.raise_if_refused()


def test_a_refusal_speaks_of_one_call_as_one(open_desk: Open) -> None:
    """Figures in words are written as people write them."""
    desk = open_desk(talkative=True)
    client = guard(desk.openai(), Budget(calls=1, store=desk.store, warn_at=None), label="writer")
    client.chat.completions.create(**ASK)

    with pytest.raises(
        BudgetExceeded, match=r'^agent "writer" may spend 1 call and has 0 calls left \(1 call spent'
    ):
        client.chat.completions.create(**ASK)


@pytest.mark.parametrize("how", ["argument", "budget"])
def test_a_guard_around_a_guard_is_kept_in_its_store(open_desk: Open, how: str) -> None:
    """Who names a store for the inner client alone means both."""
    desk = open_desk(talkative=True)
    budget = Budget(1, store=desk.store) if how == "budget" else 1
    inner = guard(desk.openai(), budget, label="inner", store=desk.store if how == "argument" else None)
    outer = guard(guard(inner, label="middle"), budget="$0.50", label="outer")
    outer.chat.completions.create(**ASK)

    assert {"outer": CALL} == outer.bursar.report().by_agent
    assert CALL == inner.bursar.spent == outer.bursar.spent


def test_a_refusal_keeps_nothing_of_the_call(open_desk: Open) -> None:
    """A run remembers who was refused and why, and not what was at hand where the exception came up."""
    desk = open_desk(talkative=True)

    class Document:
        """What a refused call was about."""

    def ask() -> weakref.ref[Document]:
        document = Document()
        with pytest.raises(BudgetExceeded):
            guard(desk.openai(), agent="writer").chat.completions.create(**ASK)
        return weakref.ref(document)

    with Budget(calls=0, store=desk.store).run("doc") as run:
        about = ask()
        with pytest.raises(BudgetExceeded):
            run.raise_if_refused()
        gc.collect()

    assert about() is None
    assert [("writer", None)] == [(refusal.agent, refusal.__traceback__) for refusal in run.refusals]


def test_a_run_inside_another_pays_from_both(open_desk: Open) -> None:
    """The inner run's calls count for the outer one, which may be the one to refuse."""
    desk = open_desk(talkative=True)
    with (
        Budget(2 * CALL, store=desk.store, warn_at=None).run("outer") as outer,
        Budget(3 * CALL, warn_at=None).run("inner") as inner,
    ):
        client = guard(desk.openai(), agent="writer")
        client.chat.completions.create(**ASK)
        client.chat.completions.create(**ASK)
        with pytest.raises(BudgetExceeded, match=r'^run "outer"'):
            client.chat.completions.create(**ASK)

    assert 2 * CALL == outer.spent == inner.spent == outer.report().total
    assert 2 == outer.calls == inner.calls
    assert 1 == len(outer.refusals) == len(inner.refusals)


def test_agents_of_an_orchestrator_spend_apart_and_the_run_caps_their_sum(open_desk: Open) -> None:
    """One base client, a total, and a share of it for each role."""
    desk = open_desk(talkative=True)

    class Orchestrator:
        def __init__(self, base_client: Any, total: Decimal) -> None:
            self.base_client = base_client
            self.total = total

        def create_agent(self, role: str, budget_pct: Decimal) -> Any:
            return guard(self.base_client, budget=self.total * budget_pct, label=role)

    total = 10 * CALL
    with Budget(3 * CALL, store=desk.store, warn_at=None).run("orchestra") as run:
        orchestrator = Orchestrator(desk.openai(), total)
        planner = orchestrator.create_agent("planner", Decimal("0.1"))
        writer = orchestrator.create_agent("writer", Decimal("0.9"))
        planner.chat.completions.create(**ASK)
        with pytest.raises(BudgetExceeded, match='agent "planner"'):
            planner.chat.completions.create(**ASK)
        writer.chat.completions.create(**ASK)
        writer.chat.completions.create(**ASK)
        with pytest.raises(BudgetExceeded, match=r'^run "orchestra"'):
            writer.chat.completions.create(**ASK)

    assert (CALL, 2 * CALL, 3 * CALL) == (planner.bursar.spent, writer.bursar.spent, run.spent)
    assert {"planner": CALL, "writer": 2 * CALL} == run.report().by_agent


def test_a_budget_within_another_pays_from_both(open_desk: Open) -> None:
    """The budget around counts the spending of every run inside, and refuses for all of them."""
    desk = open_desk(talkative=True)
    org = Budget(3 * CALL, per="day", name="org", store=desk.store, warn_at=None)
    done: list[str] = []
    for workflow in ("one", "two"):
        with Budget(2 * CALL, within=org, warn_at=None).run(workflow):
            client = guard(desk.openai(), agent="writer")
            for _ in range(2):
                try:
                    client.chat.completions.create(**ASK)
                except BudgetExceeded as exceeded:
                    done.append(exceeded.details.account)

    assert ['budget "org" per day'] == done
    assert (3 * CALL, 0) == (org.spent, org.remaining)


def test_a_recorded_cost_counts(open_desk: Open) -> None:
    """What a tool cost is booked on the run and its agent, and leaves less for calls."""
    desk = open_desk()
    with Budget("$1", agents={"a": "50%"}, store=desk.store, warn_at=None).run("doc") as run:
        run.record("$0.499", agent="a", what="search")
        client = guard(desk.openai(), agent="a")
        with pytest.raises(BudgetExceeded):
            client.chat.completions.create(**(ASK | {"max_tokens": 200}))

    assert Decimal("0.499") == run.spent == client.bursar.spent
    assert Decimal("0.499") == run.report().by_model["search"]


def test_concurrent_runs_are_apart(open_desk: Open, arush: RushTasks) -> None:
    """Runs of tasks that go on at once each pay from their own budget, with gather, groups and threads inside."""
    desk = open_desk(talkative=True)
    budget = Budget(3 * CALL, store=desk.store, warn_at=None)
    tasks, blocking = guard(desk.aopenai(), label="task"), guard(desk.openai(), label="thread")

    async def one(index: int) -> tuple[Decimal, int]:
        async with budget.run(f"doc-{index}") as run:
            await asyncio.gather(tasks.chat.completions.create(**ASK))
            async with asyncio.TaskGroup() as group:
                group.create_task(tasks.chat.completions.create(**ASK))
            await asyncio.to_thread(blocking.chat.completions.create, **ASK)
            with pytest.raises(BudgetExceeded):
                await tasks.chat.completions.create(**ASK)
            return run.spent, run.calls

    done = desk.run(arush(one, 6))

    assert [(3 * CALL, 3)] * 6 == done.answers
    assert 18 * CALL == budget.spent


def test_threads_pay_from_the_run_that_their_client_was_made_in(open_desk: Open) -> None:
    """A pool's threads and plain threads see no run; the client that was made inside it remembers."""
    desk = open_desk(talkative=True)
    with Budget("$1", store=desk.store).run("doc") as run:
        client = guard(desk.openai(), label="writer")
        with ThreadPoolExecutor(2) as pool:
            for asked in [pool.submit(client.chat.completions.create, **ASK) for _ in range(2)]:
                asked.result()
        thread = threading.Thread(target=lambda: client.chat.completions.create(**ASK))
        thread.start()
        thread.join()

    assert (3 * CALL, 3) == (run.spent, run.calls)


def test_a_client_made_before_the_run_enforces_its_own_budget_in_threads(open_desk: Open) -> None:
    """Where no run can be seen from a thread, the client's own budget holds and its calls are attributed to it."""
    desk = open_desk(talkative=True)
    client = guard(desk.openai(), Budget(CALL, store=desk.store, warn_at=None), label="writer")
    with Budget("$1", store=desk.store).run("doc") as run, ThreadPoolExecutor(1) as pool:
        pool.submit(lambda: client.chat.completions.create(**ASK)).result()
        with pytest.raises(BudgetExceeded):
            pool.submit(lambda: client.chat.completions.create(**ASK)).result()

    assert (0, CALL) == (run.spent, client.bursar.spent)
    assert {"writer": CALL} == client.bursar.report().by_agent


def test_a_budget_of_calls_alone_reports_what_it_spent(desk: Desk) -> None:
    """Dollars are counted although only calls are limited."""
    with Budget(calls=1, store=desk.store, warn_at=None).run("doc") as run:
        guard(desk.openai(), agent="writer").chat.completions.create(**ASK)

    assert desk.sim.bill.total == run.spent
    assert run.remaining is None


def test_memory_stays_flat_over_many_runs() -> None:
    """A budget remembers what all its runs spent, and keeps the newest alone."""
    budget = Budget("$1", agents={"writer": "50%"}, store=MemoryStore())

    def runs(count: int) -> None:
        for _ in range(count):
            with budget.run("doc") as run:
                run.record("$0.001", agent="writer")

    # From the first, so that what goes is seen to go.
    tracemalloc.start()
    # Of the newest 10,000, what each came to is kept for reports.
    runs(11_000)
    gc.collect()
    before, _ = tracemalloc.get_traced_memory()
    runs(2_000)
    gc.collect()
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert 13 == budget.spent
    assert 1_000 == len(budget.runs)
    # A table may have grown meanwhile.
    assert (after - before) / 2_000 < 1_000


def test_a_long_run_keeps_no_run_inside_it(desk: Desk) -> None:
    """Of the runs inside a run only the ids are kept, and reports cover them."""
    with Budget("$1", store=desk.store).run("outer") as outer:
        for _ in range(3):
            with Budget("$1").run("inner") as inner:
                inner.record("$0.10")

    assert Decimal("0.3") == outer.report().total == outer.spent
    assert 4 == len(outer.family)
    assert 4 == len(desk.store.runs(Where()))


def test_a_run_in_an_async_generator_ends_wherever_that_ends(desk: Desk) -> None:
    """A run may begin in one task and end in another, as in fixtures and streaming web handlers; nothing leaks."""
    budget = Budget("$1", store=desk.store)

    async def answer() -> AsyncGenerator[Any]:
        with budget.run("chat"), agent("writer"):
            stream = await guard(desk.aopenai()).chat.completions.create(**ASK, stream=True)
            async for chunk in stream:
                yield chunk

    async def main() -> Run | None:
        chunks = answer()

        async def step() -> Any:
            return await anext(chunks)

        await asyncio.create_task(step())
        await asyncio.create_task(step())
        await chunks.aclose()
        await guard(desk.aopenai(), store=desk.store).chat.completions.create(**ASK)
        return current_run.get()

    assert desk.run(main()) is None
    (run,) = budget.runs
    assert 1 == run.calls
    (kept,) = desk.store.runs(Where(run_ids=(run.id,)))
    assert ("chat", True) == (kept.run.workflow, kept.run.ended_s is not None)
    assert {"writer", "unattributed"} == set(Report.of(desk.store, Where()).by_agent)


def test_a_run_that_ends_in_a_copy_of_its_context_is_left_there(desk: Desk) -> None:
    """Where a run is ended in a context copied from inside it, later calls there do not pay from it."""
    budget = Budget("$1", store=desk.store)

    async def main() -> tuple[Run | None, Run | None]:
        async def end() -> Run | None:
            run.__exit__(None, None, None)
            return current_run.get()

        run = budget.run().__enter__()
        return await asyncio.create_task(end()), current_run.get()

    there, here = desk.run(main())

    assert there is None
    assert here is not None


def test_a_refusal_comes_back_whole_from_another_process(desk: Desk) -> None:
    """A refusal survives being copied and pickled, as a pool of processes does with it."""
    client = guard(desk.openai(), Budget("$0", store=desk.store), label="writer")
    with pytest.raises(BudgetExceeded) as caught:
        client.chat.completions.create(**ASK)

    pickled: Any = pickle.loads(pickle.dumps(caught.value))  # noqa: S301 (our own)
    for again in (pickled, copy.copy(caught.value)):
        assert type(again) is BudgetExceeded
        assert str(caught.value) == str(again)
        assert vars(caught.value) == vars(again)
