"""However a call ends, it is booked once, and nothing stays reserved: LangChain tells of most ends, and not of all."""

# What LangChain's entry points return has types that no two versions share.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownLambdaType=false

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import openai
import pytest
from langchain.agents import create_agent
from langchain_core.caches import InMemoryCache
from langchain_core.callbacks import AsyncCallbackHandler, BaseCallbackHandler
from langchain_core.language_models import BaseChatModel, FakeListLLM
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.rate_limiters import InMemoryRateLimiter
from langchain_core.tracers.run_collector import RunCollectorCallbackHandler
from pydantic import BaseModel, Field
from tests.integrations.langchain.conftest import (
    OUTPUT,
    Scripted,
    Streaming,
    entries_of,
    openai_model,
)

from bursar import Budget, BudgetExceeded, guard
from bursar.dropped import dropped
from bursar.run import Run
from bursar.simulator import Answer, Fault, Simulator
from bursar.store import Where
from bursar.stores.memory import MemoryStore
from bursar_langchain import BudgetCallbackHandler
from bursar_langchain.calls import CALLS

pytestmark = [
    pytest.mark.timeout(60),
    pytest.mark.filterwarnings("ignore::langchain_core._api.beta_decorator.LangChainBetaWarning"),
]

ASK: Any = {"messages": [("user", "hello")]}
HAS_EVENTS_V3 = hasattr(BaseChatModel, "stream_events")


def statuses(run: Run) -> list[tuple[str, str]]:
    """How the run's calls ended, and how their cost is known."""
    return [(entry.status, entry.source) for entry in entries_of(run)]


@contextmanager
def settled(run: Run, *, within_s: float = 3.0) -> Iterator[None]:
    """After the block, everything is given back within a moment."""
    yield
    until_s = time.monotonic() + within_s
    while run.reserved and time.monotonic() < until_s:
        gc.collect()
        dropped.do_all()
        time.sleep(0.01)
    assert 0 == run.reserved


def test_an_agent_that_is_cancelled(run: Run) -> None:
    """Scenario 10: `wait_for` cancels an agent; what its model may have cost is booked at the bound."""
    agent = create_agent(Scripted(delay_s=5), [], name="slow")

    async def main() -> None:
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(agent.ainvoke(ASK), 0.1)
        assert 0 == run.reserved

    with settled(run):
        asyncio.run(main())
    assert [("aborted", "bound")] == statuses(run)


