"""URLs of stores, as people may see them."""

from __future__ import annotations

import re


def without_password(url: str) -> str:
    """Return *url* without whatever may be secret in it."""
    # Up to the last @, as a password may hold anything.
    shown = re.sub(r"://.*@", "://***@", url, flags=re.DOTALL)
    return re.sub(r"((?:pass|key|token|secret)\w*=)[^&]*", r"\1***", shown, flags=re.IGNORECASE)
