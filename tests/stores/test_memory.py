"""The store in memory."""

from __future__ import annotations

import pytest
from store_contract import StoreContract
from store_parts import Clock

from bursar.store import Store
from bursar.stores.memory import MemoryStore


class TestMemory(StoreContract):
    @pytest.fixture
    def store(self, clock: Clock) -> Store:
        """An empty store; the contract expects emptiness."""
        return MemoryStore(clock=clock)
