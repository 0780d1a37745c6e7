"""What Google's formats share: names in two spellings, counts by modality, service tiers."""

from __future__ import annotations

from functools import lru_cache
from types import MappingProxyType
from typing import Final

from bursar.wire.fields import Json, is_array, is_mapping, number_at, text_at
from bursar.wire.receipt import known_tier

_NOTHING: Final[Json] = MappingProxyType({})
_MODALITIES: Final = {
    "TEXT": "text",
    "IMAGE": "image",
    "AUDIO": "audio",
    "VIDEO": "video",
    "DOCUMENT": "image",
}
"""A document's pages are read as images, and billed so."""
_COUNTS: Final = (
    "promptTokenCount",
    "candidatesTokenCount",
    "responseTokenCount",
    "thoughtsTokenCount",
    "totalTokenCount",
    "toolUsePromptTokenCount",
    "cachedContentTokenCount",
)


@lru_cache(maxsize=256)
def snake(key: str) -> str:
    """Return *key*, given in `camelCase`, in `snake_case`."""
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in key)


def any_at(body: Json, key: str) -> object:
    """Return what is under *key*, given in `camelCase`, in either spelling."""
    value = body.get(key)
    return body.get(snake(key)) if value is None else value


def object_in(body: Json, key: str) -> Json:
    """Return the object under *key* in either spelling, or an empty one."""
    value = body.get(key)
    if value is None:
        value = body.get(snake(key))
    return value if is_mapping(value) else _NOTHING


def objects_in(body: Json, key: str) -> list[Json]:
    """Return the objects in the array under *key* in either spelling."""
    value = any_at(body, key)
    return [item for item in value if is_mapping(item)] if is_array(value) else []


def bare_model(model: str | None) -> str:
    """Return the model's own name, without `models/` or `publishers/google/models/`."""
    return (model or "").rpartition("models/")[2]


def has_counts(usage: Json) -> bool:
    """Whether *usage* states any count at all."""
    return any(any_at(usage, key) is not None for key in _COUNTS)


def counts_by_modality(details: object) -> dict[str, int]:
    """Return the counts of *details*, an array of modality and count, added up by modality."""
    counts: dict[str, int] = {}
    if not is_array(details):
        return counts
    for item in details:
        if is_mapping(item):
            kind = _MODALITIES.get((text_at(item, "modality") or "").upper(), "text")
            counts[kind] = (
                counts.get(kind, 0) + number_at(item, "tokenCount") + number_at(item, "token_count")
            )
    return counts


def tier_of(*names: object) -> str | None:
    """Return the tier that any of *names* stands for: `flex`, `SERVICE_TIER_FLEX`, `ON_DEMAND_PRIORITY`."""
    words = (name.lower().rpartition("_")[2] for name in names if isinstance(name, str))
    return known_tier(*words)
