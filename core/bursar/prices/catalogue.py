"""
The prices of genai-prices, compiled on first use.

Importing genai-prices takes half a second, so nothing here imports it before a price is asked for that no
override answers.  Its data is read, bundled or refreshed (`data`), never the snapshot that its updater may install: a
price that changes while a run is paid from it could not be told by its version.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time
from functools import cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, cast

from bursar.prices.additions import NOTHING_ADDED, additions_for
from bursar.prices.data import price_data, version_in_use
from bursar.prices.names import canonical_provider
from bursar.prices.price import Price
from bursar.prices.rates import compile_rates
from bursar.prices.timeline import Timeline
from bursar.prices.units import UNITS_BY_PRICE_KEY

if TYPE_CHECKING:
    from collections.abc import Mapping
    from fractions import Fraction

    from genai_prices.types import ModelInfo, ModelPrice, Provider

    from bursar.prices.additions import Added
    from bursar.prices.rates import Rates, Steps

TIER_CONTEXTS: Final[Mapping[str, Mapping[str, str]]] = MappingProxyType(
    {
        "batch": {"processing": "batch"},
        "flex": {"service_tier": "flex"},
        "priority": {"service_tier": "priority"},
        "fast": {"service_tier": "fast", "speed": "fast"},
    }
)
"""What genai-prices calls the circumstances of each tier."""

_GROQ_LEAST_SECONDS: Final = 10
_GROQ_BY_THE_SECOND: Final = frozenset({"whisper-large-v3", "whisper-large-v3-turbo"})
_FREE: Final = frozenset({("openai", "moderation")})
_INCLUDED: Final = "included in the subscription"


def data_version() -> str:
    """Return the version of the price data in use: of genai-prices, or of what was stored by an update."""
    return version_in_use()


def find_in_catalogue(provider: str | None, model: str, *, is_prefix: bool = False) -> Timeline | None:
    """
    Return the prices of *model* at *provider*, or None if genai-prices has none.

    Args:
        provider: As anyone calls it; None stands for whoever makes a model of that name.

        is_prefix: Whether *provider* was the part of a model name before its slash, and only a provider that
            genai-prices knows by that very name is meant.
    """
    found = _find_provider(provider, model, is_exact=is_prefix)
    if found is None:
        return None
    info = found.find_model(model, all_providers=list(_providers()))
    if info is None:
        return None
    return compile_model(found, info, added=additions_for(_owner(found, info).id, model))


def takes_prefixes(provider: str) -> bool:
    """Whether `x/y` at *provider* can mean model y of provider x: it is known, and no name of its own has a slash."""
    found = _find_provider(provider, "", is_exact=False)
    return found is not None and not any("/" in model.id for model in found.models)


def providers_with(model: str) -> list[str]:
    """Return every provider that has a model of this name, in genai-prices' order."""
    return [provider.id for provider in _providers() if provider.find_model(model) is not None]


def provider_patterns() -> list[tuple[str, str]]:
    """Return each provider with the pattern that its API's addresses match."""
    return [(provider.id, provider.api_pattern) for provider in _providers()]


def compile_model(provider: Provider, model: ModelInfo, *, added: Added = NOTHING_ADDED) -> Timeline:
    """
    Return the prices of *model* as *provider* bills them.

    Service tiers apply only at the provider that lists the model: genai-prices has none for a model that is found
    at a fallback, such as an OpenAI model at Azure.

    Args:
        added: What is laid over the rows of genai-prices.
    """
    constraints = [price.constraint for price in model.prices] if isinstance(model.prices, list) else []
    constraints += [variant.constraint for variant in model.price_variants or ()]
    bounds = [bound for bound in constraints if bound is not None]

    def price_in(instant: datetime) -> Price | None:
        return _compile(provider, model, instant, timeline, added)

    timeline = Timeline(
        price_in,
        days=[
            *(day for bound in bounds if (day := cast("date | None", getattr(bound, "start_date", None)))),
            *added.days,
        ],
        seconds=[
            _utc_second(cast("time", getattr(bound, edge)))
            for bound in bounds
            for edge in ("start_time", "end_time")
            if hasattr(bound, edge)
        ],
    )
    return timeline


