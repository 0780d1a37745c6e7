"""
Discounts by contract: what a provider's list prices are multiplied by.

A discount scales every rate of a computed price, so that the bound before a call and the cost after it agree.  A
cost that the provider itself stated is never touched: it is what was billed.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from datetime import date
from decimal import Decimal, InvalidOperation
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, cast

from bursar.prices.timeline import Timeline

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from bursar.prices.price import Price
    from bursar.prices.rates import Band, Rates

FACTOR_MOST: Final = 10
"""A larger factor is taken for a slip: a discount of 20% is 0.8, not 80."""

STATES_COST: Final = frozenset({"openrouter", "perplexity", "x-ai"})
"""Providers that state what a call cost (`wire.receipt`): a call of theirs is still held at its list price."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Discount:
    """
    One clause of a contract.

    Attributes:
        provider: Who bills, in genai-prices' words.

        model: The only model that it is for, as it is asked for or as the price data calls it, in lower case; None
            for all of the provider's.

        factor: What list prices are multiplied by, above zero: 0.8 takes a fifth off, 1 exempts a model, 1.1 adds a
            tenth.

        since: The first day, in UTC, that it holds; None if it always did.

        source: Where it was declared: `"override"`, or the file.
    """

    provider: str
    model: str | None
    factor: Decimal
    since: date | None
    source: str


def parse_factor(factor: Decimal | float | str) -> Decimal:
    """
    Return *factor* exactly as it is written.

    Raises:
        ValueError: It is not a number above zero and at most `FACTOR_MOST`.

        TypeError: It is of another type.
    """
    if isinstance(factor, bool) or not isinstance(factor, Decimal | float | int | str):  # pyright: ignore[reportUnnecessaryIsInstance]
        msg = f"factor must be a number such as 0.8, not {type(factor).__name__}"
        raise TypeError(msg)
    try:
        exact = Decimal(str(factor).strip())
    except InvalidOperation:
        msg = f"factor must be a number such as 0.8, got {factor!r}"
        raise ValueError(msg) from None
    if not exact.is_finite() or not 0 < exact <= FACTOR_MOST:
        msg = (
            f"factor must be above 0 and at most {FACTOR_MOST}, got {factor!r}; 20% off is 0.8, and what costs nothing "
            "is declared with bursar.prices.free(...)"
        )
        raise ValueError(msg)
    return exact


def with_discounts(
    found: Price | Timeline | None, discounts: Iterable[Discount], *, names: Iterable[str]
) -> Price | Timeline | None:
    """
    Return *found* with the discount in force at each moment.

    A discount for the model itself comes before one for all models of its provider; of several, the one that began
    last holds.  They are not multiplied.

    Args:
        names: What the model is called by who asks, besides its name in the price data.
    """
    if found is None:
        return None
    called = {name.lower() for name in names}
    asked = tuple(discounts)
    if not isinstance(found, Timeline) and not any(_is_for(found, one, called) for one in asked):
        return found

    def price_in(instant: datetime) -> Price | None:
        price = found.at(instant) if isinstance(found, Timeline) else found
        return None if price is None else _discounted(price, asked, called, instant.date())

    base = found if isinstance(found, Timeline) else Timeline(lambda _: found)
    days = [one.since for one in asked if one.since is not None]
    timeline = Timeline(price_in, days=[*base.days, *days], seconds=base.seconds)
    return timeline.at(None) if timeline.is_constant else timeline


def _is_for(price: Price, discount: Discount, called: set[str]) -> bool:
    return discount.provider == price.provider and (
        discount.model is None or discount.model in called or discount.model == price.model.lower()
    )


def _discounted(price: Price, discounts: tuple[Discount, ...], called: set[str], day: date) -> Price:
    holding = [
        one for one in discounts if _is_for(price, one, called) and (one.since is None or one.since <= day)
    ]
    if not holding or price.is_free:
        return price
    holds = max(holding, key=lambda one: (one.model is not None, one.since or date.min))
    if holds.factor == 1:
        return price
    return replace(
        price,
        rates=_times(price.rates, holds.factor),
        tier_rates=MappingProxyType(
            {t: _times(rates, holds.factor) for t, rates in price.tier_rates.items()}
        ),
        factor=holds.factor,
        list_price=price if price.provider in STATES_COST and holds.factor < 1 else None,
    )


def _times(rates: Rates, factor: Decimal) -> Rates:
    """Return *rates* times *factor*, exactly: the rates take its numerator, their scale its denominator."""
    numerator, denominator = factor.as_integer_ratio()

    def scaled(band: Band) -> Band:
        steps: dict[str, Any] = {
            field.name: cast("int", getattr(band, field.name)) * numerator
            for field in fields(band)
            if field.name not in {"above", "rates"}
        }
        rates_of_all = MappingProxyType({unit: rate * numerator for unit, rate in band.rates.items()})
        return replace(band, rates=rates_of_all, **steps)

    return replace(rates, bands=tuple(map(scaled, rates.bands)), scale=rates.scale * denominator)
