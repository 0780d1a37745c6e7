"""
What a provider would bill, kept apart from `bursar.prices` on purpose: it is the check of it.

Every amount comes from genai-prices' own `calc_price` and is rounded up to the nano-dollar once per request.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal
from threading import Lock, RLock
from typing import TYPE_CHECKING, Any, Final

from bursar.money import to_usd
from bursar.simulator.media_billing import sells_by_piece, usd_by_piece

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from genai_prices.types import ModelInfo, Provider

    from bursar.money import Money
    from bursar.usage import Usage


_MILLION: Final = Decimal(1_000_000)
_RATE_NAMES: Final = frozenset({"input", "output", "cached", "cache_write"})


class Bill:
    """
    What the simulator billed so far; thread-safe.

    Error responses are not in it: `calls` counts what was billed, a cost of zero included.
    """

    def __init__(self) -> None:
        # Reentrant, because a dropped stream is billed from the garbage collector, wherever that happens to run.
        self._lock = RLock()
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        with self._lock:
            self._calls = 0
            self._input_tokens = 0
            self._output_tokens = 0
            self._by_model: Counter[str] = Counter()
            self._by_agent: Counter[str] = Counter()

    def add(self, *, cost_nanousd: int, usage: Usage, model: str, agent: str) -> None:
        """Bill one request."""
        with self._lock:
            self._calls += 1
            self._input_tokens += usage.input_tokens
            self._output_tokens += usage.output_tokens
            self._by_model[model] += cost_nanousd
            self._by_agent[agent] += cost_nanousd

    @property
    def total_nanousd(self) -> int:
        """Everything billed, in nano-dollars."""
        with self._lock:
            return self._by_model.total()

    @property
    def total(self) -> Decimal:
        """Everything billed, in dollars."""
        return to_usd(self.total_nanousd)

    @property
    def calls(self) -> int:
        """How many requests were billed."""
        return self._calls

    @property
    def input_tokens(self) -> int:
        """All input billed, cached or not."""
        return self._input_tokens

    @property
    def output_tokens(self) -> int:
        """All output billed, reasoning included."""
        return self._output_tokens

    @property
    def by_model(self) -> dict[str, Decimal]:
        """Dollars by the model that answered."""
        with self._lock:
            return {model: to_usd(cost) for model, cost in self._by_model.items()}

    @property
    def by_agent(self) -> dict[str, Decimal]:
        """Dollars by scripted agent or `x-agent` header; `""` is everybody else."""
        with self._lock:
            return {agent: to_usd(cost) for agent, cost in self._by_agent.items()}

    def __repr__(self) -> str:
        return f"Bill(total={self.total}, calls={self.calls})"


@dataclass(frozen=True, slots=True, kw_only=True)
class _OwnRates:
    """Rates that the user gave, in dollars per million."""

    input: Decimal
    output: Decimal
    cached: Decimal
    cache_write: Decimal

    def usd(self, usage: Usage) -> Decimal:
        fresh = usage.input_tokens - usage.cache_read_tokens - usage.cache_write_tokens
        return (
            fresh * self.input
            + usage.cache_read_tokens * self.cached
            + usage.cache_write_tokens * self.cache_write
            + usage.output_tokens * self.output
        ) / _MILLION


class PriceBook:
    """Finds what a model costs: rates the user gave first, then genai-prices."""

    def __init__(self, rates: Mapping[str, Mapping[str, Money]] | None) -> None:
        given_rates: Mapping[str, Mapping[str, Money]] = {} if rates is None else rates
        self._own = {model: _own_rates(model, given) for model, given in given_rates.items()}
        self._lock = Lock()
        self._found: dict[tuple[str, str], tuple[Provider, ModelInfo] | None] = {}

    def names(self, provider: str) -> list[str]:
        """Return the models that *provider* lists, those that the user priced first."""
        from genai_prices.data_snapshot import get_snapshot

        owners = [owner for owner in get_snapshot().providers if owner.id == provider]
        listed = [info.id for owner in owners for info in owner.models]
        return [*self._own, *(name for name in listed if name not in self._own)]

    def knows(self, provider: str, model: str) -> bool:
        """Tell whether *model* has a price at *provider*, or at the provider that its name says."""
        return model in self._own or sells_by_piece(model) or self._find(provider, model) is not None

    def cost_nanousd(
        self, provider: str, model: str, usage: Usage, *, at: datetime, context: Mapping[str, str]
    ) -> int:
        """
        Return the price of *usage* at the time *at*, rounded up to the nano-dollar.

        Raises:
            LookupError: The model has no price.
        """
        if own := self._own.get(model):
            usd = own.usd(usage)
        elif sells_by_piece(model):
            usd = usd_by_piece(model, usage.other)
        else:
            usd = self._listed(provider, model, usage, at=at, context=context)
        return int(usd.scaleb(9).to_integral_value(ROUND_CEILING))

    def _listed(
        self, provider: str, model: str, usage: Usage, *, at: datetime, context: Mapping[str, str]
    ) -> Decimal:
        from genai_prices import Usage as ListedUsage

        found = self._find(provider, model)
        if found is None:
            msg = f'no price for model "{model}" at provider "{provider}"'
            raise LookupError(msg)
        counts: dict[str, int] = {
            name: count
            for name, count in {
                "input_tokens": usage.input_tokens,
                "cache_read_tokens": usage.cache_read_tokens,
                "cache_write_tokens": usage.cache_write_tokens,
                "cache_write_1h_tokens": usage.cache_write_1h_tokens,
                "output_tokens": usage.output_tokens,
                **usage.other,
            }.items()
            if count
        }
        owner, info = found
        return info.calc_price(
            ListedUsage(**counts), owner, genai_request_timestamp=at, price_context=context or None
        ).total_price

    def _find(self, provider: str, model: str) -> tuple[Provider, ModelInfo] | None:
        key = (provider, model)
        if key not in self._found:
            found = _look_up(provider, model)
            with self._lock:
                self._found[key] = found
        return self._found[key]


def _look_up(provider: str, model: str) -> tuple[Provider, ModelInfo] | None:
    from genai_prices.data_snapshot import get_snapshot

    # A compatible server of another provider speaks OpenAI's format: then the model's name says whose it is.
    for provider_id in (provider, None):
        try:
            owner, info = get_snapshot().find_provider_model(model, None, provider_id, None)
        except LookupError:
            continue
        # A model that is listed without a single rate would be billed nothing.
        if info.prices and not isinstance(info.prices, list) and not _has_rates(info.prices):
            return None
        return owner, info
    return None


def _has_rates(prices: object) -> bool:
    return any(rate is not None for rate in vars(prices).values())


def _own_rates(model: str, given: Mapping[str, Money]) -> _OwnRates:
    unknown = set(given) - _RATE_NAMES
    if unknown or not {"input", "output"} <= set(given):
        msg = f'prices of "{model}" need "input" and "output" and may have "cached" and "cache_write"'
        raise ValueError(msg)
    rates: dict[str, Any] = {name: Decimal(str(rate)) for name, rate in given.items()}
    rates.setdefault("cached", rates["input"])
    rates.setdefault("cache_write", rates["input"])
    return _OwnRates(**rates)
