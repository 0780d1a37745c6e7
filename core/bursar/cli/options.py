"""The options that several commands share."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Final

import click

_AGO: Final = re.compile(r"(?P<count>\d{1,6})(?P<unit>[mhdw])")
_SECONDS: Final = {"m": 60, "h": 3600, "d": 86_400, "w": 604_800}


def parse_since(ctx: click.Context, param: click.Parameter, text: str | None) -> float | None:
    """
    Return the second since the epoch that *text* names: `90m`, `12h`, `7d` or `2w` ago, or an ISO date.

    Raises:
        click.BadParameter: It names none.
    """
    if text is None:
        return None
    if (ago := _AGO.fullmatch(text.strip().lower())) is not None:
        delta = timedelta(seconds=int(ago["count"]) * _SECONDS[ago["unit"]])
        return max(datetime.now(UTC).timestamp() - delta.total_seconds(), 0.0)
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        msg = f'"{text}" is neither a time ago, such as 90m, 12h, 7d or 2w, nor an ISO date.'
        raise click.BadParameter(msg, ctx, param) from None
    # A date without a zone is UTC, as the days of the ledger are.
    return max(moment.replace(tzinfo=moment.tzinfo or UTC).timestamp(), 0.0)


workflow_option = click.option(
    "--workflow", "-w", metavar="NAME", help="Only what was booked to this workflow."
)
run_option = click.option(
    "--run",
    "run_id",
    metavar="ID",
    help="Only this run and the runs inside it; a beginning of its id will do.",
)
since_option = click.option(
    "--since",
    callback=parse_since,
    metavar="WHEN",
    help="Only from then on: 90m, 12h, 7d, 2w, or an ISO date in UTC.  The ledger is summed up by the hour, so the "
    "hour that WHEN falls in is covered from its beginning.",
)
format_option = click.option(
    "--format",
    "style",
    type=click.Choice(["table", "json", "csv"]),
    default="table",
    show_default=True,
    help="table is rounded, for people; json and csv are exact: dollars are decimals, as strings in json.",
)
store_option = click.option(
    "--store",
    "url",
    metavar="URL",
    help="The ledger to read, as sqlite:///ledger.db or postgresql://host/database.  [default: BURSAR_STORE]",
)
