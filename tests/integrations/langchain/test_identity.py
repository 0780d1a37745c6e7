"""
Which agent a call is booked to: scenarios 4, 5, 6 and 8, each case as its framework would name it.

A case is a function that makes calls; what they are booked to is the paths in the ledger.
"""

# The name of a case says what it is.
# ruff: noqa: D103

# What graphs and tools are made of has types that no two versions of LangGraph share.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownLambdaType=false, reportUnknownParameterType=false, reportMissingParameterType=false
# pyright: reportMissingTypeArgument=false

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from typing import Any

import langchain.agents.factory
import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import SummarizationMiddleware
from langchain_core.messages import AIMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnableConfig, RunnableLambda, RunnableParallel
from langchain_core.tools import tool
from langgraph.func import entrypoint, task
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import Command, Send
from tests.integrations.langchain.conftest import Scripted, Streaming, calls_tool, entries_of

from bursar import Budget, agent
from bursar.store import Where
from bursar.stores.memory import MemoryStore
from bursar_langchain import BudgetCallbackHandler, BudgetMiddleware

# What LangGraph would rather have had from LangChain is imported where this is heeded, by the cases themselves.
pytestmark = pytest.mark.filterwarnings("ignore::langgraph.warnings.LangGraphDeprecatedSinceV10")

ASK: Any = {"messages": [("user", "hello")]}
Case = Callable[[], Any]


def graph(name: str | None, node: str, inside: Callable[..., Any]) -> Any:
    """A graph with one node."""
    made: Any = StateGraph(MessagesState)
    made.add_node(node, inside)
    made.add_edge(START, node)
    return made.compile(**({"name": name} if name else {}))


def asking(model: Any | None = None) -> Callable[..., Any]:
    """A node that asks a model."""
    model = model or Scripted()
    return lambda state: {"messages": [model.invoke(state["messages"])]}


def boss_with(inside: Callable[..., Any], *, name: str | None = "boss", **options: Any) -> Any:
    """An agent that calls one tool, which does what *inside* does."""
    made = tool("ask", description="Ask someone.")(inside)
    return create_agent(Scripted(script=[calls_tool("ask"), AIMessage("done")]), [made], name=name, **options)


def bare() -> Any:
    return Scripted().invoke("hello")


def chain() -> Any:
    return (ChatPromptTemplate.from_template("{x}") | Scripted() | StrOutputParser()).invoke({"x": "hello"})


def chain_with_a_name() -> Any:
    return (
        (ChatPromptTemplate.from_template("{x}") | Scripted())
        .with_config(run_name="triage")
        .invoke({"x": "hello"})
    )


def chain_with_a_name_in_another() -> Any:
    inner = (ChatPromptTemplate.from_template("{x}") | Scripted()).with_config(run_name="inner")
    return RunnableLambda(inner.invoke).with_config(run_name="outer").invoke({"x": "hello"})


def parallel() -> Any:
    return RunnableParallel(a=Scripted(), b=Scripted()).invoke("hello")


def node_of_a_graph() -> Any:
    return graph(None, "plan", asking()).invoke(ASK)


def node_of_a_named_graph() -> Any:
    return graph("flow", "plan", asking()).invoke(ASK)


def named_agent() -> Any:
    return create_agent(Scripted(), [], name="researcher").invoke(ASK)


def unnamed_agent() -> Any:
    return create_agent(Scripted(), []).invoke(ASK)


def unnamed_agent_with_a_run_name() -> Any:
    return create_agent(Scripted(), []).invoke(ASK, config={"run_name": "helper"})


def named_agent_as_node() -> Any:
    sub = create_agent(Scripted(), [], name="researcher")
    return graph("flow", "research_node", sub).invoke(ASK)


def unnamed_agent_as_node() -> Any:
    return graph("flow", "research_node", create_agent(Scripted(), [])).invoke(ASK)


def named_agent_called_in_a_node() -> Any:
    sub = create_agent(Scripted(), [], name="researcher")
    return graph("flow", "research_node", lambda state: sub.invoke({**state})).invoke(ASK)


def named_agent_in_a_tool() -> Any:
    sub = create_agent(Scripted(), [], name="worker")

    def ask() -> str:
        return str(sub.invoke(ASK)["messages"][-1].content)

    return boss_with(ask).invoke(ASK)


def named_agent_in_a_tool_with_its_config() -> Any:
    """Scenario 5: LangChain itself says `boss` here."""
    sub = create_agent(Scripted(), [], name="worker")

    def ask(config: RunnableConfig) -> str:
        return str(sub.invoke(ASK, config)["messages"][-1].content)

    return boss_with(ask).invoke(ASK)


