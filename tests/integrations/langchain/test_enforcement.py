"""A call that nobody can pay for is not sent, whichever way LangChain makes it."""

# What LangChain's entry points return has types that no two versions share.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownLambdaType=false

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from decimal import Decimal
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain.agents import middleware as middlewares
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.language_models import BaseChatModel, FakeListChatModel
from langchain_core.messages import AIMessage
from langchain_core.runnables import RunnableLambda
from langchain_core.tools import tool
from langgraph.graph import START, MessagesState, StateGraph
from tests.integrations.langchain.conftest import Scripted, calls_tool, entries_of, openai_model

import bursar
from bursar import Budget, BudgetExceeded, UnknownPrice
from bursar.simulator import Simulator
from bursar.store import Where
from bursar.stores.memory import MemoryStore
from bursar_langchain import BudgetCallbackHandler
from bursar_langchain.calls import CALLS

pytestmark = [
    pytest.mark.timeout(60),
    # LangChain drops the coroutines of other handlers, those of `astream_events` say, where one stops a call.
    pytest.mark.filterwarnings("ignore:coroutine 'ahandle_event' was never awaited"),
    pytest.mark.filterwarnings("ignore::langgraph.warnings.LangGraphDeprecatedSinceV10"),
    pytest.mark.filterwarnings("ignore::langchain_core._api.beta_decorator.LangChainBetaWarning"),
]

ASK: Any = {"messages": [("user", "hello")]}
HAS_EVENTS_V3 = hasattr(BaseChatModel, "stream_events") or hasattr(BaseChatModel, "stream_v2")
Enter = Callable[[Any, Any, Any], Any]


async def _all(parts: Any) -> None:
    async for _ in parts:
        pass


def _v3(model: Any, ask: Any, config: Any) -> Any:
    return list(model.stream_events(ask, config, version="v3"))


async def _av3(model: Any, ask: Any, config: Any) -> None:
    await _all(await model.astream_events(ask, config, version="v3"))


ENTRIES: dict[str, Enter] = {
    "invoke": lambda model, ask, config: model.invoke(ask, config),
    "stream": lambda model, ask, config: list(model.stream(ask, config)),
    "batch": lambda model, ask, config: model.batch([ask, ask], config),
    "batch_as_completed": lambda model, ask, config: list(model.batch_as_completed([ask, ask], config)),
    "ainvoke": lambda model, ask, config: asyncio.run(model.ainvoke(ask, config)),
    "astream": lambda model, ask, config: asyncio.run(_all(model.astream(ask, config))),
    "abatch": lambda model, ask, config: asyncio.run(model.abatch([ask, ask], config)),
    "astream_events_v2": lambda model, ask, config: asyncio.run(
        _all(model.astream_events(ask, config, version="v2"))
    ),
}
if HAS_EVENTS_V3:
    ENTRIES |= {
        "stream_events_v3": _v3,
        "astream_events_v3": lambda model, ask, config: asyncio.run(_av3(model, ask, config)),
    }


def _node(model: Any) -> Any:
    made: Any = StateGraph(MessagesState)
    made.add_node("plan", lambda state: {"messages": [model.invoke(state["messages"])]})
    made.add_edge(START, "plan")
    return made.compile()


def _executor(model: Any) -> Any:
    from langchain_classic.agents import AgentExecutor, create_tool_calling_agent
    from langchain_core.prompts import ChatPromptTemplate

    prompt = ChatPromptTemplate.from_messages([("user", "{input}"), ("placeholder", "{agent_scratchpad}")])
    look = tool("look", description="Look.")(lambda: "seen")
    return AgentExecutor(agent=create_tool_calling_agent(model, [look], prompt), tools=[look])


