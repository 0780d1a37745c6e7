"""A ledger that an older bursar wrote is brought to today's schema, with all that it holds."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

from tests.stores.store_parts import account, amounts_of, claim, granted, settling, spend

from bursar.ids import new_id
from bursar.store import Where
from bursar.stores.sqlite import SQLiteStore
from bursar.stores.sqlite.schema import APPLICATION_ID, MIGRATIONS

if TYPE_CHECKING:
    from pathlib import Path

_TABLES = ("accounts", "reservations", "entries", "runs", "hours")


def aged(path: Path) -> None:
    """Turn the ledger at *path* into what the first schema would have made of it."""
    new = sqlite3.connect(path)
    rows = {table: new.execute(f"SELECT * FROM {table}").fetchall() for table in _TABLES}  # noqa: S608
    columns = {table: [row[1] for row in new.execute(f"PRAGMA table_info({table})")] for table in _TABLES}
    new.close()
    for file in path.parent.glob(f"{path.name}*"):
        file.unlink()
    old = sqlite3.connect(path)
    old.executescript(MIGRATIONS[0])
    for table in _TABLES:
        marked = {"fingerprint": "0123456789abcdef01234567"} if table in {"reservations", "entries"} else {}
        names = [*columns[table], *marked]
        statement = f"INSERT INTO {table} ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})"  # noqa: S608
        old.executemany(statement, [(*row, *marked.values()) for row in rows[table]])
    old.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    old.execute("PRAGMA user_version = 1")
    old.commit()
    old.close()


def test_a_ledger_with_fingerprints_goes_on_without(tmp_path: Path) -> None:
    """What is folded, ended, held and counted is all there, and goes on; the fingerprints are gone."""
    path, chain = tmp_path / "ledger.db", (account(),)
    store = SQLiteStore(path)
    entries = [spend(store, chain, 40)]
    assert 1 == len(store.totals("agent", Where()))  # Which folds.
    entries.append(spend(store, chain, 60))
    held = claim(*chain, id_=new_id())
    granted(store.reserve(held))
    store.close()
    aged(path)

    store = SQLiteStore(path)

    assert (100, 0, 100) == amounts_of(store)
    assert entries == list(store.entries(Where()))
    entries.append(store.resolve(settling(held.id, 70)))
    assert [170] == [totals.cost_nanousd for _, totals in store.totals("agent", Where())]
    assert entries == list(store.entries(Where()))
    store.close()
    file = sqlite3.connect(path)
    assert (len(MIGRATIONS),) == file.execute("PRAGMA user_version").fetchone()
    tables = file.execute("SELECT sql FROM sqlite_master").fetchall()
    file.close()
    assert "fingerprint" not in str(tables)
    assert "at_first" not in str(tables)