def unnamed_agent_in_a_tool() -> Any:
    sub = create_agent(Scripted(), [])

    def ask() -> str:
        return str(sub.invoke(ASK)["messages"][-1].content)

    return boss_with(ask).invoke(ASK)


def graph_in_a_tool() -> Any:
    sub = graph("subflow", "plan", asking())

    def ask() -> str:
        return str(sub.invoke(ASK)["messages"][-1].content)

    return boss_with(ask).invoke(ASK)


def model_in_a_tool() -> Any:
    def ask() -> str:
        return str(Scripted().invoke("hello").content)

    return boss_with(ask).invoke(ASK)


def model_in_a_tool_with_callbacks_of_its_own() -> Any:
    """Scenario 26: what replaces the callbacks does not escape."""

    def ask() -> str:
        return str(Scripted().invoke("hello", config={"callbacks": []}).content)

    return boss_with(ask).invoke(ASK)


def three_levels() -> Any:
    """Scenario 6."""
    third = create_agent(Scripted(), [], name="level3")

    def ask_third() -> str:
        return str(third.invoke(ASK)["messages"][-1].content)

    second = boss_with(ask_third, name="level2")

    def ask_second() -> str:
        return str(second.invoke(ASK)["messages"][-1].content)

    return boss_with(ask_second, name="level1").invoke(ASK)


def three_levels_async() -> Any:
    """Scenario 6, with tasks."""
    third = create_agent(Scripted(), [], name="level3")

    async def ask_third() -> str:
        return str((await third.ainvoke(ASK))["messages"][-1].content)

    second = boss_with(ask_third, name="level2")

    async def ask_second() -> str:
        return str((await second.ainvoke(ASK))["messages"][-1].content)

    return asyncio.run(boss_with(ask_second, name="level1").ainvoke(ASK))


def task_in_a_tool() -> Any:
    sub = create_agent(Scripted(), [], name="worker")

    async def ask() -> str:
        return str((await asyncio.create_task(sub.ainvoke(ASK)))["messages"][-1].content)

    return asyncio.run(boss_with(ask).ainvoke(ASK))


def thread_in_a_tool() -> Any:
    sub = create_agent(Scripted(), [], name="worker")

    async def ask() -> str:
        return str((await asyncio.to_thread(sub.invoke, ASK))["messages"][-1].content)

    return asyncio.run(boss_with(ask).ainvoke(ASK))


def fan_out() -> Any:
    worker = create_agent(Scripted(), [], name="worker")
    made: Any = StateGraph(MessagesState)
    made.add_node("split", asking())
    made.add_node("work", worker)
    made.add_edge(START, "split")
    made.add_conditional_edges("split", lambda state: [Send("work", state)] * 3)
    return made.compile(name="flow").invoke(ASK)


def summary() -> Any:
    """Scenario 9: the model of a middleware."""
    make: Any = SummarizationMiddleware
    if "trigger" in inspect.signature(make).parameters:
        middleware = make(model=Scripted(), trigger=("messages", 3), keep=("messages", 1))
    else:
        middleware = make(model=Scripted(), max_tokens_before_summary=1, messages_to_keep=1)
    long: Any = {
        "messages": [("user", "hello"), ("ai", "hi"), ("user", "more"), ("ai", "ok"), ("user", "go")]
    }
    return create_agent(Scripted(), [], name="boss", middleware=[middleware]).invoke(long)


def supervisor() -> Any:
    """Scenario 8."""
    from langgraph.prebuilt import create_react_agent
    from langgraph_supervisor import create_supervisor

    expert = create_react_agent(Scripted(), [], name="math_expert")
    model = Scripted(script=[calls_tool("transfer_to_math_expert"), AIMessage("done")])
    return (
        create_supervisor([expert], model=model, supervisor_name="supervisor")
        .compile(name="team")
        .invoke(ASK)
    )


def supervisor_of_a_created_agent() -> Any:
    """Scenario 8, with an agent of LangChain's."""
    from langgraph_supervisor import create_supervisor

    expert = create_agent(Scripted(), [], name="math_expert")
    model = Scripted(script=[calls_tool("transfer_to_math_expert"), AIMessage("done")])
    return (
        create_supervisor([expert], model=model, supervisor_name="supervisor")
        .compile(name="team")
        .invoke(ASK)
    )


def functional() -> Any:
    @task
    def step(text: str) -> str:
        return str(Scripted().invoke(text).content)

    @entrypoint()
    def wf(text: str) -> str:
        return step(text).result()

    return wf.invoke("hello")


def metadata_of_the_user() -> Any:
    return Scripted().invoke("hello", config={"metadata": {"budget_agent": "editor"}})


def block_of_the_user() -> Any:
    with agent("editor"):
        return Scripted().invoke("hello")