@pytest.mark.parametrize("entry", ENTRIES)
@pytest.mark.parametrize("around", ["model", "node", "agent", "executor"])
def test_a_spent_budget_sends_nothing(around: str, entry: str, sim: Simulator, store: MemoryStore) -> None:
    """Scenarios 1 and 2: by every way in there is no request, and the exception is the budget's own."""
    model: Any = openai_model(sim)
    ask: Any = "hello" if around == "model" else {"input": "hello"} if around == "executor" else ASK
    made = {
        "model": lambda m: m,
        "node": _node,
        "agent": lambda m: create_agent(m, []),
        "executor": _executor,
    }
    config = {"callbacks": [BudgetCallbackHandler(Budget(calls=0, store=store))]}
    if "v3" in entry and around == "executor":
        pytest.skip("only models and graphs stream events of version 3")

    with pytest.raises(BudgetExceeded) as caught:
        ENTRIES[entry](made[around](model), ask, config)

    assert 0 == sim.arrived
    assert caught.value.__cause__ is None
    assert "may spend 0 calls" in str(caught.value)


def test_a_request_that_comes_again_in_a_run_is_marked(store: MemoryStore) -> None:
    """Below one root, and in a run around several, the second is a repetition; a root of its own repeats none."""
    model, config = Scripted(), {"callbacks": [BudgetCallbackHandler(Budget(5, store=store))]}
    twice: Any = RunnableLambda(lambda ask, config: [model.invoke(ask, config) for _ in range(2)])
    twice.invoke("hello", config)
    for _ in range(2):
        model.invoke("hello", config)
    with Budget(5, store=store).run("job"):
        for _ in range(2):
            model.invoke("hello")

    assert [False, True, False, False, False, True] == [
        entry.subject.is_repeat for entry in store.entries(Where())
    ]


def test_budgets_in_two_stores_are_refused(store: MemoryStore) -> None:
    """A cap is kept in one place: a call that two handlers pay for, from stores of their own, is not sent."""
    model = Scripted()
    handlers = [BudgetCallbackHandler(Budget(5, store=each)) for each in (store, MemoryStore())]

    with pytest.raises(ValueError, match="would pay from budgets in two stores"):
        model.invoke("hello", {"callbacks": list(handlers)})
    with pytest.raises(ValueError, match="would pay from budgets in two stores"):
        asyncio.run(model.ainvoke("hello", {"callbacks": list(handlers)}))

    assert [] == model.sent
    assert (0, 0) == (len(CALLS), sum(len(handler.roots.runs) for handler in handlers))


def test_a_budget_without_a_store_goes_where_the_other_is(store: MemoryStore) -> None:
    """Of two handlers one names a store: both budgets are kept there, whichever comes first, and both hold."""
    model = Scripted()
    budgets = [Budget(5), Budget(calls=1, per="total", name="cap", store=store), Budget(5, within=Budget(9))]
    config: Any = {"callbacks": [BudgetCallbackHandler(budget) for budget in budgets]}
    model.invoke("hello", config)
    with pytest.raises(BudgetExceeded, match='budget "cap"'):
        model.invoke("hello", config)

    assert all(budget.store is store for budget in budgets)
    assert [Decimal("0.0000135")] * 3 == [budget.spent for budget in budgets]


def test_each_refusal_is_an_exception_of_its_own(store: MemoryStore) -> None:
    """Scenario 2: what LangGraph adds to one is not found on the next."""
    graph = _node(Scripted())
    caught: list[BudgetExceeded] = []
    with Budget(calls=0, store=store).run("job"):
        for _ in range(2):
            with pytest.raises(BudgetExceeded) as each:
                graph.invoke(ASK)
            caught.append(each.value)

    assert caught[0] is not caught[1]
    assert [1, 1] == [len(getattr(each, "__notes__", [])) for each in caught]


def test_threads_send_exactly_what_there_is_room_for(sim: Simulator, store: MemoryStore) -> None:
    """Scenario 3: of twenty agents in threads, three are sent."""
    agent = create_agent(openai_model(sim), [], name="worker")
    with Budget(calls=3, store=store).run("job") as run, ThreadPoolExecutor(20) as pool:
        contexts = [copy_context() for _ in range(20)]
        waiting = [pool.submit(context.run, agent.invoke, ASK) for context in contexts]
        refused = [future.exception() for future in waiting if future.exception()]

    assert (3, 17) == (sim.arrived, len(refused))
    assert all(isinstance(error, BudgetExceeded) for error in refused)
    assert 0 == run.reserved


