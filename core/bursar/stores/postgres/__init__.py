"""The store in a PostgreSQL database, shared by the processes of many machines."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import psycopg

from bursar.errors import StoreError
from bursar.folders import data_path
from bursar.stores.postgres.address import Address
from bursar.stores.postgres.connection import Connection
from bursar.stores.postgres.failures import plain_words
from bursar.stores.sql import SQLStore

if TYPE_CHECKING:
    from collections.abc import Callable


class PostgresStore(SQLStore):
    """
    Keeps accounts and the ledger in tables of a PostgreSQL database, in a schema of their own.

    Writers take turns, all of them: each holds one lock of the database from its transaction's first statement to the
    commit, four messages in all.  What a process holds when it is killed, the server lets go.

    It keeps one connection for the threads of a process, and a child opens its own; a pooler in between must keep
    sessions.  Where the database does not answer, what calls have cost is kept aside in a file in the user's data
    folder, and booked when it does.

    Args:
        url: As libpq takes it: `postgresql://user@host:5432/database`; a password and options may be in it, or be left
            to the environment and to `~/.pgpass`. `?schema=NAME` says where the tables are, `bursar` if left out; the
            schema is made if it is not there.

        clock: Seconds since the epoch; the database's own clock if left out, so that all machines go by one.

        lock_timeout_s: Seconds to wait for a connection, and for the other writers.

    Raises:
        ValueError: *url* is malformed.
        StoreError: The database does not answer, or its tables are of a newer bursar.
    """

    def __init__(
        self, url: str, *, clock: Callable[[], float] | None = None, lock_timeout_s: float = 10.0
    ) -> None:
        address = Address.of(url)

        def opened(on_open: Callable[[], None], on_rollback: Callable[[], None]) -> Connection:
            return Connection(
                address, lock_timeout_s=lock_timeout_s, on_open=on_open, on_rollback=on_rollback
            )

        # The next process must find what this one has kept aside, and a file's name must not say how to get in.
        name = hashlib.sha256(f"{address.shown} {address.schema}".encode()).hexdigest()[:16]
        super().__init__(address.shown, data_path(f"postgres-{name}"), clock, opened)


def has_ledger(url: str) -> bool:
    """
    Whether there is a ledger at *url*; looks, and makes nothing.

    Raises:
        ValueError: *url* is malformed.
        StoreError: The database does not answer.
    """
    address = Address.of(url)
    try:
        with psycopg.connect(address.conninfo, connect_timeout=10) as connection:
            row = connection.execute(
                "SELECT to_regclass(%s)", (f"{address.schema}.bursar_schema",)
            ).fetchone()
    except psycopg.Error as error:
        raise StoreError(plain_words(error, f'the ledger in "{address.shown}"', 10)) from error
    return row is not None and row[0] is not None
