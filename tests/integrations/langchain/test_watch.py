"""The handlers that watch every run of the process: registered once, in line, and nothing kept of what has ended."""

# What models return has types that no two versions share.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
import threading
from collections import Counter
from typing import Any
from uuid import UUID

import pytest
from langchain.agents import create_agent
from langchain_core.callbacks import AsyncCallbackManager, BaseCallbackHandler, CallbackManager, manager
from langchain_core.tracers import context
from tests.integrations.langchain.conftest import Scripted, entries_of

from bursar import Budget
from bursar.dropped import dropped
from bursar.stores.memory import MemoryStore
from bursar_langchain import BudgetCallbackHandler, watch
from bursar_langchain.calls import CALLS
from bursar_langchain.claims import CLAIMS
from bursar_langchain.tree import TREE
from bursar_langchain.watch import CallWatch, RunWatch

pytestmark = pytest.mark.timeout(120)

ASK: Any = {"messages": [("user", "hello")]}


def test_the_list_of_hooks_does_not_grow(store: MemoryStore) -> None:
    """Scenario 32: a thousand blocks, and two hooks as before."""
    before = len(context._configure_hooks)
    for _ in range(1_000):
        with Budget(5, store=store).run("job"):
            pass

    assert before == len(context._configure_hooks)


@pytest.mark.parametrize("is_async", [False, True])
def test_no_prompt_is_written_out_for_a_handler_of_ours(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch, *, is_async: bool
) -> None:
    """LangChain writes a prompt out as one text for every handler that does not take it as messages: none of ours."""
    written: list[object] = []
    monkeypatch.setattr(manager, "get_buffer_string", lambda messages: written.append(messages) or "")
    budget, model = Budget(5, store=store), Scripted()
    config: Any = {"callbacks": [BudgetCallbackHandler(budget)]}
    if is_async:
        asyncio.run(model.ainvoke("hello", config))
    else:
        model.invoke("hello", config)

    assert [] == written
    assert 1 == budget.report().calls


def test_calls_of_tasks_stay_in_their_thread(store: MemoryStore) -> None:
    """Scenario 33: no hook of ours hops to another thread, before or after a call."""
    seen: list[int] = []

    class Spy(MemoryStore):
        def reserve(self, *args: Any, **kwargs: Any) -> Any:
            seen.append(threading.get_ident())
            return super().reserve(*args, **kwargs)

        def resolve(self, *args: Any, **kwargs: Any) -> Any:
            seen.append(threading.get_ident())
            return super().resolve(*args, **kwargs)

    with Budget(5, store=Spy()).run("job"):
        asyncio.run(Scripted().ainvoke("hello"))

    assert [threading.get_ident()] * 2 == seen


def test_the_watch_of_calls_comes_last() -> None:
    """Whatever handlers a call has, inherited or its own, the one that reserves is behind them all."""

    class Other(BaseCallbackHandler):
        pass

    made = CallbackManager.configure([Other()], [Other()])
    child = CallbackManager.configure(made.on_chain_start({}, {}).get_child(), [Other()])
    TREE.end(child.parent_run_id or UUID(int=0))
    task = AsyncCallbackManager.configure([Other()], [Other()])
    for each in (made, child, task):
        kinds = [type(handler) for handler in each.handlers]
        assert CallWatch is kinds[-1]
        assert 1 == kinds.count(CallWatch) == kinds.count(RunWatch)


def test_langchain_awaits_async_handlers_where_it_is_expected_to(monkeypatch: pytest.MonkeyPatch) -> None:
    """A canary: how a call of a task is told from another depends on the name of one function of LangChain's."""
    asked: list[str] = []

    def hold(*args: Any, **event: Any) -> None:
        asked.append("called")

    async def ahold(*args: Any, **event: Any) -> None:
        asked.append("awaited")

    monkeypatch.setattr(watch, "hold_chat", hold)
    monkeypatch.setattr(watch, "ahold_chat", ahold)
    Scripted().invoke("hello")
    asyncio.run(Scripted().ainvoke("hello"))

    assert ["called", "awaited"] == asked


