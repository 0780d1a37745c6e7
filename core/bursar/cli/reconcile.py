"""`bursar reconcile`: the ledger against a provider's export of usage or costs."""

from __future__ import annotations

import re
from datetime import UTC, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

import click

from bursar.cli.audit import ENTRIES_MOST, signed
from bursar.cli.options import format_option, store_option, workflow_option
from bursar.cli.output import Record, console, usd, write_csv, write_json
from bursar.cli.reading import open_ledger
from bursar.ledger.invoices import Invoice, InvoiceError, Layout, Measure, read_invoice
from bursar.ledger.reconciling import Comparison, Grain, Tolerance, reconcile, totals
from bursar.money import format_usd, parse_usd
from bursar.store import Where

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType

    from bursar.ledger.fitting import FittingTable

_DEFAULT_TOLERANCE: Final = "$0.01"
_FIELDS: Final = (
    "day",
    "model",
    "measure",
    "invoice",
    "ledger",
    "difference",
    "ledger_estimated",
    "unknown_price_calls",
    "state",
)
_HEADINGS: Final = {"cost_nanousd": "cost", "input_tokens": "input tokens", "output_tokens": "output tokens"}


def _parse_tolerance(ctx: click.Context, param: click.Parameter, text: str) -> Tolerance:
    share = re.fullmatch(r"(?P<percent>\d+(?:\.\d+)?|\.\d+)\s*%", text.strip())
    if share is not None:
        return Tolerance(share=Decimal(share["percent"]) / 100)
    try:
        return Tolerance(amount=parse_usd(text, what="the tolerance"))
    except ValueError:
        msg = f'"{text}" is neither dollars, such as $0.01, nor a share, such as 1%.'
        raise click.BadParameter(msg, ctx, param) from None


@click.command(
    name="reconcile",
    epilog="Known by their columns are OpenAI's exports of costs and usage, and Anthropic's of cost and tokens; any "
    "other file needs --provider and the names of its columns.  Exit code 0: everything is within the tolerance; 1: "
    "something is not, and never is where the ledger has calls of unknown cost; 2: the file or the command line makes "
    "no sense.",
)
@click.option(
    "--invoice",
    "path",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    required=True,
    metavar="FILE.csv",
    help="The provider's export.",
)
@click.option(
    "--provider",
    "-p",
    metavar="NAME",
    help="Whose entries of the ledger to compare.  [default: whose export it is]",
)
@click.option(
    "--tolerance",
    callback=_parse_tolerance,
    default=_DEFAULT_TOLERANCE,
    show_default=True,
    metavar="AMOUNT",
    help="How far each figure may be apart: dollars, or a share of the invoice's, such as 1%.  Dollars do not apply to "
    "tokens, which must be equal then.",
)
@click.option(
    "--by",
    "grain",
    type=click.Choice(["day-model", "day", "model"]),
    help="What to compare.  [default: day-model; day, where the invoice names no model]",
)
@click.option("--day-column", metavar="NAME", help="The column with the day in UTC, or an ISO time.")
@click.option("--model-column", metavar="NAME", help="The column with the model.")
@click.option("--cost-column", metavar="NAME", help="The column with the cost in dollars.")
@click.option(
    "--input-column", metavar="NAME", help="The column with all input tokens, cached ones included."
)
@click.option("--output-column", metavar="NAME", help="The column with the output tokens.")
@workflow_option
@format_option
@store_option
@click.pass_context
def command(
    ctx: click.Context,
    *,
    path: Path,
    provider: str | None,
    tolerance: Tolerance,
    grain: str | None,
    day_column: str | None,
    model_column: str | None,
    cost_column: str | None,
    input_column: str | None,
    output_column: str | None,
    workflow: str | None,
    style: str,
    url: str | None,
) -> None:
    """Compare the ledger with a provider's invoice, by day (UTC) and model."""
    measures: dict[Measure, str | None] = {
        "cost_nanousd": cost_column,
        "input_tokens": input_column,
        "output_tokens": output_column,
    }
    layout = _own_layout(day_column, model_column, measures)
    try:
        invoice = read_invoice(path.read_text(encoding="utf-8-sig"), layout=layout)
    except (InvoiceError, UnicodeDecodeError, OSError) as error:
        msg = f'"{path}" cannot be compared: {error}'
        raise click.UsageError(msg) from error
    seller = provider or invoice.layout.provider
    if seller is None:
        msg = "--provider is needed: the file does not say whose it is."
        raise click.UsageError(msg)
    if grain in {"day-model", "model"} and not invoice.names_models:
        msg = f'"{path}" names no model, so --by {grain} is not possible; use --by day.'
        raise click.UsageError(msg)
    wanted = cast("Grain", grain or ("day-model" if invoice.names_models else "day"))
    since_s = datetime.combine(invoice.first, time(), UTC).timestamp()
    entries = open_ledger(url).entries(Where(workflow=workflow, since_s=max(since_s, 0.0)), most=ENTRIES_MOST)
    rows = reconcile(invoice, entries, provider=seller, tolerance=_for(invoice, tolerance), grain=wanted)
    sums = list(totals(rows, _for(invoice, tolerance)))
    is_off = any(row.is_off for row in rows)
    if style == "csv":
        write_csv(_FIELDS, [_record(row) for row in rows])
    elif style == "json":
        write_json(_document(invoice, seller, wanted, rows, sums))
    else:
        _show(invoice, seller, rows, sums)
    ctx.exit(1 if is_off else 0)


