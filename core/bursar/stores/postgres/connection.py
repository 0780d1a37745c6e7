"""The connection to one PostgreSQL database, renewed when it breaks."""

from __future__ import annotations

import hashlib
import time
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, TypeVar

import psycopg
from psycopg.conninfo import conninfo_to_dict

from bursar.errors import StoreError
from bursar.stores.postgres.failures import plain_words
from bursar.stores.postgres.schema import migrate
from bursar.stores.sql.database import Database

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from bursar.stores.postgres.address import Address

    Row = tuple[Any, ...]
    T = TypeVar("T")

_IDLE_MOST_S: Final = 30
"""Seconds after which the server ends the transaction of a client that is silent in the middle of it."""
_ALIVE: Final = {
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,
}
"""A server that is gone without a word is noticed after so long."""

_left_by_parent: Final[list[psycopg.Connection[Any]]] = []


class Connection(Database):
    """
    Runs statements in one database, in transactions that hold one lock from their start.

    It is an advisory lock of the database's, which the server lets go when a client dies.  So no statement need guard
    against what another transaction does meanwhile.

    Args:
        address: Where the tables are.

        lock_timeout_s: Seconds to wait for a connection, and for other writers.

        on_open: Called whenever a connection is opened: the server may be another one than before.

        on_rollback: See `Database`.

    Raises:
        StoreError: The database does not answer, or its tables are of a newer bursar.
    """

    errors = psycopg.Error
    conflict = psycopg.errors.UniqueViolation
    listed = "SELECT json_array_elements_text(CAST(? AS json))"

    _open: psycopg.Connection[Row] | None = None

    def __init__(
        self,
        address: Address,
        *,
        lock_timeout_s: float,
        on_open: Callable[[], None],
        on_rollback: Callable[[], None],
    ) -> None:
        super().__init__(f'the ledger in "{address.shown}"', on_rollback)
        self._address = address
        self._lock_timeout_s = lock_timeout_s
        self._on_open = on_open
        digest = hashlib.sha256(f"bursar {address.schema}".encode()).digest()
        key = int.from_bytes(digest[:8], "big", signed=True)
        self._begin_alone = f"BEGIN; SELECT pg_advisory_xact_lock({key})".encode()
        self._ahead_s = 0.0
        with self._lock:
            self._opened()

    def now_s(self) -> float:
        """Return the seconds since the epoch by the server's clock, as it was when the connection was opened."""
        return time.time() + self._ahead_s

    def query(self, statement: str, parameters: Sequence[Any] = ()) -> list[Any]:
        """Return all rows of one reading statement, as one consistent snapshot."""
        with self._lock:
            return self._answering(
                lambda connection: _Cursor(connection.cursor()).execute(statement, parameters).fetchall()
            )

    def _begin(self) -> _Cursor:
        return _Cursor(self._answering(lambda connection: connection.cursor().execute(self._begin_alone)))

    def _commit(self) -> None:
        self._connected().execute("COMMIT")

    def _part(self) -> None:
        # A child that leaves the connection alone disturbs nothing.
        pass

    def _leave_to_parent(self) -> None:
        if self._open is not None:
            # Closed here, it would tell the server to end what is the parent's.
            _left_by_parent.append(self._open)
            self._open = None

    def _answering(self, ask: Callable[[psycopg.Connection[Row]], T]) -> T:
        """Return what comes of asking, by another connection if this one has broken since it was last used."""
        was_open = self._open is not None
        try:
            return ask(self._connected())
        except psycopg.Error as error:
            failed = self._failed(error)
            # Outside of a transaction it can be asked again: a server may close what was idle.
            if not was_open or self._open is not None:
                raise failed from error
        try:
            return ask(self._connected())
        except psycopg.Error as error:
            raise self._failed(error) from error

    def _connected(self) -> psycopg.Connection[Row]:
        return self._open or self._opened()

    def _opened(self) -> psycopg.Connection[Row]:
        try:
            options: dict[str, Any] = {"connect_timeout": max(round(self._lock_timeout_s), 2), **_ALIVE}
            given = conninfo_to_dict(self._address.conninfo)
            kept = {name: value for name, value in options.items() if name not in given}
            self._open = connection = psycopg.connect(
                self._address.conninfo, autocommit=True, application_name="bursar", **kept
            )
            for name, value in (
                ("search_path", self._address.schema),
                ("lock_timeout", f"{round(self._lock_timeout_s * 1000)}ms"),
                ("idle_in_transaction_session_timeout", f"{_IDLE_MOST_S}s"),
            ):
                connection.execute("SELECT set_config(%s, %s, false)", (name, value))
            connection.execute(self._begin_alone)
            migrate(connection, self._address.shown, self._address.schema)
            connection.execute("COMMIT")
            (server_s,) = connection.execute("SELECT extract(epoch FROM clock_timestamp())").fetchone() or (
                0,
            )
        except psycopg.Error as error:
            self._drop()
            raise StoreError(plain_words(error, self.shown, self._lock_timeout_s)) from error
        except BaseException:  # Whatever it is, no open connection is left; raised again.
            self._drop()
            raise
        self._ahead_s = float(server_s) - time.time()
        self._on_open()
        return connection

    def _roll_back(self) -> None:
        self._on_rollback()
        if (connection := self._open) is None:
            return
        try:
            connection.execute("ROLLBACK")
        except psycopg.Error:
            # The server rolls back what it has lost sight of; this connection is of no more use.
            self._drop()

    def _failed(self, error: Exception) -> StoreError:
        if self._open is not None and self._open.broken:
            self._drop()
        elif not self._is_inside:
            # A lock that was waited for in vain has left a transaction behind.
            self._roll_back()
        return StoreError(plain_words(error, self.shown, self._lock_timeout_s))

    def _drop(self) -> None:
        connection, self._open = self._open, None
        if connection is not None:
            connection.close()


class _Cursor:
    """A cursor of psycopg's that takes `?` for the place of a parameter."""

    def __init__(self, cursor: psycopg.Cursor[Row]) -> None:
        self._cursor = cursor

    @property
    def rowcount(self) -> int:
        """How many rows the last statement changed."""
        return self._cursor.rowcount

    def execute(self, statement: str, parameters: Sequence[Any] = (), /) -> _Cursor:
        """Run one statement."""
        self._cursor.execute(_placed(statement), [_storable(value) for value in parameters])
        return self

    def fetchone(self) -> Any:  # noqa: ANN401 - a row has any columns
        """Return the next row, or None."""
        return self._cursor.fetchone()

    def fetchall(self) -> list[Any]:
        """Return the rows that are left."""
        return self._cursor.fetchall()

    def __iter__(self) -> Iterator[Any]:
        """Return the rows that are left, one by one."""
        return iter(self._cursor)


@lru_cache(maxsize=1_024)
def _placed(statement: str) -> bytes:
    return statement.replace("%", "%%").replace("?", "%s").encode()


def _storable(value: object) -> object:
    # PostgreSQL's texts hold every character but this one.
    return value.replace("\0", "\\x00") if isinstance(value, str) and "\0" in value else value
