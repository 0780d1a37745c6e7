"""Lets the tests of the stores share a contract, and what they are made of, with assertions that explain themselves."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

# Under pytest's importlib mode a folder of tests is not on the path by itself.
sys.path.insert(0, str(Path(__file__).parent))
pytest.register_assert_rewrite(
    "store_contract",
    "store_facts_ending",
    "store_facts_holding",
    "store_facts_ledger",
    "store_parts",
    "store_worker",
)

from store_parts import Clock  # noqa: E402 (found only from here on)


@pytest.fixture
def clock() -> Clock:
    """The time, as the store under test sees it."""
    return Clock()
