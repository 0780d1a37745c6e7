"""How long a client waits for an answer."""

from __future__ import annotations

from typing import Any, Final

_PHASES: Final = ("connect", "write", "read", "pool")


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
    if isinstance(timeout, int | float):
        return float(timeout)
    phases = [getattr(timeout, phase, None) for phase in _PHASES]
    known = [float(phase) for phase in phases if phase is not None]
    return max(known) if len(known) == len(phases) else None
