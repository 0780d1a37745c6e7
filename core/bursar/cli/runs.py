"""`bursar runs`: the newest runs and what they cost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import click

from bursar.cli.options import format_option, since_option, store_option, workflow_option
from bursar.cli.output import (
    TOTALS_FIELDS,
    Record,
    console,
    duration,
    moment,
    totals_record,
    write_csv,
    write_json,
)
from bursar.cli.reading import all_runs, open_ledger
from bursar.ledger.families import inclusive_totals
from bursar.ledger.wording import short_ids, short_moment

if TYPE_CHECKING:
    from bursar.entry import RunRecord
    from bursar.totals import Totals

_FIELDS: Final = ("run", "workflow", "parent", "started", "ended", "duration_s", *TOTALS_FIELDS)
_HOUR_S: Final = 3600


@dataclass(frozen=True, slots=True)
class _Row:
    run: RunRecord
    totals: Totals

    @property
    def duration_s(self) -> float | None:
        return None if self.run.ended_s is None else self.run.ended_s - self.run.started_s

    def record(self) -> Record:
        run = self.run
        return {
            "run": run.id,
            "workflow": run.workflow,
            "parent": run.parent_id,
            "started": moment(run.started_s),
            "ended": moment(run.ended_s),
            "duration_s": None if self.duration_s is None else round(self.duration_s, 3),
            **totals_record(self.totals),
        }


@click.command(
    name="runs",
    epilog="A run's figures include the runs inside it, which are listed too and marked with an arrow.",
)
@workflow_option
@since_option
@click.option(
    "--limit", "-n", type=click.IntRange(min=1), default=20, show_default=True, help="How many to list."
)
@format_option
@store_option
def command(*, workflow: str | None, since: float | None, limit: int, style: str, url: str | None) -> None:
    """List the newest runs, newest first: when, how long, what they cost."""
    store = open_ledger(url)
    runs = all_runs(store)
    totals = inclusive_totals(runs)
    least_s = 0.0 if since is None else since // _HOUR_S * _HOUR_S
    found = [
        _Row(run.run, totals[run.run.id])
        for run in reversed(runs)
        if workflow in {None, run.run.workflow} and run.run.started_s >= least_s
    ]
    rows = found[:limit]
    if style == "json":
        write_json({"runs": [row.record() for row in rows]})
    elif style == "csv":
        write_csv(_FIELDS, [row.record() for row in rows])
    else:
        _show(rows, more=len(found) - len(rows), short=short_ids([run.run.id for run in runs]))


def _show(rows: list[_Row], *, more: int, short: dict[str, str]) -> None:
    from bursar.ledger.fitting import Column, FittingTable
    from bursar.ledger.tables import format_cost, format_count

    out = console()
    if not rows:
        out.print('There are no such runs. "bursar demo" makes one.')
        return
    columns = (
        Column("run", is_name=True),
        Column("workflow", is_name=True),
        Column("started", 3),
        Column("took", 2),
        Column("cost"),
        Column("calls", 1),
        Column("refused", 1),
    )
    cells = [
        (
            short[row.run.id],
            ("-> " if row.run.parent_id else "") + row.run.workflow,
            short_moment(row.run.started_s),
            duration(row.duration_s),
            format_cost(row.totals),
            format_count(row.totals.calls),
            format_count(row.totals.refusals),
        )
        for row in rows
    ]
    out.print(FittingTable("runs, newest first", columns, cells))
    if more:
        out.print(f"{more:,} older ones are not listed; --limit lists more")
