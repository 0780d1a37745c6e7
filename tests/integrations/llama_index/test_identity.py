"""Calls are booked to LlamaIndex's own agent, in its outermost run (scenarios 4 to 8, 18)."""

from __future__ import annotations

import asyncio
import inspect
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from llama_index.core import Document, SummaryIndex
from llama_index.core.agent.workflow import (
    AgentWorkflow,
    BaseWorkflowAgent,
    CodeActAgent,
    FunctionAgent,
    ReActAgent,
)
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.instrumentation.dispatcher import instrument_tags
from llama_index.core.memory import ChatSummaryMemoryBuffer
from llama_index.core.tools import FunctionTool, QueryEngineTool
from llama_index.core.workflow import StartEvent, StopEvent, Workflow, step
from pydantic import BaseModel
from tests.integrations.llama_index.conftest import (
    HELLO,
    SYNC_TOOLS_KEEP_CONTEXT,
    Scripted,
    agents_of,
    all_entries,
    calls_tool,
    entries_of,
)

import bursar
from bursar import Budget
from bursar.stores.memory import MemoryStore
from bursar_llama_index import guard
from bursar_llama_index.identity import FRAMES


class City(BaseModel):
    """What a structured answer is."""

    name: str


def _agent(name: str, llm: Any, tools: Any = (), **options: Any) -> FunctionAgent:
    return FunctionAgent(name=name, description=name, llm=llm, tools=list(tools), **options)


def _paths(store: MemoryStore) -> list[str]:
    return agents_of([entry for entry in all_entries(store) if entry.status == "ok"])


async def _run(workflow: Any, text: str = "hello", **options: Any) -> Any:
    return await workflow.run(user_msg=text, **options)


@pytest.mark.parametrize("streaming", [True, False])
def test_single_agents(streaming: bool, store: MemoryStore) -> None:
    """An agent that runs alone is named by itself, whatever its kind."""
    llm = guard(Scripted(), Budget(5, store=store))
    react = guard(Scripted(script=["Thought: I can answer.\nAnswer: done"]), Budget(5, store=store))
    asyncio.run(_run(_agent("function", llm, streaming=streaming)))
    asyncio.run(_run(ReActAgent(name="react", description="d", llm=react, streaming=streaming)))
    code = CodeActAgent(
        name="code", description="d", llm=llm, streaming=streaming, code_execute_fn=lambda code: code
    )
    asyncio.run(_run(code))

    assert _paths(store) == ["function", "react", "code"]
    assert FRAMES.get() == ()


def test_hand_offs(store: MemoryStore) -> None:
    """4: A hands over to B and B to C; calls that their tools make of a plain shared LLM are theirs too."""
    shared = guard(Scripted(), Budget(5, store=store))

    async def look(topic: str) -> str:
        """Look it up."""
        return str(await shared.achat([ChatMessage(topic)]))

    def check(topic: str) -> str:
        """Check it."""
        return str(shared.chat([ChatMessage(topic)]))

    def turn(successor: str | None) -> list[Any]:
        calls = [calls_tool("look", topic="x"), calls_tool("check", topic="x")]
        if successor is not None:
            calls.append(calls_tool("handoff", to_agent=successor, reason="r"))
        return calls

    llms = {
        "A": Scripted(script=[turn("B")]),
        "B": Scripted(script=[turn("C")]),
        "C": Scripted(script=[turn(None)]),
    }
    agents = [_agent(name, guard(llm, Budget(5, store=store)), [look, check]) for name, llm in llms.items()]
    asyncio.run(_run(AgentWorkflow(agents=agents, root_agent="A")))

    if not SYNC_TOOLS_KEEP_CONTEXT:
        assert _paths(store).count("unattributed") == 3
        return
    by_agent = {name: _paths(store).count(name) for name in "ABC"}
    # Each one's own call and two by its tools; the last is asked once more for its answer.
    assert by_agent == {"A": 3, "B": 3, "C": 4}
    assert len({entry.subject.run_id for entry in all_entries(store)}) == 1
    assert {entry.subject.workflow for entry in all_entries(store)} == {"AgentWorkflow"}


@pytest.mark.parametrize("kind", ["async", "sync"])
def test_agent_as_tool(kind: str, store: MemoryStore) -> None:
    """5: an agent that another's tool runs is booked apart, below it, in one run."""
    budget = Budget(5, store=store)
    inner = _agent("inner", guard(Scripted(), budget))

    async def ask_async() -> str:
        """Ask."""
        return str(await _run(inner))

    def ask_sync() -> str:
        """Ask."""
        return str(asyncio.run(_run(inner)))

    tool = FunctionTool.from_defaults(ask_async if kind == "async" else ask_sync, name="ask")
    outer = _agent("outer", guard(Scripted(script=[[calls_tool("ask")]]), budget), [tool])
    asyncio.run(_run(outer))

    if kind == "sync" and not SYNC_TOOLS_KEEP_CONTEXT:
        assert _paths(store) == ["outer", "inner", "outer"]
        return
    assert _paths(store) == ["outer", "outer/inner", "outer"]
    assert len({entry.subject.run_id for entry in all_entries(store)}) == 1


