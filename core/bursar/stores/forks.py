"""What a fork asks of an open store: that no thread is inside it, and that the child shares nothing with its parent."""

from __future__ import annotations

import weakref
from typing import Final, Protocol

from bursar.forking import at_fork


class Forked(Protocol):
    """What is told of a fork."""

    def before_fork(self) -> None:
        """Take the lock, so that no thread is half way through anything."""
        ...

    def after_fork(self, *, in_child: bool) -> None:
        """Give the lock back or, in a child, make a new one: whoever waited for the old one is not there."""
        ...


_open: Final[weakref.WeakSet[Forked]] = weakref.WeakSet()
_told: Final[list[Forked]] = []


def hold_through_forks(store: Forked) -> None:
    """Tell *store* of every fork of this process, for as long as it lives."""
    _open.add(store)


def _before() -> None:
    _told[:] = list(_open)
    for store in _told:
        store.before_fork()


def _after(*, in_child: bool) -> None:
    for store in _told:
        store.after_fork(in_child=in_child)
    _told.clear()


at_fork(
    before=_before,
    after_in_parent=lambda: _after(in_child=False),
    after_in_child=lambda: _after(in_child=True),
)
