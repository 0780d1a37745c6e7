"""The store in one SQLite file."""

from __future__ import annotations

import gc
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from store_contract import StoreContract
from store_parts import Clock, Turns

from bursar.store import Store
from bursar.stores.sqlite import SQLiteStore


class TestSQLite(StoreContract):
    @pytest.fixture
    def store(self, tmp_path: Path, clock: Clock) -> Iterator[Store]:
        """An empty store; the contract expects emptiness."""
        store = SQLiteStore(tmp_path / "ledger.db", clock=clock)
        yield store
        store.close()


class TestSQLiteByTwo(TestSQLite):
    """Every fact holds as well where each verb is called on another of two stores on one file, as processes do."""

    @pytest.fixture
    def store(self, tmp_path: Path, clock: Clock) -> Iterator[Any]:
        """Two stores on one file that take turns."""
        stores = [SQLiteStore(tmp_path / "ledger.db", clock=clock) for _ in range(2)]
        yield Turns(stores)
        for store in stores:
            store.close()


def test_a_store_that_is_dropped_closes_its_file(tmp_path: Path) -> None:
    """Nobody need call `close()`: the file is closed with the store, at once and not when garbage is collected."""
    path = tmp_path / "ledger.db"
    gc.collect()
    gc.disable()
    try:
        store = SQLiteStore(path)
        assert path.with_name("ledger.db-wal").exists()
        del store
        assert not path.with_name("ledger.db-wal").exists()
    finally:
        gc.enable()


def test_a_program_that_ends_leaves_no_file_open(tmp_path: Path) -> None:
    """As Python itself sees it: since 3.13 it warns of a database that is left open, where warnings are asked for."""
    program = (
        "import bursar, bursar.stores\n"
        f"budget = bursar.Budget('$1', store='sqlite:///{tmp_path}/ledger.db')\n"
        "with budget.run('doc') as run:\n"
        "    run.record(cost='0.25', agent='writer', what='a search')\n"
    )
    ended = subprocess.run(
        [sys.executable, "-X", "dev", "-c", program], capture_output=True, text=True, check=False
    )
    assert (ended.returncode, ended.stderr) == (0, "")