def _own_layout(
    day_column: str | None, model_column: str | None, measures: dict[Measure, str | None]
) -> Layout | None:
    named: dict[Measure, tuple[str, ...]] = {
        measure: (column,) for measure, column in measures.items() if column is not None
    }
    if not named and day_column is None and model_column is None:
        return None
    if day_column is None or not named:
        missing = (
            "--day-column" if day_column is None else "--cost-column, or --input-column and --output-column"
        )
        msg = f"{missing} is needed, too, where the columns are named."
        raise click.UsageError(msg)
    return Layout(name="own columns", provider=None, day=day_column, model=model_column, measures=named)


def _for(invoice: Invoice, tolerance: Tolerance) -> Tolerance:
    """Return the tolerance of each figure: dollars mean nothing where tokens are compared."""
    return tolerance if "cost_nanousd" in invoice.layout.measures else Tolerance(share=tolerance.share)


def _plain(measure: Measure, amount: int | None) -> str | int | None:
    if amount is None:
        return None
    return usd(amount) if measure == "cost_nanousd" else amount


def _record(row: Comparison) -> Record:
    values = (
        None if row.day is None else row.day.isoformat(),
        row.model,
        "cost_usd" if row.measure == "cost_nanousd" else row.measure,
        _plain(row.measure, row.invoiced),
        _plain(row.measure, row.booked),
        _plain(row.measure, row.difference),
        _plain(row.measure, row.estimated),
        row.unknown_calls,
        row.state,
    )
    return dict(zip(_FIELDS, values, strict=True))


def _document(
    invoice: Invoice, provider: str, grain: Grain, rows: Sequence[Comparison], sums: Sequence[Comparison]
) -> Record:
    return {
        "invoice": invoice.layout.name,
        "provider": provider,
        "first_day": invoice.first.isoformat(),
        "last_day": invoice.last.isoformat(),
        "by": grain,
        "is_within_tolerance": not any(row.is_off for row in rows),
        "total": [_record(row) for row in sums],
        "rows": [_record(row) for row in rows],
    }


def _show(invoice: Invoice, provider: str, rows: Sequence[Comparison], sums: Sequence[Comparison]) -> None:
    from rich.text import Text

    span = f"{invoice.first} to {invoice.last}" if invoice.first != invoice.last else f"{invoice.first}"
    parts: list[RenderableType] = [
        Text(f"{invoice.layout.name}, {span} UTC, against the ledger's {provider}")
    ]
    if not rows:
        parts.append(Text("Neither side has anything there."))
    parts += [_table(total, [row for row in rows if row.measure == total.measure]) for total in sums]
    off = sum(row.is_off for row in rows)
    parts.append(
        Text(f"{off:,} of {len(rows):,} figures differ" if off else "everything is within the tolerance")
    )
    unknown = sum(row.unknown_calls for row in sums if row.measure == "cost_nanousd")
    if unknown:
        parts.append(
            Text(f"calls in the ledger without a known price: {unknown:,}; bursar audit prices them anew")
        )
    out = console()
    for number, part in enumerate(parts):
        if number:
            out.print()
        out.print(part)


def _table(total: Comparison, rows: Sequence[Comparison]) -> FittingTable:
    from bursar.ledger.fitting import Column, FittingTable

    columns = (
        Column("day", is_name=True, is_optional=True),
        Column("model", is_name=True, is_optional=True),
        Column("invoice"),
        Column("ledger"),
        Column("difference", 1),
        Column("esti-\nmated", 2, is_optional=True),
        Column("state"),
    )
    cells = [(str(row.day or ""), row.model or "", *_cells(row)) for row in rows]
    footer = ("total", "", *_cells(total)) if rows[0].day else ("", "total", *_cells(total))
    return FittingTable(_HEADINGS[total.measure], columns, cells, footer)


def _cells(row: Comparison) -> tuple[str, ...]:
    def shown(amount: int | None) -> str:
        if amount is None:
            return "-"
        return format_usd(amount) if row.measure == "cost_nanousd" else f"{amount:,}"

    difference = signed(row.difference) if row.measure == "cost_nanousd" else f"{row.difference:+,}"
    return (
        shown(row.invoiced),
        shown(row.booked) + (" + ?" if row.unknown_calls and row.measure == "cost_nanousd" else ""),
        difference if row.difference else "-",
        shown(row.estimated) if row.estimated else "-",
        row.state,
    )
