"""Nothing is sent that no budget is left for, whatever of LlamaIndex's makes the call (scenarios 1 to 3, 13, 14)."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.embeddings.mock_embed_model import MockEmbedding
from llama_index.core.llms.mock import MockLLM
from llama_index.core.prompts import PromptTemplate
from llama_index.core.schema import TextNode
from llama_index.core.storage.kvstore import SimpleKVStore
from llama_index.core.tools import FunctionTool
from llama_index.embeddings.openai import OpenAIEmbedding
from pydantic import BaseModel
from tests.integrations.llama_index.conftest import (
    HELLO,
    SYNC_TOOLS_KEEP_CONTEXT,
    Scripted,
    all_entries,
    anthropic_llm,
    calls_tool,
    entries_of,
    openai_llm,
)

from bursar import Budget, BudgetExceeded, UnknownPrice, prices
from bursar.simulator import Simulator
from bursar.stores.memory import MemoryStore
from bursar_llama_index import guard

NOTHING = "$0.000000001"
TEMPLATE = PromptTemplate("hello {name}")


class City(BaseModel):
    """What a structured answer is."""

    name: str


async def _whole(stream: Any) -> list[Any]:
    return [part async for part in await stream]


def _ping() -> str:
    """Do nothing."""
    return "pong"


TOOL = FunctionTool.from_defaults(_ping)

ENTRIES: dict[str, Callable[[Any], Any]] = {
    "chat": lambda llm: llm.chat(HELLO),
    "complete": lambda llm: llm.complete("hello"),
    "stream_chat": lambda llm: llm.stream_chat(HELLO),
    "stream_complete": lambda llm: llm.stream_complete("hello"),
    "achat": lambda llm: asyncio.run(llm.achat(HELLO)),
    "acomplete": lambda llm: asyncio.run(llm.acomplete("hello")),
    "astream_chat": lambda llm: asyncio.run(_whole(llm.astream_chat(HELLO))),
    "astream_complete": lambda llm: asyncio.run(_whole(llm.astream_complete("hello"))),
    "predict": lambda llm: llm.predict(TEMPLATE, name="you"),
    "apredict": lambda llm: asyncio.run(llm.apredict(TEMPLATE, name="you")),
    "stream": lambda llm: list(llm.stream(TEMPLATE, name="you")),
    "chat_with_tools": lambda llm: llm.chat_with_tools([TOOL], "hello"),
    "predict_and_call": lambda llm: llm.predict_and_call([TOOL], "hello"),
    "structured_predict": lambda llm: llm.structured_predict(City, TEMPLATE, name="you"),
    "as_structured_llm": lambda llm: llm.as_structured_llm(City).chat(HELLO),
    "agent": lambda llm: asyncio.run(_run_agent(llm)),
}


async def _run_agent(llm: Any, *tools: Any) -> Any:
    return await FunctionAgent(name="w", description="w", llm=llm, tools=list(tools)).run("hello")


@pytest.mark.parametrize("way", ENTRIES)
@pytest.mark.parametrize("make", [openai_llm, anthropic_llm])
def test_refused_before_it_is_sent(
    way: str, make: Callable[[Simulator], Any], sim: Simulator, store: MemoryStore
) -> None:
    """1: every way to ask an LLM raises, and no request arrives."""
    llm = guard(make(sim), Budget(NOTHING, store=store))

    with pytest.raises(BudgetExceeded):
        ENTRIES[way](llm)

    assert 0 == sim.arrived
    assert {entry.status for entry in all_entries(store)} == {"refused"}
    assert llm.bursar.reserved == 0


EMBEDDINGS: dict[str, Callable[[Any], Any]] = {
    "query": lambda model: model.get_query_embedding("hello"),
    "aquery": lambda model: asyncio.run(model.aget_query_embedding("hello")),
    "text": lambda model: model.get_text_embedding("hello"),
    "atext": lambda model: asyncio.run(model.aget_text_embedding("hello")),
    "batch": lambda model: model.get_text_embedding_batch(["a", "b", "c"]),
    "abatch": lambda model: asyncio.run(model.aget_text_embedding_batch(["a", "b", "c"])),
    "nodes": lambda model: model([TextNode(text="hello")]),
    "agg": lambda model: model.get_agg_embedding_from_queries(["a", "b"]),
}


def _embedding(sim: Simulator, **options: Any) -> OpenAIEmbedding:
    options = {"model": "text-embedding-3-small", "max_retries": 0, **options}
    return OpenAIEmbedding(api_base=sim.openai_base_url, api_key="sk-planted", **options)


@pytest.mark.parametrize("way", EMBEDDINGS)
def test_embeddings_are_refused(way: str, sim: Simulator, store: MemoryStore) -> None:
    """2: every way to embed raises, and no request arrives."""
    model = guard(_embedding(sim), Budget(NOTHING, store=store))

    with pytest.raises(BudgetExceeded):
        EMBEDDINGS[way](model)

    assert 0 == sim.arrived
    assert model.bursar.reserved == 0


@pytest.mark.parametrize("way", EMBEDDINGS)
def test_embeddings_are_settled(way: str, sim: Simulator, store: MemoryStore) -> None:
    """2: every way to embed costs what the provider bills."""
    with Budget(5, store=store).run("job") as run:
        EMBEDDINGS[way](guard(_embedding(sim)))

    assert sim.wait_idle()
    assert run.spent == sim.bill.total > 0
    assert run.reserved == 0
    assert len(entries_of(run)) == sim.arrived
    assert {entry.source for entry in entries_of(run)} == {"priced"}


def test_batches_of_embeddings(sim: Simulator, store: MemoryStore) -> None:
    """2: a batch of five, two at a time, is three requests; what the model's cache holds costs nothing."""
    cache = SimpleKVStore()
    model = guard(_embedding(sim, embed_batch_size=2, embeddings_cache=cache))
    with Budget(5, store=store).run("job") as run:
        model.get_text_embedding_batch(list("abcde"))
        model.get_text_embedding_batch(list("abcde"))
        model.get_text_embedding("a")

    assert 3 == sim.arrived == len(entries_of(run)) == run.calls


