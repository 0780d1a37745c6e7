"""Reading of JSON that others wrote: a missing or odd field is absent, never an error."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType, NoneType
from typing import Final, TypeGuard

Json = Mapping[str, object]
"""A JSON object, as a client library hands it over or as it arrived."""

_PLAIN: Final = frozenset({NoneType, str, int, float, bool})
"""Kinds of value that hold no others."""
_NO_MAPPING: Final = _PLAIN | {list, tuple}
_NO_ARRAY: Final = _PLAIN | {dict}

_NOTHING: Final[Json] = MappingProxyType({})

MOST_COUNT: Final = 10**10
"""More than a call uses or asks for of anything; what says more is no count, and no ledger could keep it."""
_DIGITS: Final = re.compile("[0-9]{1,10}")


_decode: Final = json.JSONDecoder().raw_decode


def parsed_object(content: bytes) -> Json | None:
    """Return the JSON object that *content* is, or None where it is none."""
    try:
        found: tuple[object, int] = _decode(text := content.decode())
        said = found[0] if found[1] == len(text) else json.loads(text)
    except ValueError:
        # In another encoding, perhaps, or with white space around it.
        try:
            said = json.loads(content)
        except ValueError:
            return None
    return said if type(said) is dict else None  # pyright: ignore[reportUnknownVariableType]


def is_mapping(value: object) -> TypeGuard[Json]:
    """Whether *value* is a JSON object."""
    # Nearly always a dict or nothing, for which asking its type is ten times quicker than asking the abstract class.
    kind = type(value)
    return kind is dict or (kind not in _NO_MAPPING and isinstance(value, Mapping))


def is_array(value: object) -> TypeGuard[Sequence[object]]:
    """Whether *value* is a JSON array."""
    kind = type(value)
    return kind is list or (kind not in _NO_ARRAY and isinstance(value, (tuple, list)))


def object_at(body: Json, key: str) -> Json:
    """Return the object under *key*, or an empty one."""
    value = body.get(key)
    if type(value) is dict:
        return value  # pyright: ignore[reportUnknownVariableType]
    return _NOTHING if value is None or not is_mapping(value) else value


def array_at(body: Json, key: str) -> Sequence[object]:
    """Return the array under *key*, or an empty one."""
    value = body.get(key)
    if type(value) is list:
        return value  # pyright: ignore[reportUnknownVariableType]
    return () if value is None or not is_array(value) else value


def objects_at(body: Json, key: str) -> list[Json]:
    """Return the objects in the array under *key*."""
    return [item for item in array_at(body, key) if is_mapping(item)]


def text_at(body: Json, key: str) -> str | None:
    """Return the text under *key*, or None."""
    value = body.get(key)
    return value if isinstance(value, str) else None


def count_at(body: Json, key: str) -> int | None:
    """Return the count under *key*, zero to `MOST_COUNT`, or None where there is none."""
    value = body.get(key)
    # Nearly always one of these two.
    if value is None:
        return None
    if type(value) is int and 0 <= value <= MOST_COUNT:
        return value
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= MOST_COUNT:
        return None
    return int(value)


def count_in(text: str) -> int | None:
    """Return the count that *text* is in digits, or None where it is none."""
    return int(text) if _DIGITS.fullmatch(text) else None


def number_at(body: Json, key: str) -> int:
    """Return the count under *key*, or zero."""
    return count_at(body, key) or 0


def first_count(body: Json, *keys: str) -> int | None:
    """Return the count under the first of *keys* that has one, or None."""
    for key in keys:
        count = count_at(body, key)
        if count is not None:
            return count
    return None
