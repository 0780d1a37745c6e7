"""
Rates that genai-prices leaves out, with the day from which they hold and where they were read.

They are laid over the rates of its own rows and never replace one: as soon as genai-prices has a rate, that one
holds.  A rate is in dollars for a million tokens, or for one of anything else.
"""

from __future__ import annotations

import re
from datetime import date
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

from bursar.prices.units import UNITS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from fractions import Fraction

    from bursar.prices.rates import Steps

_ANY_DAY: Final = date.min


class Addition(NamedTuple):
    """
    Rates of further kinds.

    Attributes:
        provider: Whose row it is laid over, as genai-prices calls them; whoever resells the model has it too.

        models: A pattern of the names it is meant for, from their beginning, in lower case.

        starts: The first day, in UTC.

        usd: Dollars by unit.

        source: Where it was read.
    """

    provider: str
    models: str
    starts: date
    usd: Mapping[str, str]
    source: str


class TierAddition(NamedTuple):
    """
    A service tier that costs a multiple of the standard token rates.

    Attributes:
        percent: Of the standard rates; the highest where the source gives a range.

        is_range: Whether it does, so that a cost is an estimate.
    """

    provider: str
    models: str
    starts: date
    tier: str
    percent: int
    source: str
    is_range: bool = False


_AUDIO_CUT: Final = date(2024, 12, 17)

ADDITIONS: Final = (
    # The first audio model was cut to 40 % of its price when the second came out.
    Addition(
        "openai",
        r"gpt-4o-audio-preview",
        _ANY_DAY,
        {"input_audio_tokens": "100", "output_audio_tokens": "200"},
        'OpenAI, "Introducing audio to the Chat Completions API", 2024-10-17',
    ),
    Addition(
        "openai",
        r"gpt-4o-audio-preview(?!-2024-10-01)",
        _AUDIO_CUT,
        {"input_audio_tokens": "40", "output_audio_tokens": "80"},
        'OpenAI, "OpenAI o1 and new tools for developers", 2024-12-17',
    ),
    Addition(
        "openai",
        r"gpt-4o-mini-audio-preview",
        _AUDIO_CUT,
        {"input_audio_tokens": "10", "output_audio_tokens": "20"},
        'OpenAI, "OpenAI o1 and new tools for developers", 2024-12-17',
    ),
    # Every answer of a search model is one search of the preview kind.
    Addition(
        "openai",
        r"gpt-4o(?:-mini)?-search-preview",
        _ANY_DAY,
        {"web_searches": "0.025"},
        'OpenAI, "Pricing": web search preview, models that do not reason',
    ),
    Addition(
        "openai",
        r"gpt-5-search-api",
        _ANY_DAY,
        {"web_searches": "0.01"},
        'OpenAI, "Pricing": web search',
    ),
    Addition(
        "openai",
        r"gpt-4(?:o|\.1)",
        _ANY_DAY,
        {"web_search_previews": "0.025"},
        'OpenAI, "Pricing": web search preview, models that do not reason',
    ),
    Addition(
        "openai",
        r"(?:gpt-[4-9]|o\d|codex-|computer-use)",
        _ANY_DAY,
        {"code_executions": "0.03"},
        'OpenAI, "Pricing": a container of 1 GB, for each session',
    ),
)

TIER_ADDITIONS: Final = (
    TierAddition(
        "google", r"gemini-", date(2026, 4, 2), "flex", 50, 'Google, "Gemini API optimization and inference"'
    ),
    TierAddition(
        "google",
        r"gemini-",
        date(2026, 4, 2),
        "priority",
        200,
        'Google, "Gemini API optimization and inference": 75 % to 100 % more',
        is_range=True,
    ),
    TierAddition(
        "aws", r".", date(2025, 11, 18), "flex", 50, 'AWS, "Amazon Bedrock pricing": flex, half of standard'
    ),
    TierAddition(
        "aws", r".", date(2025, 11, 18), "priority", 175, 'AWS, "Amazon Bedrock pricing": priority, 75 % more'
    ),
    TierAddition(
        "anthropic",
        r"claude-(?:(?:opus|sonnet|haiku)-(?:4-[6-9]|[5-9])|fable|mythos)",
        date(2026, 2, 5),
        "us_only",
        110,
        'Anthropic, "Data residency": inference in the US, Opus 4.6 and newer',
    ),
)


class Added(NamedTuple):
    """What is laid over the rows of one model."""

    rates: tuple[Addition, ...]
    tiers: tuple[TierAddition, ...]

    @property
    def days(self) -> list[date]:
        """The days on which any of it begins."""
        days = [one.starts for one in self.rates] + [one.starts for one in self.tiers]
        return [day for day in days if day != _ANY_DAY]

    def steps(self, stated: Steps, day: date) -> Steps:
        """Return the rates *stated*, and on *day* those that they leave out."""
        from fractions import Fraction

        more: dict[str, list[tuple[int, Fraction]]] = {}
        for addition in self.rates:
            if addition.starts <= day:
                for unit, usd in addition.usd.items():
                    many = 1_000_000 if UNITS[unit].dimensions["family"] == "tokens" else 1
                    more[unit] = [(-1, Fraction(usd) / many)]
        return {**more, **stated}

    def tier_steps(self, stated: Steps, day: date) -> Mapping[str, Steps]:
        """Return the rates of further tiers on *day*, by tier, for the standard rates *stated*."""
        return {
            one.tier: {unit: _share(unit, steps, one.percent) for unit, steps in stated.items()}
            for one in self.tiers
            if one.starts <= day
        }

    def guessed_tiers(self) -> frozenset[str]:
        """The tiers whose rates are the highest of a range."""
        return frozenset(one.tier for one in self.tiers if one.is_range)


NOTHING_ADDED: Final = Added((), ())


def additions_for(provider: str, name: str) -> Added:
    """Return what is laid over the rows of the model that *provider* owns, called by *name*."""
    bare = name.strip().lower().rpartition("/")[2]
    return Added(_meant(ADDITIONS, provider, bare), _meant(TIER_ADDITIONS, provider, bare))


_A = TypeVar("_A", Addition, TierAddition)


def _meant(additions: Iterable[_A], provider: str, name: str) -> tuple[_A, ...]:
    return tuple(one for one in additions if one.provider == provider and re.match(one.models, name))


def _share(unit: str, steps: Sequence[tuple[int, Fraction]], percent: int) -> Sequence[tuple[int, Fraction]]:
    if UNITS[unit].dimensions["family"] != "tokens":
        # Fees are the same in every tier.
        return steps
    return [(above, usd * percent / 100) for above, usd in steps]
