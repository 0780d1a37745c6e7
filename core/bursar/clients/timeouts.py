"""How long a client waits for an answer."""

from __future__ import annotations

from typing import Any


def timeout_of(client: Any, options: Any) -> float | None:
    """
    Return the longest that one wait of a call can take, in seconds, or None where it is endless.

    Both HTTP packages limit each wait: for a connection, for a write to be taken, for the next bytes.  Where one of
    them has no limit, the call has none.
    """
    asked = options.timeout
    # The SDKs' "not given" is false; a timeout of None is given, and endless.
    timeout = client.timeout if asked is not None and not asked else asked
    if timeout is None:
        return None
    if isinstance(timeout, (int, float)):
        return float(timeout)
    phases = (timeout.connect, timeout.write, timeout.read, timeout.pool)
    return None if None in phases else float(max(phases))