def block_in_a_node() -> Any:
    def inside(state: Any) -> Any:
        with agent("editor"):
            return {"messages": [Scripted().invoke(state["messages"])]}

    return graph("flow", "write", inside).invoke(ASK)


def middleware_names_it() -> Any:
    return create_agent(Scripted(), [], name="boss", middleware=[BudgetMiddleware(agent="writer")]).invoke(
        ASK
    )


def middleware_names_what_is_inside_too() -> Any:
    def ask() -> str:
        return str(Scripted().invoke("hello").content)

    return boss_with(ask, name=None, middleware=[BudgetMiddleware(agent="writer")]).invoke(ASK)


def middleware_names_a_worker_with_an_explicit_config() -> Any:
    sub = create_agent(Scripted(), [], middleware=[BudgetMiddleware(agent="worker")])

    def ask(config: RunnableConfig) -> str:
        return str(sub.invoke(ASK, {**config, "run_name": "odd"})["messages"][-1].content)

    return boss_with(ask).invoke(ASK)


def batch() -> Any:
    return create_agent(Scripted(), [], name="researcher").batch([ASK, ASK])


def react_agent_without_a_name() -> Any:
    from langgraph.prebuilt import create_react_agent

    return create_react_agent(Scripted(), []).invoke(ASK)


def react_agent_with_a_name() -> Any:
    from langgraph.prebuilt import create_react_agent

    return create_react_agent(Scripted(), [], name="solver").invoke(ASK)


def subgraph_in_a_subgraph() -> Any:
    inner = graph(None, "draft", asking())
    return graph("flow", "write", graph(None, "section", inner)).invoke(ASK)


def chain_in_a_node() -> Any:
    made = (ChatPromptTemplate.from_template("{messages}") | Scripted()).with_config(run_name="drafting")
    return graph("flow", "write", lambda state: {"messages": [made.invoke(state)]}).invoke(ASK)


def agent_in_a_chain() -> Any:
    sub = create_agent(Scripted(), [], name="researcher")
    return (RunnableLambda(lambda x: x) | sub).with_config(run_name="triage").invoke(ASK)


def function_of_the_user() -> Any:
    def triage(text: str) -> Any:
        return Scripted().invoke(text)

    return RunnableLambda(triage).invoke("hello")


def nameless_function() -> Any:
    return RunnableLambda(lambda text: Scripted().invoke(text)).invoke("hello")


def classic_agent() -> Any:
    from langchain_classic.agents import AgentExecutor, create_tool_calling_agent

    prompt = ChatPromptTemplate.from_messages([("user", "{input}"), ("placeholder", "{agent_scratchpad}")])
    made = tool("look", description="Look.")(lambda: "seen")
    return AgentExecutor(agent=create_tool_calling_agent(Scripted(), [made], prompt), tools=[made]).invoke(
        {"input": "hello"}
    )


def tools_at_the_same_time() -> Any:
    subs = {name: create_agent(Scripted(), [], name=name) for name in ("north", "south")}
    both = [calls_tool(name).tool_calls[0] for name in subs]
    tools = [
        tool(name, description=name)(lambda sub=sub: str(sub.invoke(ASK)["messages"][-1].content))
        for name, sub in subs.items()
    ]
    model = Scripted(script=[AIMessage("", tool_calls=both), AIMessage("done")])
    return create_agent(model, tools, name="boss").invoke(ASK)


def streamed() -> Any:
    return list(create_agent(Streaming(), [], name="researcher").stream(ASK, stream_mode="messages"))


def retried() -> Any:
    model = Scripted(script=[ValueError("no"), AIMessage("yes")]).with_retry(wait_exponential_jitter=False)
    return graph("flow", "plan", asking(model)).invoke(ASK)


def fallen_back() -> Any:
    model = Scripted(script=[ValueError("no")]).with_fallbacks([Scripted(model="gpt-4o")])
    return graph("flow", "plan", asking(model)).invoke(ASK)


def command_hands_over() -> Any:
    made: Any = StateGraph(MessagesState)

    def alice(state: Any) -> Command[Any]:
        return Command(goto="bob", update={"messages": [Scripted().invoke(state["messages"])]})

    made.add_node("alice", alice, destinations=("bob",))
    made.add_node("bob", asking())
    made.add_edge(START, "alice")
    return made.compile(name="pair").invoke(ASK)


def retriever_asks_a_model() -> Any:
    def look(text: str) -> str:
        return str(Scripted().invoke(text).content)

    return graph("flow", "search", lambda state: RunnableLambda(look).invoke("x") and {}).invoke(ASK)


