"""LangGraph's server: an event loop that is watched for what blocks it, threads that stop and go on, swarms."""

# What LangGraph's entry points return has types that no two versions share.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from blockbuster import BlockBuster, BlockingError
from langchain.agents import create_agent
from langchain.agents.middleware import HumanInTheLoopMiddleware
from langchain_core.messages import AIMessage
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import Command, interrupt
from tests.integrations.langchain.conftest import Scripted, calls_tool

from bursar import Budget, BudgetExceeded
from bursar.store import Where
from bursar.stores.memory import MemoryStore
from bursar_langchain import BudgetCallbackHandler, BudgetMiddleware

pytestmark = pytest.mark.timeout(60)

ASK: Any = {"messages": [("user", "hello")]}
OFF_IN_LANGGRAPH = (
    "os.stat",
    "os.listdir",
    "os.remove",
    "io.BufferedReader.read",
    "io.BufferedWriter.write",
    "io.TextIOWrapper.read",
    "io.TextIOWrapper.write",
    "threading.Lock.acquire",
)
"""What `langgraph dev` leaves out of what it watches for, and all of `os.path`; from its `langgraph_runtime_inmem`."""


@tool
def pay(amount: int) -> str:
    """Pay."""
    return f"paid {amount}"


@pytest.fixture(params=["by LangGraph", "for all"])
def watched(request: pytest.FixtureRequest) -> Iterator[None]:
    """What `langgraph dev` does: whatever blocks an event loop raises; and all that BlockBuster watches for."""
    watcher = BlockBuster(excluded_modules=[])
    if request.param == "by LangGraph":
        for name in [*OFF_IN_LANGGRAPH, *(name for name in watcher.functions if name.startswith("os.path."))]:
            watcher.functions.pop(name, None)
    watcher.activate()
    yield
    watcher.deactivate()


async def _statement(file: Path) -> None:
    connection = sqlite3.connect(file)
    try:
        connection.execute("SELECT 1")
    finally:
        connection.close()


@pytest.mark.usefixtures("watched")
class TestOnAWatchedLoop:
    """Scenario of LangGraph's development server: the ledger is a file, and calls are made on its event loop."""

    def test_it_is_watched(self, tmp_path: Path) -> None:
        """The watcher of these tests finds a statement of SQLite's on an event loop, as LangGraph's does."""
        with pytest.raises(BlockingError):
            asyncio.run(_statement(tmp_path / "other.db"))

    def test_calls_are_paid(self, tmp_path: Path) -> None:
        """The ledger is made, opened and written to, from the first call to the report."""
        budget = Budget("$1", store=f"sqlite:///{tmp_path}/new/ledger.db")
        agent = create_agent(
            Scripted(script=[calls_tool("pay", amount=3), AIMessage("done")]), [pay], name="clerk"
        )
        graph = agent.with_config(callbacks=[BudgetCallbackHandler(budget)])

        async def serve() -> list[str]:
            await graph.ainvoke(ASK)
            async for _ in graph.astream(ASK, stream_mode="messages"):
                pass
            return list(budget.report().by_agent)

        assert ["clerk"] == asyncio.run(serve())
        assert ["ok"] * 3 == [entry.status for entry in budget.store.entries(Where())]

    def test_calls_are_refused(self, tmp_path: Path) -> None:
        """What does not fit is not sent, and the refusal is the budget's own."""
        model = Scripted()
        budget = Budget(calls=1, per="total", name="cap", store=f"sqlite:///{tmp_path}/ledger.db")
        agent = create_agent(model, [], name="clerk", middleware=[BudgetMiddleware(budget)])

        async def serve() -> None:
            await agent.ainvoke(ASK)
            with pytest.raises(BudgetExceeded, match="may spend 1 call and has 0 calls left"):
                await agent.ainvoke(ASK)

        asyncio.run(serve())

        assert 1 == len(model.sent)
        assert ["ok", "refused"] == [entry.status for entry in budget.store.entries(Where())]


