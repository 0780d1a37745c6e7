"""
A mark on a request that says which meter pays for it already.

A framework that makes a stream in one context and reads it in another cannot say so by `current_meter`; what it can do
is to hand the SDK a header of its own.  A guarded client takes that off again: it is never sent.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakValueDictionary

from bursar.ids import new_id

if TYPE_CHECKING:
    from bursar.meter import Meter

_HEADER: Final = "bursar-meter"
_linked: Final[WeakValueDictionary[str, Meter]] = WeakValueDictionary()


def link_header(meter: Meter) -> dict[str, str]:
    """Return the header by which a guarded client finds *meter*; to any other client it must not be given."""
    token = new_id()
    _linked[token] = meter
    return {_HEADER: token}


def take_link(options: Any) -> tuple[Meter | None, Any]:
    """Return the meter that *options* of a request are marked with, and the options without the mark."""
    headers: Any = options.headers
    if not _is_mapping(headers.__class__) or not isinstance(token := headers.get(_HEADER), str):
        return None, options
    plain = options.model_copy()
    plain.headers = {name: value for name, value in headers.items() if name != _HEADER}
    return _linked.pop(token, None), plain


@lru_cache(maxsize=64)
def _is_mapping(kind: type) -> bool:
    """Whether what is of *kind* may hold headers; nearly always it stands for none being given."""
    return issubclass(kind, Mapping)