def test_tasks_send_exactly_what_there_is_room_for(sim: Simulator, store: MemoryStore) -> None:
    """Scenario 3: of twenty agents in tasks, three are sent."""
    agent = create_agent(openai_model(sim), [], name="worker")

    async def main() -> list[Any]:
        return await asyncio.gather(*(agent.ainvoke(ASK) for _ in range(20)), return_exceptions=True)

    with Budget(calls=3, store=store).run("job") as run:
        results = asyncio.run(main())

    assert (3, 17) == (sim.arrived, [isinstance(each, BudgetExceeded) for each in results].count(True))
    assert 0 == run.reserved


@pytest.mark.parametrize("is_async", [False, True], ids=["threads", "tasks"])
def test_a_busy_budget_makes_calls_wait(is_async: bool, sim: Simulator, store: MemoryStore) -> None:
    """With room for two at a time, all twelve are made in the end, and in tasks no loop is blocked by that."""
    model = openai_model(sim)
    one = Decimal("0.00012")  # more than one call may cost, and much more than it does
    with Budget(2 * one, store=store, warn_at=None).run("job") as run:
        if is_async:

            async def main() -> list[Any]:
                return await asyncio.gather(
                    *(model.ainvoke("hello") for _ in range(12)), return_exceptions=True
                )

            results = asyncio.run(main())
        else:
            with ThreadPoolExecutor(12) as pool:
                contexts = [copy_context() for _ in range(12)]
                waiting = [pool.submit(context.run, model.invoke, "hello") for context in contexts]
                results = [future.exception() or future.result() for future in waiting]

    sent = [each for each in results if isinstance(each, AIMessage)]
    assert sim.bill.total == run.spent <= 2 * one
    assert len(sent) == sim.arrived
    assert 12 == len(sent)
    assert 0 == run.reserved


def test_a_tool_that_is_refused_leaves_its_sibling_alone(store: MemoryStore) -> None:
    """Scenario 7: of two tools at once one agent is broke; the other's call is settled, once."""
    subs = {name: create_agent(Scripted(), [], name=name) for name in ("broke", "rich")}

    def make(name: str) -> Any:
        @tool(name, description=name)
        def ask() -> str:
            return str(subs[name].invoke(ASK)["messages"][-1].content)

        return ask

    both = [calls_tool(name).tool_calls[0] for name in subs]
    model = Scripted(script=[AIMessage("", tool_calls=both), AIMessage("done")])
    boss = create_agent(model, [make("broke"), make("rich")], name="boss")
    with (
        Budget(5, agents={"broke": "$0.000000001", "rich": "50%", "boss": "40%"}, store=store).run(
            "job"
        ) as run,
        pytest.raises(BudgetExceeded) as caught,
    ):
        boss.invoke(ASK)

    assert "broke" == caught.value.agent
    settled = [e for e in entries_of(run) if e.subject.agent.name == "rich"]
    assert [("ok", "priced")] == [(e.status, e.source) for e in settled]
    assert 0 == run.reserved


