"""Many at once: threads, processes, kills."""

from __future__ import annotations

import itertools
import json
import random
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from store_parts import account, opened, settling
from store_worker import CHAIN, FIVE, TIGHT_NANOUSD, made_resolution, start

from bursar.account import Amounts, Limits
from bursar.errors import ReservationConflict
from bursar.ids import new_id
from bursar.reservation import Claim, Grant, Refusal
from bursar.store import Store, Where
from bursar.stores.memory import MemoryStore


def _place(kind: str, request: pytest.FixtureRequest) -> str:
    if kind == "postgres":
        return request.getfixturevalue("postgres")
    tmp_path: Path = request.getfixturevalue("tmp_path")
    return str(tmp_path / "ledger.db")


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def store(request: pytest.FixtureRequest) -> Iterator[Store]:
    """Each store of this process."""
    kind: str = request.param
    store = MemoryStore() if kind == "memory" else opened(_place(kind, request), lock_timeout_s=60)
    yield store
    store.close()


@pytest.fixture(params=["sqlite", "postgres"])
def ledger(request: pytest.FixtureRequest) -> str:
    """Each place that processes can share."""
    return _place(request.param, request)


def _at_once(number: int, does: Callable[[int], None]) -> None:
    barrier, failures = threading.Barrier(number), list[BaseException]()

    def go(which: int) -> None:
        barrier.wait()
        try:
            does(which)
        except BaseException as failure:  # Whatever it is, the test shall fail by it; raised again.
            failures.append(failure)
            raise

    threads = [threading.Thread(target=go, args=(which,)) for which in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [] == failures


def test_a_hundred_threads_get_five_calls(store: Store) -> None:
    """A budget of five calls gives five, whoever asks at the same moment."""
    answers: list[object] = []
    _at_once(100, lambda _: answers.append(store.reserve(Claim(new_id(), FIVE, Amounts(1, 1, 1, 1)))))

    assert 5 == sum(isinstance(answer, Grant) for answer in answers)
    assert 95 == sum(isinstance(answer, Refusal) for answer in answers)


def test_fifty_threads_never_pass_a_tight_limit(store: Store) -> None:
    """At no moment is more spent and reserved than the limit, and in the end less than one bound is left."""
    chain = (account("agent", 200_000), account("run", limits=Limits(20_000)))
    most: list[int] = []

    def spends(which: int) -> None:
        rng = random.Random(which)
        while True:
            bound = rng.randrange(1, 400)
            asked = Claim(new_id(), chain, Amounts(bound, 1, 1, 1), owner=str(which))
            answer = store.reserve(asked)
            state = store.state("key of run")
            assert state is not None
            most.append(state.spent.nanousd + state.reserved.nanousd)
            if isinstance(answer, Grant):
                store.resolve(settling(asked.id, rng.randrange(bound + 1)))
            elif state.spent.nanousd > 20_000 - 400:
                return

    _at_once(50, spends)
    state = store.state("key of run")

    assert state is not None
    assert max(most) <= 20_000
    assert (0, False) == (state.reserved.nanousd, state.is_latched)
    assert state.spent.nanousd == store.totals(None, Where())[0][1].cost_nanousd > 20_000 - 400


def test_one_reservation_is_settled_once_by_many(store: Store) -> None:
    """Of fifty that settle the same reservation at different costs, one is booked."""
    asked = Claim(new_id(), (account("run", 10_000),), Amounts(500, 1, 1, 1))
    store.reserve(asked)
    conflicts: list[int] = []

    def settles(which: int) -> None:
        try:
            store.resolve(settling(asked.id, which))
        except ReservationConflict:
            conflicts.append(which)

    _at_once(50, settles)
    state = store.state("key of run")

    assert 49 == len(conflicts)
    assert state is not None
    assert state.spent.nanousd == store.totals(None, Where())[0][1].cost_nanousd
    assert [1] == [row.calls for _, row in store.totals(None, Where())]


def test_each_threshold_is_told_once_to_many(store: Store) -> None:
    """Of many that pass a threshold together one is told."""
    chain = (account("run", 1_000, warn_at_ppm=(500_000, 900_000)),)
    told: list[int] = []

    def reserves(_: int) -> None:
        answer = store.reserve(Claim(new_id(), chain, Amounts(20, 1, 1, 1)))
        assert isinstance(answer, Grant)
        told.extend(notice.threshold_ppm for notice in answer.notices)

    _at_once(50, reserves)

    assert [500_000, 900_000] == sorted(told)


def test_eight_processes_get_five_calls(ledger: str) -> None:
    """Processes that share a ledger share its budget of five calls."""
    assert 5 == sum(map(int, _said_by_eight("five", ledger)))


def test_each_threshold_is_told_once_to_processes(ledger: str) -> None:
    """Of processes that share a ledger and pass a threshold together one is told."""
    told = [json.loads(out) for out in _said_by_eight("all", ledger)]

    assert [500_000, 900_000] == sorted(itertools.chain.from_iterable(told))


def _said_by_eight(what: str, ledger: str) -> list[str]:
    """Return what each of eight processes said that began *what* at the same time."""
    workers = [start(what, ledger) for _ in range(8)]
    for worker in workers:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "ready\n"
    said: list[str] = []
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.write("\n")
        worker.stdin.flush()
    for worker in workers:
        out, err = worker.communicate(timeout=60)
        assert "" == err
        said.append(out)
    return said


def test_nothing_settled_is_lost_or_doubled_by_kills(ledger: str, tmp_path: Path) -> None:
    """
    Killed at any moment, nothing that a process was told is settled is lost, and nothing counts twice.

    At every look the limit holds for what is spent, presumed and reserved; in the end every orphan is presumed spent
    if its request was sent, else released.
    """
    rng, kills = random.Random(7), 0
    workers = [start("spend", ledger, tmp_path / f"told-{n}", n) for n in range(2)]
    looks = opened(ledger, lock_timeout_s=30)
    deadline_s = time.monotonic() + 60
    while kills < 30 and time.monotonic() < deadline_s:
        time.sleep(rng.uniform(0.25, 0.5))
        which = rng.randrange(len(workers))
        workers[which].kill()
        workers[which].communicate()
        kills += 1
        for made in CHAIN:
            state = looks.state(made.key)
            if state is not None:
                assert state.spent.nanousd + state.presumed.nanousd + state.reserved.nanousd <= TIGHT_NANOUSD
        workers[which] = start("spend", ledger, tmp_path / f"told-{which}", f"{which}-{kills}")
    for worker in workers:
        worker.kill()
        _, err = worker.communicate()
        assert "" == err
    time.sleep(0.06)
    looks.expire()
    entries = list(looks.entries(Where(), most=1_000_000))
    costs = {found.id: found.cost_nanousd for found in entries}
    told = [json.loads(line) for file in tmp_path.glob("told-*") for line in file.read_text().splitlines()]

    assert kills == 30
    assert len(told) > 500
    assert len(costs) == len(entries)
    assert [] == [id_ for id_, cost in told if costs.get(id_) != cost]
    for made in CHAIN:
        state = looks.state(made.key)
        assert state is not None
        assert sum(cost or 0 for cost in costs.values()) == state.spent.nanousd
        assert 0 == state.reserved.nanousd
        assert looks.presumed_nanousd(Where()) == state.presumed.nanousd
    assert looks.totals(None, Where())[0][1].cost_nanousd == sum(cost or 0 for cost in costs.values())
    assert looks.resolve(made_resolution(told[0][0], told[0][1])).cost_nanousd == told[0][1]
    looks.close()
