"""Shares: how a budget's limit is split among its agents."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from fractions import Fraction
from typing import TYPE_CHECKING

from bursar.account import Limits
from bursar.money import Money, parse_usd

if TYPE_CHECKING:
    from collections.abc import Mapping

Share = Fraction
"""A part of the whole budget, from 0 to 1."""


def parse_share(value: Money, *, agent: str) -> Share | int:
    """
    Return a share where *value* ends in `%`, else an amount in nano-dollars.

    Raises:
        ValueError: It is negative, above 100 %, or neither a share nor an amount.
    """
    what = f'the allotment of agent "{agent}"'
    if not (isinstance(value, str) and value.strip().endswith("%")):
        return parse_usd(value, what=what)
    share = share_of(value)
    if share is None:
        msg = f'{what} must be from "0%" to "100%", or an amount such as "$1.50", not {value!r}'
        raise ValueError(msg)
    return share


def share_of(text: str) -> Share | None:
    """Return the part of the whole that *text* names, `"0%"` to `"100%"`, or None where it names none."""
    number, percent, rest = text.strip().partition("%")
    try:
        found = Decimal(number.strip())
    except InvalidOperation:
        return None
    is_one = percent and not rest and found.is_finite() and 0 <= found <= 100
    return Fraction(found) / 100 if is_one else None


def split(limits: Limits, shares: Mapping[str, Share]) -> dict[str, Limits]:
    """
    Return what each share of *limits* is, in whole units that never add up to more than the shares together.

    Rounding goes by largest remainder, so that shares of 100 % give out the whole.
    """
    per_unit = [None if limit is None else _split_unit(limit, shares) for limit in limits]
    return {agent: Limits(*(None if unit is None else unit[agent] for unit in per_unit)) for agent in shares}


def _split_unit(limit: int, shares: Mapping[str, Share]) -> dict[str, int]:
    exact = {agent: limit * share for agent, share in shares.items()}
    whole = {agent: int(amount) for agent, amount in exact.items()}
    left_over = int(sum(exact.values(), Fraction(0))) - sum(whole.values())
    by_remainder = sorted(exact, key=lambda agent: (whole[agent] - exact[agent], agent))
    for agent in by_remainder[:left_over]:
        whole[agent] += 1
    return whole