def _asks_before_it_pays() -> Any:
    model = Scripted(script=[calls_tool("pay", amount=3), AIMessage("done")])
    asks = HumanInTheLoopMiddleware(interrupt_on={"pay": True})
    return create_agent(model, [pay], name="clerk", middleware=[asks], checkpointer=InMemorySaver())


YES: Any = Command(resume={"decisions": [{"type": "approve"}]})


def test_a_thread_that_goes_on_is_a_run_of_its_own(store: MemoryStore) -> None:
    """An agent that waits for a human ends its run there; what comes after is another, and so is its budget."""
    agent = _asks_before_it_pays()
    config: Any = {
        "callbacks": [BudgetCallbackHandler(Budget(5, store=store))],
        "configurable": {"thread_id": "1"},
    }
    agent.invoke(ASK, config)
    agent.invoke(YES, config)
    entries = list(store.entries(Where()))

    assert [("clerk", "ok")] * 2 == [(entry.subject.agent.path, entry.status) for entry in entries]
    assert 2 == len({entry.subject.run_id for entry in entries})
    assert all(each.run.ended_s is not None for each in store.runs(Where()))


def test_a_run_around_holds_all_of_a_thread(store: MemoryStore) -> None:
    """What goes on, and what is played again from a checkpoint, is paid again and told as the same request."""
    agent, thread = _asks_before_it_pays(), {"configurable": {"thread_id": "1"}}

    async def serve() -> None:
        await agent.ainvoke(ASK, thread)
        async for _ in agent.astream(YES, thread, stream_mode="messages"):
            pass
        past = [state async for state in agent.aget_state_history(thread)]
        first = next(state for state in reversed(past) if "model" in state.next)
        await agent.ainvoke(None, first.config)

    with Budget(5, store=store).run("desk") as run:
        asyncio.run(serve())
    entries = list(store.entries(Where()))

    assert [(run.id, "clerk", again) for again in (False, False, True)] == [
        (entry.subject.run_id, entry.subject.agent.path, entry.subject.is_repeat) for entry in entries
    ]


def test_a_node_that_is_stopped_after_its_call_pays_again(store: MemoryStore) -> None:
    """LangGraph runs a node from its start again, and the provider bills its call twice: so does the budget."""
    model = Scripted()

    def plan(state: MessagesState) -> Any:
        answer = model.invoke(state["messages"])
        interrupt("go on?")
        return {"messages": [answer]}

    made: Any = StateGraph(MessagesState)
    made.add_node("planner", plan)
    made.add_edge(START, "planner")
    graph, thread = made.compile(checkpointer=InMemorySaver()), {"configurable": {"thread_id": "1"}}
    with Budget(5, store=store).run("desk") as run:
        graph.invoke(ASK, thread)
        graph.invoke(Command(resume=True), thread)

    assert [("planner", False), ("planner", True)] == [
        (entry.subject.agent.path, entry.subject.is_repeat) for entry in store.entries(Where())
    ]
    assert 2 == len(model.sent) == run.calls


@pytest.mark.skipif(
    version("langgraph").startswith("1.0."),
    reason="an agent of this version that hands over goes on all the same",
)
@pytest.mark.parametrize("is_async", [False, True])
def test_the_agents_of_a_swarm(store: MemoryStore, *, is_async: bool) -> None:
    """Each agent that is handed the conversation is booked under its own name, and inside no other."""
    # With the oldest LangGraph it imports what is deprecated there.
    from langgraph_swarm import create_handoff_tool, create_swarm

    alice = create_agent(
        Scripted(script=[calls_tool("transfer_to_bob")]),
        [create_handoff_tool(agent_name="bob")],
        name="alice",
    )
    bob = create_agent(Scripted(), [], name="bob")
    swarm = create_swarm([alice, bob], default_active_agent="alice").compile()
    config: Any = {"callbacks": [BudgetCallbackHandler(Budget(5, store=store))]}
    if is_async:
        asyncio.run(swarm.ainvoke(ASK, config))
    else:
        swarm.invoke(ASK, config)

    assert ["alice", "bob"] == [entry.subject.agent.path for entry in store.entries(Where())]
