"""
The tables, as numbered migrations: a migration is never edited once released, only followed by another.

A call is one row of `reservations`: its hold, and from its end on its entry.  Now and then the ended ones are folded:
moved to `entries` and added to the roll-ups `hours` and `runs`, all in one transaction.  So a settle changes one row,
and a report over a million entries reads thousands.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from bursar.account import Amounts
from bursar.errors import StoreError
from bursar.totals import Totals

if TYPE_CHECKING:
    import sqlite3

_SUMS: Final = ",\n    ".join(f"{name} INTEGER NOT NULL DEFAULT 0" for name in Totals._fields)

_UNITS: Final = ",\n    ".join(
    f"{kind}_{unit} INTEGER NOT NULL DEFAULT 0"
    for kind in ("quick", "committed", "spent", "presumed")
    for unit in Amounts._fields
)

_HOLD: Final = """id TEXT PRIMARY KEY,
    state INTEGER NOT NULL,
    accounts TEXT NOT NULL,
    nanousd INTEGER NOT NULL,
    tokens INTEGER NOT NULL,
    calls INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    output_limit INTEGER,
    owner TEXT NOT NULL,
    lease_end_s REAL NOT NULL"""

_ENTRY: Final = """run_id TEXT{x},
    call_id TEXT{x},
    workflow TEXT{x},
    agent TEXT{x},
    agent_path TEXT{x},
    framework TEXT{x},
    provider TEXT{x},
    requested_model TEXT{x},
    operation TEXT{x},
    is_repeat INTEGER{x},
    status TEXT{x},
    source TEXT{x},
    attempt INTEGER{x},
    model TEXT{x},
    cost_nanousd INTEGER,
    bound_nanousd INTEGER{x},
    input_tokens INTEGER{x},
    cache_read_tokens INTEGER{x},
    cache_write_tokens INTEGER{x},
    cache_write_1h_tokens INTEGER{x},
    output_tokens INTEGER{x},
    reasoning_tokens INTEGER{x},
    other_usage TEXT{x},
    duration_ms INTEGER{x},
    overage_nanousd INTEGER{x},
    is_late INTEGER{x},
    reason TEXT{x},
    price TEXT{x},
    hour INTEGER{x}"""
_ENTRY_AT_FIRST: Final = _ENTRY.replace("is_repeat ", "fingerprint TEXT{x},\n    is_repeat ")


def _calls(entry: str) -> str:
    return f"""CREATE TABLE reservations (
    {_HOLD},
    {entry.format(x="")}
) WITHOUT ROWID;
CREATE TABLE entries (
    id TEXT PRIMARY KEY,
    {entry.format(x=" NOT NULL")}
) WITHOUT ROWID;
CREATE INDEX entries_by_run ON entries (run_id);"""


def _columns(*definitions: str) -> str:
    return ", ".join(line.split()[0] for definition in definitions for line in definition.split(",\n"))


_FIRST: Final = f"""
CREATE TABLE accounts (
    id INTEGER PRIMARY KEY,
    key TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    limits TEXT NOT NULL,
    warn_at_ppm TEXT NOT NULL,
    downgrade_at_ppm INTEGER,
    warned_ppm INTEGER NOT NULL DEFAULT 0,
    is_latched INTEGER NOT NULL DEFAULT 0,
    is_armed INTEGER NOT NULL DEFAULT 0,
    {_UNITS}
);
{_calls(_ENTRY_AT_FIRST)}
CREATE TABLE runs (
    id TEXT PRIMARY KEY,
    workflow TEXT NOT NULL,
    parent_id TEXT,
    started_s REAL NOT NULL,
    ended_s REAL,
    is_implied INTEGER NOT NULL DEFAULT 0,
    {_SUMS}
) WITHOUT ROWID;
CREATE TABLE hours (
    hour INTEGER NOT NULL,
    workflow TEXT NOT NULL,
    agent TEXT NOT NULL,
    model TEXT NOT NULL,
    {_SUMS},
    PRIMARY KEY (hour, workflow, agent, model)
) WITHOUT ROWID;
"""

# By copies: SQLite drops a column since 3.35 only, and systems whose Python is supported have older ones.
_WITHOUT_FINGERPRINTS: Final = f"""
ALTER TABLE reservations RENAME TO reservations_at_first;
ALTER TABLE entries RENAME TO entries_at_first;
DROP INDEX entries_by_run;
{_calls(_ENTRY)}
INSERT INTO reservations SELECT {_columns(_HOLD, _ENTRY)} FROM reservations_at_first;
INSERT INTO entries SELECT id, {_columns(_ENTRY)} FROM entries_at_first;
DROP TABLE reservations_at_first;
DROP TABLE entries_at_first;
"""

MIGRATIONS: Final = (_FIRST, _WITHOUT_FINGERPRINTS)
"""The statements at index n take a ledger from version n to version n + 1."""

APPLICATION_ID: Final = 0x62757273
"""Marks a SQLite file as a bursar ledger: "burs"."""


def check_ours(connection: sqlite3.Connection, path: str) -> None:
    """
    Look, and change nothing: a file of somebody else is left as it is.

    Raises:
        StoreError: The file belongs to another program, or was written by a newer bursar.
    """
    application_id = int(connection.execute("PRAGMA application_id").fetchone()[0])
    is_empty = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0
    if application_id != APPLICATION_ID and not is_empty:
        msg = f'"{path}" is a SQLite file of another program, not a bursar ledger; name another store'
        raise StoreError(msg)
    if (version := _version(connection)) > len(MIGRATIONS):
        msg = (
            f'the ledger "{path}" was written by a newer bursar (schema {version}, this one knows {len(MIGRATIONS)}); '
            "upgrade bursar, or name another store"
        )
        raise StoreError(msg)


def migrate(connection: sqlite3.Connection, path: str) -> None:
    """
    Bring the ledger at *path* to this version's schema, in one transaction for all of it.

    Raises:
        StoreError: Another process turned the file into something else in the meantime.
    """
    if _version(connection) == len(MIGRATIONS):
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        check_ours(connection, path)
        for statements in MIGRATIONS[_version(connection) :]:
            for statement in statements.split(";\n"):
                if statement.strip():
                    connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")
        connection.execute("COMMIT")
    except BaseException:  # Whatever it is, nothing half-made is left; raised again.
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])
