"""What a failed request may have cost: whether the provider can have billed it, and what failed, in a word."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from bursar.wire.fields import is_mapping

if TYPE_CHECKING:
    from bursar.wire.fields import Json

_NEVER_SENT: Final = frozenset(
    {"ConnectError", "ConnectTimeout", "PoolTimeout", "UnsupportedProtocol", "LocalProtocolError"}
)
"""Errors of the HTTP packages that come before any byte of the request has left."""

_MAYBE_BILLED: Final = frozenset({504, 524})
"""Answers of a gateway that gave up waiting while the provider may have gone on; other errors are not billed."""


def answer_in(error: BaseException) -> Json | None:
    """Return the whole answer that *error* carries, as the OpenAI SDK's about one that was cut by its own limit."""
    dump: Any = getattr(getattr(error, "completion", None), "model_dump", None)
    found: object = dump(mode="json") if callable(dump) else None
    return found if is_mapping(found) else None


def failure_of_status(status: int) -> tuple[bool, str]:
    """Return whether an answer with this HTTP status may have been billed, and what to call it."""
    return status in _MAYBE_BILLED, f"status {status}"


def failure_of(error: BaseException | None) -> tuple[bool, str]:
    """Return whether a call that raised *error* may have been billed, and what failed, in a word."""
    status = getattr(error, "status_code", None)
    if isinstance(status, int):
        return failure_of_status(status)
    seen = error
    while seen is not None:
        if type(seen).__name__ in _NEVER_SENT:
            return False, type(seen).__name__
        cause = seen.__cause__
        if cause is None:
            return True, type(seen).__name__
        seen = cause
    return True, "unknown"