@pytest.mark.parametrize("swallows", ["ModelRetryMiddleware", "ToolRetryMiddleware", "ToolNode"])
def test_what_swallows_a_refusal_sends_nothing_either(swallows: str, store: MemoryStore) -> None:
    """Scenario 25: whatever becomes of the exception, there is no request, and the run remembers."""
    if swallows != "ToolNode" and not hasattr(middlewares, swallows):
        pytest.skip("this version has no such middleware")
    retries: Any = getattr(middlewares, swallows, lambda **options: None)(max_retries=2, initial_delay=0.0)
    inner = Scripted()
    sub = create_agent(inner, [], name="worker")

    @tool("ask", description="Ask.")
    def ask() -> str:
        return str(sub.invoke(ASK)["messages"][-1].content)

    model = Scripted(script=[calls_tool("ask"), AIMessage("done")])
    agents: Any = {"worker": "$0.000000001", "boss": "90%"}
    with Budget(5, agents=agents, store=store).run("job") as run:
        if swallows == "ModelRetryMiddleware":
            create_agent(inner, [], name="worker", middleware=[retries]).invoke(ASK)
        elif swallows == "ToolRetryMiddleware":
            create_agent(model, [ask], name="boss", middleware=[retries]).invoke(ASK)
        else:
            from langgraph.prebuilt import ToolNode

            made: Any = StateGraph(MessagesState)
            made.add_node("tools", ToolNode([ask], handle_tool_errors=True))
            made.add_edge(START, "tools")
            made.compile().invoke({"messages": [calls_tool("ask")]})

    assert [] == inner.sent
    assert run.refusals
    assert {"worker"} == {refusal.agent for refusal in run.refusals}
    with pytest.raises(BudgetExceeded):
        run.raise_if_refused()


def test_callbacks_of_their_own_do_not_escape(store: MemoryStore) -> None:
    """Scenario 26: a model in a tool that is given other callbacks is paid by the handler around it all the same."""
    inner = Scripted()

    @tool("ask", description="Ask.")
    def ask() -> str:
        return str(inner.invoke("x", config={"callbacks": [BaseCallbackHandler()]}).content)

    model = Scripted(script=[calls_tool("ask"), AIMessage("done")])
    boss = create_agent(model, [ask], name="boss")
    with pytest.raises(BudgetExceeded):
        boss.invoke(ASK, config={"callbacks": [BudgetCallbackHandler(Budget(calls=1, store=store))]})

    assert (1, 0) == (len(model.sent), len(inner.sent))


def test_a_raw_thread_is_seen_where_the_model_has_the_handler(store: MemoryStore) -> None:
    """Scenario 27: a thread without LangChain's context is no part of the run, but the model's own handler pays."""
    budget = Budget(calls=1, per="total", store=store)
    model = Scripted(callbacks=[BudgetCallbackHandler(budget)])
    refused: list[BaseException] = []

    def ask() -> None:
        try:
            model.invoke("hello")
        except BudgetExceeded as error:
            refused.append(error)

    for _ in range(2):
        thread = threading.Thread(target=ask)
        thread.start()
        thread.join()

    assert (1, 1) == (len(model.sent), len(refused))


def test_a_handler_given_three_times_pays_once(store: MemoryStore) -> None:
    """Scenario 28: by the block, the config and the constructor at once."""
    budget = Budget(5, store=store)
    handler = BudgetCallbackHandler(budget)
    model = Scripted(callbacks=[handler])
    with budget.run("job") as run:
        create_agent(model, [], name="boss").invoke(
            ASK, config={"callbacks": [handler, BudgetCallbackHandler(budget)]}
        )

    (entry,) = store.entries(Where())
    assert entry.subject.run_id == run.id
    assert run.spent == Decimal(entry.cost_nanousd or 0).scaleb(-9) > 0


def test_two_handlers_pay_each_from_its_own_budget(store: MemoryStore) -> None:
    """Two different budgets pay for one call, all or none, and it is entered once."""
    rich, poor = Budget(calls=9, store=store, name="rich"), Budget(calls=1, store=store, name="poor")
    model = Scripted()
    agent = create_agent(
        model.model_copy(update={"callbacks": [BudgetCallbackHandler(poor)]}), [], name="boss"
    )
    agent.invoke(ASK, config={"callbacks": [BudgetCallbackHandler(rich)]})

    (entry,) = store.entries(Where())
    assert "ok" == entry.status
    assert 1 == rich.report().calls or 1 == poor.report().calls
    assert rich.spent == poor.spent


