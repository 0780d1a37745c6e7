"""
What can be billed: the units that genai-prices knows, with the dimensions that say which is part of which.

A unit is part of another when it has all of the other's dimensions: `cache_audio_read_tokens` is part of
`cache_read_tokens` and of `input_audio_tokens`, and both are parts of `input_tokens`.  The names follow one
rule, so they are generated here, and overrides need not import genai-prices; a test holds the two equal.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from bursar.usage import Usage

MODALITIES: Final = ("text", "audio", "image", "video")

CALL_MILLISECONDS: Final = "call_milliseconds"
"""How long a call took, from its sending to its end; only an override has a price for it."""


@dataclass(frozen=True, slots=True)
class Unit:
    """
    One thing that is counted and billed.

    Attributes:
        name: The count, as `Usage` and genai-prices call it.

        price_key: What genai-prices calls its price.

        per: How many of them that price buys.

        dimensions: What kind of thing it is; a unit with more of them is part of the unit with fewer.
    """

    name: str
    price_key: str
    per: int
    dimensions: Mapping[str, str]

    def is_part_of(self, other: Unit) -> bool:
        """Whether every one of these is one of *other*, too; a unit is part of itself."""
        return other.dimensions.items() <= self.dimensions.items()


def _token_units() -> Iterator[Unit]:
    kinds = (
        ("input", "", "", ""),
        ("output", "", "", ""),
        ("input", "cache_read", "", "read"),
        ("input", "cache_write", "", "write"),
        ("input", "cache_write", "5m", "write_5m"),
        ("input", "cache_write", "1h", "write_1h"),
        ("input", "tool", "", "tool"),
        ("output", "reasoning", "", "reasoning"),
        ("output", "citation", "", "citation"),
    )
    for modality in ("", *MODALITIES):
        for direction, token_type, cache_ttl, suffix in kinds:
            first = "cache" if token_type.startswith("cache") else direction
            stem = "_".join(part for part in (first, modality, suffix) if part)
            dimensions = {
                "family": "tokens",
                "direction": direction,
                "modality": modality,
                "token_type": token_type,
                "cache_ttl": cache_ttl,
            }
            yield Unit(
                f"{stem}_tokens",
                f"{stem}_mtok",
                1_000_000,
                MappingProxyType({key: value for key, value in dimensions.items() if value}),
            )


def _other_units() -> Iterator[Unit]:
    yield Unit("input_characters", "input_mchars", 1_000_000, _dimensions("characters", direction="input"))
    yield Unit(
        "input_text_messages",
        "input_text_messages_kcount",
        1_000,
        _dimensions("messages", direction="input", modality="text"),
    )
    yield Unit("audio_seconds", "audio_hours", 3_600, _dimensions("durations", modality="audio"))
    for direction in ("input", "output"):
        yield Unit(
            f"{direction}_audio_seconds",
            f"{direction}_audio_hours",
            3_600,
            _dimensions("durations", direction=direction, modality="audio"),
        )
    yield Unit("input_pixels", "input_gpixels", 1_000_000_000, _dimensions("pixels", direction="input"))
    pages = {"direction": "input"}
    yield Unit("input_document_pages", "input_document_kpages", 1_000, _dimensions("document_pages", **pages))
    yield Unit(
        "input_annotated_document_pages",
        "input_annotated_document_kpages",
        1_000,
        _dimensions("document_pages", page_type="annotated", **pages),
    )
    yield Unit("rerank_searches", "rerank_searches_kcount", 1_000, _dimensions("rerank"))
    for tool in ("web_search", "social_search", "storage_search", "code_execution"):
        plural = f"{tool}es" if tool.endswith("search") else f"{tool}s"
        yield Unit(plural, f"{plural}_kcount", 1_000, _dimensions("tool_calls", tool_type=tool))
    # OpenAI's older tool has a fee of its own at models that do not reason; genai-prices has but one kind of search.
    yield Unit(
        "web_search_previews",
        "web_search_previews_kcount",
        1_000,
        _dimensions("tool_calls", tool_type="web_search", version="preview"),
    )
    yield Unit("requests", "requests_kcount", 1_000, _dimensions("requests"))


IMAGE_SIZES: Final = ("256x256", "512x512", "1024x1024", "1024x1792")
VIDEO_SIZES: Final = ("720x1280", "1024x1792")


def _own_units() -> Iterator[Unit]:
    """Yield the units that genai-prices does not have: what is sold by the piece, whichever way it is turned."""
    yield Unit("output_images", "output_images", 1, _dimensions("images"))
    for size in IMAGE_SIZES:
        sized = _dimensions("images", size=size)
        yield Unit(f"output_images_{size}", f"output_images_{size}", 1, sized)
        hd = f"output_images_hd_{size}"
        yield Unit(hd, hd, 1, _dimensions("images", size=size, quality="hd"))
    yield Unit("output_video_seconds", "output_video_seconds", 1, _dimensions("video_seconds"))
    for size in VIDEO_SIZES:
        name = f"output_video_seconds_{size}"
        yield Unit(name, name, 1, _dimensions("video_seconds", size=size))
    # A whole number of milliseconds, as the ledger keeps it; sold by the hour or by the second.
    yield Unit(CALL_MILLISECONDS, "call_hours", 3_600_000, _dimensions("calls"))


def _dimensions(family: str, **others: str) -> Mapping[str, str]:
    return MappingProxyType({"family": family, **others})


UNITS: Final[Mapping[str, Unit]] = MappingProxyType(
    {unit.name: unit for unit in (*_token_units(), *_other_units(), *_own_units())}
)
"""Every unit, by its name: those of genai-prices, and the time that a call took."""

UNITS_BY_PRICE_KEY: Final[Mapping[str, Unit]] = MappingProxyType(
    {unit.price_key: unit for unit in UNITS.values()}
)
"""Every unit, by what genai-prices calls its price."""

MOST_SPECIFIC_FIRST: Final = tuple(
    sorted(UNITS.values(), key=lambda unit: (-len(unit.dimensions), unit.name))
)


def _splits(whole: Unit) -> tuple[tuple[str, ...], ...]:
    """Return the ways in which *whole* is split in one further dimension, each a set of disjoint parts."""
    ways: dict[str, list[str]] = {}
    for unit in UNITS.values():
        further = unit.dimensions.keys() - whole.dimensions.keys()
        if unit.is_part_of(whole) and len(further) == 1:
            ways.setdefault(further.pop(), []).append(unit.name)
    return tuple(tuple(names) for names in ways.values())


@lru_cache(maxsize=1024)
def _wholes(*names: str) -> tuple[tuple[str, tuple[tuple[str, ...], ...]], ...]:
    """
    Return what any of *names* is part of, the most specific first, with the splits that are to be added up.

    Few orders of few names ever occur, and the sums over all units would take ten times the rest of a cost.
    """
    stated = [UNITS[name] for name in names if name in UNITS]
    wholes = [
        whole
        for whole in MOST_SPECIFIC_FIRST
        if any(part is not whole and part.is_part_of(whole) for part in stated)
    ]
    possible = {*names, *(whole.name for whole in wholes)}
    return tuple(
        (whole.name, tuple(tuple(name for name in way if name in possible) for way in _splits(whole)))
        for whole in wholes
    )


def billable_counts(usage: Usage) -> dict[str, int]:
    """
    Return the counts of *usage* by unit name, made consistent: no part is larger than its whole.

    Providers do send parts that exceed their whole (Azure-hosted grok: 161 cached of 10 prompt tokens; Gemini's
    compatible endpoint: 62 reasoning of 12 output tokens).  They left the parts out of the whole, so the two are
    added for all input and all output; any other whole is raised to the sum of its parts.  Nothing that was
    stated is dropped, and a negative count is nothing.
    """
    counts = {
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        **usage.other,
    }
    # The rarer ones by hand: a general loop would take as long as all the rest.
    if usage.cache_read_tokens:
        counts["cache_read_tokens"] = usage.cache_read_tokens
    if usage.cache_write_tokens:
        counts["cache_write_tokens"] = usage.cache_write_tokens
    if usage.cache_write_1h_tokens:
        counts["cache_write_1h_tokens"] = usage.cache_write_1h_tokens
    if usage.reasoning_tokens > counts.get("output_reasoning_tokens", 0):
        counts["output_reasoning_tokens"] = usage.reasoning_tokens
    if min(counts.values()) <= 0:
        counts = {name: count for name, count in counts.items() if count > 0}
    for whole, splits in _wholes(*counts):
        parts = 0
        for way in splits:
            total = 0
            for name in way:
                total += counts.get(name, 0)
            parts = max(parts, total)
        stated = counts.get(whole, 0)
        if parts > stated:
            apart = whole in {"input_tokens", "output_tokens"}
            counts[whole] = parts + stated if apart else parts
    return counts
