"""Whatever CrewAI asks of a model is paid, once, at the truth (scenarios 12 to 18, 20, 22, 23)."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from contextlib import suppress
from decimal import Decimal
from typing import Any

import openai
import pytest
from chromadb.api.types import EmbeddingFunction
from crewai import Crew, Task
from crewai.knowledge.source.string_knowledge_source import StringKnowledgeSource
from crewai.llms.base_llm import BaseLLM
from crewai.memory.unified_memory import Memory
from crewai.rag.embeddings.factory import build_embedder
from pydantic import BaseModel
from tests.integrations.crewai.conftest import (
    INPUT,
    OUTPUT,
    Scripted,
    agent,
    agents_of,
    all_entries,
    anthropic_llm,
    crew,
    openai_llm,
)

import bursar
from bursar import Budget, UnknownPrice
from bursar.simulator import Answer, Fault, Simulator
from bursar.stores.memory import MemoryStore
from bursar_crewai import (
    BlockedByBudget,
    CrewBudgetExceeded,
    attach_budget,
    budget_of,
    detach_budget,
    install,
    uninstall,
)

NOTHING = "$0.000000001"


class City(BaseModel):
    """What a structured answer is."""

    name: str


def _embedder(sim: Simulator) -> dict[str, Any]:
    config = {
        "api_key": "sk-planted",
        "api_base": sim.openai_base_url,
        "model_name": "text-embedding-3-small",
    }
    return {"provider": "openai", "config": config}


def _settled(team: Any, sim: Simulator) -> None:
    payer = budget_of(team)
    assert payer is not None
    assert sim.wait_idle()
    assert payer.spent == sim.bill.total
    assert payer.reserved == 0


def test_helpers(sim: Simulator, store: MemoryStore) -> None:
    """12: planning and a guardrail in words are paid, for the crew and for the agent whose task it is."""
    plan = '{"list_of_plans_per_task": [{"task_number": 1, "task": "Say hello.", "plan": "Say it."}]}'
    sim.script("planner", Answer(text=plan), system="Task Execution Planner")
    sim.script("guardrail", Answer(text='{"valid": true, "feedback": null}'), system="Guardrail Agent")
    llm = openai_llm(sim)
    worker = agent("A", llm)
    task = Task(
        description="Say hello.", expected_output="A word.", agent=worker, guardrail="It is a greeting."
    )
    team = Crew(agents=[worker], tasks=[task], planning=True, planning_llm=llm, name="greeters")
    attach_budget(team, Budget(5, store=store)).kickoff()

    _settled(team, sim)
    told = [(entry.subject.agent.name, entry.subject.agent.framework) for entry in all_entries(store)]
    assert ("(greeters)", "crewai:unattributed:greeters::planning") in told or any(
        "planning" in framework for _, framework in told
    )
    assert any(name == "A" and framework.endswith("guardrail") for name, framework in told)


def test_memory_and_knowledge(sim: Simulator, store: MemoryStore) -> None:
    """12: what memory and knowledge ask of LLMs and embedders is paid."""
    llm = openai_llm(sim)
    worker = agent("A", llm, knowledge_sources=[StringKnowledgeSource(content="The moon moves the tides.")])
    memory = Memory(llm=llm, embedder=build_embedder(_embedder(sim)))
    team = Crew(
        agents=[worker],
        tasks=[Task(description="What moves the tides?", expected_output="A word.", agent=worker)],
        memory=memory,
        embedder=_embedder(sim),
    )
    attach_budget(team, Budget(5, store=store)).kickoff()
    memory.drain_writes() if hasattr(memory, "drain_writes") else None

    _settled(team, sim)
    operations = {entry.subject.operation for entry in all_entries(store)}
    assert {"openai.chat", "openai.embeddings"} <= operations
    assert {entry.subject.agent.name for entry in all_entries(store)} == {"A"}


def test_memory_never_loses_an_answer(sim: Simulator, store: MemoryStore) -> None:
    """13: where nothing is left for memory, the answer is kept."""
    llm = openai_llm(sim)
    worker = agent("A", llm)
    memory = Memory(llm=llm, embedder=build_embedder(_embedder(sim)))
    team = Crew(
        agents=[worker],
        tasks=[Task(description="Say hello.", expected_output="A word.", agent=worker)],
        memory=memory,
    )
    attach_budget(team, Budget(calls=1, store=store))
    try:
        output = team.kickoff()
    except CrewBudgetExceeded:
        # Memory is asked before the answer: then the one call was its.
        assert sim.arrived == 1
        return
    assert output.raw
    assert budget_of(team).reserved == 0  # type: ignore[union-attr]


def test_embedders_are_refused(sim: Simulator, store: MemoryStore) -> None:
    """An embedder that nothing is left for is not asked, and says so as CrewAI goes on after it."""
    embed = build_embedder(_embedder(sim))
    with Budget(NOTHING, store=store).run("job"), pytest.raises(BlockedByBudget):
        embed(["hello"])
    assert sim.arrived == 0

    with Budget(5, store=store).run("job") as run:
        embed(["hello", "world"])
    assert sim.wait_idle()
    assert run.spent == sim.bill.total > 0


def test_embedders_of_this_machine(store: MemoryStore) -> None:
    """An embedder that computes here costs nothing, and is left alone."""

    class Local(EmbeddingFunction[Any]):
        def __init__(self) -> None:
            """Compute."""

        def __call__(self, input: Any) -> Any:
            return [[1.0, 2.0] for _ in input]

    with Budget(NOTHING, store=store).run("job"):
        Local()(["hello"])
    assert all_entries(store) == []


def test_cached_tokens(sim: Simulator, store: MemoryStore) -> None:
    """14: what a provider says of cached tokens is priced as such, streams included."""
    sim.script("A", Answer(input_tokens=100, cached_tokens=40), system="You are A")
    for stream in (False, True):
        team = attach_budget(crew(agent("A", openai_llm(sim, stream=stream))), Budget(5, store=store))
        team.kickoff()

    assert [entry.usage.cache_read_tokens for entry in all_entries(store)] == [40, 40]
    assert sim.wait_idle()
    assert sum(entry.cost_nanousd or 0 for entry in all_entries(store)) == int(sim.bill.total.scaleb(9))


@pytest.mark.parametrize("stream", [False, True])
def test_attempts(stream: bool, sim: Simulator, store: MemoryStore) -> None:
    """15: what the SDK sends again is another attempt of one call."""
    sim.fail_next(Fault.status(500, retry_after_s=0.001))
    team = attach_budget(
        crew(agent("A", openai_llm(sim, max_retries=2, stream=stream))), Budget(5, store=store)
    )
    team.kickoff()

    assert [(entry.attempt, entry.status) for entry in all_entries(store)] == [(1, "error"), (2, "ok")]
    _settled(team, sim)


@pytest.mark.skipif(
    not hasattr(BaseLLM, "_wrap_call_method"), reason="this version sends nothing again itself"
)
def test_rate_limits(sim: Simulator, store: MemoryStore) -> None:
    """15: what CrewAI itself sends again is another attempt of one call, too."""
    sim.fail_next(Fault.rate_limited(retry_after_s=0.001), Fault.rate_limited(retry_after_s=0.001))
    team = attach_budget(crew(agent("A", openai_llm(sim))), Budget(5, store=store))
    team.kickoff()

    assert [entry.attempt for entry in all_entries(store)] == [1, 2, 3]
    assert len({entry.subject.call_id for entry in all_entries(store)}) == 1
    _settled(team, sim)


def test_errors_cost_nothing(sim: Simulator, store: MemoryStore) -> None:
    """15: a request that the provider refuses costs nothing and holds nothing."""
    sim.fail_next(Fault.status(400))
    team = attach_budget(crew(agent("A", openai_llm(sim))), Budget(5, store=store))
    with pytest.raises(Exception, match="400"):
        team.kickoff()

    assert [(entry.status, entry.cost_nanousd) for entry in all_entries(store)] == [("error", 0)]
    assert budget_of(team).reserved == 0  # type: ignore[union-attr]


def test_structured_answers(sim: Simulator, store: MemoryStore) -> None:
    """16: every request for an answer that CrewAI cannot read is paid."""
    worker = agent("A", openai_llm(sim))
    task = Task(description="Where?", expected_output="A city.", agent=worker, output_pydantic=City)
    team = Crew(agents=[worker], tasks=[task])
    attach_budget(team, Budget(5, store=store))
    # What CrewAI makes of filler is its own.
    with suppress(Exception):
        team.kickoff()

    assert sim.arrived >= 1
    _settled(team, sim)


def test_downgrade(sim: Simulator, store: MemoryStore) -> None:
    """17: one agent of three on a shared LLM goes on with the cheaper model; the LLM is as it was."""
    llm = openai_llm(sim, model="gpt-4o")
    budget = Budget(
        9,
        agents={"A": "$3", "B": "$3", "C": "$3"},
        downgrade={"gpt-4o": "gpt-4o-mini"},
        downgrade_at=0.5,
        store=store,
    )
    with budget.run("job") as run:
        run.record(Decimal(2), agent="B")
        crew(*(agent(role, llm) for role in ("A", "B", "C"))).kickoff()

    assert [request.model for request in sim.requests] == ["gpt-4o", "gpt-4o-mini", "gpt-4o"]
    assert llm.model == "gpt-4o"


def test_downgrade_of_the_users_own(store: MemoryStore) -> None:
    """17: an LLM of the user's own class is asked as a copy of it for the other model."""
    llm = Scripted.of(model="gpt-4o")
    budget = Budget(5, downgrade={"gpt-4o": "gpt-4o-mini"}, downgrade_at=0.5, store=store)
    with budget.run("job") as run:
        run.record(Decimal(3), agent="A")
        crew(agent("A", llm)).kickoff()

    assert [call["model"] for call in llm.sent] == ["gpt-4o-mini"]
    assert llm.model == "gpt-4o"