def test_agent_as_tool_of_a_workflow(store: MemoryStore) -> None:
    """5: the same where the outer one is an agent of an `AgentWorkflow`."""
    budget = Budget(5, store=store)
    inner = _agent("inner", guard(Scripted(), budget))

    async def ask() -> str:
        """Ask."""
        return str(await _run(inner))

    outer = _agent("outer", guard(Scripted(script=[[calls_tool("ask")]]), budget), [ask])
    asyncio.run(_run(AgentWorkflow(agents=[outer, _agent("other", Scripted())], root_agent="outer")))

    assert _paths(store) == ["outer", "outer/inner", "outer"]


def test_workflows_at_the_same_time(store: MemoryStore) -> None:
    """6: three workflows at the same time share an LLM and mix nothing up; nor does one agent that runs twice."""
    llm = guard(Scripted(), Budget(5, store=store))
    same = _agent("same", llm)

    async def main() -> None:
        workflows = [
            AgentWorkflow(agents=[_agent(name, llm)], root_agent=name) for name in ("one", "two", "three")
        ]
        await asyncio.gather(*map(_run, workflows), _run(same), _run(same))

    asyncio.run(main())

    assert sorted(_paths(store)) == ["one", "same", "same", "three", "two"]
    assert len({entry.subject.run_id for entry in all_entries(store)}) == 5


async def _run_id(workflow: Any, **options: Any) -> str:
    handler = workflow.run(user_msg="hello", **options)
    await handler
    return handler.run_id


def test_query_engine(store: MemoryStore) -> None:
    """7: a query engine alone is nobody's, or the block's; as an agent's tool it is the agent's."""
    llm = guard(Scripted(), Budget(5, store=store))
    engine = SummaryIndex.from_documents([Document(text="Paris")]).as_query_engine(llm=llm)
    engine.query("where?")
    with bursar.agent("librarian"):
        engine.query("where?")
    tool = QueryEngineTool.from_defaults(engine, name="look", description="d")
    asker = _agent(
        "asker", guard(Scripted(script=[[calls_tool("look", input="x")]]), Budget(5, store=store)), [tool]
    )
    takes_id = "run_id" in inspect.getsource(BaseWorkflowAgent.run)
    run_id = asyncio.run(_run_id(asker, **({"run_id": "my-run-42"} if takes_id else {})))

    assert _paths(store) == ["unattributed", "librarian", "asker", "asker", "asker"]
    assert {entry.subject.run_id for entry in all_entries(store)[-3:]} == {run_id}
    assert not takes_id or run_id == "my-run-42"


def test_summary_memory(store: MemoryStore) -> None:
    """8: the LLM of a memory is called before the first step: it is the root agent's."""
    llm = guard(Scripted(), Budget(5, store=store))
    memory = ChatSummaryMemoryBuffer.from_defaults(
        chat_history=[ChatMessage(f"word {index} " * 20) for index in range(20)],
        llm=llm,
        token_limit=30,
        tokenizer_fn=str.split,
    )
    asyncio.run(_run(AgentWorkflow(agents=[_agent("A", llm)], root_agent="A"), memory=memory))

    assert set(_paths(store)) == {"A"}
    assert len(_paths(store)) > 1


def test_structured_and_early_stopping(store: MemoryStore) -> None:
    """8: the calls for `output_cls` and for an early end are that agent's."""
    llm = guard(Scripted(script=["text", '{"name": "Paris"}']), Budget(5, store=store))
    with pytest.warns(match="structured"):
        asyncio.run(_run(_agent("A", llm, output_cls=City)))
    if "early_stopping_method" not in BaseWorkflowAgent.model_fields:
        assert _paths(store) == ["A", "A"]
        return
    endless = guard(Scripted(script=[[calls_tool("ping")]] * 3), Budget(5, store=store))

    def ping() -> str:
        """Do nothing."""
        return "pong"

    stopping = _agent("B", endless, [ping])
    asyncio.run(_run(stopping, max_iterations=2, early_stopping_method="generate"))

    paths = _paths(store)
    assert set(paths) == {"A", "B"}
    assert paths.count("A") == 2
    assert paths.count("B") == len(endless.sent) >= 2


