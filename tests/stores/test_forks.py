"""Forks: parent and child both go on, each with a store of its own to use."""

from __future__ import annotations

import os
import sys
import threading
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
from store_parts import account, amounts_of, claim, settling, spend

from bursar.store import Where
from bursar.stores.memory import MemoryStore
from bursar.stores.opening import open_store
from bursar.stores.sqlite import SQLiteStore

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there is no fork")
RUN = (account("run", None),)


def _fork(does: Callable[[], None]) -> int:
    """Do something in a child and leave it at once, without what the parent would do at its own exit."""
    with warnings.catch_warnings():
        # From Python 3.12 on a fork beside threads warns; that is the case under test.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child:
        return child
    code = 1
    try:
        does()
        code = 0
    finally:
        os._exit(code)


def _exit_code(child: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_parent_and_children_share_a_ledger(tmp_path: Path) -> None:
    """Children that are forked while threads spend find every account and add to it; nothing is damaged."""
    store = SQLiteStore(tmp_path / "ledger.db", lock_timeout_s=60)
    spend(store, RUN)
    stop, counts = threading.Event(), [0, 0]

    def spends(which: int) -> None:
        while not stop.is_set():
            spend(store, RUN)
            counts[which] += 1

    def child() -> None:
        for _ in range(50):
            spend(store, RUN)

    threads = [threading.Thread(target=spends, args=(which,)) for which in range(2)]
    for thread in threads:
        thread.start()
    children = [_fork(child) for _ in range(6)]
    codes = [_exit_code(pid) for pid in children]
    stop.set()
    for thread in threads:
        thread.join()
    spent = 60 * (1 + 6 * 50 + sum(counts))

    assert [0] * 6 == codes
    assert (spent, 0, 0) == amounts_of(store)
    assert spent == store.totals(None, Where())[0][1].cost_nanousd
    assert [("ok",)] == store._database.query("PRAGMA integrity_check")  # pyright: ignore[reportPrivateUsage]
    store.close()


def test_a_parent_that_closes_leaves_its_child_alone(tmp_path: Path) -> None:
    """The last connection of a process removes the log: not while a child is writing to it."""
    store = SQLiteStore(tmp_path / "ledger.db")
    asked = claim(*RUN)
    store.reserve(asked)
    ready, go = os.pipe(), os.pipe()

    def child() -> None:
        spend(store, RUN)
        os.write(ready[1], b"1")
        os.read(go[0], 1)
        for _ in range(20):
            spend(store, RUN)

    pid = _fork(child)
    os.read(ready[0], 1)
    store.resolve(settling(asked.id))
    store.close()
    os.write(go[1], b"1")

    assert 0 == _exit_code(pid)
    assert (60 * 22, 0, 0) == amounts_of(store)
    assert 22 == store.totals(None, Where())[0][1].calls
    store.close()


def test_a_child_has_a_copy_of_what_is_in_memory() -> None:
    """A fork waits for whoever is inside the store, and parent and child then count apart."""
    store = MemoryStore()
    spend(store, RUN)
    stop = threading.Event()

    def spends() -> None:
        while not stop.is_set():
            spend(store, RUN)

    def child() -> None:
        before = amounts_of(store)[0]
        spend(store, RUN)
        assert amounts_of(store)[0] == before + 60
        assert open_store("memory:") is open_store("memory:")

    threads = [threading.Thread(target=spends) for _ in range(2)]
    for thread in threads:
        thread.start()
    codes = [_exit_code(_fork(child)) for _ in range(10)]
    stop.set()
    for thread in threads:
        thread.join()

    assert [0] * 10 == codes
    assert amounts_of(store)[0] == store.totals(None, Where())[0][1].cost_nanousd
