"""A guarded model is still what it was, and is changed only where a budget asks for it (scenarios 15 to 17)."""

from __future__ import annotations

import asyncio
import copy
import gc
import pickle
from decimal import Decimal
from functools import partial
from typing import Any

import openai
import pytest
from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.base.llms.types import ChatMessage, ImageBlock, TextBlock
from llama_index.core.llms.function_calling import FunctionCallingLLM
from llama_index.core.llms.mock import MockLLM
from llama_index.core.tools import FunctionTool
from llama_index.embeddings.openai import OpenAIEmbedding
from llama_index.llms.anthropic import Anthropic
from llama_index.llms.openai import OpenAI
from tests.integrations.llama_index.conftest import (
    HAIKU,
    HELLO,
    SONNET,
    Scripted,
    all_entries,
    anthropic_llm,
    calls_tool,
    openai_llm,
)

import bursar
from bursar import Budget, BudgetExceeded
from bursar.simulator import Simulator
from bursar.stores.memory import MemoryStore
from bursar_llama_index import guard


async def _run_agent(llm: Any) -> None:
    await FunctionAgent(name="w", description="w", llm=llm, tools=[ping]).run("hello")


def ping() -> str:
    """Do nothing."""
    return "pong"


@pytest.mark.parametrize("make", [openai_llm, anthropic_llm])
def test_guarded_copy(make: Any, sim: Simulator, store: MemoryStore) -> None:
    """17: it is of the same class, says the same of itself, and the original is not changed."""
    plain = make(sim)
    plain_class = type(plain)
    llm = guard(plain, Budget(calls=0, store=store))

    assert isinstance(llm, plain_class)
    assert isinstance(llm, FunctionCallingLLM)
    assert type(llm).__name__ == plain_class.__name__
    assert llm.metadata == plain.metadata
    assert llm.class_name() == plain.class_name()
    assert llm.to_dict().keys() == plain.to_dict().keys()
    assert type(plain) is plain_class
    plain.chat(HELLO)
    with pytest.raises(BudgetExceeded):
        llm.chat(HELLO)
    assert 1 == sim.arrived


@pytest.mark.parametrize("make", [openai_llm, anthropic_llm])
@pytest.mark.parametrize("is_used", [False, True])
@pytest.mark.parametrize(
    "how",
    [
        copy.copy,
        copy.deepcopy,
        lambda llm: llm.model_copy(update={"temperature": 0.5}),
        guard,
    ],
)
def test_copies_stay_guarded(how: Any, is_used: bool, make: Any, sim: Simulator, store: MemoryStore) -> None:
    """17: copies of every kind pay from the same budget."""
    llm = guard(make(sim), Budget(calls=1, per="total", name="shared", store=store))
    if is_used:
        llm.chat(HELLO)
    twin = how(llm)
    if not hasattr(twin.bursar, "budget") or twin.bursar.budget is None:
        # Guarded anew, with no budget: the first guard is no part of it.
        twin.chat(HELLO)
        return
    if not is_used:
        twin.chat(HELLO)
    with pytest.raises(BudgetExceeded):
        twin.chat(HELLO)
    assert 1 == sim.arrived
    assert twin.bursar is llm.bursar


def _use_pickled(data: bytes, *, is_used: bool) -> None:
    twin = pickle.loads(data)  # noqa: S301
    if not is_used:
        twin.chat(HELLO)
    with pytest.raises(BudgetExceeded):
        twin.chat(HELLO)
    assert isinstance(twin, OpenAI)


@pytest.mark.parametrize("is_used", [False, True])
def test_pickle(is_used: bool, sim: Simulator, store: MemoryStore) -> None:
    """17: in this process, what was pickled is paid for by the same budget; anywhere else it is refused."""
    llm = guard(openai_llm(sim), Budget(calls=1, per="total", name="pickled", store=store))
    if is_used:
        llm.chat(HELLO)
    data = pickle.dumps(llm)
    _use_pickled(data, is_used=is_used)
    del llm
    gc.collect()
    with pytest.raises(RuntimeError, match="guard it again"):
        pickle.loads(data)  # noqa: S301


def test_pickled_embeddings(sim: Simulator, store: MemoryStore) -> None:
    """17: the same of embedding models."""
    plain = OpenAIEmbedding(
        api_base=sim.openai_base_url, api_key="sk-planted", model="text-embedding-3-small"
    )
    model = guard(plain, Budget(calls=1, per="total", name="pickled", store=store))
    twin = pickle.loads(pickle.dumps(model))  # noqa: S301
    twin.get_text_embedding("a")
    with pytest.raises(BudgetExceeded):
        model.get_text_embedding("b")


