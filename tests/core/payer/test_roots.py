"""The runs that a framework opens by itself."""

from __future__ import annotations

import threading
from decimal import Decimal

import pytest

from bursar import Budget
from bursar.payer.roots import Roots, pays_from
from bursar.store import Where
from bursar.stores.memory import MemoryStore


@pytest.fixture
def store() -> MemoryStore:
    """An empty store."""
    return MemoryStore()


def test_each_root_is_a_run_of_its_own(store: MemoryStore) -> None:
    """Outside any run, every root run of a framework has a whole budget, under the framework's own id."""
    roots = Roots(Budget(1, store=store))
    first, second = roots.open("root-1", "flow"), roots.open("root-2", "flow")
    assert first is not None
    assert second is not None
    first.record(Decimal("0.4"), agent="a")

    assert ("root-1", "root-2") == (first.id, second.id)
    assert (Decimal("0.6"), Decimal(1)) == (first.remaining, second.remaining)
    assert ["flow", "flow"] == [each.run.workflow for each in store.runs(Where())]


def test_a_root_is_opened_once(store: MemoryStore) -> None:
    """Whoever asks for the same root gets the same run, also from another thread."""
    roots = Roots(Budget(1, store=store))
    found: list[object] = []
    threads = [threading.Thread(target=lambda: found.append(roots.open("root", "flow"))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert 1 == len({id(run) for run in found})
    assert 1 == len(store.runs(Where()))


def test_the_run_around_that_pays_already_is_used(store: MemoryStore) -> None:
    """Inside a run of the same budget, or of one within it, a root run is booked to that run."""
    org = Budget(10, per="day", name="org", store=store)
    budget = Budget(1, within=org)
    with budget.run("nightly") as run:
        assert run is Roots(budget).open("root-1", "flow")
        assert run is Roots(org).open("root-2", "flow")
        assert run is Roots().open("root-3", "flow")


def test_another_budget_opens_a_run_inside(store: MemoryStore) -> None:
    """Inside a run of another budget, a root run is paid from both."""
    with Budget(10, store=store).run("nightly") as outer:
        inner = Roots(Budget(1, store=store)).open("root", "flow")
        assert inner is not None
        inner.record(Decimal("0.25"), agent="a")

    assert outer is inner.parent
    assert (Decimal("0.25"), Decimal("0.25")) == (inner.spent, outer.spent)


def test_without_a_budget_and_a_run_there_is_nothing(store: MemoryStore) -> None:
    """A handler without a budget does nothing outside of a run."""
    assert Roots().open("root", "flow") is None


def test_made_in_a_run_counts_where_none_is_seen(store: MemoryStore) -> None:
    """What is made inside a run books to it from threads that do not see the run."""
    with Budget(1, store=store).run("nightly") as run:
        roots = Roots(made_in=run)
    found: list[object] = []
    thread = threading.Thread(target=lambda: found.append(roots.open("root", "flow")))
    thread.start()
    thread.join()

    assert [run] == found


def test_closing_forgets_and_ends_what_was_opened(store: MemoryStore) -> None:
    """A run that was opened ends with its root; the run around goes on."""
    budget = Budget(1, store=store)
    roots = Roots(budget)
    roots.open("root", "flow")
    roots.close("root")
    roots.close("root")
    with budget.run("nightly") as run:
        roots.open("inside", "flow")
        roots.close("inside")
        ended = {each.run.id: each.run.ended_s is not None for each in store.runs(Where())}

    assert 0 == len(roots)
    assert {"root": True, run.id: False} == ended


def test_roots_that_never_end_are_bounded(store: MemoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of runs whose end is never told the oldest is ended, so that memory stays flat."""
    monkeypatch.setattr("bursar.payer.roots._OPEN_MOST", 3)
    monkeypatch.setattr("bursar.payer.roots._CLOSED_AT_ONCE", 1)
    roots = Roots(Budget(1, store=store))
    for index in range(5):
        roots.open(f"root-{index}", "flow")

    assert 3 == len(roots)
    assert roots.find("root-0") is None
    assert 2 == sum(each.run.ended_s is not None for each in store.runs(Where()))


def test_pays_from_looks_outwards(store: MemoryStore) -> None:
    """A budget around a run's own is paid too; one beside it is not."""
    outer = Budget(5, name="outer", per="day", store=store)
    with Budget(1, within=outer).run("job") as run:
        assert pays_from(run, outer)
        assert not pays_from(run, Budget(1))


def test_always_one() -> None:
    """Where nothing pays, a framework's run is one of its own all the same, if that is asked for; else it is none."""
    assert Roots().open("r-1", "flow") is None
    roots = Roots(is_always_one=True)
    run = roots.open("r-1", "flow")

    assert run is not None
    assert (run.id, run.workflow) == ("r-1", "flow")
    assert roots.find("r-1") is run
    roots.close("r-1")
    assert len(roots) == 0
