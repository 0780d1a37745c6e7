"""
Streams whose pieces are asked for in tasks of their own, as LangChain does between the steps of every chain.

The task that began such a call has ended long before the call has.
"""

# What LangChain's entry points return has types that no two versions share.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownLambdaType=false

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import AsyncIterator, Callable
from typing import Any, TypedDict

import pytest
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import (
    RunnableBranch,
    RunnableGenerator,
    RunnableLambda,
    RunnableParallel,
    RunnablePassthrough,
)
from langgraph.graph import END, START, StateGraph
from tests.integrations.langchain.conftest import Scripted, Streaming, entries_of, openai_model

from bursar import Budget, BudgetExceeded
from bursar.dropped import dropped
from bursar.run import Run
from bursar.simulator import Simulator
from bursar.store import Where
from bursar.stores.memory import MemoryStore
from bursar_langchain import BudgetCallbackHandler

pytestmark = [
    pytest.mark.timeout(60),
    pytest.mark.filterwarnings("ignore::langchain_core._api.beta_decorator.LangChainBetaWarning"),
    pytest.mark.filterwarnings("ignore:astream_log is deprecated"),
]

PROMPT = ChatPromptTemplate.from_messages([("user", "{topic}")])
ASK: Any = {"topic": "tides"}


def settle_all(run: Run) -> list[tuple[str, str]]:
    """How the run's calls ended and how their cost is known, once all have."""
    until_s = time.monotonic() + 3
    while run.reserved and time.monotonic() < until_s:
        gc.collect()
        dropped.do_all()
        time.sleep(0.01)
    assert 0 == run.reserved
    return [(entry.status, entry.source) for entry in entries_of(run)]


async def _generated(asked: AsyncIterator[Any]) -> AsyncIterator[Any]:
    async for prompt in asked:
        async for piece in Streaming().astream(prompt):
            yield piece


class _State(TypedDict):
    said: str


async def _node(state: _State) -> _State:
    return {"said": "".join([str(piece.content) async for piece in (PROMPT | Streaming()).astream(ASK)])}


def _graph() -> Any:
    graph: Any = StateGraph(_State)
    graph.add_node("writer", _node)
    graph.add_edge(START, "writer")
    graph.add_edge("writer", END)
    return RunnableLambda(lambda _: {"said": ""}) | graph.compile()


CHAINS: dict[str, tuple[Callable[[], Any], int]] = {
    "prompt | model": (lambda: PROMPT | Streaming(), 1),
    "prompt | model | parser": (lambda: PROMPT | Streaming() | StrOutputParser(), 1),
    "parallel": (lambda: RunnableParallel(a=PROMPT | Streaming(), b=PROMPT | Streaming()), 2),
    "assign": (lambda: RunnablePassthrough.assign(said=PROMPT | Streaming()), 1),
    "branch": (lambda: RunnableBranch((lambda _: True, PROMPT | Streaming()), PROMPT | Streaming()), 1),
    "fallbacks": (lambda: PROMPT | Streaming().with_fallbacks([Streaming()]), 1),
    "after a fallback": (
        lambda: PROMPT | Scripted(script=[RuntimeError("down")]).with_fallbacks([Streaming()]),
        1,
    ),
    "generator": (lambda: PROMPT | RunnableGenerator(_generated), 1),
    "in a graph": (_graph, 1),
    "one after the other": (
        lambda: (
            PROMPT | Streaming() | StrOutputParser() | (lambda topic: {"topic": topic}) | PROMPT | Streaming()
        ),
        2,
    ),
}


@pytest.mark.parametrize("kind", CHAINS)
@pytest.mark.parametrize("how", ["astream", "astream_events", "astream_log", "ainvoke"])
def test_a_chain_that_is_read_to_its_end(how: str, kind: str, run: Run) -> None:
    """Every call is booked at what it used, whichever tasks asked for its pieces."""
    make, calls = CHAINS[kind]
    chain = make()

    async def main() -> None:
        if how == "ainvoke":
            await chain.ainvoke(ASK)
            return
        options = {"version": "v2"} if how == "astream_events" else {}
        pieces = [piece async for piece in getattr(chain, how)(ASK, **options)]
        assert len(pieces) > 1 or kind == "in a graph"

    asyncio.run(main())

    assert [("ok", "priced")] * calls == settle_all(run)[-calls:]
    assert calls == sum(entry.status == "ok" for entry in entries_of(run))


