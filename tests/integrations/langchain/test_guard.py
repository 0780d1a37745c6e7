"""`guard()`: embeddings, for which LangChain has no callbacks, and chat models over SDKs that bursar knows."""

# What models return has types that no two versions share.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any

import pytest
from langchain_core.documents import Document
from langchain_core.embeddings import DeterministicFakeEmbedding, Embeddings
from langchain_core.vectorstores import InMemoryVectorStore
from langchain_openai import OpenAIEmbeddings
from langgraph.graph import START, MessagesState, StateGraph
from pydantic import SecretStr
from tests.integrations.langchain.conftest import Scripted, anthropic_model, entries_of, openai_model

import bursar
from bursar import Budget, BudgetExceeded, UnknownPrice
from bursar.simulator import Fault, Simulator
from bursar.store import Where
from bursar.stores.memory import MemoryStore
from bursar_langchain import BudgetCallbackHandler, guard

pytestmark = pytest.mark.timeout(60)


class Priced(Embeddings):
    """An embedding model of a user's own, of a model that has a price."""

    model = "text-embedding-3-small"

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Return a vector each."""
        return [[float(len(text))] for text in texts]

    def embed_query(self, text: str) -> list[float]:
        """Return a vector."""
        return self.embed_documents([text])[0]


Priced.__module__ = "langchain_openai.someones"


def openai_embeddings(sim: Simulator, **options: Any) -> OpenAIEmbeddings:
    """A real `OpenAIEmbeddings` that calls the simulator."""
    return OpenAIEmbeddings(
        model="text-embedding-3-small",
        base_url=sim.openai_base_url,
        api_key=SecretStr("sk-planted"),
        check_embedding_ctx_length=False,
        **options,
    )


def test_openais_embeddings(sim: Simulator, store: MemoryStore) -> None:
    """Each call is paid at what the provider bills, sync and async, and the model is the same to its user."""
    plain = openai_embeddings(sim)
    model = guard(plain)
    with Budget(5, store=store).run("index") as run:
        model.embed_documents(["one", "two"])
        asyncio.run(model.aembed_query("three"))

    assert [("ok", "priced")] * 2 == [(entry.status, entry.source) for entry in entries_of(run)]
    assert sim.bill.total == run.spent > 0
    assert isinstance(model, OpenAIEmbeddings)
    assert plain.client is not model.client


def test_embeddings_of_a_users_own(store: MemoryStore) -> None:
    """Any `Embeddings` is paid around its methods; one that calls another pays once, and says that it is estimated."""
    model = guard(Priced(), agent="indexer")
    with Budget(5, store=store).run("index") as run:
        model.embed_query("hello")
        asyncio.run(model.aembed_documents(["one", "two"]))
    entries = entries_of(run)

    assert [("indexer", "ok", "estimated")] * 2 == [
        (e.subject.agent.name, e.status, e.source) for e in entries
    ]
    assert all(0 < (entry.cost_nanousd or 0) <= entry.bound_nanousd for entry in entries)
    assert isinstance(model, Priced)


def test_embeddings_that_nobody_can_pay_for(store: MemoryStore) -> None:
    """Nothing is embedded past the budget, also by a vector store that calls the model."""
    model = guard(Priced(), Budget(calls=1, store=store))
    vectors = InMemoryVectorStore(model)
    vectors.add_documents([Document("one")])
    with pytest.raises(BudgetExceeded):
        vectors.similarity_search("two")

    assert ["ok", "refused"] == [entry.status for entry in store.entries(Where())]


def test_embeddings_are_booked_to_the_agent_that_calls_them(store: MemoryStore) -> None:
    """In a node of a graph they are that node's spending, and the handler of the graph pays for them."""
    model = guard(Priced())

    def search(state: Any) -> Any:
        del state
        model.embed_query("hello")
        return {}

    made: Any = StateGraph(MessagesState)
    made.add_node("search", search)
    made.add_edge(START, "search")
    budget = Budget(5, store=store)
    made.compile().invoke({"messages": []}, config={"callbacks": [BudgetCallbackHandler(budget)]})
    (entry,) = store.entries(Where())

    assert "search" == entry.subject.agent.name
    assert budget.spent == Decimal(entry.cost_nanousd or 0).scaleb(-9)


def test_an_embedding_model_without_a_price(store: MemoryStore) -> None:
    """Under a budget in dollars it is refused with the line to add; declared free, it is not."""
    model = guard(DeterministicFakeEmbedding(size=2))
    with Budget(5, store=store).run("index"):
        with pytest.raises(UnknownPrice, match=r"bursar\.prices\.free"):
            model.embed_query("hello")
        bursar.prices.free("DeterministicFakeEmbedding")
        assert 2 == len(model.embed_query("hello"))


def test_an_error_of_an_embedding_model(store: MemoryStore) -> None:
    """What fails is entered, and holds nothing."""

    class Broken(Priced):
        def embed_documents(self, texts: list[str]) -> list[list[float]]:
            raise ConnectionError(len(texts))

    Broken.__module__ = Priced.__module__
    with Budget(5, store=store).run("index") as run, pytest.raises(ConnectionError):
        guard(Broken()).embed_documents(["a"])

    assert ["aborted"] == [entry.status for entry in entries_of(run)]
    assert 0 == run.reserved


@pytest.mark.parametrize("provider", ["openai", "anthropic"])
def test_chat_models(provider: str, sim: Simulator, store: MemoryStore) -> None:
    """A guarded chat model has a budget as long as it lives, and its SDK's attempts are seen."""
    sim.fail_next(Fault.status(500, retry_after_s=0.001))
    make: Any = openai_model if provider == "openai" else anthropic_model
    budget = Budget(5, calls=2, store=store)
    model = guard(make(sim, max_retries=2), budget, agent="writer")
    model.invoke("hello")
    list(model.stream("hello"))
    with pytest.raises(BudgetExceeded):
        model.invoke("hello")
    entries = list(store.entries(Where()))

    assert ["error", "ok", "ok", "refused"] == [entry.status for entry in entries]
    assert {"writer"} == {entry.subject.agent.name for entry in entries}
    assert sim.bill.total == budget.spent


def test_a_guarded_chat_model_in_a_run(sim: Simulator, store: MemoryStore) -> None:
    """It pays from its own budget and from the run around it, and is entered once."""
    own = Budget(1, store=store)
    model = guard(openai_model(sim), own, agent="writer")
    with Budget(5, store=store).run("job") as run:
        model.invoke("hello")

    assert 1 == len(list(store.entries(Where())))
    assert own.spent == run.spent == sim.bill.total
    assert 0 == run.reserved


@pytest.mark.parametrize("what", [Scripted(), object(), "model"])
def test_what_cannot_be_guarded(what: Any) -> None:
    """Anything else is a clear error that says what to do."""
    with pytest.raises(TypeError, match=r"guard\(\) takes embeddings"):
        guard(what)
