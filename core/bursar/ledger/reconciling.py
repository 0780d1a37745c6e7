"""The ledger against a provider's invoice: the same days and models, side by side."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Literal

from bursar.ids import time_of
from bursar.ledger.invoices import NO_MODEL
from bursar.ledger.repricing import is_billed
from bursar.prices import canonical_provider, find_price

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from bursar.entry import Entry
    from bursar.ledger.invoices import Invoice, Measure

Grain = Literal["day-model", "day", "model"]
"""What is compared: a model on a day, all models of a day, or a model over all days."""

State = Literal["equal", "within", "differs", "not in ledger", "not on invoice", "unknown cost"]
"""
How two figures compare: `within` the tolerance, or not; with nothing on one side; or with calls in the ledger whose
cost is not known, which are never taken to be equal.
"""


@dataclass(frozen=True, slots=True)
class Tolerance:
    """
    How far two figures may be apart: an amount, or a share of the invoice's.

    Attributes:
        amount: Nano-dollars, or tokens.

        share: A share of what the invoice says, 0 to 1.
    """

    amount: int = 0
    share: Decimal = Decimal(0)

    def covers(self, invoiced: int, booked: int) -> bool:
        """Whether *booked* is near enough to *invoiced*."""
        apart = abs(invoiced - booked)
        return apart <= self.amount or apart <= self.share * abs(invoiced)


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """
    One figure of the invoice beside the ledger's; nano-dollars, or tokens.

    Attributes:
        day: None where all days are compared together.

        model: None where all models are.

        invoiced, booked: None where that side has nothing.

        estimated: What of *booked* is estimated or a bound.

        unknown_calls: Calls in the ledger whose cost is not known.
    """

    day: date | None
    model: str | None
    measure: Measure
    invoiced: int | None
    booked: int | None
    estimated: int
    unknown_calls: int
    state: State

    @property
    def difference(self) -> int:
        """What the ledger has beyond the invoice."""
        return (self.booked or 0) - (self.invoiced or 0)

    @property
    def is_off(self) -> bool:
        """Whether the two differ by more than is tolerated."""
        return self.state not in {"equal", "within"}


@dataclass(slots=True)
class _Booked:
    cost_nanousd: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    estimated: dict[Measure, int] | None = None
    unknown_calls: int = 0

    def take(self, entry: Entry) -> None:
        usage = entry.usage
        self.cost_nanousd += entry.cost_nanousd or 0
        self.input_tokens += usage.input_tokens
        self.output_tokens += usage.output_tokens
        self.unknown_calls += entry.cost_nanousd is None
        if entry.source in {"estimated", "bound"}:
            marked = self.estimated or {"cost_nanousd": 0, "input_tokens": 0, "output_tokens": 0}
            marked["cost_nanousd"] += entry.cost_nanousd or 0
            marked["input_tokens"] += usage.input_tokens
            marked["output_tokens"] += usage.output_tokens
            self.estimated = marked

    def of(self, measure: Measure) -> int:
        amount: int = getattr(self, measure)
        return amount


_Key = tuple[date | None, str | None]


def reconcile(
    invoice: Invoice, entries: Iterable[Entry], *, provider: str, tolerance: Tolerance, grain: Grain
) -> list[Comparison]:
    """
    Return every figure of *invoice* beside the ledger's, the earliest day first.

    Entries of other providers, and of days that the invoice does not cover, are left out.  A call is on the day, in
    UTC, on which it was reserved: around midnight a provider may count it on the next.

    Args:
        provider: Whose invoice it is, as anyone calls it.
    """
    seller = canonical_provider(provider)
    names = _Names(seller)
    booked: defaultdict[_Key, _Booked] = defaultdict(_Booked)
    for entry in entries:
        if not is_billed(entry) or canonical_provider(entry.subject.provider) != seller:
            continue
        day = datetime.fromtimestamp(time_of(entry.id), UTC).date()
        if invoice.first <= day <= invoice.last:
            booked[_key(day, names.of(entry.model), grain)].take(entry)
    invoiced: defaultdict[_Key, dict[Measure, int]] = defaultdict(dict)
    for line in invoice.lines:
        amounts = invoiced[_key(line.day, names.of(line.model), grain)]
        for measure, amount in line.amounts.items():
            amounts[measure] = amounts.get(measure, 0) + amount
    keys = sorted(booked.keys() | invoiced.keys(), key=lambda key: (key[0] or date.min, key[1] or ""))
    return [
        comparison
        for key in keys
        for measure in invoice.layout.measures
        if (
            comparison := _compare(
                key, measure, invoiced.get(key, {}).get(measure), booked.get(key), tolerance
            )
        )
        is not None
    ]


def totals(comparisons: Iterable[Comparison], tolerance: Tolerance) -> Iterator[Comparison]:
    """Yield the sum of each measure over *comparisons*, as one figure of its own."""
    by_measure: defaultdict[Measure, list[Comparison]] = defaultdict(list)
    for one in comparisons:
        by_measure[one.measure].append(one)
    for measure, rows in by_measure.items():
        sums = sum(row.invoiced or 0 for row in rows), sum(row.booked or 0 for row in rows)
        unknown = sum(row.unknown_calls for row in rows)
        yield Comparison(
            day=None,
            model=None,
            measure=measure,
            invoiced=sums[0],
            booked=sums[1],
            estimated=sum(row.estimated for row in rows),
            unknown_calls=unknown,
            state=_state(*sums, tolerance, unknown if measure == "cost_nanousd" else 0),
        )


def _key(day: date, model: str, grain: Grain) -> _Key:
    return (None if grain == "model" else day), (None if grain == "day" else model)


def _compare(
    key: _Key, measure: Measure, invoiced: int | None, booked: _Booked | None, tolerance: Tolerance
) -> Comparison | None:
    amount = None if booked is None else booked.of(measure)
    if not invoiced and not amount and not (booked and booked.unknown_calls):
        # Nothing on either side, such as the output of an embedding.
        return None
    unknown = 0 if booked is None else booked.unknown_calls
    return Comparison(
        day=key[0],
        model=key[1],
        measure=measure,
        invoiced=invoiced,
        booked=amount,
        estimated=0 if booked is None or booked.estimated is None else booked.estimated[measure],
        unknown_calls=unknown,
        state=_state(invoiced, amount, tolerance, unknown if measure == "cost_nanousd" else 0),
    )


def _state(invoiced: int | None, booked: int | None, tolerance: Tolerance, unknown: int) -> State:
    if unknown:
        return "unknown cost"
    if (invoiced or 0) == (booked or 0):
        return "equal"
    if tolerance.covers(invoiced or 0, booked or 0):
        return "within"
    if booked is None:
        return "not in ledger"
    return "not on invoice" if invoiced is None else "differs"


class _Names:
    """
    The one name under which a model is compared: the price data's, else its own in lower case.

    A provider's console writes "Claude Haiku 4.5" for what its API calls `claude-haiku-4-5-20251001`.
    """

    def __init__(self, provider: str) -> None:
        self._provider = provider
        self._known: dict[str, str] = {NO_MODEL: NO_MODEL}

    def of(self, name: str) -> str:
        if name not in self._known:
            slug = "-".join(name.strip().lower().split())
            price = find_price(self._provider, slug)
            self._known[name] = slug if price is None else price.model.lower()
        return self._known[name]