def test_downgrade_by_name(sim: Simulator, store: MemoryStore) -> None:
    """15: past the threshold the cheaper model is on the wire, with the tools, and is what is priced."""
    budget = Budget(5, downgrade={"gpt-4o": "gpt-4.1-nano"}, downgrade_at=0.5, store=store)
    with budget.run("job") as run:
        run.record(Decimal(3), agent="w")
        llm = guard(openai_llm(sim, model="gpt-4o"))
        asyncio.run(_run_agent(llm))

    assert sim.requests[-1].model == "gpt-4.1-nano"
    assert sim.requests[-1].body["tools"]
    assert all_entries(store)[-1].model.startswith("gpt-4.1-nano")
    assert all_entries(store)[-1].subject.model == "gpt-4o"


def test_downgrade_of_a_pinned_model(sim: Simulator, store: MemoryStore) -> None:
    """15: also where the model is pinned in `additional_kwargs`."""
    budget = Budget(5, downgrade={"gpt-4.1": "gpt-4.1-nano"}, downgrade_at=0.5, store=store)
    with budget.run("job") as run:
        run.record(Decimal(3), agent="unattributed")
        guard(openai_llm(sim, model="gpt-4o", additional_kwargs={"model": "gpt-4.1"})).chat(HELLO)

    assert sim.requests[-1].model == "gpt-4.1-nano"


def test_downgrade_of_a_guard(sim: Simulator, store: MemoryStore) -> None:
    """A guard's own list of cheaper models stands before what the budget says."""
    budget = Budget(5, downgrade={"gpt-4o": "gpt-4o-mini"}, downgrade_at=0.5, store=store)
    with budget.run("job") as run:
        run.record(Decimal(3), agent="unattributed")
        guard(openai_llm(sim, model="gpt-4o"), downgrade=["gpt-4.1-nano"]).chat(HELLO)

    assert sim.requests[-1].model == "gpt-4.1-nano"


@pytest.mark.parametrize("way", ["chat", "stream_chat", "achat"])
def test_downgrade_to_another_provider(way: str, sim: Simulator, store: MemoryStore) -> None:
    """Another LLM may stand in: it is asked in its own words, and priced as what it is."""
    budget = Budget(5, downgrade_at=0.5, store=store)
    other = anthropic_llm(sim, model=HAIKU)
    with budget.run("job") as run:
        run.record(Decimal(3), agent="unattributed")
        llm = guard(openai_llm(sim, model="gpt-4o"), downgrade=[other])
        answer = asyncio.run(llm.achat(HELLO)) if way == "achat" else getattr(llm, way)(HELLO)
        if way == "stream_chat":
            list(answer)
    entry = all_entries(store)[-1]

    assert sim.requests[-1].model == HAIKU
    assert sim.wait_idle()
    assert run.spent == sim.bill.total + 3
    assert HAIKU in entry.model
    assert run.reserved == 0


def test_lowered_limit(sim: Simulator, store: MemoryStore) -> None:
    """An output limit that no longer fits is lowered on the wire, whatever the LLM's own is."""
    llm = guard(openai_llm(sim, model="gpt-4o", max_tokens=4000), "$0.010")
    llm.chat(HELLO)

    assert 256 <= sim.requests[-1].body["max_tokens"] < 1000


def test_lowered_limit_of_other_models(store: MemoryStore) -> None:
    """A model that calls no SDK is asked as a copy of it with a lower limit; the user's own keeps its own."""
    llm = guard(Scripted(model="gpt-4o", max_tokens=4000), Budget("$0.010", store=store))
    llm.chat(HELLO)

    assert 256 <= llm.sent[-1]["max_tokens"] < 1000
    assert llm.max_tokens == 4000


def test_models_are_priced_by_the_wire(sim: Simulator, store: MemoryStore) -> None:
    """16: the model of the call, and the one that `additional_kwargs` pin, are what is bounded and priced."""
    budget = Budget(5, store=store)
    guard(openai_llm(sim), budget).chat(HELLO, model="gpt-4.1")
    guard(openai_llm(sim, additional_kwargs={"model": "gpt-4.1-nano"}), budget).chat(HELLO, model="gpt-4.1")
    models = [entry.subject.model for entry in all_entries(store)]

    assert models == ["gpt-4.1", "gpt-4.1-nano"] == [request.model for request in sim.requests]


def test_limits_bound_what_is_on_the_wire(sim: Simulator, store: MemoryStore) -> None:
    """16: `max_tokens` of the LLM bounds the call, though the call says less: LlamaIndex ignores that."""
    llm = guard(openai_llm(sim, model="gpt-4o", max_tokens=500), Budget(5, store=store))
    llm.chat(HELLO, max_tokens=7)
    (entry,) = all_entries(store)

    assert sim.requests[-1].body["max_tokens"] == 500
    assert entry.bound_nanousd >= 500 * 10_000


