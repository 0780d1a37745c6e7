"""
What the user declares: prices, free models, aliases and discounts, above the ones that genai-prices has.

The declarations are one immutable value that is replaced as a whole, so that a lookup in another thread sees
either all of a change or nothing of it.  The first of them are those of the price file, which is read when a price is
first asked for; what a program declares comes on top.
"""

from __future__ import annotations

import threading
from bisect import insort
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import date
from typing import TYPE_CHECKING, Any, Final, Unpack

from bursar.prices.declared import OPTIONS, declared_price, key_of, parse_day, quoted
from bursar.prices.discounts import Discount, parse_factor

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping
    from decimal import Decimal
    from pathlib import Path

    from bursar.prices.declared import Key, PriceOptions
    from bursar.prices.price import Price
    from bursar.prices.timeline import Lasting, Timeline


def _none() -> dict[Any, Any]:
    return {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Declarations:
    """
    All that was declared at one moment, and what was looked up under it.

    Attributes:
        prices: The declared prices, the earliest first.

        aliases: The name in lower case, and the provider and model that it stands for.

        discounts: Of each provider and model, or None for all of its models, the earliest first.

        files: The price files that were read.

        found: The prices, of all times, that were looked up under these declarations by provider and model; a change
            of them begins anew.

        current: What holds now, by the same, or by provider, model served and model asked for.

        ceilings: Output limits, by provider and model.
    """

    prices: Mapping[Key, tuple[Price, ...]] = field(default_factory=_none)
    aliases: Mapping[str, tuple[str | None, str]] = field(default_factory=_none)
    discounts: tuple[Discount, ...] = ()
    files: tuple[Path, ...] = ()
    found: dict[tuple[str | None, str], Price | Timeline | None] = field(init=False, default_factory=_none)
    current: dict[tuple[str | None, ...], Lasting] = field(init=False, default_factory=_none)
    ceilings: dict[tuple[str | None, str], int | None] = field(init=False, default_factory=_none)

    def with_price(
        self, model: str, provider: str | None, options: PriceOptions, source: str
    ) -> Declarations:
        """Return these and one more price, which takes the place of one for the same model, provider and day."""
        key, price = declared_price(model, provider, options, source=source)
        kept = [old for old in self.prices.get(key, ()) if old.starts != price.starts]
        insort(kept, price, key=lambda one: one.starts or date.min)
        return replace(self, prices={**self.prices, key: tuple(kept)})

    def with_alias(self, name: str, model: str, provider: str | None) -> Declarations:
        """Return these and one more alias."""
        _, known_as = key_of(None, name)
        by, meant = key_of(provider, model)
        if known_as == meant:
            msg = f"{quoted(name)} cannot be an alias of itself; name the model that it stands for"
            raise ValueError(msg)
        return replace(self, aliases={**self.aliases, known_as: (by, model.strip())})

    def with_discount(self, discount: Discount) -> Declarations:
        """Return these and one more discount, which takes the place of one for the same models and day."""
        scope = (discount.provider, discount.model, discount.since)
        kept = [old for old in self.discounts if (old.provider, old.model, old.since) != scope]
        return replace(self, discounts=(*kept, discount))


class _State:
    """Holds the declarations in force, which begin with those of the price file."""

    now: Declarations

    def __init__(self) -> None:
        self.lock = threading.RLock()

    def __getattr__(self, name: str) -> Declarations:
        """
        Return the declarations in force where none are yet: those of the price file.

        Raises:
            PriceFileError: The price file cannot be used; asked again, it is read again.
        """
        if name != "now":
            raise AttributeError(name)
        from bursar.prices.files import read_user_file

        with self.lock:
            if "now" not in self.__dict__:
                self.now = read_user_file()
            return self.now

    def change(self, change: Callable[[Declarations], Declarations]) -> None:
        """Put what *change* makes of the declarations in their place."""
        with self.lock:
            self.now = change(self.now)

    def put(self, declarations: Declarations) -> None:
        """Put *declarations* in the place of those in force."""
        with self.lock:
            self.now = declarations


STATE: Final = _State()


def add(model: str, *, provider: str | None = None, **options: Unpack[PriceOptions]) -> None:
    """
    Declare the price of a model; it holds in this process, from the next call on, above every other price.

    The name is meant exactly, but for case and a prefix such as `openai/`.  Declaring it again replaces the
    price of the same *since*; with another *since* the later one succeeds the earlier.  Only what is stated has
    a price: no service tier, no threshold and no tool fee is taken over from genai-prices.  A discount for the
    provider applies to it, too: declare the list price.

    An amount is dollars: `"$0.20"`, `Decimal("0.2")`, `0.2`.  What has no price of its own costs what the whole costs
    that it is part of: audio input is input, an hour's cache write a cache write.

    Args:
        provider: Who bills; None stands for every provider.

        input, output: Dollars for *per* input and output tokens; both, unless there is *per_second* or *free*.

        per: How many tokens those, and the next eight, are for; a million if left out.

        cached_input, cache_write, cache_write_1h: Tokens read from a cache, written to it, and written for an hour.

        reasoning: Reasoning tokens, of the output.

        audio, audio_output, image, image_output: Tokens of audio and of images.

        request: Dollars for each request, on top.

        fees: Dollars for each use of a tool of the provider's, and of whatever else is billed by the piece:
            `{"web_searches": "$0.01"}`.

        per_second: Dollars for each second that the call takes, from its sending to the end of its answer, to the
            millisecond; in place of prices by the token.  Before the call *longest_s* seconds are held, or, for an
            answer that is not streamed, the client's timeout; a call that takes longer is booked in full, and an error
            that is answered costs nothing.

        longest_s: The most seconds that a call takes at *per_second*, whole ones.

        context: The most input tokens that the model takes.

        output_limit: The most output tokens that the model produces.

        free: Whether the model costs nothing; amounts that are all zero are not taken to mean it.

        since: The first day, in UTC, that the price applies: a date, or `"2027-01-01"`.

    Raises:
        ValueError: An amount is negative, not finite or not a number; all are zero without *free*, or one is not
            with it; *model*, *per*, *context*, *output_limit* or *longest_s* is empty or not positive; *since* is no
            date; a fee is for nothing that is known.

        TypeError: A value is of another type, or there is no such option.
    """
    unknown = options.keys() - OPTIONS
    if unknown:
        msg = f"add() has no option {', '.join(sorted(unknown))}; there are {', '.join(sorted(OPTIONS))}"
        raise TypeError(msg)
    STATE.change(lambda now: now.with_price(model, provider, options, "override"))


def free(model: str, *, provider: str | None = None, context: int | None = None) -> None:
    """
    Declare that a model costs nothing, such as one that runs on a machine of your own.

    Raises:
        ValueError: *model* is empty, or *context* is not positive.

        TypeError: *model* is not a string.
    """
    add(model, provider=provider, context=context, free=True)


def alias(name: str, model: str, provider: str | None = None) -> None:
    """
    Declare that *name* means *model*: an Azure deployment, a fine-tuned model, a gateway's own name, or the ARN of a
    Bedrock application inference profile.

    Args:
        provider: Whose price of *model* is meant; without it, that of the provider that is called.

    Raises:
        ValueError: A name is empty, or *name* would stand for itself.

        TypeError: A name is not a string.
    """  # noqa: D205 (the first sentence does not fit one line)
    STATE.change(lambda now: now.with_alias(name, model, provider))


def discount(
    *, provider: str, factor: Decimal | float | str, model: str | None = None, since: date | str | None = None
) -> None:
    """
    Declare a discount by contract: computed costs of *provider* are multiplied by *factor*, exactly.

    It applies to the bound before a call, to the cost after it, and to declared prices, too; never to a cost that the
    provider itself stated.  One for a model comes before one for the whole provider, and of two the one that began
    last holds: they are not multiplied.  Declaring the same *provider*, *model* and *since* again replaces it.

    Args:
        provider: Who bills, as anyone calls it.

        factor: Above zero, at most ten; `0.8` takes a fifth off, `1` exempts a model.

        model: As it is asked for, or as `bursar prices` calls it; None stands for all of the provider's.

        since: The first day, in UTC, that it holds.

    Raises:
        ValueError: *factor* is out of range, a name is empty, *since* is no date.

        TypeError: A value is of another type.
    """
    STATE.change(lambda now: now.with_discount(new_discount(provider, factor, model, since)))


def new_discount(
    provider: str,
    factor: Decimal | float | str,
    model: str | None = None,
    since: date | str | None = None,
    *,
    source: str = "override",
) -> Discount:
    """Return a discount, checked as `discount` says."""
    by, of = key_of(provider, "any" if model is None else model)
    assert by is not None  # noqa: S101 (a provider was given)
    return Discount(
        provider=by,
        model=None if model is None else of,
        factor=parse_factor(factor),
        since=parse_day(since),
        source=source,
    )


def load(path: str | Path) -> None:
    """
    Declare all that a price file declares, on top of what was declared before.

    Raises:
        PriceFileError: The file cannot be read, or something in it cannot be meant; nothing is declared then.
    """
    from bursar.prices.files import read_file

    STATE.change(lambda now: read_file(path, now))


def remove(model: str, *, provider: str | None = None) -> None:
    """
    Take back every price, and the alias, that was declared for *model*; what genai-prices says holds again.

    Raises:
        LookupError: Nothing was declared for it at that *provider*.
    """
    key = key_of(provider, model)

    def without(now: Declarations) -> Declarations:
        prices, aliases = dict(now.prices), dict(now.aliases)
        had_price = prices.pop(key, None)
        had_alias = aliases.pop(key[1], None) if provider is None else None
        if had_price is None and had_alias is None:
            at = f" at provider {quoted(provider)}" if provider else ""
            msg = f"nothing was declared for {quoted(model)}{at}"
            raise LookupError(msg)
        return replace(now, prices=prices, aliases=aliases)

    STATE.change(without)


@contextmanager
def temporary(file: str | Path | None = None) -> Generator[None]:
    """
    Take back, at the end of the block, every declaration that was made in it, by any thread.

    Args:
        file: A price file whose declarations stand in the block in the place of all others.

    Raises:
        PriceFileError: The file cannot be used.
    """
    from bursar.prices.files import read_file

    before = STATE.now
    if file is not None:
        STATE.put(read_file(file, Declarations()))
    try:
        yield
    finally:
        STATE.put(replace(before))
