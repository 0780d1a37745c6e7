"""LLMs of CrewAI's that go through LiteLLM: paid where CrewAI calls them, by the usage that it reports."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from crewai import LLM, Crew, Task
from pydantic import BaseModel
from tests.integrations.crewai.conftest import agent, all_entries

from bursar import Budget
from bursar.simulator import Answer, Fault, Simulator
from bursar.stores.memory import MemoryStore
from bursar_crewai import CrewBudgetExceeded, attach_budget, budget_of

pytest.importorskip("litellm")


class City(BaseModel):
    """What an answer holds."""

    name: str


def lite_llm(sim: Simulator, **options: Any) -> Any:
    """A real LLM of CrewAI's over LiteLLM that calls the simulator."""
    wanted = {"model": "openai/gpt-4o-mini", "base_url": sim.openai_base_url, "max_tokens": 100, **options}
    return LLM(is_litellm=True, api_key="sk-planted", **wanted)


def asking(llm: Any, *, tasks: int = 1, **options: Any) -> Crew:
    """A crew whose one agent has as many tasks."""
    one = agent("A", llm)
    each = [Task(description="d", expected_output="e", agent=one, **options) for _ in range(tasks)]
    return Crew(agents=[one], tasks=each)


@pytest.mark.parametrize("options", [{}, {"stream": True}, {"max_tokens": None}], ids=str)
def test_answers(options: dict[str, Any], sim: Simulator, store: MemoryStore) -> None:
    """14: each call is booked at what the provider bills, its cached tokens as such, streamed or not."""
    sim.script("A", Answer(input_tokens=100, cached_tokens=40), system="You are A")
    team = attach_budget(asking(lite_llm(sim, **options)), Budget(5, store=store))
    team.kickoff()
    (entry,) = all_entries(store)

    assert ("A", "ok", "priced") == (entry.subject.agent.name, entry.status, entry.source)
    assert (100, 40) == (entry.usage.input_tokens, entry.usage.cache_read_tokens)
    assert sim.wait_idle()
    assert entry.cost_nanousd == int(sim.bill.total.scaleb(9))


def test_anthropic(sim: Simulator, store: MemoryStore) -> None:
    """A model of another provider is priced as that one's."""
    llm = lite_llm(sim, model="anthropic/claude-sonnet-4-6", base_url=sim.anthropic_base_url)
    team = attach_budget(asking(llm), Budget(5, store=store))
    team.kickoff()

    assert sim.wait_idle()
    assert budget_of(team).spent == sim.bill.total > 0  # type: ignore[union-attr]
    assert ["anthropic"] == [entry.subject.provider for entry in all_entries(store)]


def test_async(sim: Simulator, store: MemoryStore) -> None:
    """So is what is awaited."""
    team = attach_budget(asking(lite_llm(sim)), Budget(5, store=store))
    asyncio.run(team.akickoff())

    assert sim.wait_idle()
    assert budget_of(team).spent == sim.bill.total > 0  # type: ignore[union-attr]


def test_a_crew_is_stopped(sim: Simulator, store: MemoryStore) -> None:
    """Past its limit nothing more is sent, and the crew stops."""
    team = attach_budget(asking(lite_llm(sim), tasks=4), Budget(calls=2, store=store))
    with pytest.raises(CrewBudgetExceeded):
        team.kickoff()

    assert 2 == sim.arrived


def test_retries(sim: Simulator, store: MemoryStore) -> None:
    """What LiteLLM sends again by itself is not seen: it is one call, booked by the answer."""
    sim.fail_next(Fault.status(500))
    team = attach_budget(asking(lite_llm(sim, num_retries=2)), Budget(5, store=store))
    team.kickoff()

    assert 2 == sim.arrived
    assert ["ok"] == [entry.status for entry in all_entries(store)]
    assert budget_of(team).spent == sim.bill.total  # type: ignore[union-attr]


def test_instructor(sim: Simulator, store: MemoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """A structured answer that `instructor` asks for states no usage to CrewAI: it is booked by its size, too high."""
    for name in ("OPENAI_BASE_URL", "OPENAI_API_BASE"):
        monkeypatch.setenv(name, sim.openai_base_url)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-planted")
    team = attach_budget(asking(lite_llm(sim), output_pydantic=City), Budget(5, store=store))
    answer = team.kickoff()
    entries = all_entries(store)

    assert isinstance(answer.pydantic, City)
    assert len(entries) == sim.arrived
    assert sim.wait_idle()
    assert budget_of(team).spent >= sim.bill.total > 0  # type: ignore[union-attr]
    assert {"estimated"} == {entry.source for entry in entries}
