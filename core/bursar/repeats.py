"""The requests that a run has seen, to tell which of them come again."""

from __future__ import annotations

from typing import Final

_REMEMBERED: Final = 4_096
_FORGOTTEN_AT_ONCE: Final = 256
"""Many at a time, because all are looked through for the oldest."""


class Repeats(dict[int, object]):
    """Remembers the fingerprints of 4,096 requests, and of more the newest; safe to use from any thread."""

    def has_seen(self, fingerprint: int) -> bool:
        """Whether the same agent sent the same request before; remembers it."""
        if fingerprint in self:
            return True
        # Of two threads at once, the second finds what the first one left: this is one step of C.
        first = object()
        is_known = self.setdefault(fingerprint, first) is not first
        if len(self) >= _REMEMBERED + _FORGOTTEN_AT_ONCE:
            for oldest in list(self)[:_FORGOTTEN_AT_ONCE]:
                self.pop(oldest, None)
        return is_known
