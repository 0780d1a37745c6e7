"""What a call did cost: from what the provider stated, else from its usage and a price."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from bursar.prices import find_price
from bursar.usage import Usage

if TYPE_CHECKING:
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


def bill(receipt: Receipt, *, provider: str, model: str) -> Bill:
    """
    Return what *receipt* comes to, or an unknown bill where it states no usage and no cost.

    Args:
        model: The model that was asked for; what served it is billed where it has a price of its own.
    """
    usage = receipt.usage or Usage()
    served = receipt.model or model
    if receipt.stated_nanousd is not None:
        return Bill(receipt.stated_nanousd, "stated", served, usage)
    price = price_of_served(provider, served, model)
    if receipt.usage is None or price is None:
        return Bill(None, "unknown", served, usage)
    if receipt.parts:
        return _bill_parts(receipt, provider, served, price)
    cost = price.cost_nanousd(usage, tier=receipt.tier)
    unpriced = price.unpriced(usage, tier=receipt.tier)
    if unpriced and not cost:
        # What was used has no rate here at all.
        return Bill(None, "unknown", served, usage)
    # A count without a rate costs nothing here, so the sum is only known from below.
    source: Source = "estimated" if unpriced or receipt.is_estimate else "priced"
    return Bill(cost, source, served, usage, describe(price))


def price_of_served(provider: str, served: str, asked: str) -> Price | None:
    """Return the price of the model that served, or else of the one that was asked for."""
    return find_price(provider, served) or (find_price(provider, asked) if asked != served else None)


def describe(price: Price) -> str:
    """Return the row and the version of the data, as the ledger keeps them."""
    return f"{price.row} ({price.data_version})"


def _bill_parts(receipt: Receipt, provider: str, served: str, price: Price) -> Bill:
    total = 0
    for part in receipt.parts:
        part_price = _part_price(part, provider, price)
        if part_price is None:
            return Bill(None, "unknown", served, receipt.usage or Usage())
        total += part_price.cost_nanousd(part.usage, tier=receipt.tier)
    return Bill(total, "priced", served, receipt.usage or Usage(), describe(price))


def _part_price(part: Part, provider: str, price: Price) -> Price | None:
    return price if part.model is None else find_price(provider, part.model)
