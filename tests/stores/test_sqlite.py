"""The store in one SQLite file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from store_contract import StoreContract
from store_parts import Clock

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
        yield _Turns(stores)
        for store in stores:
            store.close()


class _Turns:
    """Stands for a store, and has each verb done by the next of several; who waits, waits at the first."""

    def __init__(self, stores: list[SQLiteStore]) -> None:
        self._stores = stores
        self._turn = 0
        for store in stores:
            store.waiters = stores[0].waiters

    def __getattr__(self, name: str) -> object:
        self._turn += 1
        return getattr(self._stores[self._turn % len(self._stores)], name)
