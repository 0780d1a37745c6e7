"""
Waiting for a busy account: first come, first served, for threads and tasks alike.

A caller waits in the queue of the account that was too full.  Only the head of a queue tries again, so that a large
call is not starved by small ones that slip past it.  A call that blocks its thread stands before the tasks of that
thread: none of them could go on, nor let it pass, before it does.
"""

from __future__ import annotations

import asyncio
import threading
import weakref
from collections import deque
from typing import TYPE_CHECKING, Final

from bursar.forking import at_fork
from bursar.owner import is_of

if TYPE_CHECKING:
    from collections.abc import Iterable


class Ticket:
    """A place in one queue; set when its holder is to look again."""

    __slots__ = ("_event", "_future", "key", "owner")

    def __init__(self, key: str, owner: str, future: asyncio.Future[None] | None = None) -> None:
        self.key = key
        self.owner = owner
        self._future = future
        self._event = threading.Event() if future is None else None

    @property
    def blocks(self) -> bool:
        """Whether the holder blocks its thread while it waits."""
        return self._event is not None

    @property
    def is_set(self) -> bool:
        """Whether the holder was woken and has not waited since."""
        return (
            self._event.is_set()
            if self._event is not None
            else self._future is not None and self._future.done()
        )

    def wake(self) -> None:
        """Tell the holder to look again; safe from any thread, and after the holder has gone."""
        if self._event is not None:
            self._event.set()
        elif self._future is not None and not (loop := self._future.get_loop()).is_closed():
            loop.call_soon_threadsafe(_finish, self._future)

    def wait(self, timeout_s: float) -> None:
        """Block this thread until woken, for at most *timeout_s* seconds."""
        if self._event is not None:
            self._event.wait(timeout_s)
            self._event.clear()

    async def await_(self, timeout_s: float) -> None:
        """Suspend this task until woken, for at most *timeout_s* seconds."""
        if self._future is None:
            return
        await asyncio.wait((self._future,), timeout=timeout_s)
        if self._future.done():
            self._future = self._future.get_loop().create_future()


class Waiters:
    """
    The callers of one process that wait for holds on a store to end.

    Attributes:
        queues: Who waits for which account; empty nearly always, which is all that may be read without the lock.

        holders: Whose each hold is: who holds something must not stand behind others, who may wait for just that. One
            key is set or taken at a time, which needs no lock.
    """

    def __init__(self) -> None:
        # Reentrant, because a stream that is garbage-collected in here settles, and wakes, in this very thread.
        self._lock = threading.RLock()
        self.queues: dict[str, deque[Ticket]] = {}
        self.holders: dict[str, str] = {}
        _made.add(self)

    def __bool__(self) -> bool:
        return bool(self.queues)

    def is_holding(self, owner: str) -> bool:
        """Whether *owner* holds anything."""
        return any(is_of(holder, owner) for holder in list(self.holders.values()))

    def contended(self, keys: Iterable[str]) -> str | None:
        """Return the first of *keys* that somebody waits for."""
        # Read without the lock: who comes in the same instant is neither before nor after.
        return next((key for key in keys if key in self.queues), None)

    def join(self, key: str, owner: str, *, in_loop: bool = False) -> Ticket:
        """Take the last place in the queue of the account *key*, or that before the tasks of a blocked thread."""
        ticket = Ticket(key, owner, asyncio.get_running_loop().create_future() if in_loop else None)
        with self._lock:
            queue = self.queues.setdefault(key, deque())
            places = (
                place for place, other in enumerate(queue) if ticket.blocks and is_of(other.owner, owner)
            )
            queue.insert(next(places, len(queue)), ticket)
        return ticket

    def is_head(self, ticket: Ticket) -> bool:
        """Whether it is this ticket's turn to look."""
        queue = self.queues.get(ticket.key)
        return queue is not None and bool(queue) and queue[0] is ticket

    def leave(self, ticket: Ticket) -> None:
        """Give the place up and let the next in the queue look."""
        with self._lock:
            queue = self.queues.get(ticket.key)
            if queue is None or ticket not in queue:
                return
            queue.remove(ticket)
            if not queue:
                del self.queues[ticket.key]
        self.wake((ticket.key,))

    def wake(self, keys: Iterable[str]) -> None:
        """Let the heads of the queues of *keys* look again; call it whenever room was made on them."""
        if not self.queues:
            return
        with self._lock:
            heads = [queue[0] for key in keys if (queue := self.queues.get(key))]
        for ticket in heads:
            ticket.wake()

    def after_fork(self) -> None:
        """Forget who waits and holds: the threads and loops that do stayed in the parent."""
        self._lock = threading.RLock()
        self.queues = {}
        self.holders = {}


def _finish(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


_made: Final[weakref.WeakSet[Waiters]] = weakref.WeakSet()


def _after_fork() -> None:
    for waiters in list(_made):
        waiters.after_fork()


at_fork(after_in_child=_after_fork)
