"""What is refused is not sent, and stops what it should and no more (scenarios 1 to 9, 13, 19, 24)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest
from crewai import Crew, Process, Task
from crewai.flow.flow import Flow, listen, start
from crewai.hooks import HookAborted
from crewai.tools import tool
from pydantic import BaseModel
from tests.integrations.crewai.conftest import (
    Scripted,
    agent,
    agents_of,
    all_entries,
    crew,
    openai_llm,
)

from bursar import Budget, BudgetExceeded
from bursar.simulator import Answer, Simulator, ToolCall
from bursar.stores.memory import MemoryStore
from bursar_crewai import CrewBudgetExceeded, attach_budget, budget_of

NOTHING = "$0.000000001"


class City(BaseModel):
    """What a structured answer is."""

    name: str


def test_each_role_pays_its_own(sim: Simulator, store: MemoryStore) -> None:
    """1: three agents share one LLM; each is booked what it used, where CrewAI's own count is three times that."""
    llm = openai_llm(sim)
    team = attach_budget(crew(*(agent(role, llm) for role in ("A", "B", "C"))), Budget(5, store=store))
    output = team.kickoff()

    assert agents_of(all_entries(store)) == ["A", "B", "C"]
    assert sim.wait_idle()
    assert budget_of(team).spent == sim.bill.total  # type: ignore[union-attr]
    assert len({entry.subject.run_id for entry in all_entries(store)}) == 1
    assert output.token_usage.total_tokens >= sum(entry.usage.total_tokens for entry in all_entries(store))


def test_a_crew_is_stopped(sim: Simulator, store: MemoryStore) -> None:
    """2: with budget for two calls the third is not sent; what was done is in the exception."""
    llm = openai_llm(sim)
    team = attach_budget(crew(*(agent(role, llm) for role in ("A", "B", "C"))), Budget(calls=2, store=store))
    with pytest.raises(BudgetExceeded) as caught:
        team.kickoff()
    exceeded = caught.value

    assert isinstance(exceeded, HookAborted)
    assert isinstance(exceeded, CrewBudgetExceeded)
    assert sim.arrived == 2
    assert exceeded.partial is not None
    assert [output.agent for output in exceeded.partial.tasks_output] == ["A", "B"]
    assert exceeded.partial.raw
    assert exceeded.run is not None
    assert exceeded.run.calls == 2
    assert exceeded.run.reserved == 0


async def _stream(team: Crew) -> Any:
    streaming: Any = await team.kickoff_async()
    async for _ in streaming:
        pass
    return streaming.result


def _stream_sync(team: Crew) -> Any:
    streaming: Any = team.kickoff()
    for _ in streaming:
        pass
    return streaming.result


KICKOFFS: dict[str, Callable[[Crew], Any]] = {
    "kickoff": lambda team: team.kickoff(),
    "kickoff_async": lambda team: asyncio.run(team.kickoff_async()),
    "akickoff": lambda team: asyncio.run(team.akickoff()),
    "kickoff_for_each": lambda team: team.kickoff_for_each([{}]),
    "kickoff_for_each_async": lambda team: asyncio.run(team.kickoff_for_each_async([{}])),
}


@pytest.mark.parametrize("way", KICKOFFS)
def test_refused_before_anything_is_sent(way: str, sim: Simulator, store: MemoryStore) -> None:
    """3: every way to kick a crew off raises at once, asks nobody again, and sends nothing."""
    worker = agent("A", openai_llm(sim))
    team = attach_budget(crew(worker), Budget(NOTHING, store=store))
    began_s = time.monotonic()
    with pytest.raises(CrewBudgetExceeded):
        KICKOFFS[way](team)

    assert sim.arrived == 0
    assert [entry.status for entry in all_entries(store)] == ["refused"]
    assert time.monotonic() - began_s < 20


