"""Ledger entries in words."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from bursar.entry import Entry

_SNAPSHOT: Final = re.compile(r"[-@:]?(?:\d[\d-]*|latest)")
_JOINS_EMOJI: Final = "\u200d"


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
