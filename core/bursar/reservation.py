"""
Reservations: the most a call may cost, held on every account of its chain, all or none.

The rules here are pure: each store loads the balances of a chain, asks `decide`, and applies the answer, all inside
its own atomic section, so that every store refuses for the same reason.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from bursar.account import REARM_PPM, Amounts
from bursar.errors import ReservationConflict
from bursar.money import PICO_PER_NANO, ceil_to_nano, format_usd

if TYPE_CHECKING:
    from collections.abc import Callable

    from bursar.account import Account, Balance, Chain
    from bursar.entry import Entry, Subject


LEASE_S: Final = 600.0
"""Seconds that a hold lives without a word of its call."""


class Shrink(NamedTuple):
    """
    How the bound of a call falls with its output limit.

    Attributes:
        fixed_picousd, fixed_tokens: What the call costs at most before its first output token.

        output_picousd, output_tokens: What one token of output limit adds; more than one token where the
            request asks for several choices.

        most, least: The wanted output limit, and the smallest that is worth sending.
    """

    fixed_picousd: int
    fixed_tokens: int
    output_picousd: int
    output_tokens: int
    most: int
    least: int

    def amounts(self, output_limit: int, base: Amounts) -> Amounts:
        """Return the bound under *output_limit*, with the calls and attempts of *base*."""
        nanousd = ceil_to_nano(self.fixed_picousd + output_limit * self.output_picousd)
        tokens = self.fixed_tokens + output_limit * self.output_tokens
        return Amounts(nanousd, tokens, base.calls, base.attempts)


class Claim(NamedTuple):
    """
    What a call asks of its chain.

    Attributes:
        id: Chosen by the caller; the same claim under the same id is answered as the first time.

        accounts: The chain, from the agent outwards; the first that does not fit is the reason.

        amounts: The whole bound.

        owner: Who waits and holds: one task or thread of one process.

        lease_s: Seconds until an unresolved hold is presumed spent, or released if it was never dispatched.

        shrink: Given, the bound may be lowered to what is affordable.

        is_dispatched: The request is sent as good as at once, so an orphan must be presumed spent.

        heeds_downgrade: Whether an account past its downgrade threshold answers `Armed`.

        is_forced: Hold it even past a limit; the caller chose to be warned instead of refused.

        about: Whose call it is, by which a report finds what it is presumed to have spent if its end is never told.
    """

    id: str
    accounts: tuple[Account, ...]
    amounts: Amounts
    owner: str = ""
    lease_s: float = LEASE_S
    shrink: Shrink | None = None
    is_dispatched: bool = False
    heeds_downgrade: bool = False
    is_forced: bool = False
    about: Subject | None = None


class Notice(NamedTuple):
    """
    An account passed a threshold for the first time in its window.

    *spent*, *committed* (spent and reserved) and *limit* are in the unit that stands at this place in `Amounts`.
    """

    account: str
    key: str
    threshold_ppm: int
    unit: int
    spent: int
    committed: int
    limit: int


class Grant(NamedTuple):
    """The hold was taken on the whole chain; *output_limit* is set where it was lowered to fit."""

    id: str
    amounts: Amounts
    output_limit: int | None = None
    notices: tuple[Notice, ...] = ()


class Refusal(NamedTuple):
    """
    Nothing was held.

    Attributes:
        reason: `"busy"` if it would fit but for what others hold reserved, else `"broke"`.

        unit: The place in `Amounts` that ran short.

        own_holds: Whether the asker itself holds a part of the account that did not fit.
    """

    reason: Literal["busy", "broke"]
    key: str
    account: str
    unit: int
    limit: int
    spent: int
    reserved: int
    asked: int
    own_holds: bool = False


class Armed(NamedTuple):
    """Nothing was held: *account* is past its downgrade threshold, so a cheaper model is to be tried first."""

    key: str
    account: str


Answer = Grant | Refusal | Armed


class Resolution(NamedTuple):
    """
    The end of a reservation: the ledger entry, and the amounts that it truly took.

    The *amounts* of a release are zero but for the calls and attempts that were sent.
    """

    entry: Entry
    amounts: Amounts


def decide(chain: Chain, claim: Claim, own_reserved: Callable[[], dict[str, Amounts]]) -> Answer:
    """
    Hold what the claim asks for on the whole chain, or say why nothing is held.

    Args:
        own_reserved: What the claim's owner holds itself, by account key; asked only where something does not fit.
    """
    if claim.heeds_downgrade and (armed := _armed(chain)) is not None:
        return Armed(armed.key, armed.name)
    if claim.is_forced:
        chain.force(claim.amounts)
        return Grant(claim.id, claim.amounts)
    if chain.hold(claim.amounts):
        return Grant(claim.id, claim.amounts)
    asked, shrink = claim.amounts, claim.shrink
    if shrink is not None:
        output_limit = _affordable(chain, shrink, asked)
        if output_limit >= shrink.least and chain.hold(amounts := shrink.amounts(output_limit, asked)):
            return Grant(claim.id, amounts, output_limit)
        asked = shrink.amounts(min(shrink.least, shrink.most), asked)
    own = own_reserved()
    # Where the shrink and the bound disagree, the smaller may fit and still not be worth sending: the bound is named.
    misfits = _misfits(chain, asked, own) or _misfits(chain, claim.amounts, own)
    return next((misfit for misfit in misfits if misfit.reason == "broke"), misfits[0])


def take_notices(chain: Chain) -> tuple[Notice, ...]:
    """Mark the thresholds that the chain has passed for the first time, and return them."""
    return tuple(notice for balance in chain.balances if balance.warn_at_ppm for notice in _notices(balance))


def _notices(balance: Balance) -> list[Notice]:
    fullest = balance.fullest()
    committed_ppm = fullest.committed_ppm
    passed = [t for t in balance.warn_at_ppm if balance.warned_ppm < t <= committed_ppm]
    if passed:
        balance.warn(passed[-1])
    spent, limit = fullest.spent + fullest.presumed, fullest.limit or 0
    return [
        Notice(balance.name, balance.key, t, fullest.unit, spent, fullest.committed, limit) for t in passed
    ]


def _armed(chain: Chain) -> Balance | None:
    first: Balance | None = None
    for balance in chain.balances:
        threshold = balance.downgrade_at_ppm
        if threshold is None:
            continue
        disarm_below = threshold - REARM_PPM if balance.is_armed else threshold
        balance.arm(is_armed=balance.fullest().committed_ppm >= disarm_below)
        if balance.is_armed and first is None:
            first = balance
    return first


def _affordable(chain: Chain, shrink: Shrink, base: Amounts) -> int:
    """Return the largest output limit up to *most* that every account can take; below zero if there is none."""
    most = shrink.most
    for kept in chain.units:
        headroom = kept.cap - kept.committed
        if kept.unit == 0 and shrink.output_picousd:
            most = min(most, (headroom * PICO_PER_NANO - shrink.fixed_picousd) // shrink.output_picousd)
        elif kept.unit == 1 and shrink.output_tokens:
            most = min(most, (headroom - shrink.fixed_tokens) // shrink.output_tokens)
        elif shrink.amounts(0, base)[kept.unit] > headroom:
            return -1
    return most


def _misfits(chain: Chain, asked: Amounts, own: dict[str, Amounts]) -> list[Refusal]:
    """Return every level and unit that *asked* does not fit, from the agent outwards."""
    misfits: list[Refusal] = []
    for balance in chain.balances:
        mine = own.get(balance.key)
        for kept in balance.units:
            unit = kept.unit
            if kept.committed + asked[unit] <= kept.cap:
                continue
            spent = kept.spent + kept.presumed
            own_unit = mine[unit] if mine else 0
            is_busy = spent + own_unit + asked[unit] <= kept.cap
            reserved, limit = kept.committed - spent, kept.limit or 0
            reason: Literal["busy", "broke"] = "busy" if is_busy else "broke"
            misfits.append(
                Refusal(
                    reason, balance.key, balance.name, unit, limit, spent, reserved, asked[unit], own_unit > 0
                )
            )
    return misfits


def repeated_grant(claim: Claim, first: Grant | None) -> Grant:
    """
    Return the first answer to a claim that is made again under the same id.

    Raises:
        ReservationConflict: It asked for other amounts then, or is resolved.
    """
    if first is None:
        msg = f'reservation "{claim.id}" is resolved, or its lease ran out; a new call needs a new id'
        raise ReservationConflict(msg)
    if claim.shrink is None and first.amounts != claim.amounts:
        msg = (
            f'reservation "{claim.id}" holds {first.amounts}, not {claim.amounts}; a new call needs a new id'
        )
        raise ReservationConflict(msg)
    return first


def repeated_entry(first: Entry, resolution: Resolution) -> Entry:
    """
    Return the first entry of a reservation that is resolved again.

    Raises:
        ReservationConflict: It was resolved with another cost or status then.
    """
    again = resolution.entry
    if (first.cost_nanousd, first.status, first.usage) != (again.cost_nanousd, again.status, again.usage):
        msg = (
            f'reservation "{first.id}" was resolved as {first.status} at {_cost(first)} and cannot be resolved again '
            f"as {again.status} at {_cost(again)}"
        )
        raise ReservationConflict(msg)
    return first


def unknown_reservation(reservation_id: str) -> ReservationConflict:
    """Return the error for a reservation that the store does not hold."""
    return ReservationConflict(
        f'reservation "{reservation_id}" is not known to this store: it was never made here, or resolved long ago'
    )


def undispatchable(reservation_id: str) -> ReservationConflict:
    """Return the error for a request that must not be sent: nothing is held for it any more."""
    return ReservationConflict(
        f'nothing is held under reservation "{reservation_id}": it is resolved, or its lease ran out before the '
        "request was sent; reserve anew"
    )


def _cost(entry: Entry) -> str:
    return "unknown cost" if entry.cost_nanousd is None else format_usd(entry.cost_nanousd)
