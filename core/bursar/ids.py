"""Identifiers that sort by the time they were made, so that a ledger ordered by them is ordered by time."""

from __future__ import annotations

import os
import time
from itertools import count
from typing import Final

from bursar.forking import at_fork

_TIME_DIGITS: Final = 12
_COUNTER_BITS: Final = 24
_NUMBER_BYTES: Final = (4 * _TIME_DIGITS + _COUNTER_BITS) // 8
_COUNTER_MASK: Final = 2**_COUNTER_BITS - 1


class _IdSource:
    """Makes ids for one process: a millisecond, a counter, and sixteen random digits that a fork renews."""

    def __init__(self) -> None:
        self.renew()

    def renew(self) -> None:
        self._random = os.urandom(8).hex()
        self._count = count(int.from_bytes(os.urandom(2), "big"))

    def new_id(self, at_s: float | None = None) -> str:
        """
        Return a new id of 34 hexadecimal digits, unique across processes and machines.

        Args:
            at_s: Seconds since the epoch that the id sorts by; now if left out.
        """
        at_ms = int((time.time() if at_s is None else at_s) * 1000)
        # next() on a count is one bytecode, so threads cannot be given the same number.
        number = at_ms << _COUNTER_BITS | next(self._count) & _COUNTER_MASK
        # A third quicker than a format.
        return number.to_bytes(_NUMBER_BYTES).hex() + self._random


_source: Final = _IdSource()
at_fork(after_in_child=_source.renew)
new_id: Final = _source.new_id


def id_at(at_s: float) -> str:
    """Return the lower bound of every id made at or after *at_s* seconds since the epoch."""
    return f"{max(int(at_s * 1000), 0):012x}"


def time_of(id_: str) -> float:
    """Return the second since the epoch that *id_* was made at, to the millisecond."""
    return int(id_[:_TIME_DIGITS], 16) / 1000
