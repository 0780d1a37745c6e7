"""When a budget renews."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Literal, NamedTuple, cast

Per = Literal["run", "day", "month", "total"] | timedelta
"""How long one account of a budget lasts: one run, a UTC day or month, for ever, or any length of time."""


class Window(NamedTuple):
    """
    One window of a budget.

    Attributes:
        name: Tells it from the budget's other windows: `2026-11-24`.

        ends_s: The second since the epoch at which the next one begins; None if it never ends.
    """

    name: str
    ends_s: float | None


def parse_per(per: object) -> Per:
    """
    Return *per* if it is one.

    Raises:
        ValueError: It is none of the words, or a length of time that is not positive.
    """
    if isinstance(per, timedelta):
        if per <= timedelta(0):
            msg = f"per must be longer than nothing, not {per}"
            raise ValueError(msg)
        return per
    if not isinstance(per, str) or per not in {"run", "day", "month", "total"}:
        msg = f'per must be "run", "day", "month", "total" or a timedelta, not {per!r}'
        raise ValueError(msg)
    return cast("Per", per)


def describe(per: Per) -> str:
    """Return *per* for an error message: `per day`."""
    return f"per {per}" if isinstance(per, timedelta) else {"total": "in total"}.get(per, f"per {per}")


def window_at(per: Per, at_s: float) -> Window:
    """Return the window that holds the second *at_s* since the epoch; runs name their windows themselves."""
    at = datetime.fromtimestamp(at_s, UTC)
    if isinstance(per, timedelta):
        length_s = per.total_seconds()
        begins_s = at_s // length_s * length_s
        return Window(f"{length_s:g}s@{begins_s:.0f}", begins_s + length_s)
    midnight = at.replace(hour=0, minute=0, second=0, microsecond=0)
    if per == "day":
        return Window(at.strftime("%Y-%m-%d"), (midnight + timedelta(days=1)).timestamp())
    if per == "month":
        next_month = (midnight.replace(day=1) + timedelta(days=32)).replace(day=1)
        return Window(at.strftime("%Y-%m"), next_month.timestamp())
    return Window("total", None)