def test_embeddings_of_other_kinds(store: MemoryStore) -> None:
    """2: an embedding model that calls no SDK is paid around its methods, once, and marked as estimated."""

    class Own(MockEmbedding):
        model: str = "acme-embed"

    with prices.temporary(), Budget(5, store=store).run("job") as run:
        prices.add("acme-embed", input="$0.10", output=0, per=1_000_000)
        guard(Own(embed_dim=3)).get_text_embedding_batch(["hello world"] * 3)
        asyncio.run(guard(Own(embed_dim=3)).aget_query_embedding("hello"))

    assert run.calls == 2
    assert run.spent > 0
    assert run.reserved == 0


def test_second_call_of_an_agent(sim: Simulator, store: MemoryStore) -> None:
    """3: with budget for one call, exactly one request arrives and the agent raises."""
    llm = guard(Scripted(script=[[calls_tool("_ping")]]), Budget(calls=1, store=store))

    with pytest.raises(BudgetExceeded) as caught:
        asyncio.run(_run_agent(llm, _ping))

    assert type(caught.value) is BudgetExceeded
    assert len(llm.sent) == 1
    assert [entry.status for entry in all_entries(store)] == ["ok", "refused"]


@pytest.mark.skipif(not SYNC_TOOLS_KEEP_CONTEXT, reason="sync tools run in threads that know of no run")
def test_parallel_tools(store: MemoryStore) -> None:
    """13: of three tools that run at the same time, each with a call of its own, two get theirs."""
    inner = Scripted()
    agent_llm = Scripted(script=[[calls_tool(f"tool_{index}") for index in range(3)]])
    barrier = threading.Barrier(3)
    shared = guard(inner)

    def make(index: int) -> Any:
        def tool() -> str:
            """Ask."""
            barrier.wait(10)
            return str(shared.chat(HELLO))

        return FunctionTool.from_defaults(tool, name=f"tool_{index}")

    with Budget(calls=2, store=store).run("job") as run:
        answer = asyncio.run(_run_agent(agent_llm, *map(make, range(3))))

    assert str(answer) == "done"
    assert len(inner.sent) == 2
    assert len(run.refusals) == 1
    assert run.reserved == 0
    assert {entry.subject.agent.name for entry in entries_of(run)} == {"w"}


