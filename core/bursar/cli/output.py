"""How commands write: tables for people, exact records for programs."""

from __future__ import annotations

import csv
import json
import os
import sys
from typing import TYPE_CHECKING, Any, Final

from bursar.money import to_usd

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from rich.console import Console

    from bursar.totals import Totals

Record = dict[str, Any]
"""One row for programs: dollars as decimal text, counts as numbers, None where nothing is known."""

_WIDTH_OF_A_PIPE: Final = 120
_WIDTH_LEAST: Final = 40
"""Where a terminal is narrower, lines are broken by it, and no figure is cut short."""

TOTALS_FIELDS: Final = (
    "cost_usd",
    "calls",
    "attempts",
    "input_tokens",
    "cache_read_tokens",
    "cache_write_tokens",
    "output_tokens",
    "reasoning_tokens",
    "retries",
    "retry_cost_usd",
    "refusals",
    "estimated_usd",
    "estimated_share",
    "unknown_price_calls",
)


def console() -> Console:
    """Return the console on stdout: plain and wide where it is not a terminal, unless COLUMNS says how wide."""
    from rich.console import Console

    found = Console(highlight=False, markup=False, emoji=False)
    is_told = sys.stdout.isatty() or os.environ.get("COLUMNS")
    found.width = max(found.width, _WIDTH_LEAST) if is_told else _WIDTH_OF_A_PIPE
    return found


def usd(nanousd: int) -> str:
    """Return exact dollars as text, without an exponent: `1.9135`, `0.000000001`."""
    return f"{to_usd(nanousd):f}"


def moment(at_s: float | None) -> str | None:
    """Return seconds since the epoch as an ISO time in UTC, to the second."""
    return None if at_s is None else _utc(at_s).isoformat(timespec="seconds").replace("+00:00", "Z")


def duration(seconds: float | None) -> str:
    """Return a duration for people: `0.8s`, `42s`, `3m 05s`, `2h 07m`; `-` if it has no end."""
    if seconds is None:
        return "-"
    if seconds < 9.95:
        return f"{max(seconds, 0):.1f}s"
    whole = round(seconds)
    minutes, rest = divmod(whole, 60)
    if not minutes:
        return f"{rest}s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h {minutes:02}m" if hours else f"{minutes}m {rest:02}s"


def totals_record(totals: Totals) -> Record:
    """Return sums as a record with the fields of `TOTALS_FIELDS`."""
    share = f"{totals.estimated_nanousd / totals.cost_nanousd:.4f}" if totals.cost_nanousd else None
    values = (
        usd(totals.cost_nanousd),
        totals.calls,
        totals.attempts,
        totals.input_tokens,
        totals.cache_read_tokens,
        totals.cache_write_tokens,
        totals.output_tokens,
        totals.reasoning_tokens,
        totals.retries,
        usd(totals.retry_nanousd),
        totals.refusals,
        usd(totals.estimated_nanousd),
        share,
        totals.unknown_calls,
    )
    return dict(zip(TOTALS_FIELDS, values, strict=True))


def write_json(document: Mapping[str, Any]) -> None:
    """Write one JSON document to stdout, with JSON's own codes for letters that it may not have."""
    has_all_letters = (sys.stdout.encoding or "").lower().startswith("utf")
    json.dump(document, sys.stdout, indent=2, ensure_ascii=not has_all_letters)
    sys.stdout.write("\n")


def write_csv(fields: Sequence[str], records: Sequence[Record]) -> None:
    """Write a header and one line for each record to stdout; None is empty."""
    writer = csv.DictWriter(sys.stdout, fields, lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)


def _utc(at_s: float) -> datetime:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(at_s, UTC)