@pytest.mark.parametrize("make", [openai_llm, anthropic_llm])
def test_lowered_limit(make: Any, sim: Simulator, store: MemoryStore) -> None:
    """18: an output limit that no longer fits is lowered on the wire, for that call only."""
    llm = make(sim, model="gpt-4o" if make is openai_llm else "anthropic/claude-sonnet-4-6", max_tokens=4000)
    with Budget("$0.012", store=store).run("job"):
        llm.call("hello")

    assert 256 <= sim.requests[-1].body["max_tokens"] < 4000
    assert llm.max_tokens == 4000


def test_lowered_limit_of_the_users_own(store: MemoryStore) -> None:
    """18: the same of an LLM of the user's own class."""
    llm = Scripted.of(model="gpt-4o", max_tokens=4000)
    with Budget("$0.012", store=store).run("job"):
        llm.call("hello")

    assert 256 <= llm.sent[-1]["max_tokens"] < 4000
    assert llm.max_tokens == 4000


def test_roles_with_inputs(store: MemoryStore) -> None:
    """20: a role with a blank in it is one agent, whatever a kickoff fills in; its template is its name."""
    budget = Budget(calls=3, agents={"Researcher for {topic}": "100%"}, per="total", name="t", store=store)
    attach_budget(crew(agent("Researcher for {topic}", Scripted.of())), budget).kickoff({"topic": "cats"})
    each = attach_budget(crew(agent("Researcher for {topic}", Scripted.of())), budget)
    each.kickoff_for_each([{"topic": "dogs"}, {"topic": "cows"}])

    assert set(agents_of(all_entries(store))) == {"Researcher for {topic}"}
    assert len(all_entries(store)) == 3


