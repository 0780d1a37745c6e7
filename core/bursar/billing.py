"""What a call did cost: from what the provider stated, else from its usage and a price."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from bursar.prices import find_price, price_of_served
from bursar.prices.units import CALL_MILLISECONDS
from bursar.tuples import make
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


def bill(
    receipt: Receipt, *, provider: str, model: str, duration_ms: int = 0, at: datetime | None = None
) -> Bill:
    """
    Return what *receipt* comes to, or an unknown bill where it states no usage and no cost.

    Args:
        duration_ms: How long the call took, which is what a model priced by the second is billed for.

        model: The model that was asked for; what served it is billed where it has a price of its own.

        at: When; None is now.
    """
    stated_usage, parts, stated_model, tier, stated_nanousd, is_estimate, _, _ = receipt
    usage, served = stated_usage or Usage(), stated_model or model
    if stated_nanousd is not None:
        return Bill(stated_nanousd, "stated", served, usage)
    price = price_of_served(provider, served, model, at=at)
    if price is not None and price.is_by_the_second:
        return bill_time(price, usage, duration_ms, model=served)
    if parts:
        return _bill_parts(receipt, provider, served, price, at)
    if stated_usage is None or price is None:
        return Bill(None, "unknown", served, usage)
    plain = price.rates.plain_nanousd(usage) if tier is None and not usage.other else None
    if plain is not None and price.rates.prices_tokens and not is_estimate:
        # Nearly always.
        return make(Bill, (plain, "priced", served, usage, price.standard_provenance))
    return _bill_rare(price, usage, served, tier, is_estimate=is_estimate)


def _bill_rare(price: Price, usage: Usage, served: str, tier: str | None, *, is_estimate: bool) -> Bill:
    cost = price.cost_nanousd(usage, tier=tier)
    if not cost and price.unpriced(usage, tier=tier):
        # What was used has no rate here at all.
        return Bill(None, "unknown", served, usage)
    source = "estimated" if is_estimate else _source(price, usage, tier)
    return Bill(cost, source, served, usage, price.provenance(tier=tier))


def bill_time(price: Price, usage: Usage, duration_ms: int, *, model: str) -> Bill:
    """Return what a call of *duration_ms* comes to at a price by the second; its usage holds the time."""
    timed = usage._replace(other={**usage.other, CALL_MILLISECONDS: duration_ms})
    return Bill(price.cost_nanousd(timed), "priced", model, timed, price.provenance())


def _source(price: Price, usage: Usage, tier: str | None) -> Source:
    # A count without a rate costs nothing here, parts above their whole are billed on top of it, and a dearer tier
    # without rates costs the standard ones: what the provider makes of these is not known.
    is_certain = price.is_certain(tier) and not price.unpriced(usage, tier=tier) and usage.is_consistent
    return "priced" if is_certain else "estimated"


def _bill_parts(
    receipt: Receipt, provider: str, served: str, price: Price | None, at: datetime | None
) -> Bill:
    total = 0
    source: Source = "priced"
    rows: list[str] = []
    for part in receipt.parts:
        part_price = _part_price(part, provider, price, at)
        if part_price is None:
            return Bill(None, "unknown", served, receipt.usage or Usage())
        total += part_price.cost_nanousd(part.usage, tier=receipt.tier)
        if _source(part_price, part.usage, receipt.tier) != "priced":
            source = "estimated"
        rows.append(part_price.provenance(tier=receipt.tier, in_parts=True))
    # The row of the model that served, first; those of others after it.
    row = ", ".join(dict.fromkeys(rows))
    return Bill(total, source, served, receipt.usage or Usage(), row)


def _part_price(part: Part, provider: str, price: Price | None, at: datetime | None) -> Price | None:
    return price if part.model is None else find_price(provider, part.model, at=at)
