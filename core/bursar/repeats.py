"""The requests that a run has seen, to tell which of them come again."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Final

_REMEMBERED: Final = 4_096


class Repeats:
    """Remembers the fingerprints of 4,096 requests, and of more the newest; safe to use from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seen: OrderedDict[int, None] = OrderedDict()

    def has_seen(self, fingerprint: int) -> bool:
        """Whether the same agent sent the same request before; remembers it."""
        seen = self._seen
        if fingerprint in seen:
            return True
        with self._lock:
            is_known = fingerprint in seen
            seen[fingerprint] = None
            if len(seen) > _REMEMBERED:
                seen.popitem(last=False)
        return is_known