def _compile(
    provider: Provider, model: ModelInfo, instant: datetime, timeline: Timeline, added: Added
) -> Price | None:
    is_own = any(model is own for own in provider.models)
    least = _GROQ_LEAST_SECONDS if provider.id == "groq" and model.id in _GROQ_BY_THE_SECOND else 0
    standard = model.get_prices(instant)
    is_free = _is_declared_free(provider, model)
    day = instant.date()
    steps = None if is_free else _steps(standard)
    if steps is None and not is_free:
        return None
    rates = _free_rates() if steps is None else compile_rates(added.steps(steps, day), least_seconds=least)
    tiers: dict[str, Rates] = {}
    if is_own and steps is not None:
        for tier, more in added.tier_steps(steps, day).items():
            tiers[tier] = compile_rates(added.steps(more, day), least_seconds=least)
    if is_own and model.price_variants and not is_free:
        for tier, context in TIER_CONTEXTS.items():
            tier_price = model.get_prices(instant, context)
            if tier_price != standard and (tier_steps := _steps(tier_price)):
                tiers[tier] = compile_rates(added.steps(tier_steps, day), least_seconds=least)
    owner = _owner(provider, model)
    return Price(
        provider=provider.id,
        model=model.id,
        row=_row(owner.id, model.id, timeline, instant),
        data_version=data_version(),
        rates=rates,
        tier_rates=MappingProxyType(tiers),
        starts=timeline.starts(instant),
        hours=timeline.hours(instant),
        context_window=model.context_window,
        is_free=is_free,
        # Anthropic's models write to the cache only where a request marks what to cache.  Others that price a
        # write make it by themselves, or are not known not to.
        has_automatic_cache="claude" not in model.id,
        guessed_tiers=added.guessed_tiers(),
    )


def _owner(provider: Provider, model: ModelInfo) -> Provider:
    """Return who lists *model*: *provider*, or one that it falls back to."""
    lists = (one for one in (provider, *_providers()) if any(model is own for own in one.models))
    return next(lists)


def _steps(price: ModelPrice) -> Steps | None:
    """Return the rates, or None if there are none: a row without prices is unknown, not free."""
    from fractions import Fraction

    steps: dict[str, list[tuple[int, Fraction]]] = {}
    for key, value in price.__dict__.items():
        if value is None:
            continue
        unit = UNITS_BY_PRICE_KEY.get(key)
        if unit is None:
            # Leaving out what cannot be read would bill too little.
            return None
        base = getattr(value, "base", value)
        tiers = [(tier.start, tier.price) for tier in getattr(value, "tiers", ())]
        steps[unit.name] = [(above, Fraction(usd) / unit.per) for above, usd in [(-1, base), *tiers]]
    if not any(usd for rates in steps.values() for _, usd in rates):
        return None
    return steps


@cache
def _free_rates() -> Rates:
    from fractions import Fraction

    nothing = [(-1, Fraction(0))]
    return compile_rates({"input_tokens": nothing, "output_tokens": nothing})


def _is_declared_free(provider: Provider, model: ModelInfo) -> bool:
    """
    Whether genai-prices' empty row is known to mean "costs nothing", and not "nobody noted the price".

    Its free models have no prices at all, and so have some that only lost theirs (a withdrawn Cerebras model, music
    that is sold by the song).  Free are those whose name ends in `:free`, OpenAI's moderation, and what the
    data's own comment calls included in a subscription.
    """
    has_prices = not isinstance(model.prices, list) and any(
        value is not None for value in model.prices.__dict__.values()
    )
    if has_prices or isinstance(model.prices, list):
        return False
    named_free = model.id.endswith(":free")
    included = (model.price_comments or "").lower().startswith(_INCLUDED)
    return named_free or included or (provider.id, model.id) in _FREE


def _find_provider(provider: str | None, model: str, *, is_exact: bool) -> Provider | None:
    from genai_prices.data_snapshot import find_provider_by_id

    providers = list(_providers())
    if provider is None:
        lowered = model.lower()
        makers = (p for p in providers if p.model_match is not None and p.model_match.is_match(lowered))
        return next(makers, None)
    name = canonical_provider(provider)
    if is_exact:
        return next((p for p in providers if p.id == name), None)
    return find_provider_by_id(providers, name)


def _providers() -> tuple[Provider, ...]:
    return price_data().providers


def _row(owner: str, model: str, timeline: Timeline, instant: datetime) -> str:
    starts, hours = timeline.starts(instant), timeline.hours(instant)
    day = f"@{starts}" if starts else ""
    return f"{owner}:{model}{day}" + (f" {hours[0]:%H:%M}-{hours[1]:%H:%M}" if hours else "")


def _utc_second(clock: time) -> int:
    utc = datetime.combine(date(1970, 1, 1), clock, clock.tzinfo or UTC).astimezone(UTC)
    return utc.hour * 3600 + utc.minute * 60 + utc.second
