"""
Auditing a ledger: what its entries would cost at other prices, and which of them nobody can price anew.

An entry is priced from the usage that it keeps.  Where that does not say what was billed (the cost was stated by the
provider, estimated, or is a bound), the entry is set aside with the reason and its booked cost, and never taken to be
equal.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time
from typing import TYPE_CHECKING, Final, Literal

from bursar.ids import time_of
from bursar.prices import price_of_served
from bursar.prices.units import CALL_MILLISECONDS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bursar.entry import Entry
    from bursar.prices import Price
    from bursar.usage import Usage

AuditBy = Literal["model", "day", "agent"]
"""What an audit sums up by."""

_TIER: Final = re.compile(r" \[(?P<tier>batch|flex|priority|fast)\]")
_PARTS: Final = " [parts]"
_NOT_FROM_USAGE: Final = {
    "stated": "stated, by the provider or by the program, and not computed",
    "estimated": "estimated from what was seen, not from reported usage",
    "bound": "booked at its bound: the usage is not known",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Repriced:
    """
    One entry at other prices.

    Attributes:
        nanousd: What it would cost, in nano-dollars, or None where it cannot be priced anew.

        price: What that was computed from, as the ledger keeps it.

        reason: Why it cannot be priced anew; empty where it is.
    """

    entry: Entry
    nanousd: int | None
    price: str = ""
    reason: str = ""


@dataclass(slots=True)
class Difference:
    """
    What entries were booked at, and what they come to; nano-dollars.

    Attributes:
        entries: How many were priced anew.

        booked_nanousd: What is in the ledger for them.

        repriced_nanousd: What they come to at the other prices.

        newly_priced: How many of them had no known price when they were booked, and are in *booked_nanousd* with
            nothing.
    """

    entries: int = 0
    booked_nanousd: int = 0
    repriced_nanousd: int = 0
    newly_priced: int = 0

    @property
    def nanousd(self) -> int:
        """What they come to beyond what was booked; negative if they come to less."""
        return self.repriced_nanousd - self.booked_nanousd

    def take(self, repriced: Repriced) -> None:
        """Add one entry that was priced anew."""
        self.entries += 1
        self.booked_nanousd += repriced.entry.cost_nanousd or 0
        self.repriced_nanousd += repriced.nanousd or 0
        self.newly_priced += repriced.entry.cost_nanousd is None


@dataclass(slots=True)
class SetAside:
    """Entries of one model that cannot be priced anew, for one reason; nano-dollars."""

    entries: int = 0
    booked_nanousd: int = 0
    unknown: int = 0


@dataclass(slots=True)
class Audit:
    """
    A ledger at other prices.

    Attributes:
        total: Of all that was priced anew.

        by: The same by model, day (UTC) and agent.

        set_aside: By reason and model, what was not.
    """

    total: Difference = field(default_factory=Difference)
    by: dict[AuditBy, defaultdict[str, Difference]] = field(
        default_factory=lambda: {by: defaultdict(Difference) for by in ("model", "day", "agent")}
    )
    set_aside: defaultdict[tuple[str, str], SetAside] = field(default_factory=lambda: defaultdict(SetAside))

    def rows(self, by: AuditBy) -> list[tuple[str, Difference]]:
        """Return the sums by name: days in their order, else the largest difference first."""
        found = self.by[by].items()
        if by == "day":
            return sorted(found)
        return sorted(found, key=lambda row: (-abs(row[1].nanousd), -row[1].booked_nanousd, row[0]))


def audit(entries: Iterable[Entry], *, as_of: date | None) -> Audit:
    """
    Price *entries* anew, at the prices that are in force in this process.

    Args:
        as_of: The day, in UTC, whose rows apply, at the hour of each call; None is the day of each call.
    """
    found = Audit()
    for entry in entries:
        if not is_billed(entry):
            continue
        repriced = reprice(entry, as_of=as_of)
        if repriced.nanousd is None:
            aside = found.set_aside[repriced.reason, entry.model]
            aside.entries += 1
            aside.booked_nanousd += entry.cost_nanousd or 0
            aside.unknown += entry.cost_nanousd is None
            continue
        day = f"{datetime.fromtimestamp(time_of(entry.id), UTC):%Y-%m-%d}"
        sums = (
            found.total,
            found.by["model"][entry.model],
            found.by["day"][day],
            found.by["agent"][entry.subject.agent.name],
        )
        for one in sums:
            one.take(repriced)
    return found


def is_billed(entry: Entry) -> bool:
    """Whether *entry* is of a request that was sent and may have cost something."""
    return entry.is_sent and entry.source != "none"


def reprice(entry: Entry, *, as_of: date | None) -> Repriced:
    """Return what *entry* costs by the rows of *as_of*, or of the day of its call; never raises for an entry."""
    if entry.source in _NOT_FROM_USAGE:
        return Repriced(entry=entry, nanousd=None, reason=_NOT_FROM_USAGE[entry.source])
    if _PARTS in entry.price:
        reason = "billed in parts, of which the ledger keeps the sum"
        return Repriced(entry=entry, nanousd=None, reason=reason)
    subject = entry.subject
    moment = datetime.fromtimestamp(time_of(entry.id), UTC)
    if as_of is not None:
        moment = datetime.combine(as_of, time(moment.hour, moment.minute, moment.second), UTC)
    price = price_of_served(subject.provider, entry.model, subject.model, at=moment)
    if price is None:
        reason = f'no price at provider "{subject.provider}" on {moment:%Y-%m-%d}'
        return Repriced(entry=entry, nanousd=None, reason=reason)
    usage = _usage_for(price, entry)
    match = _TIER.search(entry.price)
    tier = match["tier"] if match else None
    unpriced = price.unpriced(usage, tier=tier)
    if unpriced:
        return Repriced(entry=entry, nanousd=None, reason=f"no rate for {', '.join(unpriced)}")
    nanousd = price.cost_nanousd(usage, tier=tier)
    # A usage of nothing is one that was not reported, unless nothing is what it came to.
    if not usage.counts() and not price.is_free and nanousd != entry.cost_nanousd:
        return Repriced(entry=entry, nanousd=None, reason="the usage is not known")
    return Repriced(entry=entry, nanousd=nanousd, price=price.provenance(tier=tier))


def _usage_for(price: Price, entry: Entry) -> Usage:
    """Return the usage of *entry* with its time where *price* is by the second, and without it where it is not."""
    other = {name: count for name, count in entry.usage.other.items() if name != CALL_MILLISECONDS}
    if price.is_by_the_second:
        other[CALL_MILLISECONDS] = entry.usage.other.get(CALL_MILLISECONDS, entry.duration_ms)
    elif len(other) == len(entry.usage.other):
        return entry.usage
    return entry.usage._replace(other=other)
