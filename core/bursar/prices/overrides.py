"""
What the user declares: prices, free models and aliases, above the ones that genai-prices has.

The declarations are one immutable value that is replaced as a whole, so that a lookup in another thread sees
either all of a change or nothing of it.
"""

from __future__ import annotations

import threading
from bisect import insort
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from bursar.money import Money, parse_usd
from bursar.prices.names import canonical_provider
from bursar.prices.price import Price
from bursar.prices.rates import compile_rates
from bursar.prices.timeline import as_utc

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping
    from fractions import Fraction

    from bursar.prices.timeline import Timeline

Key = tuple[str | None, str]
"""A provider, or None for any, and a model, both in lower case."""


@dataclass(frozen=True, slots=True)
class Declarations:
    """
    All that was declared at one moment, and what was looked up under it.

    Attributes:
        prices: The declared prices, the earliest first.

        aliases: The name in lower case, and the provider and model that it stands for.

        found: Lookups under these declarations; a change of them begins a new one.
    """

    prices: Mapping[Key, tuple[Price, ...]]
    aliases: Mapping[str, tuple[str | None, str]]
    found: dict[tuple[str | None, str], Price | Timeline | None]


class _State:
    """Holds the declarations in force."""

    def __init__(self) -> None:
        self.now = Declarations(prices={}, aliases={}, found={})
        self.lock = threading.Lock()


STATE: Final = _State()


def add(
    model: str,
    *,
    provider: str | None = None,
    input: Money,
    output: Money,
    per: int = 1_000_000,
    cached_input: Money | None = None,
    cache_write: Money | None = None,
    reasoning: Money | None = None,
    request: Money | None = None,
    context: int | None = None,
    output_limit: int | None = None,
    free: bool = False,
    since: date | str | None = None,
) -> None:
    """
    Declare the price of a model; it holds in this process, from the next call on, above every other price.

    The name is meant exactly, but for case and a prefix such as `openai/`.  Declaring it again replaces the
    price of the same *since*; with another *since* the later one succeeds the earlier.  Only what is stated has
    a price: no service tier, no threshold and no tool fee is taken over from genai-prices.

    Args:
        provider: Who bills; None stands for every provider.

        input: Dollars for *per* input tokens: `"$0.20"`, `Decimal("0.2")`, `0.2`.

        output: Dollars for *per* output tokens.

        cached_input: Dollars for *per* tokens read from a cache; without it they cost what input costs.

        cache_write: Dollars for *per* tokens written to a cache; without it they cost what input costs.

        reasoning: Dollars for *per* reasoning tokens; without it they cost what output costs.

        request: Dollars for each request, on top.

        context: The most input tokens that the model takes.

        output_limit: The most output tokens that the model produces.

        free: Whether amounts that are all zero are meant; `free()` says it shorter.

        since: The first day, in UTC, that it applies: a date, or `"2027-01-01"`.

    Raises:
        ValueError: An amount is negative, not finite or not a number; all are zero without *free*, or one is not
            with it; *model*, *per*, *context* or *output_limit* is empty or not positive; *since* is no date.

        TypeError: A value is of another type.
    """
    key = _key(provider, model)
    _check_count("per", per)
    if input is None or output is None:  # pyright: ignore[reportUnnecessaryComparison]
        # None would mean "as the whole that it is part of", and these two are part of none.
        msg = f"{_quoted(model)} needs an input price and an output price; 0 is one, None is not"
        raise ValueError(msg)
    stated = {
        "input_tokens": ("input", input, per),
        "output_tokens": ("output", output, per),
        "cache_read_tokens": ("cached_input", cached_input, per),
        "cache_write_tokens": ("cache_write", cache_write, per),
        "output_reasoning_tokens": ("reasoning", reasoning, per),
        "requests": ("request", request, 1),
    }
    usd = {
        unit: _dollars(amount, f"the {word} price of {_quoted(model)}") / many
        for unit, (word, amount, many) in stated.items()
        if amount is not None
    }
    _check_free(model, usd, free=free)
    for word, count in (("context", context), ("output_limit", output_limit)):
        if count is not None:
            _check_count(word, count)
    starts = _date(since)
    price = Price(
        provider=key[0] or "",
        model=model.strip(),
        row=f"override:{model.strip()}" + (f"@{starts}" if starts else ""),
        data_version="override",
        rates=compile_rates({unit: [(-1, rate)] for unit, rate in usd.items()}),
        starts=starts,
        context_window=context,
        output_limit=output_limit,
        is_free=free,
    )
    with STATE.lock:
        kept = [old for old in STATE.now.prices.get(key, ()) if old.starts != starts]
        insort(kept, price, key=lambda one: one.starts or date.min)
        _declare(prices={**STATE.now.prices, key: tuple(kept)})


