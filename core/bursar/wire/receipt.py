"""What a response says that was used, and what the provider says that it cost."""

from __future__ import annotations

from decimal import ROUND_CEILING, Decimal, InvalidOperation
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple

from bursar.money import NANO_PER_USD
from bursar.tuples import make
from bursar.usage import Usage
from bursar.wire.fields import MOST_COUNT, is_mapping, object_at

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bursar.wire.fields import Json

_NOTHING: Final[Mapping[str, int]] = MappingProxyType({})
_TICKS_PER_NANO: Final = 10
"""xAI counts in ticks, 10**10 to the dollar (docs.x.ai, "Cost Tracking")."""
_MOST_NANOUSD: Final = 1_000_000 * NANO_PER_USD
"""More than one call costs; a provider that states more is not believed."""
_KNOWN_TIERS: Final = frozenset({"priority", "flex", "batch", "fast", "us_only"})


class Part(NamedTuple):
    """
    A share of a call that has rates of its own.

    Attributes:
        model: Who did it, or None for the model that served the call.

        usage: What it used.
    """

    model: str | None
    usage: Usage


class Receipt(NamedTuple):
    """
    What one response, or the events of a stream seen so far, said about its own cost.

    Attributes:
        usage: What was used, or None where the response does not say: unknown, never zero.

        parts: The same, where the call is billed in parts (Anthropic's iterations: compaction, an advisor, a
            fallback model).  Empty otherwise.  Where there are parts, price each and not *usage*, which is their sum.

        model: The model that served the call, as the provider names it.

        tier: `"priority"`, `"flex"`, `"batch"`, `"fast"` or `"us_only"` where the call was served at other rates, else
            None.

        stated_nanousd: What the provider itself says the call cost, in nano-dollars, rounded up.

        is_estimate: Whether *usage* is measured on what was sent and what came, and not stated by the provider.

        finished: Whether the answer came to its end.  Usage without it may be of a part of the answer only.

        server_tools: How often the provider ran which tool of its own.  `usage.other` holds the same counts under
            the names of a price book (`SERVER_TOOL_UNITS`): bill one of the two.
    """

    usage: Usage | None = None
    parts: tuple[Part, ...] = ()
    model: str | None = None
    tier: str | None = None
    stated_nanousd: int | None = None
    is_estimate: bool = False
    finished: bool = False
    server_tools: Mapping[str, int] = _NOTHING

    def with_tier(self, tier: str | None) -> Receipt:
        """Return the same, served in another *tier*."""
        return self._replace(tier=known_tier(tier))


def told_receipt(input_tokens: int, output_tokens: int, *, model: str | None = None) -> Receipt:
    """Return the receipt of a whole answer of which a framework tells no more than its tokens."""
    if input_tokens > MOST_COUNT or output_tokens > MOST_COUNT:
        return Receipt(model=model, finished=True)
    usage = make(Usage, (input_tokens, 0, 0, 0, output_tokens, 0, _NOTHING))
    return make(Receipt, (usage, (), model, None, None, False, True, _NOTHING))


def known_tier(*names: object) -> str | None:
    """Return the first of *names* that has rates of its own; `default`, `auto`, `standard` and `scale` do not."""
    return next((name for name in names if isinstance(name, str) and name in _KNOWN_TIERS), None)


def stated_nanousd(usage: Json) -> int | None:
    """
    Return what *usage* itself says the call cost, in nano-dollars rounded up, or None.

    Three providers say so: OpenRouter in dollars (`cost`, plus the upstream's cost where the user's own key pays
    for that), xAI in ticks (`cost_in_usd_ticks`), Perplexity in dollars (`cost.total_cost`).
    """
    ticks = usage.get("cost_in_usd_ticks")
    if isinstance(ticks, int) and not isinstance(ticks, bool) and ticks >= 0:
        nanousd = -(-ticks // _TICKS_PER_NANO)
        return nanousd if nanousd <= _MOST_NANOUSD else None
    cost = usage.get("cost")
    if is_mapping(cost):
        return _nanousd(cost.get("total_cost"))
    if usage.get("is_byok") is not True:
        return _nanousd(cost)
    fee, upstream = _nanousd(cost), _nanousd(object_at(usage, "cost_details").get("upstream_inference_cost"))
    return None if fee is None or upstream is None else fee + upstream


def _nanousd(usd: object) -> int | None:
    if isinstance(usd, bool) or not isinstance(usd, int | float | str | Decimal):
        return None
    try:
        # Through its text: 1.5e-05 dollars is then exactly what the provider wrote.
        exact = Decimal(str(usd))
    except InvalidOperation:
        return None
    if not exact.is_finite() or not 0 <= exact.scaleb(9) <= _MOST_NANOUSD:
        return None
    return int(exact.scaleb(9).to_integral_value(ROUND_CEILING))
