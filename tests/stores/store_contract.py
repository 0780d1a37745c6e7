"""The facts that hold for every store; a store's tests inherit them all and may drop none."""

from __future__ import annotations

from typing import Any

import pytest
from store_facts_ending import EndingFacts
from store_facts_holding import HoldingFacts
from store_facts_ledger import LedgerFacts

from bursar.store import Store


class StoreContract(HoldingFacts, EndingFacts, LedgerFacts):
    """
    Inherit, and give a fixture `store`: an empty store that goes by the fixture `clock`.

    A fact that a store cannot keep is overridden with the reason, as an `xfail` whose reason is given.
    """

    def test_it_is_a_store(self, store: Store) -> None:
        """A store has every verb of the protocol."""
        assert isinstance(store, Store)

    def test_no_fact_is_dropped_in_silence(self) -> None:
        """A subclass overrides a fact only where it says why it does not hold."""
        facts = [name for name in dir(StoreContract) if name.startswith("test_")]
        own: dict[str, Any] = {name: getattr(type(self), name) for name in facts}
        changed = [name for name, test in own.items() if test is not getattr(StoreContract, name)]
        unexplained = [
            name for name in changed if not any(map(_is_explained, getattr(own[name], "pytestmark", [])))
        ]

        assert [] == unexplained


def _is_explained(mark: pytest.Mark) -> bool:
    return mark.name == "xfail" and bool(mark.kwargs.get("reason"))
