"""Ledger entries in words."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from bursar.entry import Entry

_SNAPSHOT: Final = re.compile(r"[-@:]?(?:\d[\d-]*|latest)")


def is_other_model(entry: Entry) -> bool:
    """Whether another model served than was asked for; a dated snapshot of the same one is no other."""
    asked, served = entry.subject.model, entry.model
    if served == asked:
        return False
    return not served.startswith(asked) or _SNAPSHOT.fullmatch(served.removeprefix(asked)) is None


def describe_model(entry: Entry) -> str:
    """Return the model that served, after the one that was asked for where it is another."""
    return f"{entry.subject.model} -> {entry.model}" if is_other_model(entry) else entry.model