@pytest.mark.parametrize("is_async", [False, True])
def test_streaming_crews(is_async: bool, sim: Simulator, store: MemoryStore) -> None:
    """3: of a crew that streams, the refusal comes when it is read; one that is paid costs what is billed."""
    llm = openai_llm(sim)
    refused = attach_budget(crew(agent("A", llm), stream=True), Budget(NOTHING, store=store))
    with pytest.raises(CrewBudgetExceeded):
        asyncio.run(_stream(refused)) if is_async else _stream_sync(refused)
    assert sim.arrived == 0

    paid = attach_budget(crew(agent("A", llm), stream=True), Budget(5, store=store))
    asyncio.run(_stream(paid)) if is_async else _stream_sync(paid)
    assert sim.wait_idle()
    assert budget_of(paid).spent == sim.bill.total > 0  # type: ignore[union-attr]


@pytest.mark.parametrize("is_async", [False, True])
def test_agents_alone(is_async: bool, sim: Simulator, store: MemoryStore) -> None:
    """3: the same of an agent that is kicked off alone."""
    alone = attach_budget(agent("A", openai_llm(sim)), Budget(calls=1, store=store))
    kick = (lambda: asyncio.run(alone.kickoff_async("hi"))) if is_async else (lambda: alone.kickoff("hi"))
    kick()
    kick()  # each kickoff is a run of its own
    with Budget(NOTHING, store=store).run("job"), pytest.raises(CrewBudgetExceeded):
        kick()

    assert sim.arrived == 2
    assert agents_of(all_entries(store)) == ["A", "A"]


@pytest.mark.parametrize("limit", [0, 1])
def test_llms_of_the_users_own(limit: int, store: MemoryStore) -> None:
    """4: an LLM of the user's own class is refused as any other."""
    llm = Scripted.of()
    team = attach_budget(crew(agent("A", llm), agent("B", llm)), Budget(calls=limit, store=store))
    with pytest.raises(CrewBudgetExceeded):
        team.kickoff()

    assert len(llm.sent) == limit


@tool
def look(topic: str) -> str:
    """Look it up."""
    return topic


def test_forced_answers(store: MemoryStore) -> None:
    """4: the answer that is forced when an agent has asked too often is paid, and booked to the agent."""
    asks = 'Thought: I look.\nAction: look\nAction Input: {"topic": "x"}'
    llm = Scripted.of(asks, asks, asks, "done")
    worker = agent("A", llm, tools=[look], max_iter=2)
    attach_budget(team := crew(worker), Budget(5, store=store)).kickoff()

    assert set(agents_of(all_entries(store))) == {"A"}
    assert len(all_entries(store)) == len(llm.sent) >= 3
    assert budget_of(team).reserved == 0  # type: ignore[union-attr]


def test_long_results_are_summed_up(sim: Simulator, store: MemoryStore) -> None:
    """5: what CrewAI asks to keep within a model's window is paid as well."""

    @tool
    def long_text() -> str:
        """Read it."""
        return "word " * 60_000

    asks = Answer(tool_calls=(ToolCall(name="long_text", arguments={}),))
    sim.script("A", asks, Answer(text="done"), system="You are A")
    llm = openai_llm(sim, model="gpt-4")
    worker = agent("A", llm, tools=[long_text])
    team = attach_budget(crew(worker), Budget(50, store=store))
    team.kickoff()

    assert sim.wait_idle()
    assert budget_of(team).spent == sim.bill.total  # type: ignore[union-attr]
    assert set(agents_of(all_entries(store))) == {"A"}
    assert budget_of(team).calls == sim.bill.calls  # type: ignore[union-attr]


def _hierarchy(sim: Simulator, budget: Budget, *, share_llm: bool = False) -> Crew:
    ask = ToolCall(
        name="delegate_work_to_coworker",
        arguments={"task": "Say hello", "context": "none", "coworker": "Worker"},
    )
    sim.script("manager", Answer(tool_calls=(ask,)), Answer(text="all done"), system="You are Lead")
    llm = openai_llm(sim)
    worker = agent("Worker", llm)
    manager = agent("Lead", llm if share_llm else openai_llm(sim), allow_delegation=True)
    task = Task(description="Say hello.", expected_output="A word.")
    team = Crew(agents=[worker], tasks=[task], process=Process.hierarchical, manager_agent=manager)
    return attach_budget(team, budget)


