"""
The store protocol: accounts and a ledger, with reserve and resolve atomic over a whole chain.

A store is synchronous and safe to call from any thread.  Every verb that changes something either does all of it or
raises `StoreError` and does nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from bursar.account import Account, AccountState, Limits
    from bursar.entry import Entry, RunRecord
    from bursar.reservation import Answer, Claim, Resolution
    from bursar.stores.journal import Journal
    from bursar.totals import Totals
    from bursar.waiting import Waiters

By = Literal["agent", "workflow", "model", "run", "day"]
"""What a report groups by."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Where:
    """
    Which entries a report covers; everything that is given must hold.

    Attributes:
        run_ids: Only these runs; the runs nested in them are the caller's to add.

        agent: Only this agent's entries.

        since_s: Only what was reserved in or after the hour that holds this second since the epoch.
    """

    workflow: str | None = None
    agent: str | None = None
    run_ids: tuple[str, ...] | None = None
    since_s: float | None = None


class RunTotals(NamedTuple):
    """One run and what it came to, without the runs nested in it."""

    run: RunRecord
    totals: Totals


@runtime_checkable
class Store(Protocol):
    """
    Keeps accounts and ledger.

    Attributes:
        url: What the store was opened by, without a password.

        is_shared: Whether other processes may change the same accounts, so that a waiter must look again by itself.

        waiters: The callers of this process that wait for a hold to end.

        journal: What could not be booked while the store did not answer.
    """

    url: str
    is_shared: bool
    waiters: Waiters
    journal: Journal

    def now(self) -> float:
        """Return the store's own clock, in seconds since the epoch."""
        ...

    def declare(self, accounts: tuple[Account, ...]) -> None:
        """Open the *accounts* of a chain or, those that are open, give the limits and thresholds declared now."""
        ...

    def forget(self, keys: Sequence[str]) -> None:
        """
        Take it that nobody pays from the accounts *keys* any more: what is kept of them in memory may go.

        An account from which something is held stays.
        """
        ...

    def reserve(self, claim: Claim, resolving: Resolution | None = None) -> Answer:
        """
        Hold the most a call may cost on every account of the claim's chain, all or none.

        Accounts that are not open yet are opened as the claim declares them.  The same claim under the same id is
        answered as the first time.

        Args:
            resolving: An earlier reservation to resolve in the same atomic step, before the claim is looked at; it
                is resolved even if the claim is refused.

        Raises:
            ReservationConflict: The id holds other amounts, or is resolved.
            StoreError: The store did not answer; nothing was held.
        """
        ...

    def assess(self, claim: Claim) -> Answer:
        """Return what `reserve` would answer now, and hold nothing."""
        ...

    def dispatch(self, reservation_id: str) -> None:
        """Mark that the request is being sent: from now on an orphan is presumed spent, not released."""
        ...

    def extend(self, reservation_id: str, lease_s: float) -> None:
        """Let the hold live for *lease_s* more seconds from now; nothing happens if it is no longer held."""
        ...

    def resolve(self, resolution: Resolution) -> Entry:
        """
        End a reservation: book what it truly took on every account of its chain, and append the entry.

        A reservation that expired is booked late, in place of what was presumed.  A repeat answers the first entry
        and books nothing.

        Raises:
            ReservationConflict: It was resolved with another payload, or never made here.
            StoreError: The store did not answer; nothing was booked.
        """
        ...

    def expire(self) -> int:
        """Presume spent, or release, every hold whose lease ran out; return how many."""
        ...

    def record(self, entry: Entry, accounts: Sequence[Account] = ()) -> None:
        """Append an entry that resolves no reservation, and book its cost on *accounts*: a refusal, a tool's fee."""
        ...

    def state(self, key: str) -> AccountState | None:
        """Return one account as it is now, or None if it was never opened."""
        ...

    def set_limits(self, key: str, limits: Limits) -> None:
        """Change the limits of an open account; below what is committed it only refuses what comes next."""
        ...

    def open_run(self, run: RunRecord) -> None:
        """Append a run to the ledger; a second time changes nothing."""
        ...

    def close_run(self, run_id: str, ended_s: float) -> None:
        """Note when a run ended."""
        ...

    def totals(self, by: By | None, where: Where) -> list[tuple[str, Totals]]:
        """Return the sums of the entries by name, dearest first; by None, one row with an empty name."""
        ...

    def runs(self, where: Where) -> list[RunTotals]:
        """Return the runs, oldest first."""
        ...

    def entries(self, where: Where, *, most: int = 10_000) -> Iterable[Entry]:
        """Return the newest *most* entries, oldest first."""
        ...

    def presumed_nanousd(self, where: Where) -> int:
        """Return what unresolved calls may have cost whose lease ran out."""
        ...

    def close(self) -> None:
        """Close the store; what is held stays held until its lease runs out."""
        ...