def test_images_and_tools_are_bounded(sim: Simulator, store: MemoryStore) -> None:
    """Images, tools and long system prompts are part of the bound, which the bill does not exceed."""
    llm = guard(openai_llm(sim, model="gpt-4o"), Budget(5, store=store))
    pixel = (
        b"iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
    )
    picture = ChatMessage(role="user", blocks=[TextBlock(text="what?"), ImageBlock(image=pixel)])
    llm.chat([ChatMessage("rules " * 500, role="system"), picture])
    llm.chat_with_tools([FunctionTool.from_defaults(ping)], "hello")

    for entry in all_entries(store):
        assert (entry.cost_nanousd or 0) <= entry.bound_nanousd


def test_agents_keep_the_guarded(sim: Simulator) -> None:
    """An agent keeps the very LLM that it is given."""
    llm = guard(openai_llm(sim))

    assert FunctionAgent(name="w", description="w", llm=llm).llm is llm


@pytest.mark.parametrize("stream", [False, True])
def test_guarded_client_below(stream: bool, sim: Simulator, store: MemoryStore) -> None:
    """A guarded SDK client below a guarded LLM does not count twice."""
    client = bursar.guard(openai.OpenAI(base_url=sim.openai_base_url, api_key="sk-planted"), label="client")
    plain = OpenAI(model="gpt-4o-mini", max_tokens=100, openai_client=client)
    with Budget(5, store=store).run("job") as run:
        llm = guard(plain, agent="llm")
        if stream:
            list(llm.stream_chat(HELLO))
        else:
            llm.chat(HELLO)
    client.close()

    assert [entry.subject.agent.name for entry in all_entries(store)] == ["llm"]
    assert sim.wait_idle()
    assert run.spent == sim.bill.total


def test_two_guards(sim: Simulator, store: MemoryStore) -> None:
    """A guard around what is guarded already pays in the place of the first."""
    first = guard(openai_llm(sim), Budget(calls=0, store=store))
    second = guard(first, Budget(5, store=store))
    second.chat(HELLO)

    assert len(all_entries(store)) == 1
    with pytest.raises(BudgetExceeded):
        first.chat(HELLO)


def test_what_was_put_on_a_model_before(
    sim: Simulator, store: MemoryStore, caplog: pytest.LogCaptureFixture
) -> None:
    """A function in place of one of its methods calls the model that it was put on: the guarded one has the method."""
    plain = openai_llm(sim)
    vars(plain)["chat"] = partial(plain.chat)
    llm = guard(plain, Budget(calls=1, store=store))

    llm.chat(HELLO)
    with pytest.raises(BudgetExceeded):
        llm.chat(HELLO)

    assert sim.arrived == 1
    assert "in place of chat on this OpenAI" in caplog.text
    assert "chat" in vars(plain)


@pytest.mark.parametrize("what", ["gpt-4o", 5, None, OpenAI, openai])
def test_what_cannot_be_guarded(what: Any) -> None:
    """Anything else is refused with what to do instead."""
    with pytest.raises(TypeError, match="LLM or an embedding model"):
        guard(what)


def test_wrong_downgrades(sim: Simulator) -> None:
    """A downgrade that cannot be made is refused at once."""
    with pytest.raises(ValueError, match="MockLLM cannot be asked"):
        guard(MockLLM(), downgrade=["gpt-4o-mini"])
    with pytest.raises(TypeError, match="names of models and LLMs"):
        guard(openai_llm(sim), downgrade=[5])  # type: ignore[list-item]


def test_nothing_of_a_call_is_kept(sim: Simulator, store: MemoryStore) -> None:
    """No text and no key is in the ledger."""
    llm = guard(openai_llm(sim), Budget(5, store=store))
    llm.chat([ChatMessage("a planted secret")])
    said = repr(all_entries(store)) + repr(llm.bursar)

    assert "planted" not in said


def test_calls_beside_the_methods(sim: Simulator, store: MemoryStore) -> None:
    """What an LLM asks its SDK beside its own methods is paid as well."""
    llm = guard(anthropic_llm(sim), Budget(5, store=store))
    llm._client.messages.create(model=SONNET, max_tokens=10, messages=[{"role": "user", "content": "hello"}])
    assert isinstance(llm, Anthropic)
    assert len(all_entries(store)) == sim.arrived == 1


def test_tool_calls_are_output(store: MemoryStore) -> None:
    """An answer without usage that calls tools is estimated by what it says, never as nothing."""

    class Silent(Scripted):
        def _answer(self, **kwargs: Any) -> Any:
            answer = super()._answer(**kwargs)
            answer.raw = None
            return answer

    llm = guard(Silent(script=[[calls_tool("ping", text="x" * 200)]]), Budget(5, store=store))
    llm.chat(HELLO)
    (entry,) = all_entries(store)

    assert entry.source == "estimated"
    assert entry.usage.output_tokens >= 25
