"""A keyed hash of a request, to see that it was sent before without keeping what it says."""

from __future__ import annotations

import marshal
import os
from types import NoneType
from typing import TYPE_CHECKING, Any, Final

from bursar.wire.fields import is_array, is_mapping

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bursar.wire.fields import Json

_KEY: Final = os.urandom(32).hex()
_MARSHAL: Final = 2
"""The last version of marshal in which what is equal is written alike, whoever else refers to it."""
_WHOLE_MOST: Final = 8_192
_END: Final = 1_024
_SLICES: Final = 8
_SLICE: Final = 128
_SCALARS: Final = frozenset({int, float, bool, NoneType})


def fingerprint(agent: str, body: Json, *, is_short: bool = False) -> int:
    """
    Return 64 bits that are the same for the same *agent* and the same *body*, in this process alone.

    A body is the same where it is written alike, its keys in the same order: whoever repeats a request builds it as
    before.  A text above 8 192 characters is sampled: its length, 1 024 characters at each end, and eight slices
    between, because hashing all of a long prompt would cost more than the rest of the call.  Two requests that differ
    only between those slices look alike, so a fingerprint marks repetitions and decides nothing.

    Args:
        agent: Who sends it; the same body from another agent is another request.

        body: The request's body.

        is_short: Whether *body* is known to be a few thousand characters at most; the same for the same body.
    """
    if is_short:
        # In one step of C, where to visit each part takes a tenth of a call's whole time with us.
        whole: Any = body
        try:
            return hash((_KEY, agent, marshal.dumps(whole, _MARSHAL)))
        except ValueError:
            # It holds what is no JSON, as a client library may take it.
            pass
    pieces: list[str | int] = [_KEY, agent]
    _gather_object(body, pieces)
    # Python keeps the hash of a text beside it, so that of a conversation only what is new is read.
    return hash(tuple(pieces))


def _gather(node: object, pieces: list[str | int]) -> None:
    if isinstance(node, str):
        pieces.append(node if len(node) <= _WHOLE_MOST else _sample(node))
    elif is_mapping(node):
        _gather_object(node, pieces)
    elif is_array(node):
        _gather_array(node, pieces)
    else:
        pieces.append(f"\0={node!r}")


# A mark before whatever is not a text keeps structure and content apart.  What is usual is looked for by its type
# alone, because this is done for every part of every request.


def _gather_object(node: Json, pieces: list[str | int]) -> None:
    pieces += ("\0{", len(node))
    for key, value in node.items():
        if type(value) is str and len(value) <= _WHOLE_MOST:
            pieces += (key, value)
        elif type(value) in _SCALARS:
            # Not the number itself: to Python 1, 1.0 and True are equal, and -1 hashes as -2.
            pieces += (key, f"\0={value!r}")
        elif type(value) is list:
            pieces.append(key)
            _gather_array(value, pieces)  # pyright: ignore[reportUnknownArgumentType]
        else:
            pieces.append(key)
            _gather(value, pieces)


def _gather_array(node: Sequence[object], pieces: list[str | int]) -> None:
    pieces += ("\0[", len(node))
    for item in node:
        if type(item) is dict:
            _gather_object(item, pieces)  # pyright: ignore[reportUnknownArgumentType]
        else:
            _gather(item, pieces)


def _sample(text: str) -> str:
    size = len(text)
    step = (size - 2 * _END) // _SLICES
    slices = (text[start : start + _SLICE] for start in range(_END, _END + _SLICES * step, step))
    return "".join((f"\0~{size}:", text[:_END], *slices, text[-_END:]))
