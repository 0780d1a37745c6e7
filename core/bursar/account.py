"""An account: one budget in one window, with its limit, what is spent, reserved and presumed spent."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

PPM: Final = 1_000_000
"""Thresholds are whole parts per million of a limit, so that no float takes part in a comparison."""

REARM_PPM: Final = 50_000
"""How far below its threshold an armed account must fall to disarm: five points, so that it does not flap."""

MOST: Final = 2**62
"""Stands for no limit in a cap, so that one comparison serves limited and unlimited accounts."""

UNITS: Final = ("usd", "tokens", "calls", "attempts")
"""What the four places of `Amounts` and `Limits` count."""

Counted = tuple[int, int, int]
"""What is committed, spent and presumed spent of one unit of one account."""
_NONE: Final[Counted] = (0, 0, 0)


class Amounts(NamedTuple):
    """
    An amount in each unit that a budget can limit.

    Attributes:
        nanousd: Nano-dollars.
        tokens: Input and output tokens together.
        calls: Calls, each counted once however often it was retried.
        attempts: Requests sent, retries included.
    """

    nanousd: int = 0
    tokens: int = 0
    calls: int = 0
    attempts: int = 0

    def plus(self, other: Amounts) -> Amounts:
        """Return the sum of both, unit by unit."""
        return Amounts(*(a + b for a, b in zip(self, other, strict=True)))


class Limits(NamedTuple):
    """The most of each unit that an account may give; None is no limit."""

    nanousd: int | None = None
    tokens: int | None = None
    calls: int | None = None
    attempts: int | None = None

    @property
    def units(self) -> tuple[int, ...]:
        """The places that an account with these limits keeps: money always, and whatever else is limited."""
        return (0, *(unit for unit in range(1, len(self)) if self[unit] is not None))


_NO_LIMITS: Final = (None, None, None)
"""The limits of an account that limits money alone, or nothing, behind the first."""


class Account(NamedTuple):
    """
    One budget in one window, as it is declared.

    Attributes:
        key: Names the account in the store; the same for everyone who shares it.

        name: The account in words, for errors and reports: `agent "writer" in run "triage"`.

        limits: The most of each unit.

        warn_at_ppm: Thresholds on spent + reserved that are told once each, ascending.

        downgrade_at_ppm: The threshold on spent + reserved from which calls are downgraded.
    """

    key: str
    name: str
    limits: Limits = Limits()
    warn_at_ppm: tuple[int, ...] = ()
    downgrade_at_ppm: int | None = None


class AccountState(NamedTuple):
    """
    An account as a store holds it at one moment; units that the account does not limit stay at zero.

    Attributes:
        presumed: What calls may have cost whose lease ran out unresolved.

        is_latched: An overage took the account past its limit; it gives nothing more until the limit is raised.
    """

    key: str
    name: str
    limits: Limits
    spent: Amounts
    presumed: Amounts
    reserved: Amounts
    is_latched: bool = False
    is_armed: bool = False


class UnitBalance:
    """
    One unit of one account inside a store's atomic section.

    *committed* is spent + presumed + reserved, so that a reserve reads and writes one number; *cap* is what it may
    not pass: the limit, `MOST` where there is none, and below zero while the account is latched.  Up to *quick_cap*
    a hold needs no second look: no limit, no threshold and no downgrade is in the way.
    """

    __slots__ = ("cap", "committed", "limit", "presumed", "quick_cap", "spent", "unit")

    def __init__(self, unit: int, limit: int | None, counted: Counted = _NONE) -> None:
        self.unit = unit
        self.limit = limit
        self.cap = self.quick_cap = MOST if limit is None else limit
        self.committed, self.spent, self.presumed = counted

    @property
    def is_over(self) -> bool:
        """Whether more is committed than the limit allows."""
        return self.limit is not None and self.committed > self.limit

    @property
    def committed_ppm(self) -> int:
        """The share of the limit that is spent or reserved, in parts per million; zero where there is no limit."""
        if self.limit is None:
            return 0
        return self.committed * PPM // self.limit if self.limit else PPM


class Balance:
    """
    The working state of one account inside a store's atomic section.

    Args:
        counted: What the store has counted of a unit; asked for each unit that is limited, now or from now on. None
            where the account is new.
    """

    __slots__ = (
        "downgrade_at_ppm",
        "is_armed",
        "is_latched",
        "key",
        "limits",
        "name",
        "units",
        "warn_at_ppm",
        "warned_ppm",
    )

    def __init__(self, account: Account, counted: Callable[[int], Counted] | None = None) -> None:
        self.key, self.name, limits, self.warn_at_ppm, self.downgrade_at_ppm = account
        self.limits = limits
        self.units: tuple[UnitBalance, ...]
        self.is_latched = False
        self.is_armed = False
        self.warned_ppm = 0
        if limits[1:] == _NO_LIMITS:
            # Nearly always.
            unit = UnitBalance(0, limits[0], _NONE if counted is None else counted(0))
            self.units = (unit,)
            unit.cap, unit.quick_cap = caps_of(unit.limit, self.warn_at_ppm, self.downgrade_at_ppm)
        else:
            known = _nothing if counted is None else counted
            self.units = tuple(UnitBalance(unit, limits[unit], known(unit)) for unit in limits.units)
            self.refresh()

    def declare(self, account: Account, counted: Callable[[int], Counted]) -> None:
        """Take the name, limits and thresholds that *account* declares."""
        self.name = account.name
        self.warn_at_ppm = account.warn_at_ppm
        self.downgrade_at_ppm = account.downgrade_at_ppm
        self.set_limits(account.limits, counted)

    def set_limits(self, limits: Limits, counted: Callable[[int], Counted]) -> None:
        """Take new *limits*; a raised one lifts the latch, a lowered one only refuses what comes next."""
        before = {kept.unit: kept for kept in self.units}
        is_raised = any(_is_raised(old, new) for old, new in zip(self.limits, limits, strict=True))
        self.limits = limits
        self.units = tuple(
            before.get(unit) or UnitBalance(unit, limits[unit], counted(unit)) for unit in limits.units
        )
        for kept in self.units:
            kept.limit = limits[kept.unit]
        if is_raised and not any(kept.is_over for kept in self.units):
            self.is_latched = False
        self.refresh()

    def refresh(self) -> None:
        """Work the caps out anew; due whenever a limit, a threshold, the latch or the arming changed."""
        ahead = tuple([threshold for threshold in self.warn_at_ppm if threshold > self.warned_ppm])
        for kept in self.units:
            cap, quick_cap = caps_of(kept.limit, ahead, self.downgrade_at_ppm)
            kept.cap = -1 if self.is_latched else cap
            kept.quick_cap = -1 if self.is_latched or self.is_armed else quick_cap

    def latch(self) -> None:
        """Close the account to every new reserve, until a limit is raised."""
        self.is_latched = True
        self.refresh()

    def arm(self, *, is_armed: bool) -> None:
        """Note whether calls are downgraded from now on."""
        if is_armed is not self.is_armed:
            self.is_armed = is_armed
            self.refresh()

    def warn(self, threshold_ppm: int) -> None:
        """Note that the thresholds up to this one are told."""
        self.warned_ppm = threshold_ppm
        self.refresh()

    def presume(self, held: Amounts, sign: int = 1) -> None:
        """Move the reservation *held* to what is presumed spent, where it goes on counting; -1 takes it back."""
        for kept in self.units:
            kept.presumed += sign * held[kept.unit]

    def fullest(self) -> UnitBalance:
        """Return the unit of which the largest share is spent or reserved."""
        return max(self.units, key=lambda kept: kept.committed_ppm)

    def state(self) -> AccountState:
        """Return the account as it is now."""
        spent, presumed, reserved = [0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]
        for kept in self.units:
            spent[kept.unit], presumed[kept.unit] = kept.spent, kept.presumed
            reserved[kept.unit] = kept.committed - kept.spent - kept.presumed
        return AccountState(
            key=self.key,
            name=self.name,
            limits=self.limits,
            spent=Amounts(*spent),
            presumed=Amounts(*presumed),
            reserved=Amounts(*reserved),
            is_latched=self.is_latched,
            is_armed=self.is_armed,
        )


class Chain:
    """The balances of one chain, with their units side by side so that one loop serves them all."""

    __slots__ = ("balances", "is_money_only", "units")

    def __init__(self, balances: Sequence[Balance]) -> None:
        self.balances = tuple(balances)
        if len(balances) == 1:
            self.units = balances[0].units
            self.is_money_only = len(self.units) == 1
        else:
            self.refresh()

    def refresh(self) -> None:
        """Look up the units anew; due whenever a limit was added to an account or taken from it."""
        units: list[UnitBalance] = []
        is_money_only = True
        for balance in self.balances:
            units += balance.units
            is_money_only = is_money_only and len(balance.units) == 1
        self.units = tuple(units)
        self.is_money_only = is_money_only

    @property
    def keys(self) -> list[str]:
        """The accounts of the chain, from the agent outwards."""
        return [balance.key for balance in self.balances]

    def hold_quickly(self, amounts: Amounts) -> bool:
        """Reserve *amounts* on every account where nothing is in the way, not even a threshold; else do nothing."""
        units = self.units
        if self.is_money_only:
            nanousd = amounts[0]
            for kept in units:
                committed = kept.committed + nanousd
                if committed > kept.quick_cap:
                    self._give_back(kept, amounts)
                    return False
                kept.committed = committed
            return True
        for kept in units:
            committed = kept.committed + amounts[kept.unit]
            if committed > kept.quick_cap:
                self._give_back(kept, amounts)
                return False
            kept.committed = committed
        return True

    def hold(self, amounts: Amounts) -> bool:
        """Reserve *amounts* on every account and return True, or change nothing and return False."""
        if any(kept.committed + amounts[kept.unit] > kept.cap for kept in self.units):
            return False
        self.force(amounts)
        return True

    def _give_back(self, misfit: UnitBalance, amounts: Amounts) -> None:
        for kept in self.units:
            if kept is misfit:
                return
            kept.committed -= amounts[kept.unit]

    def force(self, amounts: Amounts, sign: int = 1) -> None:
        """Reserve *amounts* on every account, whatever the limits; -1 takes it back."""
        for kept in self.units:
            kept.committed += sign * amounts[kept.unit]

    def resolve(self, held: Amounts, actual: Amounts) -> None:
        """Replace the reservation *held* by the *actual* amounts; an overage that breaks a limit latches there."""
        if self.is_money_only:
            took = actual[0]
            difference = took - held[0]
            for kept in self.units:
                kept.committed += difference
                kept.spent += took
            if difference > 0:
                self.latch_overages(held, actual)
            return
        for kept in self.units:
            unit = kept.unit
            took = actual[unit]
            kept.committed += took - held[unit]
            kept.spent += took
        if actual[0] > held[0] or actual[1] > held[1] or actual[2] > held[2] or actual[3] > held[3]:
            self.latch_overages(held, actual)

    def latch_overages(self, held: Amounts, actual: Amounts) -> bool:
        """Latch the accounts whose limit is broken in a unit of which more was taken than held; whether any is."""
        broken = [
            balance
            for balance in self.balances
            if any(kept.is_over and actual[kept.unit] > held[kept.unit] for kept in balance.units)
        ]
        for balance in broken:
            balance.latch()
        return bool(broken)

    def presume(self, held: Amounts, sign: int = 1) -> None:
        """Move the reservation *held* to what is presumed spent on every account; -1 takes it back."""
        for balance in self.balances:
            balance.presume(held, sign)


@lru_cache(maxsize=1024)
def caps_of(limit: int | None, warn_at_ppm: tuple[int, ...], downgrade_at_ppm: int | None) -> tuple[int, int]:
    """
    Return what an account with this limit may not pass, and up to where a hold needs no second look.

    Args:
        warn_at_ppm: The thresholds that are still ahead.
    """
    if limit is None:
        return MOST, MOST
    cap = min(limit, MOST)
    ahead = warn_at_ppm if downgrade_at_ppm is None else (*warn_at_ppm, downgrade_at_ppm)
    # The most that is still below the next threshold.
    return cap, min(cap, -(-min(ahead) * limit // PPM) - 1) if ahead else cap


def _nothing(unit: int) -> Counted:
    del unit
    return _NONE


def _is_raised(old: int | None, new: int | None) -> bool:
    return old is not None and (new is None or new > old)
