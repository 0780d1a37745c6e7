"""
What is left to do for answers that were dropped.

A dropped answer ends in the garbage collector, which may run anywhere: also inside a store or a connection pool, with
its lock held.  So nothing is done there but to note it; a thread of its own does the rest a moment later, or whoever
asks for figures before that.
"""

from __future__ import annotations

import atexit
import threading
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Final

from bursar.forking import at_fork
from bursar.policy import logger

if TYPE_CHECKING:
    from collections.abc import Callable


class Dropped:
    """
    Things to do that must not be done where they came up.

    Attributes:
        may_be_any: Whether anything was noted yet; until then `do_all` finds nothing to do.

        is_started: Whether `start` was called; asked where a call of it would cost more than all the rest.
    """

    def __init__(self) -> None:
        self.may_be_any = self.is_started = False
        self._todo: SimpleQueue[Callable[[], object]] = SimpleQueue()
        self._lock = threading.RLock()
        self._thread: threading.Thread | None = None
        self._wake: SimpleQueue[None] = SimpleQueue()

    def later(self, action: Callable[[], object]) -> None:
        """Note *action*; safe inside `__del__`, which takes no lock here."""
        self.may_be_any = True
        self._todo.put(action)
        self._wake.put(None)

    def do_all(self) -> None:
        """Do what was noted, and wait for what another thread is doing of it."""
        if not self.may_be_any:
            return
        with self._lock:
            while True:
                try:
                    action = self._todo.get_nowait()
                except Empty:
                    return
                _do(action)

    def start(self) -> None:
        """Start the thread, once in each process; called where an answer begins to be read."""
        if self._thread is not None:
            return
        with self._lock:
            if self._thread is None:
                thread = threading.Thread(target=self._run, name="bursar-dropped", daemon=True)
                try:
                    thread.start()
                except RuntimeError:
                    # The program is at its end, or may have no more threads: what is dropped waits for the next call.
                    return
                self._thread = thread
                self.is_started = True

    def _run(self) -> None:
        while True:
            self._wake.get()
            self.do_all()

    def after_fork(self) -> None:
        """Forget what the parent has to do: it is still there to do it."""
        type(self).__init__(self)


def _do(action: Callable[[], object]) -> None:
    try:
        action()
    except Exception as error:  # noqa: BLE001 (there is no caller any more; the hold stays, and expires as spent)
        logger.error(
            "a dropped answer could not be settled (%s); what it holds counts as spent", type(error).__name__
        )


dropped: Final = Dropped()
atexit.register(dropped.do_all)
at_fork(after_in_child=dropped.after_fork)