def test_two_agents_of_one_role(store: MemoryStore) -> None:
    """20: two agents of one role share its budget."""
    team = attach_budget(crew(agent("A", Scripted.of()), agent("A", Scripted.of())), Budget(5, store=store))
    team.kickoff()

    assert agents_of(all_entries(store)) == ["A", "A"]


def test_errors_of_ours_send_nothing(store: MemoryStore) -> None:
    """22: what cannot be paid for, because of a price that is missing, is not sent."""
    llm = Scripted.of(model="nobody-7b")
    team = attach_budget(crew(agent("A", llm)), Budget(5, store=store))
    with pytest.raises(UnknownPrice, match="nobody-7b"):
        team.kickoff()

    assert llm.sent == []


@pytest.mark.parametrize("way", ["akickoff", "kickoff_async"])
def test_cancelled(way: str, sim: Simulator, store: MemoryStore) -> None:
    """23: a kickoff that is cancelled in flight is paid for what was sent, and holds nothing."""
    sim.fail_next(Fault.stall(1.0))
    team = attach_budget(crew(agent("A", openai_llm(sim))), Budget(5, store=store))

    async def main() -> None:
        task = asyncio.create_task(getattr(team, way)())
        while not sim.arrived:
            await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(main())
    assert sim.wait_idle()
    waited = threading.Event()
    for _ in range(50):
        if not budget_of(team).reserved:  # type: ignore[union-attr]
            break
        waited.wait(0.1)
    assert budget_of(team).reserved == 0  # type: ignore[union-attr]
    assert len(all_entries(store)) == 1
    assert (all_entries(store)[0].cost_nanousd or 0) > 0