@pytest.mark.skipif(not SYNC_TOOLS_KEEP_CONTEXT, reason="sync tools run in threads that know of no run")
@pytest.mark.parametrize("streaming", [True, False])
def test_refusal_in_a_tool_is_remembered(streaming: bool, store: MemoryStore) -> None:
    """14: a refusal that LlamaIndex swallows is in the run's `refusals`; the event stream ends."""
    inner = guard(Scripted())
    agent_llm = Scripted(script=[[calls_tool("ask")]])

    def ask() -> str:
        """Ask."""
        return str(inner.chat(HELLO))

    async def main() -> str:
        agent = FunctionAgent(name="w", description="w", llm=agent_llm, tools=[ask], streaming=streaming)
        handler = agent.run("hello")
        async for _ in handler.stream_events():
            pass
        return str(await handler)

    with Budget(NOTHING, store=store).run("job") as run:
        assert asyncio.run(main()) == "done"

    assert [refusal.agent for refusal in run.refusals] == ["w"]
    with pytest.raises(BudgetExceeded):
        run.raise_if_refused()


def test_refusal_of_a_structured_answer(store: MemoryStore) -> None:
    """14: a refused `output_cls` call is swallowed too, and remembered."""
    llm = guard(Scripted(), Budget(calls=1, store=store))

    async def main() -> Any:
        agent = FunctionAgent(name="w", description="w", llm=llm, output_cls=City)
        return await agent.run("hello")

    with pytest.warns(match="structured"):
        answer = asyncio.run(main())

    assert answer.structured_response is None
    assert [entry.status for entry in all_entries(store)] == ["ok", "refused"]
    assert llm.bursar.reserved == 0


def test_event_stream_ends(sim: Simulator, store: MemoryStore) -> None:
    """14: where the agent itself is refused, its event stream ends, and the handler raises."""
    llm = guard(openai_llm(sim), Budget(NOTHING, store=store))

    async def main() -> None:
        handler = FunctionAgent(name="w", description="w", llm=llm).run("hello")
        async for _ in handler.stream_events():
            pass
        await handler

    with pytest.raises(BudgetExceeded):
        asyncio.run(main())


@pytest.mark.parametrize("way", ["chat", "complete", "stream_chat", "achat", "astream_complete", "agent"])
def test_graceful_stop(way: str, sim: Simulator, store: MemoryStore) -> None:
    """With `on_exceed="stop"` an answer says why there is none."""
    llm = guard(openai_llm(sim), Budget(NOTHING, on_exceed="stop", store=store))

    answer = ENTRIES[way](llm)

    said = str(answer if not hasattr(answer, "__next__") else list(answer)[-1])
    assert "Stopped by the budget" in said
    assert 0 == sim.arrived


def test_mock_costs_nothing(store: MemoryStore) -> None:
    """LlamaIndex's stand-ins for a model are free, and count as calls."""
    llm = guard(MockLLM(max_tokens=8), Budget("$1.00", store=store))
    llm.chat(HELLO)
    guard(MockEmbedding(embed_dim=2), Budget("$1.00", store=store)).get_text_embedding("a")

    assert [(entry.cost_nanousd, entry.status) for entry in all_entries(store)] == [(0, "ok"), (0, "ok")]


def test_unknown_model(store: MemoryStore) -> None:
    """A model without a price is refused by a budget in dollars, with its name."""
    llm = guard(Scripted(model="nobody-7b"), Budget(1, store=store))

    with pytest.raises(UnknownPrice, match="nobody-7b"):
        llm.chat(HELLO)
    assert llm.sent == []


def test_fifty_at_once(sim: Simulator, store: MemoryStore) -> None:
    """Of fifty calls at the same time, tasks and streams, exactly ten are sent."""
    llm = guard(openai_llm(sim), Budget(calls=10, store=store))

    async def one(index: int) -> Any:
        if index % 2:
            return await llm.achat(HELLO)
        return await _whole(llm.astream_chat(HELLO))

    async def main() -> list[Any]:
        return await asyncio.gather(*map(one, range(50)), return_exceptions=True)

    results = asyncio.run(main())

    assert sum(isinstance(result, BudgetExceeded) for result in results) == 40
    assert 10 == sim.arrived
    assert llm.bursar.reserved == 0


def test_cap_in_dollars(sim: Simulator, store: MemoryStore) -> None:
    """A limit in dollars is never exceeded by the provider's own bill."""
    llm = guard(openai_llm(sim, model="gpt-4o"), Budget("$0.003", store=store))
    for _ in range(20):
        try:
            llm.chat([ChatMessage("hello " * 50)])
        except BudgetExceeded:
            break
    else:
        pytest.fail("nothing was refused")

    assert Decimal(0) < sim.bill.total <= Decimal("0.003")
    assert llm.bursar.spent == sim.bill.total
