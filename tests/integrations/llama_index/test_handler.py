"""`BudgetCallbackHandler`, `install` and `attach_budget`: what holds for whatever cannot be guarded."""

from __future__ import annotations

import asyncio
import copy
import gc
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import openai
import pytest
from llama_index.core import Document, Settings, SummaryIndex
from llama_index.core.agent.workflow import AgentWorkflow, FunctionAgent
from llama_index.core.callbacks import CallbackManager, TokenCountingHandler
from llama_index.core.embeddings.mock_embed_model import MockEmbedding
from llama_index.core.instrumentation.event_handlers import BaseEventHandler
from llama_index.core.instrumentation.span_handlers import SimpleSpanHandler
from llama_index.core.llms.mock import MockLLM
from llama_index.core.storage.kvstore import SimpleKVStore
from llama_index.core.workflow import StartEvent, StopEvent, Workflow, step
from llama_index.embeddings.openai import OpenAIEmbedding
from llama_index.llms.openai import OpenAI, OpenAIResponses
from llama_index_instrumentation import get_dispatcher
from pydantic import BaseModel
from tests.integrations.llama_index.conftest import (
    HELLO,
    Scripted,
    agents_of,
    all_entries,
    anthropic_llm,
    calls_tool,
    openai_llm,
)
from tests.integrations.llama_index.test_enforcement import EMBEDDINGS, ENTRIES

import bursar
from bursar import Budget, BudgetExceeded
from bursar.dropped import dropped
from bursar.scope import current_meter
from bursar.simulator import Fault, Simulator
from bursar.stores.memory import MemoryStore
from bursar_llama_index import BudgetCallbackHandler, attach_budget, guard, install, uninstall
from bursar_llama_index.identity import FRAMES
from bursar_llama_index.payers import SPANS

NOTHING = "$0.000000001"


def _with(handler: Any, make: Any, *arguments: Any, **options: Any) -> Any:
    return make(*arguments, callback_manager=CallbackManager([handler]), **options)


def _ended(handler: BudgetCallbackHandler) -> None:
    gc.collect()
    dropped.do_all()
    assert len(handler) == 0
    assert handler.bursar.reserved == 0
    assert current_meter.get() is None


@pytest.mark.parametrize("way", ["chat", "stream_chat", "astream_chat", "stream_complete"])
def test_responses_are_booked_at_what_they_used(way: str, sim: Simulator, store: MemoryStore) -> None:
    """The last event of a stream holds the response, and with it the usage."""
    handler = BudgetCallbackHandler(Budget(5, store=store))
    llm = _with(
        handler,
        OpenAIResponses,
        model="gpt-4o-mini",
        api_base=sim.openai_base_url,
        api_key="sk-planted",
        max_retries=0,
        max_output_tokens=40,
    )
    answer = ENTRIES[way](llm)
    assert way in {"chat", "astream_chat"} or len(list(answer)) > 1
    del answer
    _ended(handler)

    assert sim.wait_idle()
    assert [("ok", "priced")] == [(entry.status, entry.source) for entry in all_entries(store)]
    assert sim.bill.total == handler.bursar.spent


@pytest.mark.parametrize("way", ENTRIES)
@pytest.mark.parametrize("make", [openai_llm, anthropic_llm])
def test_refused_before_it_is_sent(way: str, make: Any, sim: Simulator, store: MemoryStore) -> None:
    """1: every way to ask an LLM raises, and no request arrives."""
    if make is anthropic_llm and "structured" in way:
        pytest.skip("asks the SDK beside the methods that LlamaIndex tells of; guard() sees it")
    handler = BudgetCallbackHandler(Budget(NOTHING, store=store))

    with pytest.raises(BudgetExceeded):
        ENTRIES[way](_with(handler, make, sim))

    assert 0 == sim.arrived
    _ended(handler)


@pytest.mark.parametrize(
    "way", [way for way in ENTRIES if "structured" not in way and way != "predict_and_call"]
)
@pytest.mark.parametrize("make", [openai_llm, anthropic_llm])
def test_settled(way: str, make: Any, sim: Simulator, store: MemoryStore) -> None:
    """Every way to ask an LLM costs what the provider bills; streams of OpenAI's are asked for their usage."""
    handler = BudgetCallbackHandler(Budget(5, store=store))
    answer = ENTRIES[way](_with(handler, make, sim))
    if hasattr(answer, "__next__"):
        list(answer)
    (entry,) = all_entries(store)

    assert sim.wait_idle()
    assert entry.status == "ok"
    if entry.source == "estimated":
        # Older versions of Anthropic's LLM say nothing of what a stream used, part of which may be hidden.
        assert make is anthropic_llm
        assert handler.bursar.spent > sim.bill.total
    else:
        assert handler.bursar.spent == sim.bill.total
        assert entry.source == "priced"
    _ended(handler)


