"""A guarded client below another meter, as an adapter's is: it pays nothing, and tells what it alone can see."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import Any

import openai
import pytest
from pydantic import BaseModel

from bursar import Budget, guard
from bursar.clients.linking import link_header
from bursar.entry import Entry
from bursar.meter import Meter, Observer, plan_request
from bursar.payer import Payer
from bursar.scope import current_meter
from bursar.simulator import Answer, Fault, Simulator
from bursar.store import Where
from bursar.stores.memory import MemoryStore
from bursar.wire import OPENAI_CHAT


class Reply(BaseModel):
    """What is asked for."""

    text: str


BODY: Any = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 50}


@pytest.fixture
def sim() -> Iterator[Simulator]:
    """The provider."""
    with Simulator(output_tokens=20) as sim:
        yield sim


@pytest.fixture
def store() -> MemoryStore:
    """An empty store."""
    return MemoryStore()


@pytest.fixture
def client(sim: Simulator) -> Iterator[Any]:
    """A guarded client, which nobody limits."""
    with guard(openai.OpenAI(base_url=sim.openai_base_url, api_key="k", max_retries=0)) as client:
        yield client


def _outer(store: MemoryStore, **options: Any) -> Meter:
    """An adapter's meter for a call that asks for BODY."""
    payer = Payer(Budget(5, store=store), agent="outer", workflow=None, made_in=None, outer=None, store=None)
    options = {"provider": "openai", "is_sent_at_once": False, **options}
    meter = Meter(plan_request(OPENAI_CHAT, BODY, payer.booking(), **options))
    meter.reserve()
    return meter


@contextmanager
def _around(meter: Meter | Observer) -> Generator[None]:
    token = current_meter.set(meter)
    try:
        yield
    finally:
        current_meter.reset(token)


def _entries(store: MemoryStore) -> list[Entry]:
    return list(store.entries(Where()))


def _settle(meter: Meter) -> None:
    assert meter.observed is not None
    meter.settle(meter.observed)


def test_an_answer_that_nobody_could_use(client: Any, sim: Simulator, store: MemoryStore) -> None:
    """An answer that is whole is paid by what it used, whatever was made of it."""
    sim.script("gpt-4o", Answer(output_tokens=40))
    meter = _outer(store)
    with _around(meter):
        with pytest.raises(openai.LengthFinishReasonError):
            client.chat.completions.parse(**{**BODY, "max_tokens": 5}, response_format=Reply)
        meter.fail("LengthFinishReasonError", is_billed=True)

    (entry,) = _entries(store)
    assert ("ok", "priced") == (entry.status, entry.source)
    assert int(sim.bill.total * 10**9) == entry.cost_nanousd


def test_observed(client: Any, sim: Simulator, store: MemoryStore) -> None:
    """What the provider said reaches the outer meter, which pays."""
    meter = _outer(store)
    assert not meter.is_sent
    with _around(meter):
        client.chat.completions.create(**BODY)
    assert meter.is_sent
    _settle(meter)

    assert [entry.subject.agent.name for entry in _entries(store)] == ["outer"]
    assert _entries(store)[0].cost_nanousd == int(sim.bill.total.scaleb(9))


def test_a_stream_states_its_usage_whatever_the_outer_call_says(
    client: Any, sim: Simulator, store: MemoryStore
) -> None:
    """An adapter weighs a call by its prompt and may not say that it is streamed; the request itself does."""
    meter = _outer(store)
    with _around(meter):
        list(client.chat.completions.create(**BODY, stream=True))
    _settle(meter)

    assert _entries(store)[0].cost_nanousd == int(sim.bill.total.scaleb(9))


def test_through_two(client: Any, store: MemoryStore) -> None:
    """An observer between the two passes it on."""
    meter = _outer(store)
    with _around(Observer(meter)):
        client.chat.completions.create(**BODY)
    _settle(meter)

    assert len(_entries(store)) == 1


def test_sent_again(client: Any, sim: Simulator, store: MemoryStore) -> None:
    """A call that is made anew after it failed is another attempt of the outer call."""
    sim.fail_next(Fault.status(500))
    meter = _outer(store)
    with _around(meter):
        with pytest.raises(openai.InternalServerError):
            client.chat.completions.create(**BODY)
        client.chat.completions.create(**BODY)
    _settle(meter)

    assert [(entry.attempt, entry.status) for entry in _entries(store)] == [(1, "error"), (2, "ok")]


def test_fitted_below(client: Any, sim: Simulator, store: MemoryStore) -> None:
    """What was granted is applied below, where the outer call says so."""
    budget = Budget(5, downgrade={"gpt-4o": "gpt-4o-mini"}, downgrade_at=0.5, store=store)
    with budget.run("job") as run:
        run.record(Decimal(3), agent="outer")
        meter = _outer(store, is_fitted_below=True)
        with _around(meter):
            client.chat.completions.create(**BODY)
        _settle(meter)

    assert sim.requests[-1].model == "gpt-4o-mini"


@pytest.mark.parametrize("is_stream", [False, True])
def test_linked(is_stream: bool, client: Any, sim: Simulator, store: MemoryStore) -> None:
    """A mark on the request stands for the context, is taken off, and counts once."""
    meter = _outer(store)
    header = link_header(meter)
    options: Any = {"stream": True} if is_stream else {}
    answer = client.chat.completions.create(**BODY, **options, extra_headers={**header, "x-mine": "1"})
    if is_stream:
        list(answer)
    _settle(meter)
    client.chat.completions.create(**BODY, extra_headers=header)

    assert len(_entries(store)) == 1
    for request in sim.requests:
        assert "bursar" not in str(request).lower()