@pytest.mark.parametrize("is_async", [False, True])
def test_nothing_is_kept_of_runs_that_have_ended(is_async: bool) -> None:
    """Nothing is followed any more once a run has ended, however many there were."""
    agent = create_agent(Scripted(), [], name="worker")
    handler = BudgetCallbackHandler(Budget(5, store=MemoryStore()))
    claims = len(CLAIMS._claims)

    def invoke(times: int) -> None:
        for _ in range(times):
            config: Any = {"callbacks": [handler]}
            if is_async:
                asyncio.run(agent.ainvoke(ASK, config))
            else:
                agent.invoke(ASK, config)

    invoke(50)
    sizes = [len(TREE), len(CALLS), len(handler.roots)]
    invoke(50)

    assert [0, 0, 0] == sizes == [len(TREE), len(CALLS), len(handler.roots)]
    assert claims == len(CLAIMS._claims)


def test_memory_of_ended_runs_is_freed() -> None:
    """No object of ours is left of a run that has ended, nor any run of LangChain's that we would hold."""
    handler = BudgetCallbackHandler()
    agent = create_agent(Scripted(), [], name="worker")

    def alive() -> Counter[str]:
        gc.collect()
        dropped.do_all()
        kinds = (type(one) for one in gc.get_objects())
        return Counter(
            kind.__qualname__ for kind in kinds if str(kind.__module__).startswith(("bursar", "langchain"))
        )

    def invoke(times: int) -> None:
        for _ in range(times):
            agent.invoke(ASK, config={"callbacks": [handler]})

    invoke(50)
    before = alive()
    invoke(100)

    assert [] == [kind for kind, more in (alive() - before).items() if more > 10]


def test_only_langchain_core_is_needed() -> None:
    """Importing the adapter imports neither LangChain's agents nor LangGraph."""
    code = (
        "import sys, bursar_langchain; "
        "print([name for name in ('langchain', 'langgraph', 'openai', 'anthropic') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "[]" == done.stdout.strip()


def test_without_langchains_agents_the_rest_works() -> None:
    """Where only langchain-core is installed, the handler works, and the middleware says what to install."""
    code = """
import sys
for name in ("langchain", "langgraph"):
    sys.modules[name] = None
import bursar_langchain
from langchain_core.language_models import GenericFakeChatModel
from langchain_core.messages import AIMessage
from bursar import Budget, BudgetExceeded
from bursar.stores.memory import MemoryStore
model = GenericFakeChatModel(messages=iter([AIMessage("x")]))
try:
    with Budget(calls=0, store=MemoryStore()).run("job"):
        model.invoke("hello")
except BudgetExceeded:
    print("refused")
try:
    bursar_langchain.BudgetMiddleware
except ImportError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "refused" in done.stdout
    assert 'pip install "langchain' in done.stdout


def test_where_the_adapter_is_imported_does_not_matter() -> None:
    """Imported inside a run, it books to that run what is called in it, and nothing that is called later."""
    code = """
from langchain_core.language_models import GenericFakeChatModel
from langchain_core.messages import AIMessage
from bursar import Budget
from bursar.stores.memory import MemoryStore
model = GenericFakeChatModel(messages=iter([AIMessage("x"), AIMessage("y")]))
with Budget(calls=5, store=MemoryStore()).run("job") as run:
    import bursar_langchain
    model.invoke("inside")
model.invoke("outside")
print(run.calls)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "1" == done.stdout.strip()


def test_a_subclass_says_itself_what_it_ignores() -> None:
    """What we have as attributes, a user may define as the property that LangChain has."""

    class Mine(BudgetCallbackHandler):
        @property
        def ignore_llm(self) -> bool:
            return True

    class Heir(Mine):
        pass

    assert (True, True, False) == (Mine().ignore_llm, Heir().ignore_llm, Heir().ignore_chat_model)
    assert (True, False) == (RunWatch().ignore_llm, CallWatch().ignore_llm)


def test_a_handler_can_be_in_sets() -> None:
    """LangChain keeps handlers in sets when it merges managers."""
    assert 2 == len({BudgetCallbackHandler(1), BudgetCallbackHandler(1)})


def test_without_anybody_who_pays_nothing_is_entered(store: MemoryStore) -> None:
    """Outside any run, a model without a handler is not metered, and nothing is changed."""
    Scripted().invoke("hello")
    with Budget(5, store=store).run("job") as run:
        pass

    assert [] == entries_of(run)