def _embedding(sim: Simulator, **options: Any) -> OpenAIEmbedding:
    options = {"model": "text-embedding-3-small", "max_retries": 0, **options}
    return OpenAIEmbedding(api_base=sim.openai_base_url, api_key="sk-planted", **options)


@pytest.mark.parametrize("way", EMBEDDINGS)
@pytest.mark.parametrize("limit", [NOTHING, "$1"])
def test_embeddings(way: str, limit: str, sim: Simulator, store: MemoryStore) -> None:
    """2: every way to embed is paid before it is sent."""
    handler = BudgetCallbackHandler(Budget(limit, store=store))
    model = _with(handler, _embedding, sim)
    if limit == NOTHING:
        with pytest.raises(BudgetExceeded):
            EMBEDDINGS[way](model)
        assert 0 == sim.arrived
    else:
        EMBEDDINGS[way](model)
        assert sim.wait_idle()
        assert handler.bursar.spent >= sim.bill.total > 0
    _ended(handler)


def test_batches_of_embeddings(sim: Simulator, store: MemoryStore) -> None:
    """2: each batch is held apart; of what the cache holds, nothing."""
    handler = BudgetCallbackHandler(Budget(calls=3, store=store))
    model = _with(handler, _embedding, sim, embed_batch_size=2, embeddings_cache=SimpleKVStore())
    for _ in range(2):
        model.get_text_embedding_batch(list("abcde"))

    assert 3 == sim.arrived == len(all_entries(store))
    _ended(handler)


@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited")
def test_batch_that_is_refused_half_way(sim: Simulator, store: MemoryStore) -> None:
    """Batches that are awaited together are held first; where one is refused, none is sent and nothing stays held."""
    handler = BudgetCallbackHandler(Budget(calls=2, store=store))
    model = _with(handler, _embedding, sim, embed_batch_size=1)
    with pytest.raises(BudgetExceeded):
        asyncio.run(model.aget_text_embedding_batch(list("abc")))

    assert 0 == sim.arrived
    assert sorted(entry.status for entry in all_entries(store)) == ["refused", "released", "released"]
    _ended(handler)


@pytest.mark.parametrize(
    "way", ["chat", "complete", "achat", "acomplete", "astream_chat", "astream_complete"]
)
def test_nested_events_are_one_call(way: str, store: MemoryStore) -> None:
    """11: LlamaIndex tells two or three times of one call of these models."""
    handler = BudgetCallbackHandler(Budget(calls=5, store=store))
    ENTRIES[way](_with(handler, MockLLM, max_tokens=3))

    assert len(all_entries(store)) == 1
    _ended(handler)


@pytest.mark.parametrize("make", [openai_llm, anthropic_llm])
@pytest.mark.parametrize("end", ["close", "drop"])
def test_stream_is_left(make: Any, end: str, sim: Simulator, store: MemoryStore) -> None:
    """10: a stream that is left is paid, once."""
    handler = BudgetCallbackHandler(Budget(5, store=store))
    stream = _with(handler, make, sim).stream_chat(HELLO)
    next(stream)
    if end == "close":
        stream.close()
    del stream
    _ended(handler)
    (entry,) = all_entries(store)

    assert entry.status == "aborted"
    assert 0 < (entry.cost_nanousd or 0) <= entry.bound_nanousd


def test_stream_is_never_read(sim: Simulator, store: MemoryStore) -> None:
    """10: of a stream that nobody reads LlamaIndex tells no end; OpenAI's is watched all the same."""
    handler = BudgetCallbackHandler(Budget(5, store=store))
    _with(handler, openai_llm, sim).stream_chat(HELLO)
    _ended(handler)

    assert len(all_entries(store)) == 1


@pytest.mark.parametrize("way", ["chat", "achat"])
def test_errors(way: str, sim: Simulator, store: MemoryStore) -> None:
    """12: an error reaches the caller as it is and costs nothing."""
    sim.fail_next(Fault.status(400))
    handler = BudgetCallbackHandler(Budget(5, store=store))
    with pytest.raises(openai.BadRequestError):
        ENTRIES[way](_with(handler, openai_llm, sim))

    assert [(entry.status, entry.cost_nanousd) for entry in all_entries(store)] == [("error", 0)]
    _ended(handler)


