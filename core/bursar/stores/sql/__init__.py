"""
The store in a database that speaks SQL, whichever it is: what every verb does, as one transaction.

Transactions are one after the other, as `Database` has it, and every statement here is written for that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from bursar.account import Amounts
from bursar.reservation import (
    Grant,
    Resolution,
    decide,
    repeated_entry,
    repeated_grant,
    take_notices,
    undispatchable,
    unknown_reservation,
)
from bursar.stores.journal import Journal
from bursar.stores.sql import ledger, reservations
from bursar.stores.sql.accounts import Accounts
from bursar.stores.sql.reservations import DISPATCHED, INSERT, PRESUMED, SETTLE
from bursar.stores.sql.rows import entry_row
from bursar.unwatched import unwatched
from bursar.waiting import Waiters

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from bursar.account import Account, AccountState, Limits
    from bursar.entry import Entry, RunRecord
    from bursar.reservation import Answer, Claim
    from bursar.store import By, RunTotals, Where
    from bursar.stores.sql.accounts import ChainRows
    from bursar.stores.sql.database import Cursor, Database
    from bursar.totals import Totals

_FOLD_EVERY: Final = 256
_HOLDS_KEPT: Final = 10_000
_NOTHING: Final = Amounts()


class SQLStore:
    """
    Keeps accounts and the ledger in tables.

    Every verb is one transaction, so a process killed at any moment loses no settled entry and doubles none.

    Attributes:
        path: Where costs are kept aside while the database does not answer, and under which name.

    Args:
        url: What the store was opened by, without a password.

        clock: Seconds since the epoch; the database's own if None.

        database: Opens it, and is given what to call whenever it is opened, for it may be another one than before, and
            after a transaction that failed.
    """

    is_shared = True

    @unwatched
    def __init__(
        self,
        url: str,
        path: Path,
        clock: Callable[[], float] | None,
        database: Callable[[Callable[[], None], Callable[[], None]], Database],
    ) -> None:
        self.url = url
        self.path = path
        self.waiters = Waiters()
        self.journal = Journal(path.with_name(f"{path.name}.unbooked"), self)
        self._accounts = Accounts()
        # What this process holds, so that its own settles need not read it back; the tables have it, whoever asks.
        self._held: dict[str, tuple[ChainRows, Amounts]] = {}
        self._unfolded = 0
        accounts, held = self._accounts, self._held

        def forget() -> None:
            # This refers to no store: one that is dropped is gone at once, and what it has open closed.
            accounts.forget()
            held.clear()

        self._database = database(forget, accounts.forget_opened)
        self.now = clock or self._database.now_s

    @unwatched
    def declare(self, accounts: tuple[Account, ...]) -> None:
        """Open *accounts*, or give them the limits and thresholds declared now."""
        with self._database as cursor:
            for account in accounts:
                self._accounts.declare(cursor, account)
        self.waiters.wake(account.key for account in accounts)

    def forget(self, keys: Sequence[str]) -> None:
        """Do nothing: accounts stay in their table, for whoever opens a run of that id again."""

    @unwatched
    def reserve(self, claim: Claim, resolving: Resolution | None = None) -> Answer:
        """Hold the claim's bound on its whole chain, or nothing; atomic with *resolving*."""
        try:
            answer, keys = self._reserve_with(claim, resolving, quickly=True)
        except _InTheWay:
            answer, keys = self._reserve_with(claim, resolving, quickly=False)
        if keys:
            self.waiters.wake(keys)
        return answer

    @unwatched
    def assess(self, claim: Claim) -> Answer:
        """Return what `reserve` would answer now."""
        with self._database as cursor:
            rows = self._accounts.rows(cursor, claim.accounts)
            freed = self._sweep(cursor)[0]
            answer = decide(
                self._accounts.load(cursor, rows.ids), claim, lambda: self._held_by(cursor, claim.owner)
            )
        self.waiters.wake(freed)
        return answer

    @unwatched
    def dispatch(self, reservation_id: str) -> None:
        """Mark that the request is being sent."""
        with self._database as cursor:
            if not reservations.dispatch(cursor, reservation_id):
                raise undispatchable(reservation_id)

    @unwatched
    def extend(self, reservation_id: str, lease_s: float) -> None:
        """Let the hold live for *lease_s* more seconds from now."""
        with self._database as cursor:
            reservations.extend(cursor, reservation_id, self.now() + lease_s)

    @unwatched
    def resolve(self, resolution: Resolution) -> Entry:
        """Book what the reservation truly took and append its entry; a repeat answers the first."""
        with self._database as cursor:
            entry, keys = self._resolve(cursor, resolution)
        if keys:
            self.waiters.wake(keys)
        return entry

    @unwatched
    def expire(self) -> int:
        """Presume spent, or release, every hold whose lease ran out."""
        with self._database as cursor:
            freed, count = self._sweep(cursor)
        self.waiters.wake(freed)
        return count

    @unwatched
    def record(self, entry: Entry, accounts: Sequence[Account] = ()) -> None:
        """Append an entry that resolves no reservation, and book its cost on *accounts*."""
        spent = Amounts(entry.cost_nanousd or 0, entry.usage.total_tokens)
        with self._database as cursor:
            if (first := reservations.find_entry(cursor, entry.id)) is not None:
                repeated_entry(first, Resolution(entry, spent))
                return
            rows = self._accounts.rows(cursor, tuple(accounts))
            self._accounts.resolve(cursor, rows.ids, _NOTHING, spent)
            reservations.append(cursor, entry)
            self._fold_if_due(cursor)

    @unwatched
    def state(self, key: str) -> AccountState | None:
        """Return one account as it is now."""
        return self._accounts.state(self._database, key)

    @unwatched
    def set_limits(self, key: str, limits: Limits) -> None:
        """Change the limits of an open account."""
        with self._database as cursor:
            account = self._accounts.find(cursor, key)
            if account is not None:
                self._accounts.declare(cursor, account._replace(limits=limits))
        self.waiters.wake((key,))

    @unwatched
    def open_run(self, run: RunRecord) -> None:
        """Append a run to the ledger."""
        with self._database as cursor:
            ledger.open_run(cursor, run)

    @unwatched
    def close_run(self, run_id: str, ended_s: float) -> None:
        """Note when a run ended."""
        with self._database as cursor:
            cursor.execute("UPDATE runs SET ended_s = ? WHERE id = ?", (ended_s, run_id))

    @unwatched
    def totals(self, by: By | None, where: Where) -> list[tuple[str, Totals]]:
        """Return the sums of the entries by name, dearest first."""
        ledger.fold_for_reading(self._database)
        return ledger.totals(self._database, by, where)

    @unwatched
    def runs(self, where: Where) -> list[RunTotals]:
        """Return the runs, oldest first."""
        ledger.fold_for_reading(self._database)
        return ledger.runs(self._database, where)

    @unwatched
    def entries(self, where: Where, *, most: int = 10_000) -> Iterable[Entry]:
        """Return the newest *most* entries, oldest first."""
        ledger.fold_for_reading(self._database)
        return ledger.entries(self._database, where, most)

    @unwatched
    def presumed_nanousd(self, where: Where) -> int:
        """Return what unresolved calls may have cost whose lease ran out."""
        return ledger.presumed_nanousd(self._database, where)

    @unwatched
    def close(self) -> None:
        """Close the database; a later call opens it again."""
        self._database.close()

    def _reserve_with(
        self, claim: Claim, resolving: Resolution | None, *, quickly: bool
    ) -> tuple[Answer, list[str]]:
        with self._database as cursor:
            keys = [] if resolving is None else self._resolve(cursor, resolving)[1]
            if quickly and (grant := self._reserve_quickly(cursor, claim)) is not None:
                return grant, keys
            answer, freed = self._reserve(cursor, claim)
        return answer, [*keys, *freed]

    def _reserve_quickly(self, cursor: Cursor, claim: Claim) -> Grant | None:
        """
        Hold where nothing is in the way, not even a threshold: two statements, and nothing is read.

        None where every account has something in the way, so that nothing is changed.

        Raises:
            _InTheWay: Something is, of which it is found only by a change that must be taken back.
        """
        id_, accounts, amounts, owner, lease_s, _, is_dispatched, _, _, about = claim
        rows = self._accounts.rows(cursor, accounts)
        fitting = cursor.execute(rows.statements.hold_quickly, (*amounts, *rows.ids, *amounts)).rowcount
        if fitting != len(rows.ids):
            if fitting == 0:
                return None
            raise _InTheWay
        ends = (None, owner, self.now() + lease_s, *reservations.whose(about))
        row = (id_, int(is_dispatched), rows.text, *amounts, *ends)
        try:
            is_new = cursor.execute(INSERT, (*row, id_)).rowcount == 1
        except self._database.conflict:
            is_new = False
        if not is_new:
            raise _InTheWay
        if len(self._held) >= _HOLDS_KEPT:
            self._held.clear()
        self._held[id_] = (rows, amounts)
        return Grant(id_, amounts)

    def _reserve(self, cursor: Cursor, claim: Claim) -> tuple[Answer, list[str]]:
        """Look at the whole state of the chain, which the quick way has no need for."""
        accounts = self._accounts
        if reservations.is_known(cursor, claim.id):
            return repeated_grant(claim, reservations.find_grant(cursor, claim.id)), []
        rows = accounts.rows(cursor, claim.accounts)
        freed = self._sweep(cursor)[0]
        chain = accounts.load(cursor, rows.ids)
        answer = decide(chain, claim, lambda: self._held_by(cursor, claim.owner))
        if isinstance(answer, Grant):
            accounts.force(cursor, rows, answer.amounts)
            answer = answer._replace(notices=take_notices(chain))
            lease_end_s, whose = self.now() + claim.lease_s, reservations.whose(claim.about)
            ends = (answer.output_limit, claim.owner, lease_end_s, *whose)
            row = (claim.id, int(claim.is_dispatched), rows.text, *answer.amounts, *ends)
            cursor.execute(INSERT, (*row, claim.id))
        accounts.save(cursor, rows.ids, chain)
        return answer, freed

    def _resolve(self, cursor: Cursor, resolution: Resolution) -> tuple[Entry, list[str]]:
        entry, actual = resolution
        id_ = entry[0]
        held = self._held.pop(id_, None)
        if held is None or cursor.execute(SETTLE, (*entry_row(entry), id_)).rowcount != 1:
            return self._resolve_slowly(cursor, resolution)
        rows, amounts = held
        self._accounts.resolve(cursor, rows.ids, amounts, actual)
        self._fold_if_due(cursor)
        return entry, rows.keys if self.waiters.queues else []

    def _resolve_slowly(self, cursor: Cursor, resolution: Resolution) -> tuple[Entry, list[str]]:
        """Resolve what another process reserved, or what is expired or resolved already."""
        entry, accounts = resolution.entry, self._accounts
        held = reservations.find_held(cursor, entry.id)
        if held is None:
            if (first := reservations.find_entry(cursor, entry.id)) is not None:
                return repeated_entry(first, resolution), []
            raise unknown_reservation(entry.id)
        amounts = held.amounts
        if held.state > DISPATCHED:
            entry = entry._replace(is_late=True)
            amounts = held.amounts if held.state == PRESUMED else _NOTHING
            accounts.presume(cursor, held.ids, amounts, -1)
        accounts.resolve(cursor, held.ids, amounts, resolution.amounts)
        reservations.settle(cursor, entry)
        self._fold_if_due(cursor)
        return entry, accounts.keys(cursor, held.ids)

    def _fold_if_due(self, cursor: Cursor) -> None:
        self._unfolded += 1
        if self._unfolded >= _FOLD_EVERY:
            ledger.fold(cursor)
            self._unfolded = 0

    def _held_by(self, cursor: Cursor, owner: str) -> dict[str, Amounts]:
        by_key: dict[str, Amounts] = {}
        for held in reservations.held_by(cursor, owner):
            for key in self._accounts.keys(cursor, held.ids):
                by_key[key] = by_key.get(key, _NOTHING).plus(held.amounts)
        return by_key

    def _sweep(self, cursor: Cursor) -> tuple[list[str], int]:
        over = reservations.expire(cursor, self.now())
        for held in over:
            if held.state == PRESUMED:
                self._accounts.presume(cursor, held.ids, held.amounts)
            else:
                self._accounts.resolve(cursor, held.ids, held.amounts, _NOTHING)
        ids = {id_ for held in over for id_ in held.ids}
        return self._accounts.keys(cursor, tuple(ids)), len(over)


class _InTheWay(Exception):
    """A limit, a threshold or an earlier reservation is in the way of the quick way."""