def free(model: str, *, provider: str | None = None, context: int | None = None) -> None:
    """
    Declare that a model costs nothing, such as one that runs on a machine of your own.

    Raises:
        ValueError: *model* is empty, or *context* is not positive.

        TypeError: *model* is not a string.
    """
    add(model, provider=provider, input=0, output=0, context=context, free=True)


def alias(name: str, model: str, provider: str | None = None) -> None:
    """
    Declare that *name* means *model*: an Azure deployment, a Bedrock application profile, a gateway's own name.

    Args:
        provider: Whose price of *model* is meant; without it, that of the provider that is called.

    Raises:
        ValueError: A name is empty, or *name* would stand for itself.

        TypeError: A name is not a string.
    """
    _, known_as = _key(None, name)
    by, meant = _key(provider, model)
    if known_as == meant:
        msg = f"{_quoted(name)} cannot be an alias of itself; name the model that it stands for"
        raise ValueError(msg)
    with STATE.lock:
        _declare(aliases={**STATE.now.aliases, known_as: (by, model.strip())})


def remove(model: str, *, provider: str | None = None) -> None:
    """
    Take back every price, and the alias, that was declared for *model*; what genai-prices says holds again.

    Raises:
        LookupError: Nothing was declared for it at that *provider*.
    """
    key = _key(provider, model)
    with STATE.lock:
        prices, aliases = dict(STATE.now.prices), dict(STATE.now.aliases)
        had_price = prices.pop(key, None)
        had_alias = aliases.pop(key[1], None) if provider is None else None
        if had_price is None and had_alias is None:
            at = f" at provider {_quoted(provider)}" if provider else ""
            msg = f"nothing was declared for {_quoted(model)}{at}"
            raise LookupError(msg)
        _declare(prices=prices, aliases=aliases)


@contextmanager
def temporary() -> Generator[None]:
    """Take back, at the end of the block, every declaration that was made in it, by any thread."""
    before = STATE.now
    try:
        yield
    finally:
        with STATE.lock:
            _declare(prices=before.prices, aliases=before.aliases)


def _declare(
    *,
    prices: Mapping[Key, tuple[Price, ...]] | None = None,
    aliases: Mapping[str, tuple[str | None, str]] | None = None,
) -> None:
    now = STATE.now
    STATE.now = Declarations(
        prices=now.prices if prices is None else prices,
        aliases=now.aliases if aliases is None else aliases,
        found={},
    )


def _key(provider: str | None, model: str) -> Key:
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


def _dollars(amount: Money, what: str) -> Fraction:
    """Return *amount* exactly; `parse_usd` checks it, and rounds to a nano-dollar what may be finer here."""
    from fractions import Fraction

    parse_usd(amount, what=what)
    digits = str(amount).strip().removeprefix("$").replace(",", "").replace("_", "")
    return Fraction(Decimal(digits.strip()))


def _check_free(model: str, usd: Mapping[str, Fraction], *, free: bool) -> None:
    costs = any(usd.values())
    if costs and free:
        msg = f"{_quoted(model)} cannot be free and have a price; leave one of the two out"
        raise ValueError(msg)
    if not costs and not free:
        msg = f"{_quoted(model)} has no price above zero; if it is free, say bursar.prices.free({_quoted(model)})"
        raise ValueError(msg)


def _check_count(word: str, count: int) -> None:
    if isinstance(count, bool) or not isinstance(count, int):  # pyright: ignore[reportUnnecessaryIsInstance]
        msg = f"{word} must be a whole number, not {type(count).__name__}"
        raise TypeError(msg)
    if count < 1:
        msg = f"{word} must be at least 1, got {count}"
        raise ValueError(msg)


def _date(since: date | str | None) -> date | None:
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


def _quoted(name: str) -> str:
    return f'"{name}"'
