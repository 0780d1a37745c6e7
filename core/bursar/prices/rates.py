"""
The rates of one price in one service tier, as integers.

A rate is held in pico-dollars per unit.  Where a published price is finer than that (an hour of audio is sold
by the second, some gateways publish sixteen digits) every rate of the set is multiplied by one common *scale*,
so that each is a whole number and no cost is rounded before its end.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from math import lcm
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Literal

from bursar.money import PICO_PER_NANO
from bursar.prices.units import MOST_SPECIFIC_FIRST, UNITS, billable_counts

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from fractions import Fraction

    from bursar.prices.units import Unit
    from bursar.usage import Usage

    Steps = Mapping[str, Sequence[tuple[int, Fraction]]]
    """By unit, the dollars for one of it, each with the input tokens above which it applies, ascending."""

Modality = Literal["text", "audio", "image", "video"]
"""What the tokens stand for."""

CacheTime = Literal["5m", "1h"]
"""How long a written cache entry lives."""

_UNIT_OF: Final = {"reasoning_tokens": "output_reasoning_tokens"}
_PICO_PER_USD: Final = 10**12
_FEES: Final = frozenset({"web_searches", "storage_searches", "code_executions", "rerank_searches"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Band:
    """
    The rates while a call's input is above a number of tokens; they apply to all of its tokens.

    The rates of the seven commonest counts are held as differences to the rate of their whole, so that a cost is
    one sum over the counts as they are stated.

    Attributes:
        above: The band begins at one input token more than this; -1 in the first band.

        rates: Scaled pico-dollars, by unit.
    """

    above: int
    rates: Mapping[str, int]
    fixed: int
    input: int
    cache_read: int
    cache_write: int
    cache_write_1h: int
    output: int
    reasoning: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """
    What each unit costs, in bands of the call's input.

    Attributes:
        bands: Ascending; the last whose *above* the input exceeds applies.

        scale: What every rate was multiplied by to make it a whole number of pico-dollars.

        order: The priced units, parts before their wholes, each with the priced units that are parts of it.

        least_seconds: What a call with audio is billed for at least, in seconds.

        prices_tokens: Whether input and output both have a rate, so that every token has one.
    """

    bands: tuple[Band, ...]
    scale: int
    order: tuple[tuple[str, tuple[str, ...]], ...]
    least_seconds: int = 0
    prices_tokens: bool = False

    def cost_nanousd(self, usage: Usage) -> int:
        """Return what *usage* costs, rounded up once."""
        plain = self.plain_nanousd(usage)
        return self._cost_of_all(usage) if plain is None else plain

    def plain_nanousd(self, usage: Usage) -> int | None:
        """Return the same where no part is larger than its whole and there are tokens and fees alone, else None."""
        sent, read, written, written_1h, answered, reasoning, other = usage
        if sent >= 0 and answered >= 0 and not (read or written or written_1h or reasoning or other):
            # Most of all.
            band = self.bands[0] if len(self.bands) == 1 else self._band(sent)
            scaled = band.fixed + sent * band.input + answered * band.output
            return -(scaled // -(self.scale * PICO_PER_NANO))
        if (
            (other and not _are_fees(other))
            or read < 0
            or read + written > sent
            or not 0 <= written_1h <= written
            or not 0 <= reasoning <= answered
        ):
            return None
        band = self.bands[0] if len(self.bands) == 1 else self._band(sent)
        scaled = (
            band.fixed
            + sent * band.input
            + read * band.cache_read
            + written * band.cache_write
            + written_1h * band.cache_write_1h
            + answered * band.output
            + reasoning * band.reasoning
        )
        for name, count in other.items():
            scaled += count * band.rates.get(name, 0)
        return -(scaled // -(self.scale * PICO_PER_NANO))

    def reach(self, input_tokens: int) -> int:
        """Return how many bands a call of at most *input_tokens* can be in."""
        return 1 if len(self.bands) == 1 else sum(band.above < max(input_tokens, 0) for band in self.bands)

    def most_pico(self, is_meant: Callable[[Unit], bool], *, input_tokens: int) -> int | None:
        """
        Return the dearest rate among the units that are meant, in whole pico-dollars, rounded up.

        Every band that a call of at most *input_tokens* can be in counts.  None if no such unit has a price.
        """
        names = [name for name, _ in self.order if is_meant(UNITS[name])]
        if not names:
            return None
        reachable = [band for band in self.bands if band.above < max(input_tokens, 0)]
        return -(max(band.rates[name] for band in reachable for name in names) // -self.scale)

    def unpriced(self, usage: Usage) -> tuple[str, ...]:
        """Return the counts of *usage* that neither have a rate nor are part of something that has."""
        if not usage.other and self.prices_tokens:
            return ()
        priced = [UNITS[name] for name, _ in self.order]
        # Not the wholes that follow from what is stated: their parts speak for them.
        counts = billable_counts(usage).keys() & {_UNIT_OF.get(name, name) for name in usage.counts()}
        counts.discard("requests")
        return tuple(
            sorted(
                name
                for name in counts
                if name not in UNITS or not any(UNITS[name].is_part_of(whole) for whole in priced)
            )
        )

    def usd(self, band: Band, name: str, *, count: int = 1) -> Decimal:
        """Return the dollars for *count* of *name* in *band*, to 28 digits: for people, not for sums."""
        return Decimal(band.rates[name] * count) / (self.scale * _PICO_PER_USD)

    def _band(self, input_tokens: int) -> Band:
        for band in reversed(self.bands):
            if input_tokens > band.above:
                return band
        return self.bands[0]

    def _cost_of_all(self, usage: Usage) -> int:
        counts = billable_counts(usage)
        counts.setdefault("requests", 1)
        if self.least_seconds:
            self._raise_seconds(counts)
        rates = self._band(counts.get("input_tokens", 0)).rates
        # As `_alone` has it, in one pass.  Parts that overlap by an unknown number (cached, and audio) may add up to
        # more than their whole; each is billed in full then, and nothing is left of the whole.
        scaled = 0
        alone: dict[str, int] = {}
        for name, parts in self.order:
            rest = counts.get(name, 0)
            if rest:
                for part in parts:
                    rest -= alone[part]
                rest = max(rest, 0)
                scaled += rest * rates[name]
            alone[name] = rest
        return -(scaled // -(self.scale * PICO_PER_NANO))

    def _raise_seconds(self, counts: dict[str, int]) -> None:
        seconds = counts.get("audio_seconds", 0)
        if seconds:
            counts["audio_seconds"] = counts["input_audio_seconds"] = max(seconds, self.least_seconds)


def compile_rates(prices: Steps, *, least_seconds: int = 0) -> Rates:
    """
    Return the rates for *prices*.

    Args:
        prices: By unit, the dollars for one of it, each with the input tokens above which it applies, ascending;
            the first applies from -1.

        least_seconds: What a call with audio is billed for at least, in seconds.
    """
    pico = {name: [(above, usd * _PICO_PER_USD) for above, usd in steps] for name, steps in prices.items()}
    scale = lcm(*(rate.denominator for steps in pico.values() for _, rate in steps))
    order = _order(prices)
    starts = sorted({-1} | {above for steps in pico.values() for above, _ in steps})
    bands = tuple(
        _band(above, {name: _rate_above(steps, above, scale) for name, steps in pico.items()}, order)
        for above in starts
    )
    return Rates(
        bands=bands,
        scale=scale,
        order=order,
        least_seconds=least_seconds,
        prices_tokens=prices.keys() >= {"input_tokens", "output_tokens"},
    )


def _order(names: Mapping[str, object]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    priced = [unit for unit in MOST_SPECIFIC_FIRST if unit.name in names]
    return tuple(
        (whole.name, tuple(part.name for part in priced if part is not whole and part.is_part_of(whole)))
        for whole in priced
    )


def _rate_above(steps: Sequence[tuple[int, Fraction]], above: int, scale: int) -> int:
    rate = next(rate for start, rate in reversed(steps) if start <= above)
    return int(rate * scale)


def _band(above: int, rates: Mapping[str, int], order: tuple[tuple[str, tuple[str, ...]], ...]) -> Band:
    def step(name: str) -> int:
        """What one more *name* adds, where its wholes are stated without it."""
        alone = _alone(order, {name: 1})
        return sum(count * rates[unit] for unit, count in alone.items())

    return Band(
        above=above,
        rates=MappingProxyType(dict(rates)),
        fixed=rates.get("requests", 0),
        input=step("input_tokens"),
        cache_read=step("cache_read_tokens"),
        cache_write=step("cache_write_tokens"),
        cache_write_1h=step("cache_write_1h_tokens"),
        output=step("output_tokens"),
        reasoning=step("output_reasoning_tokens"),
    )


def _are_fees(counts: Mapping[str, int]) -> bool:
    """Whether *counts* are of nothing but uses of tools, which no other count is part of."""
    return counts.keys() <= _FEES and min(counts.values()) >= 0


def _alone(order: tuple[tuple[str, tuple[str, ...]], ...], counts: Mapping[str, int]) -> dict[str, int]:
    """Return how many of each priced unit are billed at its own rate: the whole without its priced parts."""
    alone: dict[str, int] = {}
    for name, parts in order:
        alone[name] = counts.get(name, 0) - sum(alone[part] for part in parts)
    return alone