def test_one_agent_is_stopped_by_its_own_cap(sim: Simulator, store: MemoryStore) -> None:
    """6: a worker without budget is an error to its manager, who goes on."""
    team = _hierarchy(sim, Budget(5, agents={"Worker": NOTHING}, store=store))
    output = team.kickoff()

    assert "all done" in output.raw
    assert agents_of(all_entries(store)) == ["Lead", "Lead"]
    assert any("Worker" in str(request.body) and "may spend" in str(request.body) for request in sim.requests)


def test_a_managers_crew_is_stopped(sim: Simulator, store: MemoryStore) -> None:
    """7: where the whole crew has nothing left, it ends; the manager does not talk it away."""
    team = _hierarchy(sim, Budget(calls=1, store=store))
    with pytest.raises(CrewBudgetExceeded):
        team.kickoff()

    assert sim.arrived == 1


@pytest.mark.parametrize("share_llm", [False, True])
def test_workers_are_booked(share_llm: bool, sim: Simulator, store: MemoryStore) -> None:
    """A worker that a manager asks is booked below it, whoever shares an LLM with whom."""
    _hierarchy(sim, Budget(5, store=store), share_llm=share_llm).kickoff()

    assert agents_of(all_entries(store)) == ["Lead", "Lead/Worker", "Lead"]


def test_an_agents_cap_in_a_sequence(sim: Simulator, store: MemoryStore) -> None:
    """An agent whose own cap is spent ends its task with an answer that says why; the others go on."""
    llm = openai_llm(sim)
    budget = Budget(5, agents={"B": NOTHING}, store=store)
    team = attach_budget(crew(*(agent(role, llm) for role in ("A", "B", "C"))), budget)
    output = team.kickoff()

    assert [("Stopped by the budget" in done.raw) for done in output.tasks_output] == [False, True, False]
    assert agents_of(all_entries(store)) == ["A", "C"]


def test_an_agents_cap_and_a_structured_answer(sim: Simulator, store: MemoryStore) -> None:
    """A structured answer cannot say why: the crew stops."""
    worker = agent("A", openai_llm(sim))
    task = Task(description="Where?", expected_output="A city.", agent=worker, output_pydantic=City)
    team = Crew(agents=[worker], tasks=[task])
    attach_budget(team, Budget(5, agents={"A": NOTHING}, store=store))
    with pytest.raises(CrewBudgetExceeded):
        team.kickoff()

    assert sim.arrived == 0


@pytest.mark.parametrize("way", ["kickoff", "akickoff"])
def test_tasks_at_the_same_time(way: str, sim: Simulator, store: MemoryStore) -> None:
    """8: of three tasks at the same time two are sent, and nothing hangs or stays held."""
    llm = openai_llm(sim)
    workers = [agent(role, llm) for role in ("A", "B", "C")]
    tasks = [
        Task(description="Say hello.", expected_output="A word.", agent=each, async_execution=True)
        for each in workers
    ]
    last = Task(description="Sum up.", expected_output="A word.", agent=workers[0])
    team = attach_budget(Crew(agents=workers, tasks=[*tasks, last]), Budget(calls=2, store=store))
    with pytest.raises(CrewBudgetExceeded):
        KICKOFFS[way](team)

    assert sim.arrived == 2
    assert budget_of(team).reserved == 0  # type: ignore[union-attr]


def test_for_each(sim: Simulator, store: MemoryStore) -> None:
    """9: copies of a crew pay from one budget; each is a run of its own."""
    team = crew(agent("A", openai_llm(sim)))
    attach_budget(team, Budget(calls=3, per="total", name="all", store=store))
    with pytest.raises(CrewBudgetExceeded):
        asyncio.run(team.kickoff_for_each_async([{}] * 5))

    assert sim.wait_idle()
    assert sim.arrived == 3
    assert len({entry.subject.run_id for entry in all_entries(store) if entry.status == "ok"}) == 3


