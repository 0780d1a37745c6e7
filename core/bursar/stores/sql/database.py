"""A database as the statements of this room need it: transactions one after the other, whoever asks."""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, Final, Protocol

from bursar.errors import StoreError
from bursar.stores.forks import hold_through_forks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from types import TracebackType

_FORK_WAIT_S: Final = 5.0


class Cursor(Protocol):
    """Runs statements inside of a transaction; a parameter's place is a `?`."""

    @property
    def rowcount(self) -> int:
        """How many rows the last statement changed."""
        ...

    def execute(self, statement: str, parameters: Sequence[Any] = (), /) -> Cursor:
        """Run one statement."""
        ...

    def fetchone(self) -> Any:  # noqa: ANN401 - a row has any columns
        """Return the next row, or None."""
        ...

    def fetchall(self) -> list[Any]:
        """Return the rows that are left."""
        ...

    def __iter__(self) -> Iterator[Any]:
        """Return the rows that are left, one by one."""
        ...


class Database(ABC):
    """
    One connection to a database: shared by the threads of a process, renewed by a fork.

    ```python
    with database as cursor:      # alone from here on, until it is committed, or rolled back if anything is raised
        cursor.execute(...)
    ```

    Threads take turns by a lock of ours, in the order the interpreter hands it out; processes by a lock of the
    database's.

    Attributes:
        errors: What the database's library raises.

        conflict: What it raises where a row has a key that another one has.

        listed: The rows of one column that hold the texts of a JSON array, which is the statement's one parameter.

    Args:
        shown: What the ledger is called in errors.

        on_rollback: Called after a transaction that failed: what it wrote is not there.
    """

    errors: ClassVar[type[Exception]]
    conflict: ClassVar[type[Exception]]
    listed: ClassVar[str]

    def __init__(self, shown: str, on_rollback: Callable[[], None]) -> None:
        self.shown = shown
        self._on_rollback = on_rollback
        # Reentrant only to tell a verb that is called in the middle of another by the garbage collector.
        self._lock = threading.RLock()
        self._is_inside = False
        self._is_held_for_fork = False
        hold_through_forks(self)

    def __enter__(self) -> Cursor:
        """
        Begin a transaction.

        Raises:
            StoreError: The database does not answer, or others keep it for too long.
        """
        self._lock.acquire()
        try:
            if self._is_inside:
                msg = f"{self.shown} is in the middle of another step of this thread; try again after it"
                raise StoreError(msg)
            cursor = self._begin()
            self._is_inside = True
        except BaseException:  # Whatever it is, the next one must not wait for ever; raised again.
            self._lock.release()
            raise
        return cursor

    def __exit__(
        self, kind: type[BaseException] | None, raised: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Commit, or roll back if anything was raised; an error of the database's becomes a `StoreError`."""
        try:
            if kind is None:
                try:
                    self._commit()
                except self.errors as error:
                    self._roll_back()
                    raise self._failed(error) from error
                return
            self._roll_back()
            if isinstance(raised, self.errors):
                raise self._failed(raised) from raised
        finally:
            self._is_inside = False
            self._lock.release()

    def now_s(self) -> float:
        """Return the seconds since the epoch by the clock that all go by who share it."""
        return time.time()

    @abstractmethod
    def query(self, statement: str, parameters: Sequence[Any] = ()) -> list[Any]:
        """Return all rows of one reading statement, as one consistent snapshot."""

    def close(self) -> None:
        """Close the connection; a later call opens it again."""
        with self._lock:
            self._drop()

    def __del__(self) -> None:
        # Since Python 3.13, SQLite's own connections complain when they are left to this; psycopg's always did.
        self._drop()

    def before_fork(self) -> None:
        """Wait until no thread is inside, so that a child inherits nothing half done."""
        self._is_held_for_fork = self._lock.acquire(timeout=_FORK_WAIT_S)
        if self._is_held_for_fork and not self._is_inside:
            self._part()

    def after_fork(self, *, in_child: bool) -> None:
        """Go on; a child opens a connection of its own."""
        if in_child:
            self._leave_to_parent()
            self._lock = threading.RLock()
            self._is_inside = False
        elif self._is_held_for_fork:
            self._lock.release()

    @abstractmethod
    def _begin(self) -> Cursor:
        """Begin a transaction that is alone; raises `StoreError`."""

    @abstractmethod
    def _commit(self) -> None:
        """Commit it; raises one of `errors`."""

    @abstractmethod
    def _roll_back(self) -> None:
        """Take it back, and call `on_rollback`; raises nothing."""

    @abstractmethod
    def _failed(self, error: Exception) -> StoreError:
        """Return *error* in plain words, and drop a connection that is of no more use."""

    @abstractmethod
    def _drop(self) -> None:
        """Close the connection, if it is open."""

    @abstractmethod
    def _part(self) -> None:
        """Get ready for a fork, with no transaction under way."""

    @abstractmethod
    def _leave_to_parent(self) -> None:
        """Forget, in a child, a connection that is the parent's, without closing it."""
