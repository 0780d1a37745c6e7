"""The connection to one SQLite file."""

from __future__ import annotations

import os
import random
import sqlite3
import time
from typing import TYPE_CHECKING, Any, Final

from bursar.errors import StoreError
from bursar.stores.sql.database import Database
from bursar.stores.sqlite.failures import is_locked, plain_words
from bursar.stores.sqlite.schema import check_ours, migrate

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

_OLDEST: Final = (3, 26)
"""The oldest SQLite that this was tested with: that of RHEL 8."""
_RETRY_FIRST_S: Final = 0.0002
_RETRY_MOST_S: Final = 0.005

_left_by_parent: Final[list[sqlite3.Cursor]] = []


class Connection(Database):
    """
    Runs statements on one SQLite file, in transactions that hold the write lock from their start.

    Processes take turns by SQLite's file lock, for which we retry ourselves with jitter: its own busy handler starves
    whoever sleeps longest.

    The file is closed when nobody refers to this any more.

    Args:
        path: The file; made with mode 0600 if it is not there.

        lock_timeout_s: Seconds that another process may keep the file locked.

        is_durable: Whether a power loss may lose no settled call (`synchronous=FULL`); a killed process never does.

        on_open: Called whenever the file is opened: it may be another one than before.

        on_rollback: See `Database`.

    Raises:
        StoreError: The file cannot be opened, is not a ledger, or is locked for longer than *lock_timeout_s*.
    """

    errors = sqlite3.Error
    conflict = sqlite3.IntegrityError
    listed = "SELECT value FROM json_each(?)"

    # One cursor for all transactions: a new one for each statement costs more than some statements.
    _cursor: sqlite3.Cursor | None = None

    def __init__(
        self,
        path: Path,
        *,
        lock_timeout_s: float,
        is_durable: bool,
        on_open: Callable[[], None],
        on_rollback: Callable[[], None],
    ) -> None:
        super().__init__(f'the ledger "{path}"', on_rollback)
        self.path = path
        self._lock_timeout_s = lock_timeout_s
        self._synchronous = "FULL" if is_durable else "NORMAL"
        self._on_open = on_open
        with self._lock:
            self._opened()

    def query(self, statement: str, parameters: Sequence[Any] = ()) -> list[Any]:
        """Return all rows of one reading statement, as one consistent snapshot."""
        with self._lock:
            try:
                return (self._cursor or self._opened()).connection.execute(statement, parameters).fetchall()
            except sqlite3.Error as error:
                raise self._failed(error) from error

    def _begin(self) -> sqlite3.Cursor:
        cursor = self._cursor or self._opened()
        try:
            cursor.execute("BEGIN IMMEDIATE")
        except sqlite3.Error as error:
            if not is_locked(error):
                raise self._failed(error) from error
            self._begin_when_free(cursor)
        return cursor

    def _commit(self) -> None:
        self._cursor.execute("COMMIT")  # type: ignore[union-attr]

    def _part(self) -> None:
        # SQLite counts its locks by process in memory that a fork copies: a child that opened the file beside an
        # inherited connection would believe to hold locks that only its parent holds.
        self._drop()

    def _leave_to_parent(self) -> None:
        if self._cursor is not None:
            # A thread that the fork did not wait for was inside.  Closing its connection here would drop locks.
            _left_by_parent.append(self._cursor)
            self._cursor = None

    def _begin_when_free(self, cursor: sqlite3.Cursor) -> None:
        deadline_s = time.monotonic() + self._lock_timeout_s
        pause_s = _RETRY_FIRST_S
        while True:
            time.sleep(pause_s * random.uniform(0.5, 1.5))  # noqa: S311 (jitter, not a secret)
            pause_s = min(pause_s * 1.5, _RETRY_MOST_S)
            try:
                cursor.execute("BEGIN IMMEDIATE")
            except sqlite3.Error as error:
                if not is_locked(error) or time.monotonic() >= deadline_s:
                    raise self._failed(error) from error
            else:
                return

    def _opened(self) -> sqlite3.Cursor:
        deadline_s = time.monotonic() + self._lock_timeout_s
        while True:
            try:
                self._cursor = self._open().cursor()
                self._on_open()
            except sqlite3.Error as error:
                # The switch to write-ahead mode asks no busy handler, so two first openers can meet here.
                if not is_locked(error) or time.monotonic() >= deadline_s:
                    raise self._failed(error) from error
                time.sleep(_RETRY_MOST_S)
            except OSError as error:
                reason = error.strerror or type(error).__name__
                msg = (
                    f'the ledger "{self.path}" cannot be opened ({reason}); make its folder writable, '
                    "or name another store"
                )
                raise StoreError(msg) from error
            else:
                return self._cursor

    def _open(self) -> sqlite3.Connection:
        if sqlite3.sqlite_version_info < _OLDEST:
            msg = (
                f'the ledger "{self.path}" needs SQLite 3.26 or newer, and this Python has {sqlite3.sqlite_version}; '
                'use a Python with a newer one, or keep the ledger in memory: store="memory:"'
            )
            raise StoreError(msg)
        _make_private(self.path)
        connection = sqlite3.connect(
            self.path, timeout=0, isolation_level=None, check_same_thread=False, cached_statements=256
        )
        try:
            # One snapshot, or a file that another process is just making looks like that of another program.
            connection.execute("BEGIN")
            check_ours(connection, str(self.path))
            connection.execute("COMMIT")
            # Small pages, because every transaction copies the pages it touches to the log; and a log that grows to
            # 20 MB before it is written back, so that the wait for that is rare.
            connection.execute("PRAGMA page_size = 2048")
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA wal_autocheckpoint = 10000")
            connection.execute("PRAGMA temp_store = MEMORY")
            connection.execute(f"PRAGMA synchronous = {self._synchronous}")
            migrate(connection, str(self.path))
        except BaseException:  # Whatever it is, no open file is left; raised again.
            connection.close()
            raise
        return connection

    def _roll_back(self) -> None:
        self._on_rollback()
        cursor = self._cursor
        # On a full disk SQLite has rolled back by itself.
        if cursor is not None and cursor.connection.in_transaction:
            try:
                cursor.execute("ROLLBACK")
            except sqlite3.Error:
                # What is not committed is not in the file, whoever opens it next; this connection is of no more use.
                self._drop()

    def _failed(self, error: Exception) -> StoreError:
        if not is_locked(error):
            # The cause may be removed by putting another file here: look at what is there, the next time.
            self._drop()
        return StoreError(plain_words(error, self.shown, self._lock_timeout_s))

    def _drop(self) -> None:
        cursor, self._cursor = self._cursor, None
        if cursor is not None:
            cursor.connection.close()


def _make_private(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    # SQLite gives its write-ahead log the mode of the main file, so the mode is set before SQLite sees it.
    if not path.exists():
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
