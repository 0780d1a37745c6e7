"""Finding the price of a model: what was declared first, then aliases, then genai-prices."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from math import inf
from time import time as clock
from typing import TYPE_CHECKING, Final

from bursar.errors import UnknownPrice
from bursar.prices.catalogue import find_in_catalogue, takes_prefixes
from bursar.prices.discounts import with_discounts
from bursar.prices.names import Route, canonical_provider, routes
from bursar.prices.overrides import STATE
from bursar.prices.pieces import price_by_piece
from bursar.prices.timeline import Lasting, Timeline, as_utc
from bursar.unwatched import unwatched

if TYPE_CHECKING:
    from bursar.prices.overrides import Declarations
    from bursar.prices.price import Price

_FOUND_MOST: Final = 10_000
_ALIAS_STEPS_MOST: Final = 8
_NEVER: Final = Lasting(0.0, 0.0, None)


def price(provider: str | None, model: str, *, at: datetime | None = None) -> Price:
    """
    Return the price of *model* at *provider*.

    Args:
        provider: Who bills, as genai-prices, OpenTelemetry, LiteLLM or LangChain calls it; None stands for whoever
            makes a model of that name.

        model: As the call names it.

        at: The instant of the call; None is now, a naive one is UTC.

    Raises:
        UnknownPrice: There is none; the message has the line that adds it.
    """
    found = find_price(provider, model, at=at)
    if found is None:
        raise _unknown(provider, model, at)
    return found


def find_price(provider: str | None, model: str, *, at: datetime | None = None) -> Price | None:
    """Return the price of *model* at *provider*, as `price` does, or None where there is none."""
    declared = STATE.now
    if at is not None:
        found = _look_up_once(declared, provider, model)
        return found.at(at) if isinstance(found, Timeline) else found
    since_s, until_s, current = declared.current.get((provider, model), _NEVER)
    if since_s <= (now_s := clock()) < until_s:
        # Nearly always.
        return current
    return _now(declared, provider, model, now_s).price


def price_of_served(provider: str, served: str, asked: str, *, at: datetime | None = None) -> Price | None:
    """
    Return the price of the model that *served*, or else of the one that was *asked* for.

    A price that was declared for the name that is asked for also holds for the names that it is served under, such as
    a dated snapshot's, unless those have a declared price of their own.
    """
    if at is not None:
        of_served = find_price(provider, served, at=at)
        return of_served if asked == served else _of_served(of_served, find_price(provider, asked, at=at))
    declared = STATE.now
    names = (provider, served) if asked == served else (provider, served, asked)
    since_s, until_s, current = declared.current.get(names, _NEVER)
    if since_s <= (now_s := clock()) < until_s:
        # Nearly always.
        return current
    one, other = _now(declared, provider, served, now_s), _now(declared, provider, asked, now_s)
    since_s, until_s = max(one.since_s, other.since_s), min(one.until_s, other.until_s)
    found = Lasting(since_s, until_s, _of_served(one.price, other.price))
    _keep(declared, names, found)
    return found.price


def _now(declared: Declarations, provider: str | None, model: str, now_s: float) -> Lasting:
    found = _look_up_once(declared, provider, model)
    lasting = found.lasting(now_s) if isinstance(found, Timeline) else Lasting(0.0, inf, found)
    _keep(declared, (provider, model), lasting)
    return lasting


def _keep(declared: Declarations, names: tuple[str | None, ...], lasting: Lasting) -> None:
    if len(declared.current) >= _FOUND_MOST:
        # Names are the caller's, so there may be any number; prices are cheap to find again.
        declared.current.clear()
    declared.current[names] = lasting


def _of_served(of_served: Price | None, of_asked: Price | None) -> Price | None:
    if of_served is not None and of_served.is_override:
        return of_served
    if of_asked is None or of_served is None or of_asked.is_override:
        return of_asked or of_served
    # A discount may be for either name: the bound had that of the one asked for.
    is_same_row = of_asked.row == of_served.row and of_asked.factor is not None
    return of_asked if is_same_row else of_served


def find_timeline(provider: str | None, model: str) -> Price | Timeline | None:
    """Return all prices of *model* at *provider*: one, several that succeed each other, or None."""
    declared = STATE.now
    return _look_up_discounted(declared, provider, model)


def declared_output_limit(provider: str | None, model: str) -> int | None:
    """Return the output limit that was last declared for *model* at *provider*, itself or what it stands for."""
    for by, name in ((provider, model), resolve_alias(provider, model)):
        for override in reversed(_overrides(STATE.now, list(routes(by, name)))):
            if override.output_limit is not None:
                return override.output_limit
    return None


def resolve_alias(provider: str | None, model: str) -> tuple[str | None, str]:
    """Return the provider and model that *model* stands for, if it is an alias, and else themselves."""
    for _ in range(_ALIAS_STEPS_MOST):
        meant = _alias_of(STATE.now, provider, model)
        if meant is None:
            break
        provider, model = meant[0] or provider, meant[1]
    return provider, model


def _look_up_once(declared: Declarations, provider: str | None, model: str) -> Price | Timeline | None:
    try:
        return declared.found[provider, model]
    except KeyError:
        found = _look_up_discounted(declared, provider, model)
        if len(declared.found) >= _FOUND_MOST:
            declared.found.clear()
        declared.found[provider, model] = found
        return found


@unwatched
def _look_up_discounted(declared: Declarations, provider: str | None, model: str) -> Price | Timeline | None:
    found = _look_up(declared, provider, model, steps=_ALIAS_STEPS_MOST)
    if not declared.discounts:
        return found
    return with_discounts(found, declared.discounts, names=[route.model for route in routes(provider, model)])


def _look_up(
    declared: Declarations, provider: str | None, model: str, *, steps: int
) -> Price | Timeline | None:
    candidates = list(routes(provider, model))
    overrides = _overrides(declared, candidates)
    if overrides and overrides[0].starts is None and len(overrides) == 1:
        return overrides[0]
    meant = _alias_of(declared, provider, model)
    if meant is not None and steps:
        base = _look_up(declared, meant[0] or provider, meant[1], steps=steps - 1)
    else:
        base = _in_catalogue(candidates)
    return _succeeded(base, overrides) if overrides else base


def _overrides(declared: Declarations, candidates: list[Route]) -> tuple[Price, ...]:
    for route in candidates:
        name = route.model.lower()
        for key in ((route.provider, name), (None, name)):
            if key in declared.prices:
                # A price for every provider is that of the one that is called.
                billed_by = key[0] or candidates[0].provider or route.provider or ""
                return tuple(replace(one, provider=billed_by) for one in declared.prices[key])
    return ()


def _alias_of(declared: Declarations, provider: str | None, model: str) -> tuple[str | None, str] | None:
    for route in routes(provider, model):
        meant = declared.aliases.get(route.model.lower())
        if meant is not None:
            return (meant[0] or (route.provider if route.is_prefix else None)), meant[1]
    return None


def _in_catalogue(candidates: list[Route]) -> Price | Timeline | None:
    asked = candidates[0].provider
    for route in candidates:
        # "openai/gpt-4o" at OpenAI is gpt-4o; at a host whose own names have slashes it is another seller's model.
        if route.is_prefix and asked not in {None, route.provider} and not takes_prefixes(asked or ""):
            continue
        found = find_in_catalogue(route.provider, route.model, is_prefix=route.is_prefix)
        if found is not None:
            return found.at(None) if found.is_constant else found
    by_piece = (price_by_piece(route.provider, route.model) for route in candidates)
    return next((found for found in by_piece if found is not None), None)


def _succeeded(base: Price | Timeline | None, overrides: tuple[Price, ...]) -> Timeline:
    """Return *base* until the first override starts, and the overrides from then on."""

    def price_in(instant: datetime) -> Price | None:
        begun = [one for one in overrides if one.starts is None or one.starts <= instant.date()]
        if begun:
            return begun[-1]
        return base.at(instant) if isinstance(base, Timeline) else base

    days = [one.starts for one in overrides if one.starts is not None]
    if isinstance(base, Timeline):
        return Timeline(price_in, days=[*days, *base.days], seconds=base.seconds)
    return Timeline(price_in, days=days)


def _unknown(provider: str | None, model: str, at: datetime | None) -> UnknownPrice:
    day = (datetime.now(UTC) if at is None else as_utc(at)).date()
    if not model:
        return UnknownPrice("no price is known for a call that names no model; name one in the request")
    # As it is written in code, for the line to be copied.
    name = json.dumps(model, ensure_ascii=False)
    seller = "any provider" if provider is None else f'provider "{canonical_provider(provider)}"'
    line = f'bursar.prices.add({name}, input="$0.20", output="$0.60", per=1_000_000)'
    if provider is not None and canonical_provider(provider) == "cohere" and "rerank" in model:
        # Cohere bills rerankers by the search.
        line = f'bursar.prices.add({name}, input=0, output=0, fees={{"rerank_searches": "$0.002"}})'
    # What is named by whoever deployed it is another name for a model whose price is known.
    is_named_by_user = provider == "azure" or model.startswith(("arn:", "ft:"))
    alias = (
        f'say which model it is with bursar.prices.alias({name}, "gpt-4o"), or ' if is_named_by_user else ""
    )
    msg = (
        f"no price for model {name} at {seller} on {day}; {alias}add one with {line}, "
        f"or say bursar.prices.free({name}) if it costs nothing"
    )
    return UnknownPrice(msg)
