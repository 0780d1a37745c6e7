"""A price: the rates of one model at one provider from a date on."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from bursar.errors import UnknownPrice
from bursar.prices.units import CALL_MILLISECONDS, UNITS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import date, time
    from decimal import Decimal

    from bursar.prices.rates import CacheTime, Modality, Rates
    from bursar.prices.units import Unit
    from bursar.usage import Usage

Tier = Literal["batch", "flex", "priority", "fast", "us_only"]
"""A service tier that may have rates of its own; any other tier is the standard one."""

_DEARER: Final = frozenset({"priority", "fast", "us_only"})
OVERRIDE: Final = "override:"
"""How the row of a declared price begins."""

ANSWERED_IN: Final[tuple[Modality, ...]] = ("text", "image")
"""What an answer may be made of where the request does not say: some models draw without being asked."""

_NO_TIERS: Final[Mapping[str, Rates]] = MappingProxyType({})


class TextRates(NamedTuple):
    """The dearest rates of a call that sends text, in pico-dollars: of a token each way, and for the request."""

    input: int
    output: int
    request: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """
    What one model costs at one provider, in US dollars; never edited, only succeeded by a later one.

    A dimension without a rate is billed as the whole that it is part of: audio input as input, reasoning as
    output, an hour's cache write as a cache write.  Rates are integer pico-dollars inside; a cost is rounded up
    once, to the nano-dollar.

    Attributes:
        provider: Who bills.

        model: The canonical name of the model, whatever the call said.

        row: Which row of the price data this is: `openai:gpt-4o`, `deepseek:deepseek-chat@2026-01-05 00:30-16:30`.

        data_version: The version of genai-prices that the rates come from, `"bursar"` for a row of our own,
            `"override"`, or the price file's name and the beginning of its SHA-256.

        rates: The standard rates.

        tier_rates: The rates of the service tiers that have their own.

        starts: The first day, in UTC, that these rates applied; None if they always did.

        hours: The hours of the day, in UTC, that they apply in; None for all of it.

        context_window: The most input tokens, where known.

        output_limit: The most output tokens that an override declared.

        longest_s: The most seconds that a call takes, as an override declared; for prices by the second.

        factor: What the list price was multiplied by, where a discount is in force; the rates are the result.

        list_price: The price without the discount, where the provider may bill that all the same, because it states
            its costs itself; what a call may cost at most is worked out from it.

        is_free: Declared free; every cost is zero.

        has_automatic_cache: Whether the provider writes to its cache without being asked.

        guessed_tiers: The tiers whose rates are the highest of the range that the provider gives.

        is_by_the_second: Whether a call costs what it takes in time, and not what it uses.

        is_override: Whether the user declared it, in a program or in a file.

        standard_provenance: What `provenance` returns of a call in no service tier.
    """

    provider: str
    model: str
    row: str
    data_version: str
    currency: str = "USD"
    rates: Rates = field(repr=False)
    tier_rates: Mapping[str, Rates] = field(default_factory=lambda: _NO_TIERS, repr=False, hash=False)
    starts: date | None = None
    hours: tuple[time, time] | None = None
    context_window: int | None = None
    output_limit: int | None = None
    longest_s: int | None = None
    factor: Decimal | None = None
    list_price: Price | None = field(default=None, repr=False)
    is_free: bool = False
    has_automatic_cache: bool = True
    guessed_tiers: frozenset[str] = frozenset()
    _most: dict[tuple[object, ...], int | None] = field(
        default_factory=dict[tuple[object, ...], "int | None"], init=False, repr=False, compare=False
    )
    """The dearest rates that were asked for, because every call asks for the same few."""
    _most_of_text: dict[tuple[object, ...], TextRates] = field(
        default_factory=dict[tuple[object, ...], TextRates], init=False, repr=False, compare=False
    )
    is_by_the_second: bool = field(init=False, repr=False, compare=False)
    is_override: bool = field(init=False, repr=False, compare=False)
    standard_provenance: str = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        # What every call asks for is worked out once.
        discount = "" if self.factor is None else f" x{self.factor:f}"
        known = {
            "is_by_the_second": CALL_MILLISECONDS in self.rates.bands[0].rates,
            "is_override": self.row.startswith(OVERRIDE),
            "standard_provenance": f"{self.row}{discount} ({self.data_version})",
        }
        for name, value in known.items():
            object.__setattr__(self, name, value)

    def provenance(self, *, tier: str | None = None, in_parts: bool = False) -> str:
        """
        Return what a cost was computed from, as the ledger keeps it: `openai:gpt-4o [batch] x0.8 (0.2.3)`.

        The row; the service tier, or `parts` where each part of the call was priced for itself; the discount; and the
        version of the data.
        """
        if tier is None and not in_parts:
            return self.standard_provenance
        marks = [f" [{mark}]" for mark in (tier, "parts" if in_parts else None) if mark]
        discount = "" if self.factor is None else f" x{self.factor:f}"
        return f"{self.row}{''.join(marks)}{discount} ({self.data_version})"

    def cost_nanousd(self, usage: Usage, *, tier: str | None = None) -> int:
        """
        Return what *usage* costs, in nano-dollars, rounded up once; never raises and is never negative.

        Crossing an input threshold reprices every token of the call.  Where a part is larger than the whole it is
        said to be in, the provider left it out of the whole, and both are billed.

        Args:
            tier: The service tier that served the call; one without rates of its own costs the standard ones.
        """
        return self.rates_of(tier).cost_nanousd(usage)

    def unpriced(self, usage: Usage, *, tier: str | None = None) -> tuple[str, ...]:
        """
        Return the names of the counts in *usage* that this price has nothing to say about.

        They cost nothing in `cost_nanousd`, so a cost of a usage with any is a lower bound.
        """
        return () if self.is_free else self.rates_of(tier).unpriced(usage)

    def is_certain(self, tier: str | None) -> bool:
        """Whether the rates of *tier* are known: a dearer tier without rates of its own may cost more than standard."""
        if tier in self.guessed_tiers:
            return False
        return tier not in _DEARER or tier in self.tier_rates or self.is_free

    def text_rates_most_pico(
        self, input_tokens: int, *, cache_write: CacheTime | None = None, tier: str | None = None
    ) -> TextRates:
        """
        Return the most that a token of each direction can cost in a call that sends text, and what any request costs.

        It may be answered in pictures besides; see `input_rate_most_pico` and `output_rate_most_pico`.

        Raises:
            UnknownPrice: The model is not priced by the token.
        """
        rates = self.rates if tier is None else self.rates_of(tier)
        asked = (cache_write, tier, 1 if len(rates.bands) == 1 else rates.reach(input_tokens))
        try:
            return self._most_of_text[asked]
        except KeyError:
            most = self._most_of_text[asked] = TextRates(
                self.input_rate_most_pico(input_tokens, cache_write=cache_write, tier=tier),
                max(
                    self.output_rate_most_pico(input_tokens, tier=tier, modality=kind) for kind in ANSWERED_IN
                ),
                self.fee_pico("requests", tier=tier) or 0,
            )
            return most

    def input_rate_most_pico(
        self,
        input_tokens: int,
        *,
        cache_write: CacheTime | None = None,
        tier: str | None = None,
        modality: Modality = "text",
    ) -> int:
        """
        Return the most that one input token can cost, in pico-dollars, in a call of at most *input_tokens*.

        Rounded up; covers every threshold that the call can cross, cache reads, and cache writes where they are
        asked for or the provider makes them by itself.

        Args:
            cache_write: The longest time that the call asks for any of its input to be cached, if it does.

            modality: What the token stands for; *text* tokens can be dearer, so they always count.

        Raises:
            UnknownPrice: The model is not priced by the token.
        """
        rates = self.rates_of(tier)
        asked = ("input", cache_write, tier, modality, rates.reach(input_tokens))
        if (known := self._most.get(asked)) is not None:
            return known
        writes = cache_write is not None or self.has_automatic_cache

        def is_meant(unit: Unit) -> bool:
            if not self._is_tokens(unit, "input", modality):
                return False
            if unit.dimensions.get("cache_ttl") == "1h":
                return cache_write == "1h"
            return writes or unit.dimensions.get("token_type") != "cache_write"

        most = rates.most_pico(is_meant, input_tokens=input_tokens)
        if most is None:
            raise self._not_priced_by_token()
        self._most[asked] = most
        return most

    def output_rate_most_pico(
        self, input_tokens: int, *, tier: str | None = None, modality: Modality = "text"
    ) -> int:
        """
        Return the most that one output token can cost, in pico-dollars, in a call of at most *input_tokens*.

        Rounded up; the dearest of output, reasoning and citations.  Zero where only input is priced (embeddings).

        Args:
            modality: What the token stands for; *text* tokens can be dearer, so they always count.

        Raises:
            UnknownPrice: The model is not priced by the token.
        """
        rates = self.rates_of(tier)
        asked = ("output", None, tier, modality, rates.reach(input_tokens))
        if (known := self._most.get(asked)) is not None:
            return known
        most = rates.most_pico(
            lambda unit: self._is_tokens(unit, "output", modality), input_tokens=input_tokens
        )
        if most is None and rates.most_pico(lambda unit: unit.name == "input_tokens", input_tokens=0) is None:
            raise self._not_priced_by_token()
        self._most[asked] = most or 0
        return most or 0

    def fee_pico(self, kind: str, *, tier: str | None = None) -> int | None:
        """
        Return what one of *kind* costs, in pico-dollars, rounded up, or None where no fee is known.

        Args:
            kind: `"requests"`, which is zero where there is no such fee, `"web_searches"`, `"code_executions"`,
                `"storage_searches"`, or any other unit that is not a token.
        """
        if self.is_free:
            return 0
        asked = ("fee", kind, tier)
        if asked in self._most:
            return self._most[asked]
        most = self._most[asked] = self._fee_pico(kind, tier)
        return most

    def _fee_pico(self, kind: str, tier: str | None) -> int | None:
        if kind == "web_search_previews" and kind not in self.rates_of(tier).bands[0].rates:
            # A part without a rate costs what its whole does.
            kind = "web_searches"
        most = self.rates_of(tier).most_pico(lambda unit: unit.name == kind, input_tokens=1 << 62)
        return 0 if most is None and kind == "requests" else most

    @property
    def has_token_rates(self) -> bool:
        """Whether tokens are what is billed, and not only characters, seconds or images."""
        return any(UNITS[name].dimensions["family"] == "tokens" for name, _ in self.rates.order)

    def pieces_pico(self, pieces: Mapping[str, int], *, tier: str | None = None) -> int | None:
        """
        Return what *pieces* cost by unit, in pico-dollars rounded up, or None where none of them has a rate.

        A unit has its own rate, else that of what it is part of: an image of any size, where only images are priced.
        """
        if self.is_free:
            return 0
        rates, total, is_known = self.rates_of(tier), 0, False
        for unit, count in pieces.items():
            # The order has parts before their wholes.
            names = (name for name, _ in rates.order if UNITS[unit].is_part_of(UNITS[name]))
            if (name := next(names, None)) is None:
                continue
            is_known = True
            least = rates.least_seconds if count and unit == "input_audio_seconds" else 0
            total += max(count, least) * (self.fee_pico(name, tier=tier) or 0)
        return total if is_known else None

    def rates_of(self, tier: str | None) -> Rates:
        """Return the rates of a service tier; of one that has none of its own, the standard ones."""
        return self.rates if tier is None else self.tier_rates.get(tier, self.rates)

    @staticmethod
    def _is_tokens(unit: Unit, direction: str, modality: Modality) -> bool:
        dimensions = unit.dimensions
        return (
            dimensions["family"] == "tokens"
            and dimensions["direction"] == direction
            and dimensions.get("modality", "text") in {"text", modality}
        )

    def _not_priced_by_token(self) -> UnknownPrice:
        priced = ", ".join(sorted(name for name, _ in self.rates.order))
        msg = (
            f'model "{self.model}" at provider "{self.provider}" has no price for a token, only for {priced}; '
            f'add one with bursar.prices.add("{self.model}", input="$0.20", output="$0.60", per=1_000_000)'
        )
        return UnknownPrice(msg)