def test_paid_answers_are_kept(sim: Simulator, store: MemoryStore) -> None:
    """An answer that cost more than its bound is booked, and given back."""
    handler = BudgetCallbackHandler(Budget("$0.0000001", on_exceed="warn", store=store))

    assert _with(handler, openai_llm, sim).chat(HELLO).message.content
    assert handler.bursar.spent == sim.bill.total > Decimal("0.0000001")


class _Raising(TokenCountingHandler):
    """As the handler does whose `token_budget` is spent."""

    def on_event_end(self, *args: Any, **kwargs: Any) -> None:
        raise ValueError("spent")


def test_foreign_handler_that_raises(sim: Simulator, store: MemoryStore) -> None:
    """A handler that raises at the end of a call keeps the end from those after it: the call is paid all the same."""
    counting = _Raising(tokenizer=str.split)
    handler = BudgetCallbackHandler(Budget(5, store=store))
    llm = openai_llm(sim, callback_manager=CallbackManager([counting, handler]))
    with pytest.raises(ValueError, match="spent"):
        llm.chat(HELLO)
    gc.collect()
    dropped.do_all()
    (entry,) = all_entries(store)

    assert entry.status == "aborted"
    assert len(handler) == 0
    assert handler.bursar.reserved == 0
    guard(openai_llm(sim), Budget(calls=5, store=store)).chat(HELLO)
    assert len(all_entries(store)) == 2


@pytest.mark.parametrize("stream", [False, True])
def test_downgrade(stream: bool, sim: Simulator, store: MemoryStore) -> None:
    """15: the cheaper model is on the wire."""
    budget = Budget(5, downgrade={"gpt-4o": "gpt-4.1-nano"}, downgrade_at=0.5, store=store)
    with budget.run("job") as run:
        run.record(Decimal(3), agent="unattributed")
        llm = _with(BudgetCallbackHandler(), openai_llm, sim, model="gpt-4o")
        if stream:
            list(llm.stream_chat(HELLO))
        else:
            llm.chat(HELLO)

    assert sim.requests[-1].model == "gpt-4.1-nano"
    assert all_entries(store)[-1].model.startswith("gpt-4.1-nano")


def test_lowered_limit(sim: Simulator, store: MemoryStore) -> None:
    """A lower limit is on the wire, where LlamaIndex lets a call have one."""
    handler = BudgetCallbackHandler(Budget("$0.010", store=store))
    _with(handler, openai_llm, sim, model="gpt-4o", max_tokens=None).chat(HELLO)
    _with(handler, anthropic_llm, sim, max_tokens=4000).chat(HELLO)

    assert [256 <= request.body["max_tokens"] < 1000 for request in sim.requests] == [True, True]


@pytest.mark.parametrize("way", ["chat", "stream_chat", "achat", "astream_chat"])
def test_both_doors(way: str, sim: Simulator, store: MemoryStore) -> None:
    """A guard and a handler on one LLM pay from both budgets, and count once."""
    by_handler, by_guard = (
        Budget(5, per="total", name=name, store=store) for name in ("by_handler", "by_guard")
    )
    handler = BudgetCallbackHandler(by_handler)
    llm = guard(_with(handler, openai_llm, sim), by_guard)
    answer = ENTRIES[way](llm)
    if hasattr(answer, "__next__"):
        list(answer)

    assert sim.wait_idle()
    assert len(all_entries(store)) == 1
    assert by_handler.spent == by_guard.spent == sim.bill.total
    _ended(handler)


@pytest.mark.parametrize("way", ["chat", "stream_chat", "achat", "astream_chat"])
def test_guarded_client_below(way: str, sim: Simulator, store: MemoryStore) -> None:
    """A guarded SDK client below is no second payer, in whatever context its stream is read."""
    budget = Budget(5, store=store)
    clients: dict[str, Any] = {
        "openai_client": bursar.guard(
            openai.OpenAI(base_url=sim.openai_base_url, api_key="k"), budget=budget
        ),
        "async_openai_client": bursar.guard(
            openai.AsyncOpenAI(base_url=sim.openai_base_url, api_key="k"), budget=budget
        ),
    }
    handler = BudgetCallbackHandler(Budget(5, store=store), agent="h")
    llm = _with(handler, OpenAI, model="gpt-4o-mini", max_tokens=50, **clients)
    answer = ENTRIES[way](llm)
    if hasattr(answer, "__next__"):
        list(answer)

    assert [entry.subject.agent.name for entry in all_entries(store)] == ["h"]
    assert sim.wait_idle()
    assert handler.bursar.spent == sim.bill.total
    assert "bursar-meter" not in str(sim.requests[-1])
    _ended(handler)
    clients["openai_client"].close()