async def _cancelled_as_a_task() -> None:
    task = asyncio.ensure_future(Scripted(delay_s=5).ainvoke("hello"))
    await asyncio.sleep(0.1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def _cancelled_in_this_task() -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await Scripted(delay_s=5).ainvoke("hello")


async def _not_waited_for() -> None:
    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(Scripted(delay_s=5).ainvoke("hello"), 0.1)


async def _cancelled_and_traced() -> None:
    # A tracer keeps the id of a run that it was told no end of.
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await Scripted(delay_s=5).ainvoke("hello", {"callbacks": [_TRACER]})


_TRACER = RunCollectorCallbackHandler()


@pytest.mark.parametrize(
    "cancelled", [_cancelled_as_a_task, _cancelled_in_this_task, _not_waited_for, _cancelled_and_traced]
)
def test_a_bare_call_that_is_cancelled(run: Run, cancelled: Callable[[], Awaitable[None]]) -> None:
    """Scenario 11: of a bare `ainvoke` LangChain tells no end; that of the task, or of the run, is enough."""

    async def main() -> None:
        await cancelled()
        for _ in range(5):
            await asyncio.sleep(0)
        assert 0 == run.reserved

    with settled(run):
        asyncio.run(main())


def test_a_bare_call_that_is_cancelled_in_a_task_that_goes_on(run: Run) -> None:
    """Scenario 11: the task lives on; the call is over when nothing refers to it."""

    async def main() -> None:
        try:
            async with asyncio.timeout(0.1):
                await Scripted(delay_s=5).ainvoke("hello")
        except TimeoutError:
            pass
        with settled(run):
            await asyncio.sleep(0)

    asyncio.run(main())
    assert [("aborted", "bound")] == statuses(run)


def test_a_call_below_another_that_is_cancelled(run: Run) -> None:
    """Of a model that another model calls nothing is held, and nothing is followed either once both are cancelled."""

    class Outer(Scripted):
        async def _agenerate(self, *args: Any, **kwargs: Any) -> Any:
            await Scripted(delay_s=5).ainvoke("inner")

    async def main() -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(0.1):
                await Outer().ainvoke("hello")
        assert 0 < len(CALLS)

    with settled(run):
        asyncio.run(main())
    gc.collect()
    dropped.do_all()
    assert [("aborted", "bound")] == statuses(run)
    assert 0 == len(CALLS)


@pytest.mark.parametrize("ends_by", ["break", "aclose"])
def test_an_agents_stream_that_is_left(ends_by: str, run: Run) -> None:
    """Scenario 12."""
    agent = create_agent(Streaming(delay_s=0.01), [], name="talker")

    async def main() -> None:
        parts = agent.astream(ASK, stream_mode="messages")
        async for _ in parts:
            break
        if ends_by == "aclose":
            await parts.aclose()
        del parts
        await asyncio.sleep(0.5)

    with settled(run):
        asyncio.run(main())
    assert 1 == len(entries_of(run))
    assert 0 < (entries_of(run)[0].cost_nanousd or 0) <= entries_of(run)[0].bound_nanousd


@pytest.mark.parametrize("is_async", [False, True])
def test_a_stream_that_is_left(is_async: bool, run: Run) -> None:
    """Scenario 13: what came is paid, not nothing, and not all."""
    model = Streaming()

    async def main() -> None:
        parts = model.astream("hello")
        async for _ in parts:
            break
        await parts.aclose()

    with settled(run):
        if is_async:
            asyncio.run(main())
        else:
            for _ in model.stream("hello"):
                break
    (entry,) = entries_of(run)

    assert ("aborted", "estimated") == (entry.status, entry.source)
    assert 0 < (entry.cost_nanousd or 0) < entry.bound_nanousd


@pytest.mark.skipif(not HAS_EVENTS_V3, reason="this version has no events of version 3")
def test_events_that_are_read_to_their_end(run: Run) -> None:
    """Scenario 14: the end is told a moment after the last event."""
    with settled(run):
        list(Streaming().stream_events("hello", version="v3"))
    assert [("ok", "priced")] == statuses(run)


def test_a_stream_without_usage(sim: Simulator, run: Run) -> None:
    """Scenario 15: at an address of one's own, `ChatOpenAI` asks for no usage; what was seen is priced, marked so."""
    with settled(run):
        list(openai_model(sim).stream("hello"))
    (entry,) = entries_of(run)

    assert ("ok", "estimated") == (entry.status, entry.source)
    assert sim.bill.total <= run.spent
    assert 0 < (entry.cost_nanousd or 0) <= entry.bound_nanousd


def test_a_stream_with_usage(sim: Simulator, run: Run) -> None:
    """A model that is told to ask for usage is booked at what the provider bills."""
    with settled(run):
        list(openai_model(sim, stream_usage=True).stream("hello"))
    assert [("ok", "priced")] == statuses(run)
    assert sim.bill.total == run.spent


class Reply(BaseModel):
    """What is asked for, in so many words that they count."""

    text: str = Field(description="All that there is to say about the tides, in one sentence or in many." * 5)
    sources: list[str]


@pytest.mark.parametrize("is_async", [False, True])
def test_an_answer_by_a_schema_that_is_cut(is_async: bool, sim: Simulator, run: Run) -> None:
    """The SDK raises what has come: it is booked as billed, and the bound had counted the schema."""
    sim.script("gpt-4o-mini", Answer(output_tokens=40))
    model = openai_model(sim, max_tokens=5).with_structured_output(Reply, method="json_schema")
    with settled(run), pytest.raises(openai.LengthFinishReasonError):
        asyncio.run(model.ainvoke("hello")) if is_async else model.invoke("hello")

    assert [("ok", "priced")] == statuses(run)
    assert sim.bill.total == run.spent
    (entry,) = entries_of(run)
    assert entry.overage_nanousd == 0


@pytest.mark.parametrize("streams", [False, True])
def test_cached_and_reasoning_tokens(streams: bool, sim: Simulator, run: Run) -> None:
    """Scenario 16: parts of the usage have rates of their own."""
    sim.script("gpt-5-mini", Answer(output_tokens=30, cached_tokens=6, reasoning_tokens=8))
    model = openai_model(sim, model="gpt-5-mini", stream_usage=True)
    if streams:
        list(model.stream("hello there, how are you"))
    else:
        model.invoke("hello there, how are you")
    (entry,) = entries_of(run)

    assert sim.bill.total == run.spent
    assert 6 == entry.usage.cache_read_tokens
    assert 8 == entry.usage.reasoning_tokens


def test_langchains_cache_costs_nothing(run: Run) -> None:
    """Scenario 17: a hit is released; `stream` goes past the cache and is paid."""
    model = Streaming(cache=InMemoryCache(), disable_streaming=False)
    model.invoke("hello")
    model.invoke("hello")
    list(model.stream("hello"))

    assert 2 == len(model.sent)
    assert [("ok", "priced"), ("released", "none"), ("ok", "priced")] == statuses(run)
    assert 0 == run.reserved


def test_a_cache_of_answers_without_usage_costs_nothing(sim: Simulator, run: Run) -> None:
    """Scenario 17, of the real model over the wire."""
    model = openai_model(sim, cache=InMemoryCache())
    model.invoke("hello")
    model.invoke("hello")

    assert 1 == sim.arrived
    assert sim.bill.total == run.spent


def test_retries_of_the_sdk_are_one_call(sim: Simulator, run: Run) -> None:
    """Scenario 18: a callback sees one start and one end of three requests; the failed ones cost nothing."""
    sim.fail_next(*[Fault.status(500, retry_after_s=0.001)] * 2)
    openai_model(sim, max_retries=2).invoke("hello")

    assert 3 == sim.arrived
    assert [("ok", "priced")] == statuses(run)
    assert sim.bill.total == run.spent


def test_langchains_retries_are_calls_of_their_own(sim: Simulator, run: Run) -> None:
    """Scenario 19: each attempt of `with_retry` is reserved, and marked as a repeat of the first."""
    sim.fail_next(*[Fault.status(500)] * 2)
    openai_model(sim).with_retry(stop_after_attempt=3, wait_exponential_jitter=False).invoke("hello")
    entries = entries_of(run)

    assert ["error", "error", "ok"] == [entry.status for entry in entries]
    assert [False, True, True] == [entry.is_retry for entry in entries]
    assert sim.bill.total == run.spent
    assert 0 == run.reserved


def test_langchains_retries_are_capped(sim: Simulator, store: MemoryStore) -> None:
    """Scenario 19: `attempts=` ends a cascade of `with_retry`."""
    sim.fail_next(*[Fault.status(500)] * 9)
    model = openai_model(sim).with_retry(stop_after_attempt=9, wait_exponential_jitter=False)
    with Budget(5, attempts=3, store=store).run("job") as run, pytest.raises(BudgetExceeded):
        model.invoke("hello")

    assert 3 == sim.arrived
    assert 0 == run.reserved


def test_fallbacks_are_booked_to_their_own_models(sim: Simulator, run: Run) -> None:
    """Scenario 19."""
    sim.fail_next(Fault.status(500))
    openai_model(sim, model="gpt-4o").with_fallbacks([openai_model(sim, model="gpt-4o-mini")]).invoke("hello")
    entries = entries_of(run)

    assert [("gpt-4o", "error"), ("gpt-4o-mini", "ok")] == [(e.subject.model, e.status) for e in entries]
    assert sim.bill.total == run.spent
    assert 0 == run.reserved


def prompts(*texts: str) -> list[list[Any]]:
    """What `generate` takes."""
    return [[HumanMessage(text)] for text in texts]


def test_one_of_several_prompts_fails(run: Run) -> None:
    """Scenario 20: the first was paid and LangChain does not say so; the third was never sent."""
    model = Scripted(script=[AIMessage("one"), ValueError("no"), AIMessage("three")])
    with settled(run), pytest.raises(ValueError, match="no"):
        model.generate(prompts("a", "b", "c"))

    assert ["aborted", "aborted", "released"] == [entry.status for entry in entries_of(run)]


def test_one_of_several_prompts_fails_in_tasks(run: Run) -> None:
    """Scenario 20, with tasks, of which all end."""
    model = Scripted(script=[AIMessage("one"), ValueError("no"), AIMessage("three")])
    with settled(run), pytest.raises(ValueError, match="no"):
        asyncio.run(model.agenerate(prompts("a", "b", "c")))

    assert ["aborted", "ok", "ok"] == sorted(entry.status for entry in entries_of(run))


@pytest.mark.parametrize("is_async", [False, True])
def test_a_prompt_that_is_refused_releases_those_before(is_async: bool, store: MemoryStore) -> None:
    """Scenario 21: nothing is sent of several prompts if one of them must not be."""
    model = Scripted()

    def generate() -> Any:
        both = prompts("a", "b")
        return asyncio.run(model.agenerate(both)) if is_async else model.generate(both)

    with Budget(calls=1, store=store).run("job") as run, pytest.raises(BudgetExceeded):
        generate()

    assert [] == model.sent
    assert ["released", "refused"] == [entry.status for entry in entries_of(run)]
    assert (0, 0) == (run.reserved, run.spent)


@pytest.mark.filterwarnings("ignore:Unexpected type for token usage")
@pytest.mark.parametrize("is_async", [False, True])
def test_several_prompts_over_a_guarded_client(is_async: bool, sim: Simulator, run: Run) -> None:
    """Each prompt is paid once, also where the SDK's client below is guarded too."""
    model = openai_model(sim)
    twin = guard(model.root_async_client if is_async else model.root_client)
    vars(model)["async_client" if is_async else "client"] = twin.chat.completions
    if is_async:
        asyncio.run(model.agenerate(prompts("a", "b", "c")))
    else:
        model.generate(prompts("a", "b", "c"))

    assert [("ok", "priced")] * 3 == statuses(run)
    assert sim.bill.total == run.spent


class Stops(BaseCallbackHandler):
    """Another handler that stops every call."""

    raise_error = True

    def on_chat_model_start(self, *args: Any, **kwargs: Any) -> Any:
        """Stop it."""
        raise LookupError("stopped by another handler")


class StopsLate(AsyncCallbackHandler):
    """One that stops calls of tasks, after all handlers that are called in line."""

    raise_error = True

    async def on_chat_model_start(self, *args: Any, **kwargs: Any) -> Any:
        """Stop it."""
        raise LookupError("stopped by another handler")


@pytest.mark.parametrize("order", ["before", "behind"])
@pytest.mark.parametrize("around", ["model", "agent"])
def test_another_handler_stops_the_call(around: str, order: str, store: MemoryStore) -> None:
    """Scenario 22: wherever it stands, nothing is reserved for a call that another handler stops."""
    budget = Budget(5, per="total", store=store)
    callbacks: list[Any] = [BudgetCallbackHandler(budget), Stops()]
    model = Scripted()
    runnable: Any = model if around == "model" else create_agent(model, [])
    with pytest.raises(LookupError):
        runnable.invoke(
            "x" if around == "model" else ASK,
            config={"callbacks": callbacks[:: 1 if order == "behind" else -1]},
        )

    assert [] == model.sent
    assert [] == [entry for entry in store.entries(Where()) if entry.cost_nanousd]
    assert 0 == budget.spent


@pytest.mark.parametrize("around", ["model", "agent"])
def test_another_handler_stops_the_call_of_a_task(around: str, run: Run) -> None:
    """Scenario 22: LangChain calls such a handler last of all; what was reserved by then is given back."""
    model = Scripted()
    runnable: Any = model if around == "model" else create_agent(model, [])

    async def main() -> None:
        task = asyncio.ensure_future(
            runnable.ainvoke("x" if around == "model" else ASK, config={"callbacks": [StopsLate()]})
        )
        with pytest.raises(LookupError):
            await task

    with settled(run):
        asyncio.run(main())
    assert [] == model.sent
    assert [("released", "none")] == statuses(run)


def test_cancelled_before_it_was_sent(run: Run) -> None:
    """A call that a rate limiter still holds back is over when it is cancelled."""
    limiter = InMemoryRateLimiter(requests_per_second=0.01, max_bucket_size=1)
    model = Streaming(rate_limiter=limiter)

    async def one() -> None:
        async for _ in model.astream("hello"):
            pass

    async def main() -> None:
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(one(), 0.1)

    with settled(run):
        asyncio.run(main())
    assert [] == model.sent


@pytest.mark.parametrize("status", [400, 401, 429, 500])
def test_errors_of_the_provider_cost_nothing(status: int, sim: Simulator, run: Run) -> None:
    """What the provider refuses is entered as an error, and not billed."""
    sim.fail_next(Fault.status(status))
    with pytest.raises(Exception, match=str(status)):
        openai_model(sim).invoke("hello")

    assert [("error", "none")] == statuses(run)
    assert 0 == run.reserved


def test_a_connection_that_breaks(sim: Simulator, run: Run) -> None:
    """A stream that breaks off is paid: what was sent, and what came."""
    sim.fail_next(Fault.cut(after_events=5))
    with pytest.raises(Exception, match=r"peer closed|[Cc]onnection|incomplete"):
        list(openai_model(sim).stream("hello"))
    (entry,) = entries_of(run)

    assert ("aborted", "estimated") == (entry.status, entry.source)
    assert 0 < (entry.cost_nanousd or 0) <= entry.bound_nanousd
    assert 0 == run.reserved


def test_between_the_pieces_of_a_stream(run: Run) -> None:
    """A call made while a stream is being read is a call of its own."""
    inner = Scripted()
    for index, _ in enumerate(Streaming().stream("hello")):
        if index == 2:
            inner.invoke("meanwhile")

    assert [("ok", "priced")] * 2 == statuses(run)
    assert 2 == run.calls


def test_a_guarded_client_between_the_pieces_of_a_stream(sim: Simulator, run: Run) -> None:
    """A guarded SDK client called while a model's stream is being read pays for itself."""
    with openai.OpenAI(base_url=sim.openai_base_url, api_key="sk-planted") as plain:
        client = guard(plain)
        for index, _ in enumerate(Streaming().stream("hello")):
            if index == 2:
                client.chat.completions.create(
                    model="gpt-4o-mini", max_tokens=10, messages=[{"role": "user", "content": "x"}]
                )

    assert 2 == run.calls
    assert 2 == len(entries_of(run))


def test_models_that_complete_texts(store: MemoryStore) -> None:
    """A text model is stopped as a chat model is, and booked at its bound, because it states no usage."""

    class Priced(FakeListLLM):
        def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> Any:
            return {"ls_provider": "openai", "ls_model_name": "gpt-3.5-turbo-instruct", "ls_max_tokens": 10}

    model = Priced(responses=["yes"])
    with Budget(5, calls=1, store=store).run("job") as run:
        model.invoke("hello")
        with pytest.raises(BudgetExceeded):
            model.invoke("hello")

    assert ["ok", "refused"] == [entry.status for entry in entries_of(run)]
    assert 0 == run.reserved


def test_a_callback_costs_no_answer(run: Run) -> None:
    """Usage that makes no sense loses no answer and frees what was held."""
    model = Scripted(script=[AIMessage("fine")])
    answer: Any = model.invoke("hello")

    assert "fine" == answer.content
    assert OUTPUT == entries_of(run)[0].usage.output_tokens