def test_own_workflow(store: MemoryStore) -> None:
    """A step of a workflow of the user's own names no agent; the workflow's class names the workflow."""
    llm = guard(Scripted(), Budget(5, store=store))

    class Report(Workflow):
        @step
        async def go(self, event: StartEvent) -> StopEvent:
            del event
            return StopEvent(result=str(await llm.achat(HELLO)))

    async def main() -> None:
        await Report().run()
        with bursar.agent("reporter"):
            await Report().run()

    asyncio.run(main())

    assert _paths(store) == ["unattributed", "reporter"]
    assert {entry.subject.workflow for entry in all_entries(store)} == {"Report"}


@pytest.mark.parametrize("how", ["thread", "executor"])
def test_raw_threads(how: str, store: MemoryStore) -> None:
    """18: a raw thread knows no agent: its calls are paid all the same, and a guard may name who makes them."""
    llm = Scripted()
    budget = Budget(5, store=store)
    plain, named = guard(llm, budget), guard(llm, budget, agent="x")

    def ask() -> str:
        """Ask from a thread."""

        def both() -> None:
            plain.chat(HELLO)
            named.chat(HELLO)

        if how == "thread":
            thread = threading.Thread(target=both)
            thread.start()
            thread.join()
        else:
            with ThreadPoolExecutor() as pool:
                pool.submit(both).result()
        return "done"

    asyncio.run(_run(_agent("outer", Scripted(script=[[calls_tool("ask")]]), [ask])))

    assert _paths(store) == ["unattributed", "x"]


def test_executor_keeps_the_agent(store: MemoryStore) -> None:
    """`asyncio.to_thread` carries the context over, and so the agent."""
    llm = guard(Scripted(), Budget(5, store=store))

    async def ask() -> str:
        """Ask from a thread."""
        return str(await asyncio.to_thread(llm.chat, HELLO))

    asyncio.run(_run(_agent("outer", Scripted(script=[[calls_tool("ask")]]), [ask])))

    assert _paths(store) == ["outer"]


def test_guards_name_wins(store: MemoryStore) -> None:
    """The name that a guard was given wins; the path says whose doing it was."""
    llm = guard(Scripted(), Budget(5, store=store), agent="summariser")
    asyncio.run(_run(_agent("writer", llm)))
    llm.chat(HELLO)

    assert _paths(store) == ["writer/summariser", "summariser"]


@pytest.mark.skipif(not SYNC_TOOLS_KEEP_CONTEXT, reason="sync tools run in threads that know of no agent")
def test_streams_are_booked_to_who_asked(store: MemoryStore) -> None:
    """A stream that is read outside of the agent's context is booked to the agent that asked for it."""
    llm = guard(Scripted(), Budget(5, store=store))
    streams: list[Any] = []

    def ask() -> str:
        """Ask."""
        streams.append(llm.stream_chat(HELLO))
        return "done"

    asyncio.run(_run(_agent("asker", Scripted(script=[[calls_tool("ask")]]), [ask])))
    list(streams[0])

    assert _paths(store) == ["asker"]


def test_runs_in_a_run(store: MemoryStore) -> None:
    """`with budget.run(...)` around LlamaIndex's runs is the run of all that is inside."""
    llm = guard(Scripted())
    with Budget(5, agents={"A": "50%", "B": "50%"}, store=store).run("nightly") as run:
        asyncio.run(_run(_agent("A", llm)))
        asyncio.run(_run(_agent("B", llm)))

    assert set(run.report().by_agent) == {"A", "B"}
    assert {entry.subject.run_id for entry in entries_of(run)} == {run.id}


def test_each_run_has_its_own_limit(store: MemoryStore) -> None:
    """A `Budget` pays for each outermost run anew; dollars pay for as long as the guarded model lives."""
    each = guard(Scripted(), Budget(calls=1, store=store))
    for _ in range(3):
        asyncio.run(_run(_agent("A", each)))
    assert len(each.sent) == 3

    budget = Budget(calls=1, per="total", name="all", store=store)
    whole = guard(Scripted(), budget)
    asyncio.run(_run(_agent("A", whole)))
    with pytest.raises(bursar.BudgetExceeded):
        asyncio.run(_run(_agent("A", whole)))


def test_tags_of_the_user(store: MemoryStore) -> None:
    """Tags that a user gives LlamaIndex's instrumentation change nothing."""
    llm = guard(Scripted(), Budget(5, store=store))

    async def main() -> None:
        with instrument_tags({"tenant": "acme"}):
            await _run(_agent("A", llm))

    asyncio.run(main())

    assert _paths(store) == ["A"]