def test_copies_of_a_model(store: MemoryStore) -> None:
    """A deep copy of a model pays from the same handler."""
    handler = BudgetCallbackHandler(Budget(calls=5, store=store))
    llm = copy.deepcopy(_with(handler, MockLLM, max_tokens=3))
    llm.complete("hello")

    assert len(all_entries(store)) == 1


class TestSettings:
    """What `Settings` give to models."""

    @pytest.fixture(autouse=True)
    def plain_settings(self) -> Iterator[None]:
        """Leave `Settings` as they were."""
        before = Settings._callback_manager, Settings._llm, Settings._embed_model
        yield
        Settings._callback_manager, Settings._llm, Settings._embed_model = before
        uninstall()

    def test_two_lines(self, sim: Simulator, store: MemoryStore) -> None:
        """The two lines of the README hold."""
        handler = BudgetCallbackHandler(Budget(calls=1, store=store))
        Settings.callback_manager = CallbackManager([handler])
        Settings.llm = openai_llm(sim)
        Settings.llm.complete("hello")
        with pytest.raises(BudgetExceeded):
            Settings.llm.complete("hello")

        assert 1 == sim.arrived

    def test_install(self, sim: Simulator, store: MemoryStore) -> None:
        """Models that were built before, and after, and with a manager of their own are paid; until `uninstall`."""
        own = CallbackManager([TokenCountingHandler(tokenizer=str.split)])
        models: list[Any] = [openai_llm(sim), openai_llm(sim, callback_manager=own)]
        handler = install(Budget(calls=4, store=store))
        models += [openai_llm(sim), _embedding(sim)]
        for model in models[:3]:
            model.complete("hello")
        models[3].get_text_embedding("hello")
        for model in models[:3]:
            with pytest.raises(BudgetExceeded):
                model.complete("hello")
        assert 4 == sim.arrived
        assert len(handler) == 0
        uninstall()
        models[0].complete("hello")
        models[1].complete("hello")

        assert 6 == sim.arrived
        assert not any(handler is SPANS for handler in get_dispatcher().span_handlers)

    @pytest.mark.parametrize("is_stream", [False, True])
    @pytest.mark.parametrize("has_manager", [False, True])
    def test_query_engine(
        self, sim: Simulator, store: MemoryStore, *, has_manager: bool, is_stream: bool
    ) -> None:
        """A query engine gives its LLM the manager of `Settings`, whichever that is by then: all is paid."""
        install(Budget(5, store=store))
        llm = openai_llm(sim, **({"callback_manager": CallbackManager([])} if has_manager else {}))
        index = SummaryIndex.from_documents([Document(text="Paris")])
        engine = index.as_query_engine(llm=llm, streaming=is_stream)
        str(engine.query("where?"))
        Settings.callback_manager = CallbackManager([])
        for _ in range(2):
            str(index.as_query_engine(llm=llm, streaming=is_stream).query("where?"))
        str(engine.query("where?"))

        assert len(all_entries(store)) == 4 == sim.arrived

    def test_agents(self, store: MemoryStore) -> None:
        """What an agent calls is booked to it, in LlamaIndex's run."""
        install(Budget(5, store=store))

        async def main() -> None:
            llm = Scripted(script=[[calls_tool("ping")]])

            async def ping() -> str:
                """Do nothing."""
                return str(await MockLLM(max_tokens=2).acomplete("hello"))

            await FunctionAgent(name="w", description="w", llm=llm, tools=[ping], streaming=False).run(
                "hello"
            )

        asyncio.run(main())

        assert set(agents_of(all_entries(store))) == {"w"}


async def _run(workflow: Any) -> Any:
    return await workflow.run(user_msg="hello")


async def _run_twice(workflow: Any) -> None:
    for _ in range(2):
        await _run(workflow)


def test_attach_to_a_workflow(sim: Simulator, store: MemoryStore) -> None:
    """Every agent's LLM is guarded in place; the LLM itself is as it was."""
    shared = openai_llm(sim)
    agents = [FunctionAgent(name=name, description=name, llm=shared) for name in ("A", "B")]
    workflow = AgentWorkflow(agents=agents, root_agent="A")

    assert attach_budget(workflow, Budget(calls=1, store=store)) is workflow
    assert agents[0].llm is agents[1].llm is not shared
    asyncio.run(_run_twice(workflow))
    assert agents_of(all_entries(store)) == ["A", "A"]
    assert shared.callback_manager.handlers == []
    shared.complete("hello")
    assert len(all_entries(store)) == 2


