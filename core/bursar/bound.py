"""The most that a call may cost, worked out from its request alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from bursar.account import MOST, Amounts
from bursar.errors import UnmeteredEndpoint
from bursar.money import PICO_PER_NANO
from bursar.prices import find_price, output_ceiling
from bursar.prices import price as known_price
from bursar.prices.price import ANSWERED_IN
from bursar.prices.seconds import time_most_pico
from bursar.reservation import Shrink
from bursar.tuples import make
from bursar.wire.ask import FREE_SERVER_TOOLS, SERVER_TOOL_UNITS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bursar.prices import Modality, Price
    from bursar.wire import Ask

_ALL: Final[tuple[Modality, ...]] = ("text", "audio", "image", "video")
_TEXT: Final[tuple[Modality, ...]] = ("text",)
_MEDIA: Final = frozenset({"video", "audio", "file", "document", "cached content"})
_MOST: Final = MOST // 64
"""What a dearer call counts as, $72 million; 64 of them at a time still fit where nothing is limited."""
OUTPUT_UNKNOWN: Final = 1_000_000
"""Output tokens to assume for a model of which neither the most output nor the context window is known."""


class Bound(NamedTuple):
    """
    The most a call may cost at one model.

    Attributes:
        price: What it was worked out from; None where no price is known, and *shrink* then counts tokens alone.

        shrink: How it falls with the output limit; its *most* is the wanted output.

        input_tokens: The most input tokens.

        amounts: The whole of it, for one call and one attempt.
    """

    model: str
    price: Price | None
    shrink: Shrink
    input_tokens: int
    amounts: Amounts

    def nanousd_of(self, input_tokens: int, output_tokens: int) -> int:
        """Return the most that *input_tokens* and *output_tokens* of this call can have cost."""
        shrink = self.shrink
        fixed = (
            shrink.fixed_picousd * input_tokens // self.input_tokens
            if self.input_tokens
            else shrink.fixed_picousd
        )
        # One output token costs output_picousd divided by the number of choices that share a limit.
        each = -(-shrink.output_picousd // max(shrink.output_tokens, 1))
        return -(-(fixed + output_tokens * each) // PICO_PER_NANO)


def unmetered_bound(model: str) -> Bound:
    """Return the bound of a call whose cost cannot be known: it counts as a call, and holds no money."""
    return Bound(model, None, Shrink(0, 0, 0, 0, 0, 0), 0, Amounts(0, 0, 1, 1))


def bound(
    ask: Ask,
    *,
    provider: str,
    model: str,
    min_output_tokens: int,
    input_tokens: int | None = None,
    timeout_s: Callable[[], float | None] | None = None,
    is_limited: bool = True,
) -> Bound:
    """
    Return the most that *ask* may cost at *model*.

    Input counts at the dearest rate it can be billed at: a cache write where one can happen, the highest tier that
    the input can reach. Output counts at the request's own limit, else at the most that the model can answer.

    Args:
        input_tokens: An exact count, where the cheap bound of *ask* does not fit.

        timeout_s: Returns what the client waits for an answer at most, where that is known.

        is_limited: Whether anything limits what the call may cost. Nothing needs a bound where nothing does, and then
            what cannot be bounded is left out.

    Raises:
        UnmeteredEndpoint: Nothing bounds the call; the message names what to limit.
    """
    price = find_price(provider, model)
    if price is not None and ask.is_text and not price.is_by_the_second:
        # Nearly always.
        tokens = ask.input_tokens_most if input_tokens is None else input_tokens
        input_, output, request = (price.list_price or price).text_rates_most_pico(
            tokens, cache_write=ask.cache_write, tier=ask.tier
        )
        fixed = tokens * input_ + request + ask.extra_output_tokens * output
    else:
        window = price.context_window if price is not None else None
        tokens = input_tokens if input_tokens is not None else _input_tokens(ask, window, model, is_limited)
        if price is not None and ask.pieces and not price.has_token_rates:
            return _bound_by_piece(ask, price, model, is_limited=is_limited)
        fixed, output = (0, 0) if price is None else _rates(ask, price, provider, tokens, is_limited)
        if price is not None and price.is_by_the_second:
            waits_s = None if timeout_s is None else timeout_s()
            fixed += time_most_pico(price, stream=ask.stream, timeout_s=waits_s, is_limited=is_limited)
    most = ask.output_limit
    if most is None or not ask.generates:
        most = _output_tokens(ask, price, provider, model)
    choices = ask.choices if ask.generates else 0
    least = min_output_tokens if min_output_tokens < most else most
    fixed_tokens = tokens + ask.extra_output_tokens
    output *= choices
    shrink = make(Shrink, (fixed, fixed_tokens, output, choices, most, least))
    nanousd, all_tokens = -(-(fixed + most * output) // PICO_PER_NANO), fixed_tokens + most * choices
    if nanousd > _MOST or all_tokens > _MOST:
        amounts = amounts_of(fixed + most * output, all_tokens)
    else:
        amounts = make(Amounts, (nanousd, all_tokens, 1, 1))
    return make(Bound, (model, price, shrink, tokens, amounts))


def amounts_of(picousd: int, tokens: int) -> Amounts:
    """Return what one call and one attempt of so much take of a budget, no more than an account can count."""
    nanousd = -(-picousd // PICO_PER_NANO)
    if nanousd > _MOST or tokens > _MOST:
        # Some thousand million choices of some thousand million tokens were asked for.
        nanousd, tokens = min(nanousd, _MOST), min(tokens, _MOST)
    return make(Amounts, (nanousd, tokens, 1, 1))


def _bound_by_piece(ask: Ask, price: Price, model: str, *, is_limited: bool) -> Bound:
    """Return the bound of a call to a model that has no tokens: it bills characters, seconds or images."""
    if is_limited and ask.unbounded is not None:
        raise _unbounded(model, ask.unbounded)
    fixed = price.pieces_pico(ask.pieces, tier=ask.tier)
    if fixed is None and is_limited:
        what = ", ".join(ask.pieces)
        raise _unbounded(model, f"its price has no rate for {what}")
    fixed = (fixed or 0) + (price.fee_pico("requests", tier=ask.tier) or 0)
    return Bound(model, price, Shrink(fixed, 0, 0, 0, 0, 0), 0, amounts_of(fixed, 0))


def _unbounded(model: str, why: str) -> UnmeteredEndpoint:
    return UnmeteredEndpoint(f'this call to "{model}" was not sent: it cannot be bounded, because {why}')


def _input_tokens(ask: Ask, context_window: int | None, model: str, is_limited: bool) -> int:
    tokens = ask.input_ceiling(context_window)
    if not is_limited:
        return ask.input_tokens_most if tokens is None else tokens
    if ask.unbounded is not None:
        raise _unbounded(model, ask.unbounded)
    if tokens is None:
        unseen = ", ".join(ask.input_unseen) or "what tools bring"
        msg = (
            f'this call to "{model}" was not sent: it cannot be bounded, because its input holds {unseen}, which the '
            "request does not show; limit the uses of its tools, or add the model's context window with "
            "bursar.prices.add(..., context=...)"
        )
        raise UnmeteredEndpoint(msg)
    return tokens


def _output_tokens(ask: Ask, price: Price | None, provider: str, model: str) -> int:
    if not ask.generates:
        return 0
    if ask.output_limit is not None:
        return ask.output_limit
    declared = None if price is None else price.output_limit
    known = declared if declared is not None else output_ceiling(provider, model)
    if known is not None:
        return known
    return (None if price is None else price.context_window) or OUTPUT_UNKNOWN


def _rates(ask: Ask, price: Price, provider: str, tokens: int, is_limited: bool) -> tuple[int, int]:
    """Return the most the call costs before its first output token, and the dearest rate of one output token."""
    if not ask.also_models:
        return _rates_of(ask, price, tokens, is_limited)
    prices = [price]
    for other in ask.also_models:
        also = known_price(provider, other) if is_limited else find_price(provider, other)
        prices.extend(() if also is None else (also,))
    each = [_rates_of(ask, one, tokens, is_limited) for one in prices]
    return max(fixed for fixed, _ in each), max(output for _, output in each)


def _rates_of(ask: Ask, price: Price, tokens: int, is_limited: bool) -> tuple[int, int]:
    price = price.list_price or price
    tier, cache_write = ask.tier, ask.cache_write
    # What is billed by the search has no rate for a token, and needs none.  What is not in the body may be a film.
    kinds = _ALL if ask.input_unseen and _MEDIA.intersection(ask.input_unseen) else _TEXT
    text = 0
    if tokens:
        text = max(
            price.input_rate_most_pico(tokens, cache_write=cache_write, tier=tier, modality=kind)
            for kind in kinds
        )
    fixed = tokens * text + (price.fee_pico("requests", tier=tier) or 0)
    if ask.image_tokens_most:
        rate = price.input_rate_most_pico(tokens, cache_write=cache_write, tier=tier, modality="image")
        fixed += ask.image_tokens_most * max(rate - text, 0)
    if ask.audio_tokens_most:
        rate = price.input_rate_most_pico(tokens, cache_write=cache_write, tier=tier, modality="audio")
        fixed += ask.audio_tokens_most * max(rate - text, 0)
    output = 0
    if ask.generates:
        output = max(
            price.output_rate_most_pico(tokens, tier=tier, modality=kind) for kind in _output_kinds(ask)
        )
    fixed += ask.extra_output_tokens * output
    if ask.pieces:
        fixed += price.pieces_pico(ask.pieces, tier=tier) or 0
    if ask.server_tools:
        fixed += _tool_fees(ask, price, is_limited)
    return fixed, output


def _output_kinds(ask: Ask) -> Sequence[Modality]:
    """Return what the answer may be made of: audio only where it is asked for, pictures unless others are."""
    if not ask.modalities:
        return ANSWERED_IN
    kinds: list[Modality] = ["text"]
    if ask.asks_audio_output:
        kinds.append("audio")
    if "image" in ask.modalities:
        kinds.append("image")
    return kinds


def _tool_fees(ask: Ask, price: Price, is_limited: bool) -> int:
    fees = 0
    for kind, uses in ask.server_tools.items():
        if kind in FREE_SERVER_TOOLS:
            continue
        fee = price.fee_pico(SERVER_TOOL_UNITS.get(kind, kind), tier=ask.tier)
        if uses is not None and fee is not None:
            fees += fee * uses
        elif is_limited:
            what = "has no limit on its uses" if uses is None else "has no known fee"
            msg = (
                f'this call to "{price.model}" was not sent: its tool "{kind}" {what}, so that its cost cannot be '
                "bounded; limit it (max_uses, or max_tool_calls), or leave the tool out"
            )
            raise UnmeteredEndpoint(msg)
    return fees
