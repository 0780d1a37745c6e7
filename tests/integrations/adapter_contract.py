"""
The facts that every adapter is held to: the same calls through any framework leave the same ledger.

A test class of an adapter fills in the hooks and inherits the rest:

```python
class TestLangChain(AdapterContract):
    @pytest.fixture
    def cast(self, sim: Simulator) -> Cast: ...
```
"""

# What an SDK returns depends on unpacked options, which its overloads do not follow.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownLambdaType=false

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from decimal import Decimal
from typing import Any

import pytest

from bursar import Budget, BudgetExceeded
from bursar.entry import Entry
from bursar.run import Run
from bursar.simulator import Fault, Simulator
from bursar.store import Where
from bursar.stores.memory import MemoryStore

AGAIN = Fault.status(500, retry_after_s=0.001)


class Cast(ABC):
    """
    A framework and its adapter, as the script needs them; one for each test.

    Every call goes to `model`, or to `cheaper_model` after a downgrade, at the simulator that the cast was made for,
    and is paid from the run around it.
    """

    model: str
    cheaper_model: str

    @abstractmethod
    def ask(self, agent: str, text: str) -> Any:  # the framework's own answer
        """Make one whole call as *agent*, and return the answer or raise what the framework raises."""

    @abstractmethod
    def stream(self, agent: str, text: str, *, leave_after: int | None = None) -> None:
        """Make one streamed call as *agent* and read it, or only so many events of it."""

    @abstractmethod
    def ask_nested(self, agents: list[str], text: str) -> Any:
        """Make one call as the last of *agents*, each of which runs under the one before."""

    def try_all(self, agents: list[str], text: str) -> list[Any]:
        """Make a call as each of *agents* at the same time, and return the answers, and a refusal where one is."""
        with ThreadPoolExecutor(len(agents)) as pool:
            contexts = [copy_context() for _ in agents]
            waiting = [
                pool.submit(context.run, self.ask, agent, text)
                for context, agent in zip(contexts, agents, strict=True)
            ]
        return [future.exception() or future.result() for future in waiting]

    @abstractmethod
    def close(self) -> None:
        """Give connections back."""