def test_attach_to_an_agent(store: MemoryStore) -> None:
    """The same of one agent, whose budget is then for each of its runs."""
    agent = FunctionAgent(name="A", description="A", llm=Scripted(script=[[calls_tool("no")]] * 5))
    attach_budget(agent, Budget(calls=2, store=store))
    with pytest.raises(BudgetExceeded):
        asyncio.run(_run(agent))

    assert len(agent.llm.sent) == 2


def test_attach_to_an_own_workflow(store: MemoryStore) -> None:
    """Of a workflow of the user's own, the models that it keeps."""

    class Report(Workflow):
        def __init__(self) -> None:
            super().__init__()
            self.llm = Scripted()
            self.embed_model = MockEmbedding(embed_dim=2)

        @step
        async def go(self, event: StartEvent) -> StopEvent:
            del event
            self.embed_model.get_text_embedding("hello")
            return StopEvent(result=str(await self.llm.achat(HELLO)))

    async def main() -> Any:
        return await attach_budget(Report(), Budget(5, store=store)).run()

    assert str(asyncio.run(main())).endswith("done")
    assert len(all_entries(store)) == 2
    assert {entry.subject.workflow for entry in all_entries(store)} == {"Report"}


@pytest.mark.parametrize("what", [None, "agent", MockLLM()])
def test_what_takes_no_budget(what: Any) -> None:
    """Anything else is refused, with what to do instead."""
    with pytest.raises(TypeError, match=r"guard\(\) takes models"):
        attach_budget(what)


def test_workflow_without_models() -> None:
    """A workflow that keeps no model cannot be guarded, and says so."""

    class Empty(Workflow):
        @step
        async def go(self, event: StartEvent) -> StopEvent:
            return StopEvent(result=event)

    with pytest.raises(ValueError, match="Empty keeps no LLM"):
        attach_budget(Empty())


class _RaisingEvents(BaseEventHandler):
    @classmethod
    def class_name(cls) -> str:
        return "RaisingEvents"

    def handle(self, event: Any, **kwargs: Any) -> Any:
        raise RuntimeError


class _RaisingSpans(SimpleSpanHandler):
    def new_span(self, *args: Any, **kwargs: Any) -> Any:
        raise RuntimeError


def test_handlers_of_others(sim: Simulator, store: MemoryStore) -> None:
    """20: other people's handlers, one that raises among them, change no figure."""
    dispatcher: Any = get_dispatcher()
    before = list(dispatcher.event_handlers), list(dispatcher.span_handlers)
    dispatcher.add_event_handler(_RaisingEvents())
    dispatcher.add_span_handler(_RaisingSpans())
    try:
        llm = guard(openai_llm(sim), Budget(5, store=store))
        asyncio.run(_run(FunctionAgent(name="A", description="A", llm=llm)))
    finally:
        dispatcher.event_handlers, dispatcher.span_handlers = before

    assert agents_of(all_entries(store)) == ["A"]
    assert sim.wait_idle()
    assert llm.bursar.spent == sim.bill.total


class _Seen(SimpleSpanHandler):
    """What LlamaIndex tells of spans."""

    def span_enter(self, id_: str, bound_args: Any, instance: Any = None, **kwargs: Any) -> None:
        SEEN.append((id_, bound_args, instance, FRAMES.get()))


SEEN: list[Any] = []


class _Empty(BaseModel):
    """Nothing."""


def test_canary() -> None:
    """What the identity rule relies on, and LlamaIndex documents nowhere, is still so."""
    dispatcher: Any = get_dispatcher()
    before = list(dispatcher.span_handlers)
    seen = _Seen()
    SEEN.clear()
    dispatcher.add_span_handler(seen)
    try:
        llm = Scripted(script=[[calls_tool("ping")]])

        def ping() -> str:
            """Do nothing."""
            return "pong"

        agent = FunctionAgent(name="A", description="A", llm=llm, tools=[ping])
        guard(MockLLM())
        asyncio.run(_run(AgentWorkflow(agents=[agent], root_agent="A")))
    finally:
        dispatcher.span_handlers = before
    ids = [id_ for id_, *_ in SEEN]
    events = [type(value).__name__ for _, bound, *_ in SEEN for value in bound.arguments.values()]

    assert sum(id_.startswith("AgentWorkflow.run-") for id_ in ids) == 1
    assert {"AgentSetup", "AgentOutput", "ToolCall"} <= set(events)
    assert any(frames and frames[0].run_id and len(frames[0].run_id) == 10 for *_, frames in SEEN)
    assert FRAMES.get() == ()