@pytest.mark.parametrize(
    "kind", ["prompt | model", "prompt | model | parser", "assign", "fallbacks", "generator"]
)
def test_the_reader_does_not_wait_for_the_stream_that_it_reads(kind: str, store: MemoryStore) -> None:
    """A call between two pieces, on a budget that the stream fills, is refused at once: the stream waits for it."""
    chain = CHAINS[kind][0]()

    async def main() -> float:
        began_s, refusals = time.monotonic(), 0
        async for _ in chain.astream(ASK):
            # What is assigned to comes before the model's first piece.
            if run.reserved:
                with pytest.raises(BudgetExceeded):
                    await Scripted().ainvoke("meanwhile")
                refusals += 1
        assert refusals > 1
        return time.monotonic() - began_s

    with Budget(5, calls=CHAINS[kind][1], wait_s=20, store=store).run("job") as run:
        assert asyncio.run(main()) < 10
    assert CHAINS[kind][1] == run.calls


def test_others_wait_for_a_stream_in_tasks(store: MemoryStore) -> None:
    """A task beside the reader waits until the stream has ended, and gets what it left."""
    answers: list[Any] = []

    async def beside() -> None:
        answers.append(await Scripted().ainvoke("meanwhile"))

    async def main() -> None:
        other: asyncio.Task[None] | None = None
        async for _ in (PROMPT | Streaming()).astream(ASK):
            other = other or asyncio.create_task(beside())
            await asyncio.sleep(0.01)
            assert [] == answers
        assert other is not None
        await other

    # The stream holds the whole, and spends a part of it.
    with Budget(tokens=140, wait_s=20, store=store).run("job") as run:
        asyncio.run(main())
    assert 2 == run.calls


def test_a_real_model_in_a_chain(sim: Simulator, store: MemoryStore) -> None:
    """A chain over the SDK pays what the server bills, and the cap holds for the next stream."""
    budget = Budget(calls=2, store=store)

    async def main() -> None:
        chain = PROMPT | openai_model(sim, stream_usage=True)
        for _ in range(3):
            async for _ in chain.astream(ASK, config={"callbacks": [BudgetCallbackHandler(budget)]}):
                pass

    with budget.run("job") as run, pytest.raises(BudgetExceeded):
        asyncio.run(main())

    assert [("ok", "priced")] * 2 + [("refused", "none")] == settle_all(run)
    assert sim.wait_idle()
    assert run.spent == sim.bill.total


def test_pieces_that_are_asked_for_one_by_one(run: Run) -> None:
    """`wait_for` around each piece makes a task of it, up to Python 3.11."""

    async def one(pieces: Any) -> bool:
        return await anext(pieces, None) is not None

    async def main() -> None:
        pieces = Streaming().astream("hello")
        while await asyncio.create_task(one(pieces)):
            pass

    asyncio.run(main())

    assert [("ok", "priced")] == settle_all(run)


@pytest.mark.parametrize("ends_by", ["break", "aclose", "cancel", "cancel in a piece"])
def test_a_chains_stream_that_is_left(ends_by: str, run: Run) -> None:
    """What came is paid, not nothing, and not all that the call might have cost."""
    delay_s = 0.05 if ends_by == "cancel in a piece" else 0.0

    async def read(seen: asyncio.Event) -> None:
        pieces = (PROMPT | Streaming(delay_s=delay_s)).astream(ASK)
        async for _ in pieces:
            seen.set()
            if ends_by == "cancel":
                await asyncio.sleep(60)
            if ends_by != "cancel in a piece":
                break
        if ends_by == "aclose":
            await pieces.aclose()

    async def main() -> None:
        seen = asyncio.Event()
        task = asyncio.create_task(read(seen))
        await seen.wait()
        if ends_by.startswith("cancel"):
            await asyncio.sleep(0.02)
            task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await asyncio.sleep(0.05)

    asyncio.run(main())

    assert [("aborted", "estimated")] == settle_all(run)
    (entry,) = run.store.entries(Where())
    assert 0 < (entry.cost_nanousd or 0) < entry.bound_nanousd