TELLS_NAMES = "lc_agent_name" in inspect.getsource(langchain.agents.factory)
"""Whether this version says the agent's name in metadata, where what the agent calls inherits it."""

BOSS_ALONE = ["boss", "boss"]
UNDER_BOSS = ["boss", "boss/worker", "boss"]

CASES: list[tuple[Case, list[str]]] = [
    (bare, ["unattributed"]),
    (chain, ["unattributed"]),
    (chain_with_a_name, ["triage"]),
    (chain_with_a_name_in_another, ["outer"]),
    (parallel, ["unattributed", "unattributed"]),
    (node_of_a_graph, ["plan"]),
    (node_of_a_named_graph, ["plan"]),
    (named_agent, ["researcher"]),
    (unnamed_agent, ["unattributed"]),
    (unnamed_agent_with_a_run_name, ["helper"]),
    (named_agent_as_node, ["research_node/researcher"]),
    (unnamed_agent_as_node, ["research_node"]),
    (named_agent_called_in_a_node, ["research_node/researcher"]),
    (named_agent_in_a_tool, UNDER_BOSS),
    (named_agent_in_a_tool_with_its_config, UNDER_BOSS),
    (unnamed_agent_in_a_tool, ["boss", "boss", "boss"]),
    (graph_in_a_tool, ["boss", "boss/subflow" if TELLS_NAMES else "boss/plan", "boss"]),
    (model_in_a_tool, ["boss", "boss", "boss"]),
    (model_in_a_tool_with_callbacks_of_its_own, ["boss", "boss", "boss"]),
    (three_levels, ["level1", "level1/level2", "level1/level2/level3", "level1/level2", "level1"]),
    (three_levels_async, ["level1", "level1/level2", "level1/level2/level3", "level1/level2", "level1"]),
    (task_in_a_tool, UNDER_BOSS),
    (thread_in_a_tool, UNDER_BOSS),
    (fan_out, ["split", "work/worker", "work/worker", "work/worker"]),
    (summary, BOSS_ALONE),
    (supervisor, ["supervisor", "math_expert", "supervisor"]),
    (supervisor_of_a_created_agent, ["supervisor", "math_expert", "supervisor"]),
    (functional, ["step"]),
    (metadata_of_the_user, ["editor"]),
    (block_of_the_user, ["editor"]),
    (block_in_a_node, ["write/editor"]),
    (middleware_names_it, ["writer"]),
    (middleware_names_what_is_inside_too, ["writer", "writer", "writer"]),
    (middleware_names_a_worker_with_an_explicit_config, UNDER_BOSS),
    (batch, ["researcher", "researcher"]),
    (react_agent_without_a_name, ["unattributed"]),
    (react_agent_with_a_name, ["solver"]),
    (subgraph_in_a_subgraph, ["write/section/draft"]),
    (chain_in_a_node, ["write"]),
    (agent_in_a_chain, ["triage/researcher"]),
    (function_of_the_user, ["triage"]),
    (nameless_function, ["unattributed"]),
    (classic_agent, ["AgentExecutor"]),
    (tools_at_the_same_time, ["boss", "boss/north", "boss/south", "boss"]),
    (streamed, ["researcher"]),
    (retried, ["plan", "plan"]),
    (fallen_back, ["plan", "plan"]),
    (command_hands_over, ["alice", "bob"]),
    (retriever_asks_a_model, ["search"]),
]


@pytest.mark.parametrize(("case", "paths"), CASES, ids=[case.__name__ for case, _ in CASES])
def test_who_a_call_is_booked_to(case: Case, paths: list[str], store: MemoryStore) -> None:
    """Every call is booked to the agent that the framework names, under those that it runs in."""
    with Budget(5, store=store).run("job") as run:
        case()

    entries = entries_of(run)
    assert sorted(paths) == sorted(entry.subject.agent.path for entry in entries)
    assert (paths[0], paths[-1]) == (entries[0].subject.agent.path, entries[-1].subject.agent.path)
    assert all(entry.subject.agent.name == entry.subject.agent.path.rpartition("/")[2] for entry in entries)
    assert {"langchain"} == {entry.subject.agent.framework for entry in entries}


def test_a_handler_in_a_models_constructor_sees_the_same(store: MemoryStore) -> None:
    """Without any callback on the graph, an agent called with an explicit config is still told by its own name."""
    model = Scripted(callbacks=[BudgetCallbackHandler(Budget(5, store=store))])
    sub = create_agent(model, [], name="worker")

    def ask(config: RunnableConfig) -> str:
        return str(sub.invoke(ASK, config)["messages"][-1].content)

    boss_with(ask).invoke(ASK)

    assert ["boss/worker"] == [entry.subject.agent.path for entry in store.entries(Where())]
