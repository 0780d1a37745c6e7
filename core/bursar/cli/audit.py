"""`bursar audit`: the ledger at today's prices, or at another table's, and how far that is from what was booked."""

from __future__ import annotations

from contextlib import nullcontext
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Final, cast

import click

from bursar.cli.options import format_option, run_option, since_option, store_option, workflow_option
from bursar.cli.output import Record, console, moment, usd, write_csv, write_json
from bursar.cli.reading import all_runs, find_run, open_ledger
from bursar.ledger.families import Families
from bursar.ledger.repricing import Audit, AuditBy, Difference, audit
from bursar.money import format_usd
from bursar.store import Where

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from rich.console import RenderableType

    from bursar.ledger.fitting import FittingTable
    from bursar.ledger.repricing import SetAside

ENTRIES_MOST: Final = 10_000_000
_ALL: Final[tuple[AuditBy, ...]] = ("model", "day", "agent")
_FIELDS: Final = ("entries", "booked_usd", "repriced_usd", "difference_usd", "newly_priced")


def _parse_as_of(ctx: click.Context, param: click.Parameter, text: str) -> date | None:
    if text == "call":
        return None
    if text == "today":
        return datetime.now(UTC).date()
    try:
        return date.fromisoformat(text)
    except ValueError:
        msg = f'"{text}" is neither today, nor call, nor a date such as 2027-01-01.'
        raise click.BadParameter(msg, ctx, param) from None


@click.command(
    name="audit",
    epilog="A cost that the provider stated, an estimate and a bound are not computed from usage that the ledger "
    "keeps, so they cannot be priced anew: they are listed with the reason, and are in no difference.  Requests that "
    "were not billed are left out.",
)
@click.option(
    "--prices",
    "file",
    type=click.Path(exists=True, dir_okay=False, path_type=None),
    metavar="FILE.toml",
    help="A price file whose rows, aliases and discounts stand in the place of your own.  What it does not name has "
    "the price of the data in use.",
)
@click.option(
    "--as-of",
    "as_of",
    callback=_parse_as_of,
    default="today",
    show_default=True,
    metavar="DAY",
    help="Whose rows apply: today's, those of the day of each call (call), or of a date in UTC.  The hour is always "
    "that of the call.",
)
@click.option(
    "--by",
    type=click.Choice([*_ALL]),
    help="What to sum up by.  [default: all three; model in csv]",
)
@workflow_option
@run_option
@since_option
@format_option
@store_option
def command(
    *,
    file: str | Path | None,
    as_of: date | None,
    by: str | None,
    workflow: str | None,
    run_id: str | None,
    since: float | None,
    style: str,
    url: str | None,
) -> None:
    """Price every call of the ledger anew, and show the difference by model, day and agent."""
    from bursar import prices

    store = open_ledger(url)
    run_ids: tuple[str, ...] | None = None
    if run_id is not None:
        runs = all_runs(store)
        run_id = find_run(runs, run_id).run.id
        run_ids = Families([run.run for run in runs]).family(run_id)
    where = Where(workflow=workflow, run_ids=run_ids, since_s=since)
    with nullcontext() if file is None else prices.temporary(file):
        found = audit(store.entries(where, most=ENTRIES_MOST), as_of=as_of)
        version = prices.data_version()
    wanted = _ALL if by is None else (cast("AuditBy", by),)
    if style == "csv":
        first = wanted[0]
        write_csv(
            ("kind", first, "reason", *_FIELDS), [*_records(found, first), *_aside_records(found, first)]
        )
    elif style == "json":
        write_json(
            {
                "filters": {"workflow": workflow, "run": run_id, "since": moment(since)},
                "as_of": "call" if as_of is None else as_of.isoformat(),
                "prices": None if file is None else str(file),
                "data_version": version,
                "total": _difference_record(found.total),
                **{f"by_{one}": _plain_records(found, one) for one in wanted},
                "not_repriced": [
                    {"reason": reason, "model": model, **_aside_record(aside)}
                    for (reason, model), aside in sorted(found.set_aside.items())
                ],
            }
        )
    else:
        _show(found, wanted)


