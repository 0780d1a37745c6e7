"""The reservations table: a call is one row here, from its hold to its entry."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from bursar.account import Amounts
from bursar.owner import is_of
from bursar.reservation import Grant
from bursar.stores.sql.rows import ENTRY_COLUMNS, entry_of, entry_row

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bursar.entry import Entry, Subject
    from bursar.stores.sql.database import Cursor

HELD: Final = 0
DISPATCHED: Final = 1
RELEASED: Final = 2
"""The lease ran out before the request was sent."""
PRESUMED: Final = 3
"""The lease ran out after the request was sent: it may have been billed."""
RESOLVED: Final = 4
"""The row holds an entry, and waits to be folded."""

_COLUMNS: Final = ", ".join(ENTRY_COLUMNS)
_MARKS: Final = ", ".join("?" * len(ENTRY_COLUMNS))
_HELD: Final = "accounts, nanousd, tokens, calls, attempts, state"

_HOLD_COLUMNS: Final = {
    "id": "TEXT",
    "state": "BIGINT",
    "accounts": "TEXT",
    **dict.fromkeys(("nanousd", "tokens", "calls", "attempts", "output_limit"), "BIGINT"),
    "owner": "TEXT",
    "lease_end_s": "DOUBLE PRECISION",
    **dict.fromkeys(("run_id", "workflow", "agent"), "TEXT"),
}

# The row of a reservation is gone from here once it is folded, and still no other may be made under its id, which
# stands once more at the end.  What is selected from nothing has no type but the one it is given.
INSERT: Final = (
    f"INSERT INTO reservations ({', '.join(_HOLD_COLUMNS)}) "
    f"SELECT {', '.join(f'CAST(? AS {kind})' for kind in _HOLD_COLUMNS.values())} "
    "WHERE NOT EXISTS (SELECT 1 FROM entries WHERE id = ?)"
)
_SETTLE_ANY: Final = (
    f"UPDATE reservations SET state = {RESOLVED}, {', '.join(f'{column} = ?' for column in ENTRY_COLUMNS)} "
    "WHERE id = ?"
)
SETTLE: Final = f"{_SETTLE_ANY} AND state <= {DISPATCHED}"
_APPEND: Final = (
    "INSERT INTO reservations (id, state, accounts, nanousd, tokens, calls, attempts, owner, lease_end_s, "
    f"{_COLUMNS}) VALUES (?, {RESOLVED}, '', 0, 0, 0, 0, '', 0, {_MARKS})"
)


class Held(NamedTuple):
    """A hold as it stands in its row."""

    ids: tuple[int, ...]
    amounts: Amounts
    state: int


def whose(about: Subject | None) -> tuple[str | None, str | None, str | None]:
    """Return the run, the workflow and the agent of a hold, as its row has them."""
    return (None, None, None) if about is None else (about.run_id, about.workflow, about.agent.name)


def append(cursor: Cursor, entry: Entry) -> None:
    """Append an entry that resolves no reservation."""
    cursor.execute(_APPEND, (entry.id, *entry_row(entry)))


def settle(cursor: Cursor, entry: Entry) -> None:
    """Turn the row of a hold, expired or not, into its entry."""
    cursor.execute(_SETTLE_ANY, (*entry_row(entry), entry.id))


def dispatch(cursor: Cursor, reservation_id: str) -> bool:
    """Mark a hold as being sent; whether there is one."""
    statement = f"UPDATE reservations SET state = {DISPATCHED} WHERE id = ? AND state <= {DISPATCHED}"
    return cursor.execute(statement, (reservation_id,)).rowcount == 1


def extend(cursor: Cursor, reservation_id: str, lease_end_s: float) -> None:
    """Move the end of a lease."""
    statement = f"UPDATE reservations SET lease_end_s = ? WHERE id = ? AND state <= {DISPATCHED}"
    cursor.execute(statement, (lease_end_s, reservation_id))


def find_held(cursor: Cursor, reservation_id: str) -> Held | None:
    """Return a reservation that is not resolved, expired or not."""
    statement = f"SELECT {_HELD} FROM reservations WHERE id = ? AND state < {RESOLVED}"
    row = cursor.execute(statement, (reservation_id,)).fetchone()
    return None if row is None else _held_of(row)


def find_grant(cursor: Cursor, reservation_id: str) -> Grant | None:
    """Return what a hold granted, or None if it is resolved or expired."""
    columns = "nanousd, tokens, calls, attempts, output_limit"
    statement = f"SELECT {columns} FROM reservations WHERE id = ? AND state <= {DISPATCHED}"
    row = cursor.execute(statement, (reservation_id,)).fetchone()
    return None if row is None else Grant(reservation_id, Amounts(*row[:4]), row[4])


def find_entry(cursor: Cursor, entry_id: str) -> Entry | None:
    """Return one entry, folded or not."""
    for source in (f"reservations WHERE state = {RESOLVED} AND", "entries WHERE"):
        row = cursor.execute(f"SELECT {_COLUMNS} FROM {source} id = ?", (entry_id,)).fetchone()
        if row is not None:
            return entry_of(entry_id, row)
    return None


def is_known(cursor: Cursor, reservation_id: str) -> bool:
    """Whether a reservation was ever made under this id."""
    statement = "SELECT 1 FROM reservations WHERE id = ? UNION ALL SELECT 1 FROM entries WHERE id = ?"
    return cursor.execute(statement, (reservation_id, reservation_id)).fetchone() is not None


def held_by(cursor: Cursor, owner: str) -> list[Held]:
    """Return what *owner* holds itself."""
    statement = f"SELECT {_HELD}, owner FROM reservations WHERE state <= {DISPATCHED}"
    return [_held_of(row) for row in cursor.execute(statement).fetchall() if is_of(row[-1], owner)]


def expire(cursor: Cursor, now_s: float) -> list[Held]:
    """Mark every hold whose lease ran out, and return them as they are now; they are kept, for a late settle."""
    over = f"lease_end_s <= ? AND state <= {DISPATCHED}"
    rows = cursor.execute(f"SELECT {_HELD} FROM reservations WHERE {over}", (now_s,)).fetchall()
    if not rows:
        return []
    ended = {HELD: RELEASED, DISPATCHED: PRESUMED}
    state = f"CASE state {' '.join(f'WHEN {was} THEN {is_} ' for was, is_ in ended.items())}END"
    cursor.execute(f"UPDATE reservations SET state = {state} WHERE {over}", (now_s,))
    return [held._replace(state=ended[held.state]) for held in map(_held_of, rows)]


def _held_of(row: Sequence[Any]) -> Held:
    ids = tuple(int(id_) for id_ in row[0].split(",")) if row[0] else ()
    return Held(ids, Amounts(*row[1:5]), row[5])
