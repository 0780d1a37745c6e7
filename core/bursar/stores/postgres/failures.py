"""What PostgreSQL's errors mean for whoever runs the program, and what to do about them."""

from __future__ import annotations

from typing import Final

import psycopg
from psycopg import errors

_EXPLANATIONS: Final[tuple[tuple[type[psycopg.Error], str], ...]] = (
    (errors.LockNotAvailable, "has been locked by other writers for {timeout_s:g} s; end whoever holds it"),
    (
        errors.InsufficientPrivilege,
        "may not be written by this user; let it create a schema there, or make one for it",
    ),
    (errors.ReadOnlySqlTransaction, "takes no writes: it is a standby; name its primary"),
    (errors.DiskFull, "cannot grow: the server's disk is full; what was settled before is safe"),
    (errors.UndefinedTable, "has lost its tables; put them back, or name another store"),
    (psycopg.OperationalError, "does not answer; check that the server runs and can be reached from here"),
)


_TURNED_AWAY: Final = "FATAL: "


def plain_words(error: Exception, shown: str, timeout_s: float) -> str:
    """Return which database failed, what happened and what to do; not PostgreSQL's details, which hold values."""
    primary = error.diag.message_primary if isinstance(error, psycopg.Error) else None
    said = primary or str(error).partition("\n")[0]
    if isinstance(error, psycopg.OperationalError) and _TURNED_AWAY in said:
        # Of a connection that is not made the library keeps no code, only what the server said.
        return f"{shown} turns this connection away; look at the user, the password and the database ({said})"
    for kind, explanation in _EXPLANATIONS:
        if isinstance(error, kind):
            return f"{shown} {explanation.format(timeout_s=timeout_s)} ({said})"
    return f"{shown} failed ({said}); name another store, or report this"
