"""Reports as tables for people; figures are rounded here, and only here."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Final

from bursar.ledger.fitting import Column, FittingTable
from bursar.ledger.wording import short_ids, short_moment
from bursar.money import NANO_PER_USD, format_usd

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bursar.ledger.report import Report, WorkflowRuns
    from bursar.totals import Totals

_EXACT_BELOW: Final = 10_000
_SUMS: Final = (
    Column("cost"),
    Column("share", 5),
    Column("calls", 1),
    Column("input", 3),
    Column("cached", 7, is_optional=True),
    Column("cache\nwrites", 9, is_optional=True),
    Column("output", 4),
    Column("reason-\ning", 8, is_optional=True),
    Column("re-\ntries", 1),
    Column("their\ncost", 2),
    Column("re-\nfused", 1),
    Column("esti-\nmated", 6),
)
_OUTLIERS_SHOWN: Final = 10
_OUTLIER_COLUMNS: Final = (
    Column("cost"),
    Column("of the\naverage", 2),
    Column("by chance", 1),
    Column("most by", 3),
)
_RUN_SUMS: Final = (
    Column("runs", 1),
    Column("total", 4),
    Column("average", 1),
    Column("p50", 2),
    Column("p99", 1),
    Column("max", 3),
)


def report_tables(report: Report, *, shows_anomalies: bool = True) -> list[FittingTable]:
    """
    Return the tables of a report.

    By agent, by model where there are several, per run of each workflow, and the runs that stand out, if any do.
    """
    tables = [totals_table("agent", report.rows("agent"), report.totals)]
    if len(report.rows("model")) > 1:
        tables.append(totals_table("model", report.rows("model"), report.totals))
    if report.runs:
        tables.append(runs_table(report.runs))
    if shows_anomalies and report.outliers:
        tables.append(outliers_table(report))
    return tables


def totals_table(heading: str, rows: Sequence[tuple[str, Totals]], whole: Totals) -> FittingTable:
    """Return sums by name, with a line for the whole if there are several."""
    places = _places(whole.cost_nanousd)
    return FittingTable(
        f"cost by {heading}",
        (Column(heading, is_name=True), *_SUMS),
        [(name, *_cells(totals, whole, places)) for name, totals in rows],
        ("total", *_cells(whole, whole, places)) if len(rows) != 1 else None,
    )


def runs_table(workflows: Sequence[WorkflowRuns]) -> FittingTable:
    """Return what runs of each workflow cost."""
    places = _places(max((row.max_nanousd for row in workflows), default=0))
    rows = [
        (
            row.workflow,
            format_count(row.runs),
            *(
                _dollars(nanousd, places)
                for nanousd in (
                    row.total_nanousd,
                    row.average_nanousd,
                    row.p50_nanousd,
                    row.p99_nanousd,
                    row.max_nanousd,
                )
            ),
        )
        for row in workflows
    ]
    return FittingTable("cost per run", (Column("workflow", is_name=True), *_RUN_SUMS), rows)


def outliers_table(report: Report) -> FittingTable:
    """Return the runs that cost far more than usual, the least likely first, with who spent most in each."""
    outliers = report.outliers
    short = short_ids([*report.families.runs])
    rows = [
        (
            f"{short.get(found.run.id, found.run.id)}  {short_moment(found.run.started_s)}  {found.run.workflow}",
            format_usd(found.cost_nanousd),
            f"{found.times:,.0f}x",
            f"1 in {format_count(round(1 / max(found.chance, 1e-9)))}",
            report.dearest_agent(found.run.id) or "-",
        )
        for found in outliers[:_OUTLIERS_SHOWN]
    ]
    more = f", {_OUTLIERS_SHOWN} of {len(outliers):,}" if len(outliers) > _OUTLIERS_SHOWN else ""
    return FittingTable(
        f"runs that cost far more than usual{more}", (Column("run", is_name=True), *_OUTLIER_COLUMNS), rows
    )


def format_cost(totals: Totals) -> str:
    """Return a cost for people, marked where calls without a known price are not in it."""
    return format_usd(totals.cost_nanousd) + (" + ?" if totals.unknown_calls else "")


def format_count(count: int) -> str:
    """Return a count for people, exact below ten thousand and `-` for none: `9,999`, `45.2k`, `1.20M`."""
    if not count:
        return "-"
    if count < _EXACT_BELOW:
        return f"{count:,}"
    size, unit = next(
        (count / scale, unit)
        for scale, unit in ((1e9, "B"), (1e6, "M"), (1e3, "k"))
        # What would be rounded up to a thousand of one unit is one of the next.
        if count >= scale * 0.9995
    )
    return f"{size:.{2 if size < 9.995 else 1 if size < 99.95 else 0}f}{unit}"


def _cells(totals: Totals, whole: Totals, places: int) -> tuple[str, ...]:
    return (
        _dollars(totals.cost_nanousd, places) + (" + ?" if totals.unknown_calls else ""),
        _share(totals.cost_nanousd, whole.cost_nanousd),
        format_count(totals.calls),
        format_count(totals.input_tokens),
        format_count(totals.cache_read_tokens),
        format_count(totals.cache_write_tokens),
        format_count(totals.output_tokens),
        format_count(totals.reasoning_tokens),
        format_count(totals.retries),
        _dollars(totals.retry_nanousd, places),
        format_count(totals.refusals),
        _share(totals.estimated_nanousd, totals.cost_nanousd),
    )


def _places(largest_nanousd: int) -> int:
    """Return the decimals of a column of dollars: two from ten dollars up, else four, or enough for three digits."""
    if largest_nanousd >= 10 * NANO_PER_USD:
        return 2
    return min(max(4, 12 - len(str(largest_nanousd))), 9) if largest_nanousd else 2


def _dollars(nanousd: int, places: int) -> str:
    if not nanousd:
        return "-"
    scale = 10 ** (9 - places)
    if 0 < nanousd * 2 < scale:
        return f"<${1 / 10**places:.{places}f}"
    return f"${Decimal((nanousd + scale // 2) // scale).scaleb(-places):,.{places}f}"


def _share(part: int, whole: int) -> str:
    if not whole or not part:
        return "-"
    share = part / whole
    return "<1%" if share < 0.005 else f"{share:.0%}"