def _plain_records(found: Audit, by: AuditBy) -> list[Record]:
    return [{by: name, **_difference_record(difference)} for name, difference in found.rows(by)]


def _records(found: Audit, by: AuditBy) -> list[Record]:
    total: Record = {"kind": "total", **_difference_record(found.total)}
    return [*({"kind": "repriced", **record} for record in _plain_records(found, by)), total]


def _aside_records(found: Audit, by: AuditBy) -> list[Record]:
    return [
        {
            "kind": "not repriced",
            by: model if by == "model" else None,
            "reason": reason if by == "model" else f"{model}: {reason}",
            "entries": aside.entries,
            "booked_usd": usd(aside.booked_nanousd),
        }
        for (reason, model), aside in sorted(found.set_aside.items())
    ]


def _difference_record(difference: Difference) -> Record:
    values = (
        difference.entries,
        usd(difference.booked_nanousd),
        usd(difference.repriced_nanousd),
        usd(difference.nanousd),
        difference.newly_priced,
    )
    return dict(zip(_FIELDS, values, strict=True))


def _aside_record(aside: SetAside) -> Record:
    return {
        "entries": aside.entries,
        "booked_usd": usd(aside.booked_nanousd),
        "unknown_price_entries": aside.unknown,
    }


def _show(found: Audit, wanted: Sequence[AuditBy]) -> None:
    from rich.text import Text

    parts: list[RenderableType] = [_table(found, by) for by in wanted if found.total.entries]
    if found.total.newly_priced:
        parts.append(
            Text(
                f"{found.total.newly_priced:,} calls had no known price when they were booked and have one now (+ ?): "
                "what they come to is in the difference"
            )
        )
    if found.set_aside:
        parts.append(_aside_table(found))
    if not parts:
        parts.append(Text("There is nothing to price: no call there was billed."))
    out = console()
    for number, part in enumerate(parts):
        if number:
            out.print()
        out.print(part)


def _table(found: Audit, by: AuditBy) -> FittingTable:
    from bursar.ledger.fitting import Column, FittingTable

    columns = (
        Column(by, is_name=True),
        Column("entries", 2),
        Column("booked", 1),
        Column("priced\nanew", 1),
        Column("difference"),
        Column("share", 3),
    )
    rows = [(name, *_cells(difference)) for name, difference in found.rows(by)]
    return FittingTable(f"priced anew, by {by}", columns, rows, ("total", *_cells(found.total)))


def _cells(difference: Difference) -> tuple[str, ...]:
    share = f"{difference.nanousd / difference.booked_nanousd:+.1%}" if difference.booked_nanousd else "-"
    return (
        f"{difference.entries:,}",
        format_usd(difference.booked_nanousd) + (" + ?" if difference.newly_priced else ""),
        format_usd(difference.repriced_nanousd),
        signed(difference.nanousd),
        share if difference.nanousd else "-",
    )


def signed(nanousd: int) -> str:
    """Return a difference for people: `+$0.0042`, `-$1.20`, `-` for none."""
    return "-" if not nanousd else ("+" if nanousd > 0 else "") + format_usd(nanousd)


def _aside_table(found: Audit) -> FittingTable:
    from bursar.ledger.fitting import Column, FittingTable

    rows = [
        (
            reason,
            model,
            f"{aside.entries:,}",
            format_usd(aside.booked_nanousd) + (" + ?" if aside.unknown else ""),
        )
        for (reason, model), aside in sorted(found.set_aside.items(), key=lambda row: -row[1].booked_nanousd)
    ]
    columns = (
        Column("why", is_name=True),
        Column("model", is_name=True),
        Column("entries", 1),
        Column("booked"),
    )
    return FittingTable("not priced anew", columns, rows)
