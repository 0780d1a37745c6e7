"""Prices as plain rows, for people."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from bursar.prices.catalogue import providers_with
from bursar.prices.ceilings import output_ceiling
from bursar.prices.lookup import find_price, find_timeline
from bursar.prices.overrides import STATE
from bursar.prices.timeline import Timeline
from bursar.prices.units import CALL_MILLISECONDS, UNITS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import date, datetime, time

    from bursar.prices.price import Price
    from bursar.prices.rates import Band, Rates

_SECONDS: Final = "call_seconds"


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceRow:
    """
    One line of a price table: the rates of a model at a provider, in one service tier and one band of input.

    Attributes:
        source: `"genai-prices"`, `"bursar"` for a row of our own, or `"override"`.

        factor: The discount in force, which the dollars below have in them; None without one.

        starts: The first day, in UTC, of these rates; None if they always held.

        hours: The hours of the day, in UTC; None for all of it.

        is_current: Whether these rates hold at the moment that was asked for.

        tier: `"standard"`, or the service tier.

        above_input_tokens: The rates apply to a call with more input than this; -1 in the first band.

        usd_per_million: Dollars for a million of each kind of token.

        usd_each: Dollars for one of anything else: a request, a web search, a second of audio or of the call.

        context_window, output_ceiling: In tokens; None where not known.
    """

    provider: str
    model: str
    row: str
    source: str
    data_version: str
    factor: Decimal | None
    starts: date | None
    hours: tuple[time, time] | None
    is_current: bool
    is_free: bool
    tier: str
    above_input_tokens: int
    usd_per_million: Mapping[str, Decimal]
    usd_each: Mapping[str, Decimal]
    context_window: int | None
    output_ceiling: int | None


def describe(
    model: str, provider: str | None = None, *, at: datetime | None = None, history: bool = False
) -> list[PriceRow]:
    """
    Return what is known of the price of *model*, one row for each service tier and band of input.

    Args:
        provider: Whose; None stands for everyone who sells a model of that name, its maker first.

        at: The instant at which a row must hold; None is now.

        history: Whether to return rows of the past and the future, too.

    Returns:
        Nothing, if the price is unknown.
    """
    rows: list[PriceRow] = []
    seen: set[tuple[str, str]] = set()
    for seller in [provider] if provider else _sellers(model):
        current = find_price(seller, model, at=at)
        found = find_timeline(seller, model)
        prices = found.all() if isinstance(found, Timeline) else [found]
        for one in prices:
            if one is None or (one.provider, one.row) in seen or not (history or one == current):
                continue
            seen.add((one.provider, one.row))
            ceiling = output_ceiling(seller or one.provider, model)
            rows += _rows(one, is_current=one == current, ceiling=ceiling)
    return rows


def _sellers(model: str) -> list[str | None]:
    """Return whom a model of this name may be bought from: anyone, who lists it, whom a price was declared for."""
    name = model.strip().lower()
    declared = [by for by, of in STATE.now.prices if of == name and by is not None]
    return [None, *declared, *providers_with(model)]


def _rows(price: Price, *, is_current: bool, ceiling: int | None) -> list[PriceRow]:
    tiers: dict[str, Rates] = {"standard": price.rates, **price.tier_rates}
    return [
        PriceRow(
            provider=price.provider,
            model=price.model,
            row=price.row,
            source=_source(price),
            data_version=price.data_version,
            factor=price.factor,
            starts=price.starts,
            hours=price.hours,
            is_current=is_current,
            is_free=price.is_free,
            tier=tier,
            above_input_tokens=band.above,
            usd_per_million=_dollars(rates, band, tokens=True),
            usd_each=_dollars(rates, band, tokens=False),
            context_window=price.context_window,
            output_ceiling=ceiling,
        )
        for tier, rates in tiers.items()
        for band in rates.bands
    ]


def _dollars(rates: Rates, band: Band, *, tokens: bool) -> dict[str, Decimal]:
    names = [
        name
        for name in UNITS
        if name in band.rates and (UNITS[name].dimensions["family"] == "tokens") is tokens
    ]
    if tokens:
        return {name: _plain(rates.usd(band, name, count=1_000_000)) for name in names}
    return {
        _SECONDS if name == CALL_MILLISECONDS else name: _plain(
            rates.usd(band, name, count=1_000 if name == CALL_MILLISECONDS else 1)
        )
        for name in names
    }


def _plain(usd: Decimal) -> Decimal:
    """Return *usd* without trailing zeros and without an exponent."""
    return usd.quantize(Decimal(1)) if usd == usd.to_integral_value() else usd.normalize()


def _source(price: Price) -> str:
    if price.is_override:
        return "override"
    return "bursar" if price.data_version == "bursar" else "genai-prices"
