"""What SQLite's errors mean for whoever runs the program, and what to do about them."""

from __future__ import annotations

import sqlite3
from typing import Final

_WRITE_ACCESS: Final = (
    "cannot be written; give this user write access to it and its folder, or name another store"
)

_EXPLANATIONS: Final = {
    sqlite3.SQLITE_BUSY: "has been locked by another process for {timeout_s:g} s; end that process, or name a store "
    "on a local disk",
    sqlite3.SQLITE_LOCKED: "has been locked by another process for {timeout_s:g} s; end that process, or name a store "
    "on a local disk",
    sqlite3.SQLITE_READONLY: _WRITE_ACCESS,
    sqlite3.SQLITE_PERM: _WRITE_ACCESS,
    sqlite3.SQLITE_AUTH: _WRITE_ACCESS,
    sqlite3.SQLITE_FULL: "cannot grow: the disk is full; free some space; what was settled before is safe",
    sqlite3.SQLITE_NOTADB: "is not a SQLite file, or its head is damaged; move it away, or name another store",
    sqlite3.SQLITE_CORRUPT: "is damaged; move it away and start a new one: `sqlite3 FILE .recover` may save its "
    "entries",
    sqlite3.SQLITE_CANTOPEN: "cannot be opened; check that its folder is there and writable, or name another store",
    sqlite3.SQLITE_IOERR: "cannot be read or written: the disk reports an error; check it and its quota, or name "
    "another store",
}


def is_locked(error: Exception) -> bool:
    """Return whether another process, or another connection of this one, is in the way; it may work later."""
    return _code(error) in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}


def plain_words(error: Exception, shown: str, timeout_s: float) -> str:
    """Return which file failed, what happened and what to do; SQLite's own words hold no value of a row."""
    explanation = _EXPLANATIONS.get(_code(error))
    if explanation is None:
        return f"{shown} failed ({error}); name another store, or report this"
    return f"{shown} {explanation.format(timeout_s=timeout_s)} ({error})"


def _code(error: Exception) -> int:
    # The low byte is the kind; the rest tells apart where it happened.  An error of the Python module has no code.
    return getattr(error, "sqlite_errorcode", 0) & 0xFF
