"""What only a middleware can do: a cheaper model, a lower limit, an end with a message; and what it must not do."""

# What an agent returns has types that no two versions share.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

import asyncio
from contextlib import suppress
from decimal import Decimal
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain.agents import middleware as middlewares
from langchain_core.messages import AIMessage
from langchain_core.tools import tool
from langgraph.errors import GraphRecursionError
from pydantic import BaseModel
from tests.integrations.langchain.conftest import (
    Scripted,
    anthropic_model,
    calls_tool,
    entries_of,
    openai_model,
)

from bursar import Budget, BudgetExceeded, UnknownAgent
from bursar.simulator import Fault, Simulator
from bursar.store import Where
from bursar.stores.memory import MemoryStore
from bursar_langchain import BudgetCallbackHandler, BudgetMiddleware

pytestmark = pytest.mark.timeout(60)

ASK: Any = {"messages": [("user", "hello")]}


class Verdict(BaseModel):
    """What an agent is asked to answer with."""

    is_good: bool


def invoke(agent: Any, is_async: bool, **options: Any) -> Any:
    """What the agent answers."""
    return asyncio.run(agent.ainvoke(ASK, **options)) if is_async else agent.invoke(ASK, **options)


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("provider", ["openai", "anthropic"])
def test_the_cheaper_model_is_on_the_wire(
    provider: str, is_async: bool, sim: Simulator, store: MemoryStore
) -> None:
    """Scenario 23: past its threshold the cheaper model is asked, billed, and named in the ledger."""
    asked, cheaper = (
        ("gpt-4o", "gpt-4o-mini") if provider == "openai" else ("claude-sonnet-4-6", "claude-haiku-4-5")
    )
    model: Any = (
        openai_model(sim, model=asked) if provider == "openai" else anthropic_model(sim, model_name=asked)
    )
    budget = Budget(5, downgrade={asked: cheaper}, downgrade_at=0.5, store=store)
    agent = create_agent(model, [], name="writer", middleware=[BudgetMiddleware()])
    with budget.run("job") as run:
        run.record(Decimal(3), agent="writer")
        invoke(agent, is_async)
    entry = entries_of(run)[-1]

    assert cheaper == sim.requests[-1].model
    assert (asked, True) == (entry.subject.model, entry.model.startswith(cheaper))
    assert sim.bill.total == run.spent - 3


@pytest.mark.parametrize("is_async", [False, True])
def test_the_lowered_limit_is_on_the_wire(is_async: bool, sim: Simulator, store: MemoryStore) -> None:
    """Scenario 23: what the budget can afford of an answer is asked for, and no more."""
    model = openai_model(sim, model="gpt-4o", max_tokens=1_000)
    agent = create_agent(model, [], name="writer", middleware=[BudgetMiddleware()])
    with Budget("0.002", min_output_tokens=10, warn_at=None, store=store).run("job") as run:
        invoke(agent, is_async)

    assert 10 <= sim.requests[-1].body["max_completion_tokens"] < 200
    assert sim.bill.total == run.spent <= Decimal("0.002")


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("answer", [None, Verdict], ids=["text", "schema"])
def test_a_graceful_end(answer: Any, is_async: bool, sim: Simulator, store: MemoryStore) -> None:
    """Scenario 24: an agent whose budget is spent ends with a message that says so, after no request at all."""
    budget = Budget(calls=0, on_exceed="stop", store=store)
    agent = create_agent(
        openai_model(sim), [], name="writer", middleware=[BudgetMiddleware(budget)], response_format=answer
    )
    result = invoke(agent, is_async)

    assert "Stopped by the budget" in result["messages"][-1].content
    assert "0 calls" in result["messages"][-1].content
    assert 0 == sim.arrived
    assert ["refused"] == [entry.status for entry in store.entries(Where())]


def test_a_graceful_end_after_some_work(store: MemoryStore) -> None:
    """Scenario 24: what was done by then is kept, and no tool is called any more."""
    used: list[str] = []

    @tool("look", description="Look.")
    def look() -> str:
        used.append("looked")
        return "seen"

    model = Scripted(script=[calls_tool("look")])
    budget = Budget(calls=2, on_exceed="stop", store=store)
    agent = create_agent(model, [look], name="writer", middleware=[BudgetMiddleware(budget)])
    messages = agent.invoke(ASK)["messages"]

    assert (2, 2) == (len(model.sent), len(used))
    assert "Stopped by the budget" in messages[-1].content
    assert not messages[-1].tool_calls


def test_without_a_word_about_the_end_it_is_raised(store: MemoryStore) -> None:
    """Where the budget does not say `stop`, the exception reaches the caller."""
    agent = create_agent(Scripted(), [], middleware=[BudgetMiddleware(Budget(calls=0, store=store))])
    with pytest.raises(BudgetExceeded):
        agent.invoke(ASK)


