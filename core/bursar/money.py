"""
Money: integer nano-dollars inside, `Decimal` dollars at the border.

One dollar is 10**9 nano-dollars, so a signed 64-bit integer holds $9.2 billion and a double still counts
$9 million exactly.  Rates are finer: pico-dollars (10**-12) per token, because published prices go below one
nano-dollar a token.  A float never takes part in a comparison.
"""

from __future__ import annotations

import re
from decimal import ROUND_FLOOR, Decimal, InvalidOperation
from typing import Final

NANO_PER_USD: Final = 1_000_000_000
PICO_PER_NANO: Final = 1_000

Money = Decimal | int | float | str
"""What a user may write for an amount of dollars: `5`, `0.5`, `Decimal("0.5")`, `"$5.00"` or `"1,250.50"`."""

_AMOUNT = re.compile(r"\$?\s*(?P<digits>\d[\d,_]*(?:\.\d*)?|\.\d+)")
_KINDS: Final[tuple[type, ...]] = (int, float, str, Decimal)
_MOST_USD: Final = Decimal(9_000_000_000)
_BUDGET: Final = "a budget"


def parse_usd(amount: Money, *, what: str = _BUDGET) -> int:
    """
    Return *amount* dollars in nano-dollars, rounded down.

    A float is read as the decimal it prints as, so that `0.1` is ten cents.

    Args:
        amount: Dollars, zero to nine billion.

        what: The subject of the error message.

    Raises:
        ValueError: *amount* is negative, NaN, infinite, too large or not a number.
        TypeError: *amount* is of another type; a bool is not an amount.
    """
    nanousd = _decimal(amount, what).scaleb(9).to_integral_value(ROUND_FLOOR)
    return int(nanousd)


def to_usd(nanousd: int) -> Decimal:
    """Return *nanousd* as exact dollars, without trailing zeros below the cent."""
    usd = Decimal(nanousd).scaleb(-9)
    cents = usd.quantize(Decimal("0.01"))
    return cents if cents == usd else usd.normalize()


def format_usd(nanousd: int) -> str:
    """Return *nanousd* for people: `$5.00`, `$0.0042`; four significant digits below a dollar, cents above ten."""
    usd = Decimal(nanousd).scaleb(-9)
    sign, size = ("-", -usd) if usd < 0 else ("", usd)
    if size == 0 or size >= 10:
        return f"{sign}${size:,.2f}"
    places = 4 if size >= Decimal("0.01") else 3 - size.adjusted()
    text = f"{size:.{min(places, 9)}f}".rstrip("0")
    whole, _, fraction = text.partition(".")
    return f"{sign}${whole}.{fraction.ljust(2, '0')}"


def ceil_to_nano(picousd: int) -> int:
    """Return pico-dollars as nano-dollars, rounded up: once per call, never down."""
    return -(-picousd // PICO_PER_NANO)


def _decimal(amount: Money, what: str) -> Decimal:
    if isinstance(amount, bool) or not isinstance(amount, _KINDS):  # pyright: ignore[reportUnnecessaryIsInstance]
        msg = f'{what} must be dollars such as 5, Decimal("0.50") or "$5.00", not {type(amount).__name__}'
        raise TypeError(msg)
    try:
        usd = Decimal(_digits(amount)) if isinstance(amount, str) else Decimal(str(amount))
    except InvalidOperation:
        msg = f'{what} of {amount!r} is not an amount of dollars; write 5, Decimal("0.50") or "$5.00"'
        raise ValueError(msg) from None
    if not usd.is_finite():
        remedy = "; leave the limit out for no limit" if what == _BUDGET else ""
        msg = f"{what} must be finite, not {amount!r}{remedy}"
        raise ValueError(msg)
    if usd < 0:
        msg = f"{what} must not be negative, got {amount!r}"
        raise ValueError(msg)
    if usd > _MOST_USD:
        msg = f"{what} of {amount!r} is above the largest amount kept, ${_MOST_USD:,}"
        raise ValueError(msg)
    return usd


def _digits(text: str) -> str:
    bare = text.strip()
    match = _AMOUNT.fullmatch(bare)
    return match["digits"].replace(",", "").replace("_", "") if match else bare.removeprefix("$")
