"""However a call ends, it is booked once, at the truth, and nothing stays held (scenarios 9 to 12)."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

import pytest
from llama_index.core.llms.mock import MockLLM
from tests.integrations.llama_index.conftest import (
    HELLO,
    SONNET,
    Scripted,
    all_entries,
    anthropic_llm,
    openai_llm,
)

from bursar import Budget
from bursar.dropped import dropped
from bursar.entry import Entry
from bursar.simulator import Fault, Simulator
from bursar.stores.memory import MemoryStore
from bursar_llama_index import guard

MAKERS = [openai_llm, anthropic_llm]


def _settled(store: MemoryStore, llm: Any) -> list[Entry]:
    gc.collect()
    dropped.do_all()
    assert llm.bursar.reserved == 0
    return all_entries(store)


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("way", ["stream_chat", "stream_complete"])
def test_stream_states_its_usage(make: Any, way: str, sim: Simulator, store: MemoryStore) -> None:
    """9: a stream costs what the provider bills, though LlamaIndex asks for no usage; nobody sees that it was asked."""
    llm = guard(make(sim), Budget(5, store=store))
    guarded = [part.delta for part in getattr(llm, way)(*_given(way))]
    assert sim.wait_idle()
    assert llm.bursar.spent == sim.bill.total > 0
    plain = [part.delta for part in getattr(make(sim), way)(*_given(way))]
    (entry,) = _settled(store, llm)

    assert guarded == plain
    assert (entry.status, entry.source) == ("ok", "priced")


def _given(way: str) -> Any:
    return ("hello",) if "complete" in way else (HELLO,)


def test_usage_is_asked_for(sim: Simulator, store: MemoryStore) -> None:
    """9: `include_usage` is on the wire of a stream, unless the user said something of it; never without a stream."""
    llm = guard(openai_llm(sim), Budget(5, store=store))
    list(llm.stream_chat(HELLO))
    llm.chat(HELLO)
    list(llm.stream_chat(HELLO, stream_options={"include_usage": True}))
    options = [request.body.get("stream_options") for request in sim.requests]

    assert options == [{"include_usage": True}, None, {"include_usage": True}]


def test_cached_and_reasoning_tokens(sim: Simulator, store: MemoryStore) -> None:
    """9: cached tokens are read from what the provider said."""
    llm = guard(openai_llm(sim), Budget(5, store=store))
    long = [type(HELLO[0])("word " * 3000)]
    llm.chat(long)
    list(llm.stream_chat(long))
    first, second = _settled(store, llm)

    assert sim.wait_idle()
    assert llm.bursar.spent == sim.bill.total
    assert first.usage.input_tokens == second.usage.input_tokens


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("end", ["close", "drop", "throw"])
def test_stream_is_left(make: Any, end: str, sim: Simulator, store: MemoryStore) -> None:
    """10: a stream that is left early is paid once, for what was seen of it."""
    llm = guard(make(sim), Budget(5, store=store))
    stream = llm.stream_chat(HELLO)
    next(stream)
    if end == "close":
        stream.close()
    elif end == "throw":
        with pytest.raises(ZeroDivisionError):
            stream.throw(ZeroDivisionError())
    del stream
    (entry,) = _settled(store, llm)

    assert entry.status == "aborted"
    assert 0 < (entry.cost_nanousd or 0) <= entry.bound_nanousd
    assert list(_none(llm)) == []


def _none(llm: Any) -> Any:
    """A stream that was closed before it began has no parts."""
    stream = llm.stream_chat(HELLO)
    stream.close()
    return stream


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("end", ["aclose", "drop", "cancel"])
def test_async_stream_is_left(make: Any, end: str, sim: Simulator, store: MemoryStore) -> None:
    """10: the same of a stream that is awaited, and cancelled."""
    llm = guard(make(sim), Budget(5, store=store))

    async def read() -> None:
        stream = await llm.astream_chat(HELLO)
        await anext(stream)
        if end == "aclose":
            await stream.aclose()
        elif end == "cancel":
            await asyncio.sleep(10)

    async def main() -> None:
        task = asyncio.create_task(read())
        if end != "cancel":
            await task
            return
        await asyncio.sleep(0.3)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(main())
    (entry,) = _settled(store, llm)

    assert entry.status == "aborted"
    assert 0 < (entry.cost_nanousd or 0) <= entry.bound_nanousd


@pytest.mark.parametrize("is_async", [False, True])
def test_stream_is_never_read(is_async: bool, sim: Simulator, store: MemoryStore) -> None:
    """10: a stream that nobody reads was never sent by OpenAI's LLM: it costs nothing and holds nothing."""
    llm = guard(openai_llm(sim), Budget(5, store=store))
    if is_async:
        asyncio.run(llm.astream_chat(HELLO))
    else:
        llm.stream_chat(HELLO)
    (entry,) = _settled(store, llm)

    assert (entry.status, entry.cost_nanousd) == ("released", 0)
    assert 0 == sim.arrived


