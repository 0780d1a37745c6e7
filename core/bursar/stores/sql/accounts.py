"""The accounts table: what happens to it inside the transactions of reserve and resolve."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from bursar.account import Amounts, Balance, Chain
from bursar.stores.sql.rows import ACCOUNT_COLUMNS, STATE_COLUMNS, account_of, balance_of, state_row

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bursar.account import Account, AccountState
    from bursar.stores.sql.database import Cursor, Database

_CHAINS_KEPT: Final = 1_024

_INSERT: Final = (
    f"INSERT INTO accounts (key, {', '.join(STATE_COLUMNS)}) "
    f"VALUES (?, {', '.join('?' * len(STATE_COLUMNS))})"
)
_SAVE: Final = f"UPDATE accounts SET {', '.join(f'{column} = ?' for column in STATE_COLUMNS)} WHERE id = ?"
_FIND_ID: Final = "SELECT id FROM accounts WHERE key = ?"
_FIND: Final = f"SELECT {ACCOUNT_COLUMNS} FROM accounts WHERE key = ?"


class Statements(NamedTuple):
    """
    The statements for a chain of one length, which the database prepares once.

    No parameter is numbered, though some are given twice: of `?1`, Python 3.12 warns.
    """

    hold_quickly: str
    force: str
    resolve: str
    presume: str
    load: str


class ChainRows(NamedTuple):
    """A chain as the database knows it: the rows of its accounts, in the chain's order."""

    accounts: tuple[Account, ...]
    ids: tuple[int, ...]
    text: str
    statements: Statements

    @property
    def keys(self) -> list[str]:
        """The accounts of the chain, from the agent outwards."""
        return [account.key for account in self.accounts]


class Accounts:
    """Accounts in rows; every method that changes one runs inside the caller's transaction."""

    def __init__(self) -> None:
        self._chains: dict[int, ChainRows] = {}
        self._statements: dict[int, Statements] = {}
        self._has_opened = False

    def rows(self, cursor: Cursor, accounts: tuple[Account, ...]) -> ChainRows:
        """Return the rows of *accounts*, opening those that are not there."""
        known = self._chains.get(id(accounts))
        if known is not None and known.accounts is accounts:
            return known
        ids = tuple(self._open(cursor, account) for account in accounts)
        rows = ChainRows(accounts, ids, ",".join(map(str, ids)), self.statements(len(ids)))
        if len(self._chains) >= _CHAINS_KEPT:
            self._chains.clear()
        self._chains[id(accounts)] = rows
        return rows

    def forget(self) -> None:
        """Forget which row is whose."""
        self._chains.clear()
        self._has_opened = False

    def forget_opened(self) -> None:
        """Forget which row is whose if any was opened: after a rollback it is not there."""
        if self._has_opened:
            self.forget()

    def declare(self, cursor: Cursor, account: Account) -> None:
        """Open *account*, or give it the limits and thresholds declared now."""
        id_ = self._open(cursor, account)
        row = cursor.execute(self.statements(1).load, (id_,)).fetchone()
        balance = balance_of(row)
        balance.declare(account, lambda unit: tuple(row[9 + 3 * unit : 12 + 3 * unit]))
        cursor.execute(_SAVE, (*state_row(balance), id_))

    def load(self, cursor: Cursor, ids: Sequence[int]) -> Chain:
        """Return the chain of the accounts in these rows."""
        rows = {row[0]: row for row in cursor.execute(self.statements(len(ids)).load, tuple(ids))}
        return Chain([balance_of(rows[id_]) for id_ in ids])

    def force(self, cursor: Cursor, rows: ChainRows, amounts: Amounts) -> None:
        """Hold *amounts* on the whole chain, whatever the limits."""
        cursor.execute(rows.statements.force, (*amounts, *rows.ids))

    def save(self, cursor: Cursor, ids: Sequence[int], chain: Chain) -> None:
        """Write back what is latched, armed and warned; amounts are changed by statements of their own."""
        for id_, balance in zip(ids, chain.balances, strict=True):
            cursor.execute(_SAVE, (*state_row(balance), id_))

    def resolve(self, cursor: Cursor, ids: Sequence[int], held: Amounts, actual: Amounts) -> None:
        """Replace the reservation *held* by the *actual* amounts; an overage that breaks a limit latches there."""
        if not ids:
            return
        h0, h1, h2, h3 = held
        a0, a1, a2, a3 = actual
        statement = (self._statements.get(len(ids)) or self.statements(len(ids))).resolve
        cursor.execute(statement, (a0 - h0, a1 - h1, a2 - h2, a3 - h3, a0, a1, a2, a3, *ids))
        if a0 > h0 or a1 > h1 or a2 > h2 or a3 > h3:
            chain = self.load(cursor, ids)
            if chain.latch_overages(held, actual):
                self.save(cursor, ids, chain)

    def presume(self, cursor: Cursor, ids: Sequence[int], held: Amounts, sign: int = 1) -> None:
        """Move the reservation *held* to what is presumed spent; -1 takes it back."""
        if ids:
            cursor.execute(self.statements(len(ids)).presume, (*(sign * amount for amount in held), *ids))

    def find(self, cursor: Cursor, key: str) -> Account | None:
        """Return what an open account declares."""
        row = cursor.execute(_FIND, (key,)).fetchone()
        return None if row is None else account_of(row)

    def state(self, database: Database, key: str) -> AccountState | None:
        """Return one account as it is now; a reading of its own, outside of any transaction."""
        rows = database.query(_FIND, (key,))
        return balance_of(rows[0]).state() if rows else None

    def keys(self, cursor: Cursor, ids: Sequence[int]) -> list[str]:
        """Return the keys of the accounts in these rows."""
        found: list[str] = []
        for id_ in ids:
            found.extend(key for (key,) in cursor.execute("SELECT key FROM accounts WHERE id = ?", (id_,)))
        return found

    def statements(self, length: int) -> Statements:
        """Return the statements for a chain of *length* accounts."""
        if length not in self._statements:
            self._statements[length] = _statements(length)
        return self._statements[length]

    def _open(self, cursor: Cursor, account: Account) -> int:
        found = cursor.execute(_FIND_ID, (account.key,)).fetchone()
        if found is None:
            self._has_opened = True
            cursor.execute(_INSERT, (account.key, *state_row(Balance(account))))
            found = cursor.execute(_FIND_ID, (account.key,)).fetchone()
        return int(found[0])


def _statements(length: int) -> Statements:
    # A list of nothing is no SQL, and a budget that limits nothing has no account.
    marks = ", ".join("?" * length) or "NULL"
    units = Amounts._fields
    add = ", ".join(f"committed_{unit} = committed_{unit} + ?" for unit in units)
    spend = ", ".join(f"spent_{unit} = spent_{unit} + ?" for unit in units)
    presume = ", ".join(f"presumed_{unit} = presumed_{unit} + ?" for unit in units)
    room = " AND ".join(f"committed_{unit} + ? <= quick_{unit}" for unit in units)
    return Statements(
        hold_quickly=f"UPDATE accounts SET {add} WHERE id IN ({marks}) AND {room}",
        force=f"UPDATE accounts SET {add} WHERE id IN ({marks})",
        resolve=f"UPDATE accounts SET {add}, {spend} WHERE id IN ({marks})",
        presume=f"UPDATE accounts SET {presume} WHERE id IN ({marks})",
        load=f"SELECT {ACCOUNT_COLUMNS} FROM accounts WHERE id IN ({marks})",
    )
