"""The store in a PostgreSQL database."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from store_contract import StoreContract
from store_parts import Clock, Turns

from bursar.store import Store
from bursar.stores.postgres import PostgresStore


class TestPostgres(StoreContract):
    @pytest.fixture
    def store(self, postgres: str, clock: Clock) -> Iterator[Store]:
        """An empty store; the contract expects emptiness."""
        store = PostgresStore(postgres, clock=clock)
        yield store
        store.close()


class TestPostgresByTwo(TestPostgres):
    """Every fact holds as well where each verb is called on another of two stores, as processes do."""

    @pytest.fixture
    def store(self, postgres: str, clock: Clock) -> Iterator[Any]:
        """Two stores in one schema that take turns."""
        stores = [PostgresStore(postgres, clock=clock) for _ in range(2)]
        yield Turns(stores)
        for store in stores:
            store.close()