@pytest.mark.parametrize("is_async", [False, True])
def test_stream_that_was_sent_is_never_read(is_async: bool, sim: Simulator, store: MemoryStore) -> None:
    """10: Anthropic's LLM sends a stream at once: unread, it is paid."""
    llm = guard(anthropic_llm(sim), Budget(5, store=store))
    if is_async:
        asyncio.run(llm.astream_chat(HELLO))
    else:
        llm.stream_chat(HELLO)
    (entry,) = _settled(store, llm)

    assert entry.status == "aborted"
    assert (entry.cost_nanousd or 0) > 0


def test_cancelled_call(sim: Simulator, store: MemoryStore) -> None:
    """A call that is cancelled in flight is paid: the provider had it."""
    sim.fail_next(Fault.stall(5))
    llm = guard(openai_llm(sim), Budget(5, store=store))

    async def main() -> None:
        task = asyncio.create_task(llm.achat(HELLO))
        while not sim.arrived:
            await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(main())
    (entry,) = _settled(store, llm)

    assert entry.status == "aborted"
    assert entry.cost_nanousd == entry.bound_nanousd


@pytest.mark.parametrize("way", ["achat", "acomplete", "astream_chat", "astream_complete"])
def test_nested_calls_are_one(way: str, store: MemoryStore) -> None:
    """11: what a model calls of its own methods is one call."""
    llm = guard(MockLLM(max_tokens=3), Budget(5, store=store))

    async def main() -> None:
        answer = await getattr(llm, way)(*_given(way))
        if "stream" in way:
            assert len([part async for part in answer]) > 1

    asyncio.run(main())

    assert len(_settled(store, llm)) == 1


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("stream", [False, True])
def test_retries_are_attempts(make: Any, stream: bool, sim: Simulator, store: MemoryStore) -> None:
    """12: what the SDK sends again is another attempt of one call."""
    sim.fail_next(Fault.status(500, retry_after_s=0.001))
    llm = guard(make(sim, max_retries=2), Budget(5, store=store))
    if stream:
        list(llm.stream_chat(HELLO))
    else:
        llm.chat(HELLO)
    entries = _settled(store, llm)

    assert 2 == sim.arrived
    assert [(entry.attempt, entry.status) for entry in entries] == [(1, "error"), (2, "ok")]
    assert len({entry.subject.call_id for entry in entries}) == 1


@pytest.mark.parametrize("make", MAKERS)
def test_errors_are_raised_as_they_are(make: Any, sim: Simulator, store: MemoryStore) -> None:
    """12: a call that fails to the end raises what it raised before, and holds nothing."""
    sim.fail_next(*[Fault.status(500, retry_after_s=0.001)] * 4)
    llm = guard(make(sim, max_retries=1), Budget(5, store=store))
    with pytest.raises(Exception, match="500") as caught:
        llm.chat(HELLO)

    assert type(caught.value).__name__ == "InternalServerError"
    entries = _settled(store, llm)
    assert {entry.status for entry in entries} == {"error"}
    assert {entry.cost_nanousd for entry in entries} == {0}


def test_connection_that_breaks_in_a_stream(sim: Simulator, store: MemoryStore) -> None:
    """A stream that breaks off is paid for what came, and its error is the SDK's own."""
    sim.fail_next(Fault.cut(after_events=3))
    llm = guard(openai_llm(sim), Budget(5, store=store))
    with pytest.raises(Exception, match=r"."):
        list(llm.stream_chat(HELLO))
    (entry,) = _settled(store, llm)

    assert entry.status == "aborted"
    assert 0 < (entry.cost_nanousd or 0) <= entry.bound_nanousd


def test_model_that_raises(store: MemoryStore) -> None:
    """An error of a model that calls no SDK may have been billed: its bound is booked."""
    llm = guard(Scripted(script=[TimeoutError(), ValueError("bad")]), Budget(5, store=store))
    for error in (TimeoutError, ValueError):
        with pytest.raises(error):
            llm.chat(HELLO)

    assert [entry.status for entry in _settled(store, llm)] == ["aborted", "aborted"]


def test_anthropic_cache_tokens(store: MemoryStore) -> None:
    """19: what Anthropic counts apart is priced apart."""
    from anthropic.types import Usage

    class Cached(Scripted):
        model: str = SONNET

        def _answer(self, **kwargs: Any) -> Any:
            answer = super()._answer(**kwargs)
            usage = Usage(
                input_tokens=100, output_tokens=10, cache_creation_input_tokens=30, cache_read_input_tokens=40
            )
            answer.raw = {"model": SONNET, "usage": usage}
            return answer

    Cached.__module__ = "llama_index.llms.anthropic.base"
    llm = guard(Cached(), Budget(5, store=store))
    llm.chat(HELLO)
    (entry,) = _settled(store, llm)

    assert (entry.usage.input_tokens, entry.usage.cache_write_tokens, entry.usage.cache_read_tokens) == (
        170,
        30,
        40,
    )
    assert entry.cost_nanousd == 100 * 3000 + 30 * 3750 + 40 * 300 + 10 * 15000
