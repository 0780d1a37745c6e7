"""A declared price: what the arguments of `prices.add`, or the keys of a price file, come to."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Final, TypedDict, cast

from bursar.money import Money, parse_usd
from bursar.prices.names import canonical_provider
from bursar.prices.price import OVERRIDE, Price
from bursar.prices.rates import compile_rates
from bursar.prices.timeline import as_utc
from bursar.prices.units import CALL_MILLISECONDS, UNITS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from fractions import Fraction

Key = tuple[str | None, str]
"""A provider, or None for any, and a model, both in lower case."""


class PriceOptions(TypedDict, total=False):
    """What can be declared of a model's price; `bursar.prices.add` describes each."""

    input: Money | None
    output: Money | None
    per: int
    cached_input: Money | None
    cache_write: Money | None
    cache_write_1h: Money | None
    reasoning: Money | None
    audio: Money | None
    audio_output: Money | None
    image: Money | None
    image_output: Money | None
    request: Money | None
    per_second: Money | None
    longest_s: int | None
    fees: Mapping[str, Money] | None
    context: int | None
    output_limit: int | None
    free: bool
    since: date | str | None


OPTIONS: Final = frozenset(PriceOptions.__annotations__)
"""The names of what can be declared."""

_UNITS_PRICED_PER: Final = {
    "input": "input_tokens",
    "output": "output_tokens",
    "cached_input": "cache_read_tokens",
    "cache_write": "cache_write_tokens",
    "cache_write_1h": "cache_write_1h_tokens",
    "reasoning": "output_reasoning_tokens",
    "audio": "input_audio_tokens",
    "audio_output": "output_audio_tokens",
    "image": "input_image_tokens",
    "image_output": "output_image_tokens",
}
"""The options that are dollars for *per* tokens, and the tokens that they are for."""

_NOT_FEES: Final = frozenset({"requests", CALL_MILLISECONDS})
_COUNTS: Final = ("context", "output_limit", "longest_s")


def fee_kinds() -> list[str]:
    """Return what a fee can be declared for: whatever is billed by the piece, besides requests and time."""
    return sorted(
        name
        for name, unit in UNITS.items()
        if unit.dimensions["family"] != "tokens" and name not in _NOT_FEES
    )


def declared_price(
    model: str, provider: str | None, options: PriceOptions, *, source: str = "override"
) -> tuple[Key, Price]:
    """
    Return the price that *options* declare, and what it is declared for.

    Raises:
        ValueError, TypeError: As `bursar.prices.add` says; the message names the option.
    """
    key = key_of(provider, model)
    usd = _dollars_by_unit(model, options)
    is_free = options.get("free", False)
    if not isinstance(is_free, bool):  # pyright: ignore[reportUnnecessaryIsInstance]
        msg = f"free must be true or false, not {type(is_free).__name__}"
        raise TypeError(msg)
    _check_free(model, usd, free=is_free)
    for word in _COUNTS:
        count = options.get(word)
        if count is not None:
            check_count(word, count)
    if options.get("longest_s") is not None and CALL_MILLISECONDS not in usd:
        msg = f"longest_s bounds a price by the second; {quoted(model)} has no per_second"
        raise ValueError(msg)
    starts = parse_day(options.get("since"))
    name = model.strip()
    return key, Price(
        provider=key[0] or "",
        model=name,
        row=f"{OVERRIDE}{name}" + (f"@{starts}" if starts else ""),
        data_version=source,
        rates=compile_rates({unit: [(-1, rate)] for unit, rate in usd.items()}),
        starts=starts,
        context_window=options.get("context"),
        output_limit=options.get("output_limit"),
        longest_s=options.get("longest_s"),
        is_free=is_free,
    )