def test_scopes_at_the_same_time_are_kept_apart(store: MemoryStore) -> None:
    """Scenario 29: one handler, and runs of two blocks in tasks of one loop."""
    budget = Budget(5, store=store)
    handler = BudgetCallbackHandler(budget)
    agent = create_agent(Scripted(delay_s=0.01), [], name="worker")

    async def one(calls: int) -> Any:
        with budget.run(f"job-{calls}") as run:
            for _ in range(calls):
                await agent.ainvoke(ASK, config={"callbacks": [handler]})
        return run

    async def main() -> list[Any]:
        return await asyncio.gather(one(1), one(2), one(3))

    assert [1, 2, 3] == [run.calls for run in asyncio.run(main())]


def test_each_root_is_a_run_of_its_own(store: MemoryStore) -> None:
    """One handler on many invokes: each has the whole of the budget, under the id that LangChain gave it."""
    handler = BudgetCallbackHandler(Budget(calls=1, store=store))
    agent = create_agent(Scripted(), [], name="worker")
    for _ in range(3):
        agent.invoke(ASK, config={"callbacks": [handler]})
    agent.batch([ASK, ASK], config={"callbacks": [handler]})

    entries = list(store.entries(Where()))
    assert 5 == len({entry.subject.run_id for entry in entries}) == len(entries)
    assert {"worker"} == {entry.subject.workflow for entry in entries}
    assert 0 == len(handler.roots)


def test_the_run_has_langchains_own_id(store: MemoryStore) -> None:
    """A run in the ledger can be found again by the id that LangSmith shows."""
    import uuid

    run_id = uuid.uuid4()
    handler = BudgetCallbackHandler(Budget(5, store=store))
    create_agent(Scripted(), [], name="w").invoke(ASK, config={"callbacks": [handler], "run_id": run_id})

    assert [str(run_id)] == [entry.subject.run_id for entry in store.entries(Where())]


def test_the_price_is_of_what_goes_on_the_wire(sim: Simulator, store: MemoryStore) -> None:
    """Scenario 30: a model and a limit given to one call stand before those of the constructor."""
    model = openai_model(sim, model="gpt-4o-mini", max_tokens=50)
    with Budget(5, store=store).run("job") as run:
        model.invoke("hello", model="gpt-4o", max_tokens=9)
    (entry,) = entries_of(run)

    assert ("gpt-4o", 9) == (sim.requests[0].model, sim.requests[0].body["max_completion_tokens"])
    assert "gpt-4o" == entry.subject.model
    # 9 tokens of output at $10 per million, and less than 100 of input at $2.50.
    assert 90_000 < entry.bound_nanousd < 90_000 + 250_000
    assert sim.bill.total == run.spent


def test_three_choices_are_held_three_times(sim: Simulator, store: MemoryStore) -> None:
    """Scenario 31."""
    model = openai_model(sim, model="gpt-4o", max_tokens=1_000)
    with Budget(5, store=store).run("job") as run:
        model.invoke("hello")
        model.bind(n=3).invoke("hello")
    single, triple = entries_of(run)

    assert triple.bound_nanousd - single.bound_nanousd == 2 * 1_000 * 10_000
    assert sim.bill.total == run.spent


def test_an_unknown_price_is_refused_with_the_line_to_add(store: MemoryStore) -> None:
    """Under a budget in dollars, a model without a price is not called."""
    model = Scripted(model="acme-7b")
    with Budget(5, store=store).run("job"), pytest.raises(UnknownPrice, match=r"bursar\.prices\.add"):
        model.invoke("hello")

    assert [] == model.sent


def test_a_model_without_a_name(store: MemoryStore) -> None:
    """A fake model is called what its class is: the line that the error shows can be written, and helps."""
    model = FakeListChatModel(responses=["hello"])
    with Budget(5, store=store).run("job"):
        with pytest.raises(UnknownPrice, match=r'bursar\.prices\.free\("FakeListChatModel"\)'):
            model.invoke("hello")
        bursar.prices.free("FakeListChatModel")

        assert "hello" == model.invoke("hello").content
