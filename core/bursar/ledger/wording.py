"""Ledger entries and runs in words."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bursar.entry import Entry

_SNAPSHOT: Final = re.compile(r"[-@:]?(?:\d[\d-]*|latest)")
_JOINS_EMOJI: Final = "\u200d"
_SHORT_LEAST: Final = 12


def printable(text: str) -> str:
    """
    Return *text* on one line, with the codes of whatever a terminal would obey in place of it.

    Agents are named by frameworks, and models by whoever answered: either may be anything.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c == _JOINS_EMOJI else ascii(c)[1:-1] for c in text)


def is_other_model(entry: Entry) -> bool:
    """Whether another model served than was asked for; a dated snapshot of the same one is no other."""
    asked, served = entry.subject.model, entry.model
    if served == asked:
        return False
    return not served.startswith(asked) or _SNAPSHOT.fullmatch(served.removeprefix(asked)) is None


def describe_model(entry: Entry) -> str:
    """Return the model that served, after the one that was asked for where it is another."""
    return f"{entry.subject.model} -> {entry.model}" if is_other_model(entry) else entry.model


def short_moment(at_s: float) -> str:
    """Return seconds since the epoch for people, in local time, to the minute."""
    return f"{datetime.fromtimestamp(at_s, UTC).astimezone():%Y-%m-%d %H:%M}"


def short_ids(ids: Sequence[str]) -> dict[str, str]:
    """Return for each id its shortest beginning, of twelve digits or more, that no other one has."""
    ordered = sorted(set(ids))
    short: dict[str, str] = {}
    for before, id_, after in zip(["", *ordered], ordered, [*ordered[1:], ""], strict=False):
        short[id_] = start = id_[:_SHORT_LEAST]
        if before.startswith(start) or after.startswith(start):
            short[id_] = id_[: max(_common(id_, before), _common(id_, after)) + 1]
    return short


def _common(one: str, other: str) -> int:
    length = 0
    for a, b in zip(one, other, strict=False):
        if a != b:
            break
        length += 1
    return length