def _dollars_by_unit(model: str, options: PriceOptions) -> dict[str, Fraction]:
    from fractions import Fraction

    per = options.get("per", 1_000_000)
    check_count("per", per)
    stated: list[tuple[str, str, object, int]] = [
        (unit, word, options.get(word), per) for word, unit in _UNITS_PRICED_PER.items()
    ]
    stated.append(("requests", "request", options.get("request"), 1))
    stated.append((CALL_MILLISECONDS, "per_second", options.get("per_second"), 1000))
    stated += [(unit, word, amount, 1) for unit, (word, amount) in _fees(options.get("fees")).items()]
    usd = {
        unit: _dollars(amount, f"the {word} price of {quoted(model)}") / many
        for unit, word, amount, many in stated
        if amount is not None
    }
    is_timed, is_counted = CALL_MILLISECONDS in usd, any(unit in usd for unit in _UNITS_PRICED_PER.values())
    if is_timed and is_counted:
        msg = f"{quoted(model)} cannot have a price by the second and one by the token; leave one of the two out"
        raise ValueError(msg)
    if is_timed or (options.get("free") and not is_counted):
        # What is billed by the second, or not at all, bills no tokens: said here, and not left unknown.
        return {"input_tokens": Fraction(0), "output_tokens": Fraction(0), **usd}
    if "input_tokens" not in usd or "output_tokens" not in usd:
        # None would mean "as the whole that it is part of", and these two are part of none.
        msg = (
            f"{quoted(model)} needs an input price and an output price (0 is one, None is not), or per_second, or "
            "free=True"
        )
        raise ValueError(msg)
    return usd


def _fees(fees: Mapping[str, Money] | None) -> dict[str, tuple[str, Money]]:
    if fees is None:
        return {}
    from collections.abc import Mapping

    if not isinstance(fees, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]
        msg = f"fees must be amounts by what they are for, such as web_searches, not {type(fees).__name__}"
        raise TypeError(msg)
    known = fee_kinds()
    for kind in fees:
        if kind not in known:
            msg = f"fees: {kind!r} is nothing that a fee is known for; there are {', '.join(known)}"
            raise ValueError(msg)
    return {kind: (f"fees.{kind}", amount) for kind, amount in fees.items()}


def key_of(provider: str | None, model: str) -> Key:
    """
    Return what a declaration for *model* is found by.

    Raises:
        ValueError: A name is empty.

        TypeError: A name is not a string.
    """
    for word, value in (("model", model), ("provider", provider)):
        if value is None and word == "provider":
            continue
        if not isinstance(value, str):
            msg = f"a {word} must be a name, not {type(value).__name__}"
            raise TypeError(msg)
        if not value.strip():
            msg = f"a {word} must have a name, got {value!r}"
            raise ValueError(msg)
    return (None if provider is None else canonical_provider(provider)), model.strip().lower()


def _dollars(amount: object, what: str) -> Fraction:
    """Return *amount* exactly; `parse_usd` checks it, and rounds to a nano-dollar what may be finer here."""
    from fractions import Fraction

    # Rows of a file may hold anything; `parse_usd` checks the type, too.
    parse_usd(cast("Money", amount), what=what)
    digits = str(amount).strip().removeprefix("$").replace(",", "").replace("_", "")
    return Fraction(Decimal(digits.strip()))


def _check_free(model: str, usd: Mapping[str, Fraction], *, free: bool) -> None:
    costs = any(usd.values())
    if costs and free:
        msg = f"{quoted(model)} cannot be free and have a price; leave one of the two out"
        raise ValueError(msg)
    if not costs and not free:
        msg = (
            f"{quoted(model)} has no price above zero; if it is free, say bursar.prices.free({quoted(model)})"
        )
        raise ValueError(msg)


def check_count(word: str, count: object) -> None:
    """
    Check a whole number of at least one.

    Raises:
        ValueError, TypeError: It is none; the message begins with *word*.
    """
    if isinstance(count, bool) or not isinstance(count, int):
        msg = f"{word} must be a whole number, not {type(count).__name__}"
        raise TypeError(msg)
    if count < 1:
        msg = f"{word} must be at least 1, got {count}"
        raise ValueError(msg)


def parse_day(since: date | str | None) -> date | None:
    """
    Return the day, in UTC, that *since* names.

    Raises:
        ValueError, TypeError: It names none.
    """
    if since is None:
        return None
    if isinstance(since, datetime):
        return as_utc(since).date()
    if isinstance(since, date):
        return since
    if not isinstance(since, str):  # pyright: ignore[reportUnnecessaryIsInstance]
        msg = f'since must be a date such as "2027-01-01", not {type(since).__name__}'
        raise TypeError(msg)
    try:
        return date.fromisoformat(since)
    except ValueError:
        msg = f'since must be a date such as "2027-01-01", got {since!r}'
        raise ValueError(msg) from None


def quoted(name: str) -> str:
    """Return a name as messages show it."""
    return f'"{name}"'
