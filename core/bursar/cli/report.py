"""`bursar report`: what was spent, by agent, workflow, model, run or day."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Final, cast

import click

from bursar.cli.options import format_option, run_option, since_option, store_option, workflow_option
from bursar.cli.output import (
    TOTALS_FIELDS,
    Record,
    console,
    moment,
    totals_record,
    usd,
    write_csv,
    write_json,
)
from bursar.cli.reading import all_runs, find_run, open_ledger
from bursar.ledger import Report
from bursar.ledger.families import Families
from bursar.ledger.wording import short_ids, short_moment
from bursar.money import format_usd
from bursar.store import Where
from bursar.totals import Totals

if TYPE_CHECKING:
    from rich.console import RenderableType

    from bursar.entry import RunRecord
    from bursar.ledger import Anomaly, WorkflowRuns
    from bursar.store import By, Store

_RUNS_SHOWN: Final = 50
_RUN_STATISTICS: Final = ("runs", "total_usd", "average_usd", "p50_usd", "p99_usd", "max_usd")
_RUN_FIELDS: Final = ("workflow", "started", "ended")


@click.command(
    name="report",
    epilog="A run's figures include the runs inside it.  Retries are further sends of a call, and repeats of a "
    "request that the agent had sent before in the run.  Estimated is the share of the cost that no provider "
    "stated: a cut stream, a response without usage, or a call booked at the most it can have cost.  A run is unusual "
    "where fewer than one in a hundred of its workflow, going by those before it, would cost as much.",
)
@click.option(
    "--by",
    type=click.Choice(["agent", "workflow", "model", "run", "day"]),
    help="What to sum up by.  [default: agent and model, then what runs of each workflow cost, and which are unusual]",
)
@workflow_option
@run_option
@since_option
@format_option
@store_option
def command(
    *,
    by: str | None,
    workflow: str | None,
    run_id: str | None,
    since: float | None,
    style: str,
    url: str | None,
) -> None:
    """
    Show what was spent: cost, calls, tokens, retries and what they cost, refusals.

    By workflow it also shows how many runs there were, and the average, median (p50), p99 and maximum per run; at the
    end, which runs cost more than runs of their workflow usually do.
    """
    store = open_ledger(url)
    run_ids: tuple[str, ...] | None = None
    if run_id is not None:
        runs = all_runs(store)
        run_id = find_run(runs, run_id).run.id
        run_ids = Families([run.run for run in runs]).family(run_id)
    where = Where(workflow=workflow, run_ids=run_ids, since_s=since)
    report = Report(store, where)
    found = _Found(store, report, cast("By | None", by))
    if style == "table":
        found.show(is_filtered=where != Where())
    elif style == "csv":
        write_csv(found.fields, found.records())
    else:
        filters = {"workflow": workflow, "run": run_id, "since": moment(since)}
        write_json(found.document(filters))


class _Found:
    """A report in the shape that was asked for."""

    def __init__(self, store: Store, report: Report, by: By | None) -> None:
        self.store = store
        self.report = report
        self.is_overview = by is None
        self.by: By = by or "agent"
        self.rows = report.rows(self.by)
        if self.by == "day":
            self.rows = sorted(self.rows)

    @property
    def whole(self) -> Totals:
        # The runs inside others may be of another workflow than the one asked for.
        return Totals.sum([totals for _, totals in self.rows]) if self.by == "run" else self.report.totals

    @property
    def fields(self) -> list[str]:
        """The names of the columns, which are the same whatever was found."""
        extra = {"run": _RUN_FIELDS, "workflow": _RUN_STATISTICS}.get(self.by, ())
        return [self.by, *extra, *TOTALS_FIELDS]

    def records(self) -> list[Record]:
        """Return the rows for programs."""
        extra: dict[str, Record] = {}
        if self.by == "run":
            extra = {id_: _run_record(run) for id_, run in self.report.families.runs.items()}
        elif self.by == "workflow":
            extra = {row.workflow: _statistics(row) for row in self.report.runs}
        nothing: Record = dict.fromkeys(_RUN_FIELDS if self.by == "run" else _RUN_STATISTICS)
        needs_extra = self.by in {"run", "workflow"}
        return [
            {self.by: name, **(extra.get(name, nothing) if needs_extra else {}), **totals_record(totals)}
            for name, totals in self.rows
        ]

    def document(self, filters: Record) -> Record:
        """Return everything for programs."""
        document: Record = {
            "by": self.by,
            "filters": filters,
            "total": totals_record(self.whole),
            "rows": self.records(),
        }
        if self.is_overview:
            document["workflows"] = [
                {"workflow": row.workflow, **_statistics(row)} for row in self.report.runs
            ]
            document["anomalies"] = [self._anomaly_record(found) for found in self.report.anomalies]
        document["presumed_usd"] = usd(self.report.presumed_nanousd)
        return document

    def _anomaly_record(self, found: Anomaly) -> Record:
        return {
            "run": found.run.id,
            **_run_record(found.run),
            "severity": found.severity,
            "cost_usd": usd(found.cost_nanousd),
            "average_usd": usd(found.average_nanousd),
            "chance": found.chance,
            "dearest_agent": self.report.dearest_agent(found.run.id),
        }

    def show(self, *, is_filtered: bool) -> None:
        """Write the report for people."""
        from rich.text import Text

        out = console()
        presumed_nanousd = self.report.presumed_nanousd
        if not any(self.whole) and not presumed_nanousd:
            out.print(Text(self._nothing(is_filtered=is_filtered)), soft_wrap=True)
            return
        for number, part in enumerate(self._parts(presumed_nanousd)):
            if number:
                out.print()
            out.print(part)

    def _parts(self, presumed_nanousd: int) -> list[RenderableType]:
        from rich.text import Text

        from bursar.ledger.tables import report_tables, runs_table, totals_table

        if self.is_overview:
            parts: list[RenderableType] = [*report_tables(self.report)]
        elif self.by == "run":
            parts = [totals_table("run", self._named_runs(), self.whole)]
        else:
            parts = [totals_table(self.by, self.rows, self.whole)]
        if self.by == "workflow" and self.report.runs:
            parts.append(runs_table(self.report.runs))
        if self.by == "run" and len(self.rows) > _RUNS_SHOWN:
            parts.append(
                Text(f"the {_RUNS_SHOWN} dearest of {len(self.rows):,} runs; --format csv has all of them")
            )
        if self.whole.unknown_calls:
            calls = (
                "1 call has" if self.whole.unknown_calls == 1 else f"{self.whole.unknown_calls:,} calls have"
            )
            parts.append(Text(f"{calls} no known price: what they cost is not in these figures (+ ?)"))
        if presumed_nanousd:
            parts.append(
                Text(
                    f"presumed spent: {format_usd(presumed_nanousd)}, the most that calls can have cost "
                    "that were sent and never heard of again; not in the figures above"
                )
            )
        return parts

    def _named_runs(self) -> list[tuple[str, Totals]]:
        runs = self.report.families.runs
        short = short_ids([*runs])
        return [
            (f"{short[id_]}  {short_moment(runs[id_].started_s)}  {runs[id_].workflow}", totals)
            if id_ in runs
            else (id_, totals)
            for id_, totals in self.rows[:_RUNS_SHOWN]
        ]

    def _nothing(self, *, is_filtered: bool) -> str:
        if is_filtered:
            return 'Nothing was spent there. "bursar report" without filters shows the whole ledger.'
        if self.store.url.startswith("memory:"):
            return (
                f'The ledger is "{self.store.url}": every process keeps one of its own and forgets it at its end. '
                "Leave BURSAR_STORE out, or name a file: sqlite:///ledger.db"
            )
        return (
            f"The ledger {self.store.url} is empty. Put a client under a budget, guard(client, budget=1.00), and "
            'make a call, or watch a team of agents spend: "bursar demo".'
        )


def _run_record(run: RunRecord) -> Record:
    values = (run.workflow, moment(run.started_s), moment(run.ended_s))
    return dict(zip(_RUN_FIELDS, values, strict=True))


def _statistics(row: WorkflowRuns) -> Record:
    amounts = {name: usd(value) for name, value in asdict(row).items() if name.endswith("_nanousd")}
    renamed = {name.replace("_nanousd", "_usd"): value for name, value in amounts.items()}
    return {"runs": row.runs, **renamed}