class AdapterContract(ABC):
    """What holds for every adapter; a subclass drops none of it and overrides none of it."""

    @pytest.fixture
    def sim(self) -> Iterator[Simulator]:
        """The provider that the cast calls."""
        with Simulator(output_tokens=20) as sim:
            yield sim

    @pytest.fixture
    @abstractmethod
    def cast(self, sim: Simulator) -> Any:
        """A `Cast` whose clients retry at most three times; close it after the test."""

    @pytest.fixture
    def store(self) -> MemoryStore:
        """An empty store."""
        return MemoryStore()

    def test_nothing_of_the_contract_is_dropped(self) -> None:
        """A subclass may add facts; it may not take one away or put another in its place."""
        contract = {name for name in vars(AdapterContract) if name.startswith("test_")}
        changed = {
            name for name in contract if getattr(type(self), name) is not getattr(AdapterContract, name)
        }

        assert changed == set()

    def test_answer(self, cast: Cast, sim: Simulator, store: MemoryStore) -> None:
        """A call is one entry, of the agent that made it, at what the provider bills."""
        with Budget(5, store=store).run("job") as run:
            cast.ask("writer", "hello")
        (entry,) = entries_of(run)

        assert (entry.subject.agent.name, entry.status, entry.source) == ("writer", "ok", "priced")
        assert entry.subject.workflow == "job"
        assert_settled(run, sim)

    def test_error(self, cast: Cast, sim: Simulator, store: MemoryStore) -> None:
        """An error of the provider reaches the caller, costs nothing and holds nothing."""
        sim.fail_next(Fault.status(400))
        with Budget(5, store=store).run("job") as run, pytest.raises(Exception, match="400"):
            cast.ask("writer", "hello")

        assert [entry.status for entry in entries_of(run)] == ["error"]
        assert_settled(run, sim)

    def test_stream(self, cast: Cast, sim: Simulator, store: MemoryStore) -> None:
        """A stream that is read to its end costs what the provider bills."""
        with Budget(5, store=store).run("job") as run:
            cast.stream("writer", "hello")

        assert [(entry.status, entry.source) for entry in entries_of(run)] == [("ok", "priced")]
        assert_settled(run, sim)

    def test_abort(self, cast: Cast, sim: Simulator, store: MemoryStore) -> None:
        """A stream that is left early is paid, once, and holds nothing."""
        with Budget(5, store=store).run("job") as run:
            cast.stream("writer", "hello", leave_after=2)
        (entry,) = entries_of(run)

        assert entry.status in {"aborted", "ok"}
        assert 0 < (entry.cost_nanousd or 0) <= entry.bound_nanousd
        assert run.reserved == 0

    def test_parallel(self, cast: Cast, sim: Simulator, store: MemoryStore) -> None:
        """Calls that are made at the same time are booked each to its agent."""
        names = [f"researcher-{index}" for index in range(5)]
        with Budget(5, store=store).run("job") as run:
            cast.try_all(names, "hello")

        assert set(run.report().by_agent) == set(names)
        assert run.calls == sim.arrived == 5
        assert_settled(run, sim)

    def test_cap_under_load(self, cast: Cast, sim: Simulator, store: MemoryStore) -> None:
        """Of calls at the same time exactly as many are sent as there is budget for."""
        with Budget(calls=3, store=store).run("job") as run:
            results = cast.try_all(["a", "b", "c", "d", "e"], "hello")

        assert [isinstance(result, BudgetExceeded) for result in results].count(True) == 2
        assert sim.arrived == 3
        assert_settled(run, sim)

    def test_nested_agents(self, cast: Cast, sim: Simulator, store: MemoryStore) -> None:
        """A call of an agent under another is booked to the inner one, whose path names both."""
        with Budget(5, store=store).run("job") as run:
            cast.ask_nested(["planner", "researcher"], "hello")
        (entry,) = entries_of(run)

        assert entry.subject.agent.name == "researcher"
        assert entry.subject.agent.path == "planner/researcher"
        assert_settled(run, sim)

    def test_refusal(self, cast: Cast, sim: Simulator, store: MemoryStore) -> None:
        """A call that no budget is left for is not sent, and only its own agent is stopped."""
        with Budget(5, agents={"writer": "$0.000000001", "reviewer": "50%"}, store=store).run("job") as run:
            with pytest.raises(BudgetExceeded) as caught:
                cast.ask("writer", "hello")
            cast.ask("reviewer", "hello")

        assert caught.value.agent == "writer"
        assert [refusal.agent for refusal in run.refusals] == ["writer"]
        assert [entry.status for entry in entries_of(run)] == ["refused", "ok"]
        assert_settled(run, sim)

    def test_downgrade(self, cast: Cast, sim: Simulator, store: MemoryStore) -> None:
        """Past its threshold a budget sends calls to the cheaper model, and the ledger names that."""
        ladder = {cast.model: cast.cheaper_model}
        with Budget(5, downgrade=ladder, downgrade_at=0.5, store=store).run("job") as run:
            run.record(Decimal(3), agent="writer")
            cast.ask("writer", "hello")
        entry = entries_of(run)[-1]

        assert entry.subject.model == cast.model
        assert entry.model.startswith(cast.cheaper_model)
        assert sim.requests[-1].model == cast.cheaper_model

    def test_retries(self, cast: Cast, sim: Simulator, store: MemoryStore) -> None:
        """Attempts below the adapter are entries of one call."""
        sim.fail_next(AGAIN, AGAIN)
        with Budget(5, store=store).run("job") as run:
            cast.ask("writer", "hello")
        found = [(entry.attempt, entry.status) for entry in entries_of(run)]

        assert [(1, "error"), (2, "error"), (3, "ok")] == found
        assert run.calls == 1
        assert_settled(run, sim)

    def test_attempts_are_capped(self, cast: Cast, sim: Simulator, store: MemoryStore) -> None:
        """A cascade of retries ends where the budget says."""
        sim.fail_next(AGAIN, AGAIN, AGAIN, AGAIN)
        with Budget(5, attempts=2, store=store).run("job") as run, pytest.raises(BudgetExceeded):
            cast.ask("writer", "hello")

        assert sim.arrived == 2
        assert_settled(run, sim)

    def test_two_budgets_count_once(self, cast: Cast, sim: Simulator, store: MemoryStore) -> None:
        """A run inside another is paid from both, and entered once."""
        with Budget(5, store=store).run("outer") as outer, Budget(1, store=store).run("inner") as inner:
            cast.ask("writer", "hello")

        assert inner.spent == outer.spent == sim.bill.total
        assert len(list(store.entries(Where()))) == 1


def entries_of(run: Run) -> list[Entry]:
    """The run's lines in the ledger, oldest first."""
    return list(run.store.entries(Where(run_ids=tuple(run.family))))


def assert_settled(run: Run, sim: Simulator) -> None:
    """Nothing is held any more, and what was spent is what the provider billed."""
    assert sim.wait_idle()
    assert run.reserved == 0
    assert run.spent == sim.bill.total
