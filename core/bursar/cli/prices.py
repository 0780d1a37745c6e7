"""`bursar prices`: what a model costs, and where the price comes from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

from bursar.cli.output import console

if TYPE_CHECKING:
    from collections.abc import Sequence
    from decimal import Decimal

    from bursar.prices import PriceRow

_SHORT: Final = {
    "input_tokens": "input",
    "cache_read_tokens": "cached",
    "cache_write_tokens": "cache\nwrite",
    "cache_write_1h_tokens": "1 h\nwrite",
    "output_tokens": "output",
}


@click.command(
    name="prices",
    epilog="Prices are those of genai-prices, as they hold today.  What a program adds with bursar.prices.add(...) "
    "is known to that program only.",
)
@click.argument("model", metavar="MODEL")
@click.option(
    "--provider",
    "-p",
    metavar="NAME",
    help="Who bills it.  [default: everyone who sells a model of that name]",
)
def command(*, model: str, provider: str | None) -> None:
    """Show the rates of MODEL in dollars per million tokens, by provider and service tier, and their source."""
    from bursar import prices

    rows = prices.describe(model, provider)
    if not rows:
        # Raises the error that names the line to add.
        prices.price(provider, model)
        msg = f'"{model}" has a price, but not now'
        raise click.ClickException(msg)
    _show(rows)


def _show(rows: Sequence[PriceRow]) -> None:
    from rich.text import Text

    from bursar.ledger.fitting import Column, FittingTable

    out = console()
    kinds = list(dict.fromkeys(kind for row in rows for kind in row.usd_per_million))
    # The everyday ones first, and in this order.
    kinds.sort(key=lambda kind: [*_SHORT].index(kind) if kind in _SHORT else len(_SHORT))
    columns = (
        Column("provider", is_name=True),
        Column("tier", 1 + len(kinds), is_name=True),
        Column("from\ntokens", 2 + len(kinds)),
        *(
            Column(_heading(kind), 0 if kind in {"input_tokens", "output_tokens"} else n)
            for n, kind in enumerate(kinds)
        ),
    )
    cells = [
        (
            row.provider,
            row.tier,
            f"{row.above_input_tokens + 1:,}",
            *(_dollars(row.usd_per_million[kind]) if kind in row.usd_per_million else "-" for kind in kinds),
        )
        for row in rows
    ]
    out.print(FittingTable("dollars per million tokens", columns, cells))
    standard = {(row.provider, row.row): row for row in reversed(rows)}
    for text in dict.fromkeys(_source(standard[row.provider, row.row]) for row in rows):
        out.print()
        out.print(Text(text), soft_wrap=False)


def _dollars(usd: Decimal) -> str:
    """Return dollars with as many decimals as they have, and at least the cents."""
    return f"${usd:f}" if usd != round(usd, 2) else f"${usd:.2f}"


def _heading(kind: str) -> str:
    return _SHORT.get(kind) or kind.removesuffix("_tokens").replace("_", "\n")


def _source(row: PriceRow) -> str:
    version = f" {row.data_version}" if row.source != row.data_version else ""
    since = f"since {row.starts}" if row.starts else "always"
    hours = f", from {row.hours[0]:%H:%M} to {row.hours[1]:%H:%M} UTC" if row.hours else ""
    limits = [
        f"context {row.context_window:,} tokens" if row.context_window else "context unknown",
        f"output at most {row.output_ceiling:,} tokens"
        if row.output_ceiling is not None
        else "output ceiling unknown",
    ]
    fees = [f"{kind.replace('_', ' ')} {_dollars(usd)} each" for kind, usd in row.usd_each.items()]
    free = ["free"] if row.is_free else []
    return f"{row.provider}: {', '.join([*limits, *fees, *free])}\n  {row.row}, {since}{hours}, {row.source}{version}"