def test_without_usage(store: MemoryStore) -> None:
    """An LLM that says nothing of usage is estimated, never taken to be free; one that does is believed."""
    with Budget(5, store=store).run("job"):
        Scripted.of("word " * 50, tells_usage=False).call("hello")
        Scripted.of().call("hello")
    silent, told = all_entries(store)

    assert silent.source == "estimated"
    assert silent.usage.output_tokens >= 50
    assert (told.source, told.usage.input_tokens, told.usage.output_tokens) == ("priced", INPUT, OUTPUT)


def test_llm_within_an_llm(store: MemoryStore) -> None:
    """A method that calls the one that it overrides is one call."""

    class Louder(Scripted):
        def call(self, messages: Any, *args: Any, **kwargs: Any) -> Any:
            return super().call(f"{messages}!", *args, **kwargs).upper()

    with Budget(5, store=store).run("job") as run:
        assert Louder.of("hello").call("hi") == "HELLO"
    assert run.calls == 1


def test_arguments_are_passed_as_they_are(store: MemoryStore) -> None:
    """An LLM of the user's own may call its arguments what it likes; a tool that it runs is no part of its call."""

    class Own(BaseLLM):
        def call(
            self, prompt: Any, tools: Any = None, callbacks: Any = None, functions: Any = None, **_: Any
        ) -> Any:
            return f"{prompt}: {functions['ask']()}" if functions else str(prompt)

    llm = Own(model="gpt-4o-mini", max_tokens=20)
    with Budget(5, store=store).run("job") as run:
        said = llm.call("hello", None, None, {"ask": lambda: llm.call("inner")})

    assert said == "hello: inner"
    assert run.calls == 2


def test_guarded_client_below(sim: Simulator, store: MemoryStore) -> None:
    """A guarded SDK client below does not count twice."""
    llm = openai_llm(sim)
    plain = openai.OpenAI(base_url=sim.openai_base_url, api_key="k")
    llm._client = bursar.guard(plain, budget=Budget(5, store=store), label="client")
    with Budget(5, store=store).run("job") as run:
        llm.call("hello")

    assert len(all_entries(store)) == 1
    assert run.spent == sim.bill.total
    plain.close()


def test_detached(sim: Simulator, store: MemoryStore) -> None:
    """A budget can be taken away again, and so can all of the adapter."""
    team = attach_budget(crew(agent("A", Scripted.of())), Budget(calls=0, store=store))
    copied = team.copy()
    assert budget_of(copied) is budget_of(team)
    detach_budget(team)
    assert budget_of(team) is None
    team.kickoff()
    uninstall()
    try:
        with Budget(calls=0, store=store).run("job"):
            Scripted.of().call("hello")
    finally:
        install()
    with Budget(calls=0, store=store).run("job"), pytest.raises(CrewBudgetExceeded):
        Scripted.of().call("hello")


@pytest.mark.parametrize("what", [None, "crew", Scripted.of(), Task])
def test_what_takes_no_budget(what: Any) -> None:
    """Anything else is refused, and says what is taken."""
    with pytest.raises(TypeError, match="a crew, a flow or an agent"):
        attach_budget(what, 5)


def test_nothing_of_a_call_is_kept(sim: Simulator, store: MemoryStore) -> None:
    """No text of a task, and no key, is in the ledger."""
    worker = agent("A", openai_llm(sim))
    task = Task(description="a planted secret", expected_output="planted", agent=worker)
    attach_budget(Crew(agents=[worker], tasks=[task]), Budget(5, store=store)).kickoff()

    assert "planted" not in repr(all_entries(store))


def test_where_the_adapter_is_imported_does_not_matter() -> None:
    """Imported inside a run, it books nothing to that run once the run has ended."""
    code = """
from bursar import Budget
from bursar.stores.memory import MemoryStore
with Budget(calls=5, store=MemoryStore()).run("job") as run:
    from bursar_crewai.payers import AROUND
    print(AROUND.booking_in(None, None).run is run)
print(AROUND.booking_in(None, None).run is run)
"""
    environ = {**os.environ, "BURSAR_STORE": "memory:"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environ
    )
    assert ["True", "False"] == done.stdout.split()
