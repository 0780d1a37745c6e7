"""While the store does not answer: closed unless the user wrote "open", and no known cost is lost."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import openai
import pytest

import bursar
from bursar import Budget, BudgetExceeded, StoreError
from bursar.simulator import Fault, Simulator
from bursar.store import Where
from bursar.stores.sqlite import SQLiteStore

guard: Callable[..., Any] = bursar.guard
"""Typed loosely: the SDKs' overloads lose the thread on unpacked options."""

ASK: dict[str, Any] = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 100}


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[SQLiteStore]:
    """A ledger in a file that is not waited for."""
    store = SQLiteStore(tmp_path / "ledger.db", lock_timeout_s=0.02)
    yield store
    store.close()


@pytest.fixture
def sim() -> Iterator[Simulator]:
    """A simulator over HTTP."""
    with Simulator() as simulator:
        yield simulator


@pytest.fixture
def plain(sim: Simulator) -> Iterator[openai.OpenAI]:
    """A client of it."""
    with openai.OpenAI(base_url=sim.openai_base_url, api_key="sk-planted", max_retries=1) as client:
        yield client


@contextmanager
def locked(ledger: SQLiteStore) -> Generator[None]:
    """Let another program keep the file to itself."""
    other = sqlite3.connect(ledger.path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    try:
        yield
    finally:
        other.execute("ROLLBACK")
        other.close()


def test_a_closed_budget_sends_nothing(sim: Simulator, plain: openai.OpenAI, ledger: SQLiteStore) -> None:
    """By default a call is refused while the store does not answer, and the message names the remedy."""
    with Budget("$1", store=ledger).run("doc"):
        client: Any = guard(plain, agent="writer")
        client.chat.completions.create(**ASK)
        with (
            locked(ledger),
            pytest.raises(StoreError, match=r'agent "writer" to "gpt-4o" was not sent.*="open"'),
        ):
            client.chat.completions.create(**ASK)
        client.chat.completions.create(**ASK)

    assert 2 == sim.arrived


def test_an_open_budget_lets_calls_through_and_books_them_later(
    sim: Simulator, plain: openai.OpenAI, ledger: SQLiteStore, caplog: pytest.LogCaptureFixture
) -> None:
    """With "open" calls go through, one warning says so, and their cost is booked when the store answers."""
    with Budget("$1", store=ledger, on_store_failure="open").run("doc"):
        client: Any = guard(plain, agent="writer")
        client.chat.completions.create(**ASK)
        with locked(ledger), caplog.at_level(logging.WARNING, "bursar"):
            for _ in range(2):
                client.chat.completions.create(**ASK)
        ledger.journal.replay(ledger)

    (totals,) = [totals for _, totals in ledger.totals(None, Where())]
    assert (3, int(sim.bill.total.scaleb(9))) == (totals.calls, totals.cost_nanousd)
    assert 1 == caplog.text.count("let through unpaid")


def test_an_open_budget_goes_on_from_the_first_call(
    sim: Simulator, plain: openai.OpenAI, ledger: SQLiteStore
) -> None:
    """With "open" a run can begin, make its first call, retry it and end without the store."""
    sim.fail_next(Fault.status(500, retry_after_s=0.001))
    with locked(ledger), Budget("$1", store=ledger, on_store_failure="open").run("doc"):
        client: Any = guard(plain, agent="writer")
        client.chat.completions.create(**ASK)
    ledger.journal.replay(ledger)

    assert 2 == sim.arrived
    assert ["error", "ok"] == [entry.status for entry in ledger.entries(Where())]


def test_an_open_budget_that_watches_its_runs_goes_on(
    sim: Simulator, plain: openai.OpenAI, ledger: SQLiteStore, caplog: pytest.LogCaptureFixture
) -> None:
    """What runs usually cost cannot be read either; the log says so, and no call is kept back for it."""
    told: list[object] = []
    budget = Budget("$1", store=ledger, on_store_failure="open", on_anomaly=told.append)
    client: Any = guard(plain, agent="writer")
    with Budget("$1", store=ledger).run("doc"):
        client.chat.completions.create(**ASK)
    with locked(ledger), budget.run("doc"), caplog.at_level(logging.WARNING, "bursar"):
        client.chat.completions.create(**ASK)

    assert 2 == sim.arrived
    assert [] == told
    assert 'what run "doc" usually costs is not known' in caplog.text


def test_every_budget_of_a_chain_must_be_open(
    sim: Simulator, plain: openai.OpenAI, ledger: SQLiteStore
) -> None:
    """One budget that is closed keeps a call from being sent, whatever the others say."""
    closed = Budget("$1", per="total", name="closed", store=ledger)
    with Budget("$1", within=closed, on_store_failure="open").run("doc"):
        client: Any = guard(plain, agent="writer")
        client.chat.completions.create(**ASK)
        with locked(ledger), pytest.raises(StoreError):
            client.chat.completions.create(**ASK)

    assert 1 == sim.arrived


@pytest.mark.parametrize("word", ["closed", "open"])
def test_an_answer_is_not_lost_when_it_cannot_be_booked(
    sim: Simulator, plain: openai.OpenAI, ledger: SQLiteStore, word: Any
) -> None:
    """The store fails while the answer comes: the caller has it all the same, and its cost is booked later."""
    client: Any = guard(plain, Budget("$1", store=ledger, on_store_failure=word))
    stream = client.chat.completions.create(**ASK, stream=True)

    with locked(ledger):
        events = list(stream)
    client.chat.completions.create(**ASK)

    assert events
    assert int(sim.bill.total.scaleb(9)) == int(client.bursar.spent.scaleb(9))
    state = ledger.state(client.bursar.run.budget.own_account(client.bursar.run, ledger.now()).key)
    assert state is not None
    assert 0 == state.reserved.nanousd


def test_a_refusal_is_seen_although_the_ledger_cannot_take_it(
    plain: openai.OpenAI, ledger: SQLiteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The caller is told that the budget is spent, not that the refusal could not be written down."""
    client: Any = guard(plain, Budget("0.0001", store=ledger))

    def failing(*_: object) -> None:
        raise StoreError("the disk is full")

    monkeypatch.setattr(ledger, "record", failing)

    with pytest.raises(BudgetExceeded):
        client.chat.completions.create(**ASK)
