"""The requests that a run has seen, to tell which of them come again."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

_REMEMBERED: Final = 4_096


class Repeats(OrderedDict[int, object]):
    """Remembers the fingerprints of 4,096 requests, and of more the newest; safe to use from any thread."""

    def has_seen(self, fingerprint: int) -> bool:
        """Whether the same agent sent the same request before; remembers it."""
        if fingerprint in self:
            return True
        # Of two threads at once, the second finds what the first one left: this is one step of C.
        first = object()
        is_known = self.setdefault(fingerprint, first) is not first
        if len(self) > _REMEMBERED:
            self.popitem(last=False)
        return is_known
