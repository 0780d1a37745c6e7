"""What CrewAI does with a crew beside a kickoff: training, replaying and testing it is paid as well."""

from __future__ import annotations

from pathlib import Path

import pytest
from crewai import Crew, Task
from tests.integrations.crewai.conftest import agent, all_entries, openai_llm

from bursar import Budget, BudgetExceeded
from bursar.simulator import Simulator
from bursar.stores.memory import MemoryStore
from bursar_crewai import attach_budget


@pytest.fixture(autouse=True)
def answered(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Whoever is asked for an opinion has one; what CrewAI writes is written to the test's folder."""
    monkeypatch.setattr("builtins.input", lambda *_: "good")
    monkeypatch.chdir(tmp_path)


def team(sim: Simulator, budget: Budget) -> Crew:
    """A crew of two, with a budget."""
    agents = [agent(role, openai_llm(sim)) for role in ("A", "B")]
    tasks = [Task(description=f"Say {one.role}.", expected_output="A word.", agent=one) for one in agents]
    return attach_budget(Crew(agents=agents, tasks=tasks), budget)


def test_replay(sim: Simulator, store: MemoryStore) -> None:
    """A task that is done once more pays from the crew's budget, in a run of its own."""
    made = team(sim, Budget(5, store=store))
    made.kickoff()
    made.replay(task_id=str(made.tasks[1].id))
    entries = all_entries(store)

    assert ["A", "B", "B"] == [entry.subject.agent.name for entry in entries]
    assert 2 == len({entry.subject.run_id for entry in entries})
    assert {"crew"} == {entry.subject.workflow for entry in entries}
    assert sim.wait_idle()
    assert sum(entry.cost_nanousd or 0 for entry in entries) == int(sim.bill.total.scaleb(9))


def test_replay_is_refused(sim: Simulator, store: MemoryStore) -> None:
    """So it is refused where the budget says so."""
    made = team(sim, Budget(calls=2, per="total", store=store))
    made.kickoff()
    with pytest.raises(BudgetExceeded):
        made.replay(task_id=str(made.tasks[1].id))

    assert 2 == sim.arrived


def test_train(sim: Simulator, store: MemoryStore) -> None:
    """What an agent learns from what was said of it is summed up by its own LLM, after the kickoffs."""
    made = team(sim, Budget(5, store=store))
    made.train(n_iterations=1, filename="trained.pkl")
    entries = all_entries(store)

    assert len(entries) == sim.arrived
    assert ["A", "B"] == [entry.subject.agent.name for entry in entries[-2:]]
    assert sim.wait_idle()
    assert sum(entry.cost_nanousd or 0 for entry in entries) == int(sim.bill.total.scaleb(9))


def test_test(sim: Simulator, store: MemoryStore) -> None:
    """The LLM that judges a crew that is tried is paid by the crew's budget."""
    made = team(sim, Budget(5, store=store))
    made.test(n_iterations=1, eval_llm=openai_llm(sim))
    entries = all_entries(store)

    assert len(entries) == sim.arrived
    assert {"A", "B"} < {entry.subject.agent.name for entry in entries}
    assert sim.wait_idle()
    assert sum(entry.cost_nanousd or 0 for entry in entries) == int(sim.bill.total.scaleb(9))