@pytest.mark.parametrize("is_async", [False, True])
def test_attempts_of_the_sdk_are_seen(is_async: bool, sim: Simulator, store: MemoryStore) -> None:
    """Below a middleware each HTTP request of one call is an entry of it."""
    sim.fail_next(*[Fault.status(500, retry_after_s=0.001)] * 2)
    agent = create_agent(openai_model(sim, max_retries=2), [], name="w", middleware=[BudgetMiddleware()])
    with Budget(5, store=store).run("job") as run:
        invoke(agent, is_async)

    assert [(1, "error"), (2, "error"), (3, "ok")] == [(e.attempt, e.status) for e in entries_of(run)]
    assert (1, sim.bill.total) == (run.calls, run.spent)


@pytest.mark.skipif(not hasattr(middlewares, "ModelRetryMiddleware"), reason="not in this version")
@pytest.mark.parametrize("is_last", [True, False])
def test_attempts_of_another_middleware_are_paid(is_last: bool, store: MemoryStore) -> None:
    """Scenario 19: inside or outside a retrying middleware, each attempt is reserved and none is left."""
    make: Any = getattr(middlewares, "ModelRetryMiddleware", None)
    retrying: Any = make(max_retries=2, initial_delay=0.0)
    model = Scripted(script=[ValueError("one"), ValueError("two"), AIMessage("three")])
    both: list[Any] = [retrying, BudgetMiddleware()]
    agent = create_agent(model, [], name="w", middleware=both if is_last else both[::-1])
    with Budget(5, store=store).run("job") as run:
        agent.invoke(ASK)

    assert ["aborted", "aborted", "ok"] == [entry.status for entry in entries_of(run)]
    assert 0 == run.reserved


def test_a_middleware_and_a_handler_pay_once(store: MemoryStore) -> None:
    """The same budget by both, and the run around them: one entry."""
    budget = Budget(5, store=store)
    agent = create_agent(Scripted(), [], name="w", middleware=[BudgetMiddleware(budget)])
    with budget.run("job") as run:
        agent.invoke(ASK, config={"callbacks": [BudgetCallbackHandler(budget)]})

    (entry,) = store.entries(Where())
    assert (run.id, "ok") == (entry.subject.run_id, entry.status)


def test_two_middlewares_two_agents_one_run(store: MemoryStore) -> None:
    """Each agent has its own budget, and the run around them has both."""
    mine, yours = Budget(calls=1, store=store), Budget(calls=5, store=store)
    inner = create_agent(Scripted(), [], name="inner", middleware=[BudgetMiddleware(yours)])

    @tool("ask", description="Ask.")
    def ask() -> str:
        return str(inner.invoke(ASK)["messages"][-1].content)

    model = Scripted(script=[calls_tool("ask"), AIMessage("done")])
    outer = create_agent(model, [ask], name="outer", middleware=[BudgetMiddleware(mine)])
    with Budget(5, store=store).run("job") as run, pytest.raises(BudgetExceeded) as caught:
        outer.invoke(ASK)

    # What lies inside an agent is its own spending too: its one call is gone when the inner one asks.
    assert 1 == len(model.sent)
    assert "calls" == caught.value.details.unit
    assert 0 == run.reserved


def test_tools_and_schemas_are_in_the_bound(sim: Simulator, store: MemoryStore) -> None:
    """What `create_agent` adds to the request is held before it is known, so that the bound is never too low."""

    @tool("look", description="Look at a thing, very closely. " * 40)
    def look(thing: str, how: str = "closely") -> str:
        return thing + how

    agent = create_agent(
        openai_model(sim, model="gpt-4o"), [look], middleware=[BudgetMiddleware()], response_format=Verdict
    )
    # The simulator's answers keep no schema, which older agents try again until there is no step left.
    with Budget(5, store=store).run("job") as run, suppress(GraphRecursionError):
        agent.invoke(ASK, config={"recursion_limit": 4})

    for entry in entries_of(run):
        assert (entry.cost_nanousd or 0) <= entry.bound_nanousd
        assert "released" != entry.status, "what the middleware held did not cover what was sent"


def test_a_name_that_the_budget_does_not_know(store: MemoryStore) -> None:
    """A name that the user typed and the budget does not list is an error, with what it lists."""
    agent = create_agent(Scripted(), [], middleware=[BudgetMiddleware(agent="wirter")])
    with (
        Budget(5, agents={"writer": "50%"}, store=store).run("job"),
        pytest.raises(UnknownAgent, match="writer"),
    ):
        agent.invoke(ASK)


def test_without_a_budget_nothing_changes() -> None:
    """Outside any run, with no budget of its own, it pays nothing and stops nothing."""
    agent = create_agent(Scripted(), [], middleware=[BudgetMiddleware()])
    assert "done" == agent.invoke(ASK)["messages"][-1].content