def test_two_kickoffs_at_the_same_time(sim: Simulator, store: MemoryStore) -> None:
    """10: the same crew twice at the same time is two runs of the same agents."""
    llm = openai_llm(sim)
    teams = [attach_budget(crew(agent("A", llm), name="tides"), Budget(5, store=store)) for _ in range(2)]

    async def main() -> None:
        await asyncio.gather(*(team.kickoff_async() for team in teams))

    asyncio.run(main())

    entries = all_entries(store)
    assert len({entry.subject.run_id for entry in entries}) == 2
    assert {(entry.subject.agent.name, entry.subject.workflow) for entry in entries} == {("A", "tides")}


def test_flows(sim: Simulator, store: MemoryStore) -> None:
    """11: two crews, an LLM and an agent in one flow are one run, each booked to its own."""
    llm = openai_llm(sim)

    class Report(Flow):  # type: ignore[type-arg]
        @start()
        def first(self) -> Any:
            return crew(agent("X", llm)).kickoff()

        @listen(first)
        def second(self) -> Any:
            llm.call("hello")
            return agent("Solo", llm).kickoff("hello")

        @listen(second)
        def third(self) -> Any:
            return crew(agent("Y", llm)).kickoff()

    attach_budget(Report(), Budget(5, store=store)).kickoff()

    entries = all_entries(store)
    assert agents_of(entries) == ["X", "unattributed", "Solo", "Y"]
    assert {entry.subject.workflow for entry in entries} == {"Report"}
    assert len({entry.subject.run_id for entry in entries}) == 1
    assert sim.wait_idle()
    assert sum(entry.cost_nanousd or 0 for entry in entries) == int(sim.bill.total.scaleb(9))


def test_a_run_around(sim: Simulator, store: MemoryStore) -> None:
    """`with budget.run(...)` around any CrewAI code is enough."""
    llm = openai_llm(sim)
    with Budget(calls=2, store=store).run("nightly") as run:
        crew(agent("A", llm)).kickoff()
        llm.call("hello")
        with pytest.raises(CrewBudgetExceeded):
            agent("B", llm).kickoff("hello")

    assert run.calls == 2
    assert set(run.report().by_agent) == {"A", "unattributed", "B"}


def test_nobody_pays(sim: Simulator, store: MemoryStore) -> None:
    """Without a budget everything is as it was."""
    attach_budget(crew(agent("B", openai_llm(sim))), Budget(calls=0, store=store))
    crew(agent("A", openai_llm(sim))).kickoff()

    assert sim.arrived == 1
    assert all_entries(store) == []


def test_budgets_are_kept_apart(sim: Simulator, store: MemoryStore) -> None:
    """21: two crews in one process do not see each other's budgets; one attached late still counts."""
    llm = openai_llm(sim)
    first, second = (crew(agent(role, llm)) for role in ("A", "B"))
    first.kickoff()
    attach_budget(first, Budget(calls=0, store=store))
    attach_budget(second, Budget(calls=5, store=store))
    second.kickoff()
    with pytest.raises(CrewBudgetExceeded):
        first.kickoff()

    assert sim.arrived == 2
    assert agents_of(all_entries(store)) == ["B"]


def test_tools_that_ask(sim: Simulator, store: MemoryStore) -> None:
    """24: what a tool asks of an LLM is its agent's; refused there, the crew still ends at its agent's next call."""
    llm = openai_llm(sim)

    @tool
    def ask(topic: str) -> str:
        """Ask."""
        return llm.call(topic)

    sim.script("A", Answer(tool_calls=(ToolCall(name="ask", arguments={"topic": "x"}),)), system="You are A")
    team = attach_budget(crew(agent("A", llm, tools=[ask])), Budget(calls=1, store=store))
    with pytest.raises(CrewBudgetExceeded):
        team.kickoff()

    assert sim.arrived == 1
    assert {entry.subject.agent.name for entry in all_entries(store)} == {"A"}
