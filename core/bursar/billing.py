"""What a call did cost: from what the provider stated, else from its usage and a price."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from bursar.prices import find_price
from bursar.prices.units import CALL_MILLISECONDS
from bursar.usage import Usage

if TYPE_CHECKING:
    from datetime import datetime

    from bursar.entry import Source
    from bursar.prices import Price
    from bursar.wire import Part, Receipt


class Bill(NamedTuple):
    """
    What a call did cost.

    Attributes:
        nanousd: Nano-dollars; None where no price is known, which is never zero.

        source: How that is known.

        price: The row and the data version that it was computed from, for the ledger.
    """

    nanousd: int | None
    source: Source
    model: str
    usage: Usage
    price: str = ""


def bill(receipt: Receipt, *, provider: str, model: str, duration_ms: int = 0) -> Bill:
    """
    Return what *receipt* comes to, or an unknown bill where it states no usage and no cost.

    Args:
        duration_ms: How long the call took, which is what a model priced by the second is billed for.

        model: The model that was asked for; what served it is billed where it has a price of its own.
    """
    usage = receipt.usage or Usage()
    served = receipt.model or model
    if receipt.stated_nanousd is not None:
        return Bill(receipt.stated_nanousd, "stated", served, usage)
    price = price_of_served(provider, served, model)
    if price is not None and price.is_by_the_second:
        return bill_time(price, usage, duration_ms, model=served)
    if receipt.usage is None or price is None:
        return Bill(None, "unknown", served, usage)
    if receipt.parts:
        return _bill_parts(receipt, provider, served, price)
    cost = price.cost_nanousd(usage, tier=receipt.tier)
    # A count without a rate costs nothing here, so the sum is only known from below.
    source: Source = "estimated" if price.unpriced(usage, tier=receipt.tier) else "priced"
    return Bill(cost, source, served, usage, price.provenance(tier=receipt.tier))


def bill_time(price: Price, usage: Usage, duration_ms: int, *, model: str) -> Bill:
    """Return what a call of *duration_ms* comes to at a price by the second; its usage holds the time."""
    timed = replace(usage, other={**usage.other, CALL_MILLISECONDS: duration_ms})
    return Bill(price.cost_nanousd(timed), "priced", model, timed, price.provenance())


def price_of_served(provider: str, served: str, asked: str, *, at: datetime | None = None) -> Price | None:
    """
    Return the price of the model that served, or else of the one that was asked for.

    A price that was declared for the name that is asked for also holds for the names that it is served under, such as
    a dated snapshot's, unless those have a declared price of their own.
    """
    of_served = find_price(provider, served, at=at)
    if asked == served or (of_served is not None and of_served.is_override):
        return of_served
    of_asked = find_price(provider, asked, at=at)
    if of_asked is None or of_served is None or of_asked.is_override:
        return of_asked or of_served
    # A discount may be for either name: the bound had that of the one asked for.
    is_same_row = of_asked.row == of_served.row and of_asked.factor is not None
    return of_asked if is_same_row else of_served


def describe(price: Price) -> str:
    """Return the row and the version of the data, as the ledger keeps them."""
    return price.provenance()


def _bill_parts(receipt: Receipt, provider: str, served: str, price: Price) -> Bill:
    total = 0
    for part in receipt.parts:
        part_price = _part_price(part, provider, price)
        if part_price is None:
            return Bill(None, "unknown", served, receipt.usage or Usage())
        total += part_price.cost_nanousd(part.usage, tier=receipt.tier)
    provenance = price.provenance(tier=receipt.tier, in_parts=True)
    return Bill(total, "priced", served, receipt.usage or Usage(), provenance)


def _part_price(part: Part, provider: str, price: Price) -> Price | None:
    return price if part.model is None else find_price(provider, part.model)
