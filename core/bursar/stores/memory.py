"""The store in memory: one process, gone with it."""

from __future__ import annotations

import threading
import time
from collections import defaultdict, deque
from itertools import islice
from typing import TYPE_CHECKING, Final, NamedTuple

from bursar.account import Amounts, Balance, Chain
from bursar.owner import is_of
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
from bursar.stores.forks import hold_through_forks
from bursar.stores.journal import Journal
from bursar.stores.rollup import Rollup, covers_call
from bursar.tuples import make
from bursar.waiting import Waiters

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from bursar.account import Account, AccountState, Counted, Limits
    from bursar.entry import Entry, RunRecord
    from bursar.reservation import Answer, Claim
    from bursar.store import By, RunTotals, Where
    from bursar.totals import Totals

_ENTRIES_KEPT: Final = 10_000
_UNFOLDED_MOST: Final = 256
_CHAINS_KEPT: Final = 1_024
_NOTHING: Final = Amounts()


class _Hold(NamedTuple):
    """A reservation that is not resolved."""

    chain: Chain
    grant: Grant
    claim: Claim
    is_dispatched: bool
    lease_end_s: float


_Held = tuple[Chain, Grant, "Claim", bool, float]
"""The same without its names, which cost more to give than all that a reserve does to an account."""


class MemoryStore:
    """
    Keeps accounts and the ledger in this process.

    The newest 10,000 entries are kept one by one, and told apart when they are repeated; of older ones only the
    sums remain, so that memory does not grow with the number of calls.

    Args:
        url: What the store is opened by.

        clock: Seconds since the epoch.
    """

    is_shared = False

    def __init__(self, *, url: str = "memory:", clock: Callable[[], float] = time.time) -> None:
        self.url = url
        self.now = clock
        self.waiters = Waiters()
        self.journal = Journal(None, self)
        # Reentrant, because a stream that is garbage-collected inside a verb settles in this very thread; every
        # step below leaves the sums right if another verb runs between any two of them.
        self._lock = threading.RLock()
        self._balances: dict[str, Balance] = {}
        self._holds: dict[str, _Held] = {}
        # A hold whose lease ran out is kept: a call that was slow, and not dead, settles late.
        self._expired: dict[str, _Hold] = {}
        self._chains: dict[int, tuple[tuple[Account, ...], Chain]] = {}
        self._entries: dict[str, Entry] = {}
        # Beside the dict, because the first key of a dict is found ever more slowly as first keys are deleted.
        self._entry_ids: deque[str] = deque()
        # What is not added up yet: many at a time take a third of what each would take by itself.
        self._unfolded: list[tuple[Entry, Amounts, Chain]] = []
        self._opened: deque[RunRecord] = deque()
        self._ended: deque[tuple[str, float]] = deque()
        self._rollup = Rollup()
        # By account, what was taken of every unit; the balances themselves count only what is limited.
        self._taken: defaultdict[str, list[int]] = defaultdict(lambda: [0, 0, 0, 0])
        hold_through_forks(self)

    def declare(self, accounts: tuple[Account, ...]) -> None:
        """Open *accounts*, or give them the limits and thresholds declared now."""
        balances: list[Balance] = []
        with self._lock:
            opened = self._balances
            for account in accounts:
                key = account[0]
                balance = opened.get(key)
                if balance is None:
                    balance = opened[key] = Balance(account)
                else:
                    self._declare_again(balance, account)
                balances.append(balance)
            # The next `reserve` asks for it.
            self._keep_chain(accounts, balances)
        if self.waiters.queues:
            self.waiters.wake(account.key for account in accounts)

    def forget(self, keys: Sequence[str]) -> None:
        """Free the accounts *keys*, but those from which something is held."""
        with self._lock:
            chains = [hold[0] for hold in (*self._holds.values(), *self._expired.values())]
            held = {key for chain in chains for key in chain.keys}
            for key in keys:
                if key not in held:
                    self._balances.pop(key, None)
                    self._taken.pop(key, None)

    def reserve(self, claim: Claim, resolving: Resolution | None = None) -> Answer:
        """Hold the claim's bound on its whole chain, or nothing; atomic with *resolving*."""
        id_, accounts, amounts, _, lease_s, _, is_dispatched, _, _, _ = claim
        with self._lock:
            if id_ in self._holds or id_ in self._entries or id_ in self._expired:
                hold = self._holds.get(id_)
                first = repeated_grant(claim, hold[1] if hold else None)
                if resolving is not None:
                    self.resolve(resolving)
                return first
            if resolving is not None:
                self.resolve(resolving)
            # Runs hand in the same tuple for every call of an agent: identity finds its chain without hashing names.
            known = self._chains.get(id(accounts))
            chain = known[1] if known is not None and known[0] is accounts else self._chain(accounts)
            # The ordinary case first, and alone: nearly every call fits, far from any threshold.
            if chain.hold_quickly(amounts):
                grant = make(Grant, (id_, amounts, None, ()))
            else:
                answer = self._decide(chain, claim)
                if not isinstance(answer, Grant):
                    return answer
                grant = answer._replace(notices=take_notices(chain))
            self._holds[id_] = (chain, grant, claim, is_dispatched, self.now() + lease_s)
        return grant

    def assess(self, claim: Claim) -> Answer:
        """Return what `reserve` would answer now."""
        with self._lock:
            chain = self._chain(claim.accounts)
            armed = [balance.is_armed for balance in chain.balances]
            answer = self._decide(chain, claim)
            if isinstance(answer, Grant):
                chain.force(answer.amounts, -1)
            for balance, is_armed in zip(chain.balances, armed, strict=True):
                balance.arm(is_armed=is_armed)
            return answer

    def dispatch(self, reservation_id: str) -> None:
        """Mark that the request is being sent."""
        with self._lock:
            hold = self._holds.get(reservation_id)
            if hold is None:
                raise undispatchable(reservation_id)
            self._holds[reservation_id] = (*hold[:3], True, hold[4])

    def extend(self, reservation_id: str, lease_s: float) -> None:
        """Let the hold live for *lease_s* more seconds from now."""
        with self._lock:
            if (hold := self._holds.get(reservation_id)) is not None:
                self._holds[reservation_id] = (*hold[:4], self.now() + lease_s)

    def resolve(self, resolution: Resolution) -> Entry:
        """Book what the reservation truly took and append its entry; a repeat answers the first."""
        entry, amounts = resolution
        id_ = entry[0]
        with self._lock:
            hold = self._holds.pop(id_, None)
            if hold is None:
                if (first := self._entries.get(id_)) is not None:
                    return repeated_entry(first, resolution)
                return self._resolve_late(resolution)
            chain, grant, _, _, _ = hold
            chain.resolve(grant[1], amounts)
            # As `_append` does, without the call.
            self._entries[id_] = entry
            unfolded = self._unfolded
            unfolded.append((entry, amounts, chain))
            if len(unfolded) >= _UNFOLDED_MOST:
                self._fold()
            if self.waiters.queues:
                self.waiters.wake(chain.keys)
        return entry

    def expire(self) -> int:
        """Presume spent, or release, every hold whose lease ran out."""
        with self._lock:
            return self._sweep()

    def record(self, entry: Entry, accounts: Sequence[Account] = ()) -> None:
        """Append an entry that resolves no reservation, and book its cost on *accounts*."""
        spent = Amounts(entry.cost_nanousd or 0, entry.usage.total_tokens)
        with self._lock:
            if (first := self._entries.get(entry.id)) is not None:
                repeated_entry(first, Resolution(entry, spent))
                return
            chain = Chain([self._open(account) for account in accounts])
            chain.resolve(_NOTHING, spent)
            self._append(entry, spent, chain)

    def state(self, key: str) -> AccountState | None:
        """Return one account as it is now."""
        with self._lock:
            balance = self._balances.get(key)
            return None if balance is None else balance.state()

    def set_limits(self, key: str, limits: Limits) -> None:
        """Change the limits of an open account."""
        with self._lock:
            if (balance := self._balances.get(key)) is not None:
                balance.set_limits(limits, lambda unit: self._counted(balance, unit))
                self._refresh_chains()
        self.waiters.wake((key,))

    def open_run(self, run: RunRecord) -> None:
        """Append a run to the ledger."""
        self._opened.append(run)
        if len(self._opened) >= _UNFOLDED_MOST:
            with self._lock:
                self._fold()

    def close_run(self, run_id: str, ended_s: float) -> None:
        """Note when a run ended."""
        self._ended.append((run_id, ended_s))
        if len(self._ended) >= _UNFOLDED_MOST:
            with self._lock:
                self._fold()

    def totals(self, by: By | None, where: Where) -> list[tuple[str, Totals]]:
        """Return the sums of the entries by name, dearest first."""
        with self._lock:
            self._fold()
            return self._rollup.totals(by, where)

    def runs(self, where: Where) -> list[RunTotals]:
        """Return the newest runs, oldest first."""
        with self._lock:
            self._fold()
            return self._rollup.runs(where)

    def entries(self, where: Where, *, most: int = _ENTRIES_KEPT) -> Iterable[Entry]:
        """Return the newest entries that are still kept one by one, oldest first."""
        with self._lock:
            kept = [entry for entry in self._entries.values() if covers_call(where, entry.id, entry.subject)]
        kept.sort(key=lambda entry: entry.id, reverse=True)
        return list(islice(kept, most))[::-1]

    def presumed_nanousd(self, where: Where) -> int:
        """Return what unresolved calls may have cost whose lease ran out."""
        with self._lock:
            return sum(
                hold.grant.amounts.nanousd
                for id_, hold in self._expired.items()
                if hold.is_dispatched and covers_call(where, id_, hold.claim.about)
            )

    def close(self) -> None:
        """Do nothing: what is in memory goes with the process."""

    def before_fork(self) -> None:
        """Wait until no thread is inside a verb, so that the child's copy is whole."""
        self._lock.acquire()

    def after_fork(self, *, in_child: bool) -> None:
        """Go on; a child goes on alone, with a copy of its own."""
        if in_child:
            self._lock = threading.RLock()
        else:
            self._lock.release()

    def _chain(self, accounts: tuple[Account, ...]) -> Chain:
        known = self._chains.get(id(accounts))
        if known is not None and known[0] is accounts:
            return known[1]
        return self._keep_chain(accounts, [self._open(account) for account in accounts])

    def _keep_chain(self, accounts: tuple[Account, ...], balances: list[Balance]) -> Chain:
        if len(self._chains) >= _CHAINS_KEPT:
            self._chains.clear()
        chain = Chain(balances)
        self._chains[id(accounts)] = (accounts, chain)
        return chain

    def _declare_again(self, balance: Balance, account: Account) -> None:
        units = balance.units
        balance.declare(account, lambda unit: self._counted(balance, unit))
        if balance.units != units:
            self._refresh_chains()

    def _refresh_chains(self) -> None:
        for _, chain in self._chains.values():
            chain.refresh()
        for chain, *_ in (*self._holds.values(), *self._expired.values()):
            chain.refresh()

    def _open(self, account: Account) -> Balance:
        balance = self._balances.get(account.key)
        if balance is None:
            balance = self._balances[account.key] = Balance(account)
        return balance

    def _counted(self, balance: Balance, unit: int) -> Counted:
        """Return what is committed, spent and presumed of a unit that was not limited until now."""
        self._fold()
        held = sum(
            grant.amounts[unit] for chain, grant, *_ in self._holds.values() if balance in chain.balances
        )
        orphans = [h for h in self._expired.values() if h.is_dispatched and balance in h.chain.balances]
        presumed = sum(hold.grant.amounts[unit] for hold in orphans)
        spent = self._taken[balance.key][unit]
        return spent + presumed + held, spent, presumed

    def _held_by(self, owner: str) -> dict[str, Amounts]:
        held: dict[str, Amounts] = {}
        for chain, grant, claim, *_ in tuple(self._holds.values()):
            if is_of(claim.owner, owner):
                for key in chain.keys:
                    held[key] = held.get(key, _NOTHING).plus(grant.amounts)
        return held

    def _decide(self, chain: Chain, claim: Claim) -> Answer:
        self._sweep()
        return decide(chain, claim, lambda: self._held_by(claim.owner))

    def _resolve_late(self, resolution: Resolution) -> Entry:
        hold = self._expired.pop(resolution.entry.id, None)
        if hold is None:
            raise unknown_reservation(resolution.entry.id)
        held = hold.grant.amounts if hold.is_dispatched else _NOTHING
        hold.chain.presume(held, -1)
        hold.chain.resolve(held, resolution.amounts)
        entry = resolution.entry._replace(is_late=True)
        self._append(entry, resolution.amounts, hold.chain)
        self.waiters.wake(hold.chain.keys)
        return entry

    def _append(self, entry: Entry, amounts: Amounts, chain: Chain) -> None:
        self._entries[entry.id] = entry
        self._unfolded.append((entry, amounts, chain))
        if len(self._unfolded) >= _UNFOLDED_MOST:
            self._fold()

    def _fold(self) -> None:
        unfolded, self._unfolded = self._unfolded, []
        # No more than there are now: others add to them meanwhile, without the lock.
        ended = [self._ended.popleft() for _ in range(len(self._ended))]
        opened = [self._opened.popleft() for _ in range(len(self._opened))]
        self._rollup.fold([entry for entry, _, _ in unfolded], opened, ended)
        self._entry_ids.extend(entry.id for entry, _, _ in unfolded)
        while len(self._entry_ids) > _ENTRIES_KEPT:
            del self._entries[self._entry_ids.popleft()]
        taken: defaultdict[Chain, list[Amounts]] = defaultdict(list)
        for _, amounts, chain in unfolded:
            taken[chain].append(amounts)
        for chain, rows in taken.items():
            sums = [sum(column) for column in zip(*rows, strict=True)]
            for key in self._balances.keys() & chain.keys:
                so_far = self._taken[key]
                so_far[:] = [a + b for a, b in zip(so_far, sums, strict=True)]

    def _sweep(self) -> int:
        now_s = self.now()
        over = [id_ for id_, hold in self._holds.items() if hold[4] <= now_s]
        for id_ in over:
            hold = self._expired[id_] = _Hold(*self._holds.pop(id_))
            if hold.is_dispatched:
                hold.chain.presume(hold.grant.amounts)
            else:
                hold.chain.resolve(hold.grant.amounts, _NOTHING)
            self.waiters.wake(hold.chain.keys)
        return len(over)
