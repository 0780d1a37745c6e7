"""`bursar prices`: what a model costs, where the price comes from, what was declared; and a refresh of the data."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import click

from bursar.cli.options import format_option
from bursar.cli.output import Record, console, write_csv, write_json

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date
    from decimal import Decimal

    from bursar.prices import PriceData, PriceRow
    from bursar.prices.overrides import Declarations
    from bursar.prices.updating import Update

_SHORT: Final = {
    "input_tokens": "input",
    "cache_read_tokens": "cached",
    "cache_write_tokens": "cache\nwrite",
    "cache_write_1h_tokens": "1 h\nwrite",
    "output_tokens": "output",
}
_FIELDS: Final = (
    "provider",
    "model",
    "tier",
    "above_input_tokens",
    "unit",
    "usd",
    "per",
    "row",
    "source",
    "data_version",
    "data_age_days",
    "discount",
    "starts",
    "context_window",
    "output_ceiling",
)
_GONE_SHOWN: Final = 10


class _Prices(click.Group):
    """Takes the first word for a model's name where it is no subcommand."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        first = args[0] if args else ""
        if first not in {*self.commands, *ctx.help_option_names}:
            args = [_SHOW, *args]
        return super().parse_args(ctx, args)

    def format_usage(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        formatter.write_usage(ctx.command_path, "[MODEL] [-p NAME] [--format table|json|csv]")
        formatter.write_usage(ctx.command_path, "update [--from FILE_OR_URL | --bundled]")


_SHOW: Final = "show"


@click.group(
    name="prices",
    cls=_Prices,
    epilog='"bursar prices show --help" and "bursar prices update --help" have the options.  Prices are declared in a '
    "price file, named by BURSAR_PRICES or prices.toml in your configuration folder; what a program adds with "
    "bursar.prices.add(...) is known to that program only.",
)
def command() -> None:
    """Show what MODEL costs and where the price comes from; without MODEL, which data and declarations are in force."""


@command.command(
    name=_SHOW,
    epilog="Prices are those of genai-prices and of your price file, as they hold today, with discounts.",
)
@click.argument("model", metavar="[MODEL]", required=False)
@click.option(
    "--provider",
    "-p",
    metavar="NAME",
    help="Who bills it.  [default: everyone who sells a model of that name]",
)
@format_option
def _show_command(*, model: str | None, provider: str | None, style: str) -> None:
    """Show the rates of MODEL in dollars per million tokens, by provider and service tier, and their source."""
    from bursar import prices

    if model is None:
        if provider is not None:
            msg = "--provider says whose price of a model is meant; name the MODEL, too."
            raise click.UsageError(msg)
        _show_overview(style)
        return
    rows = prices.describe(model, provider)
    if not rows:
        # Raises the error that names the line to add.
        prices.price(provider, model)
        msg = f'"{model}" has a price, but not now'
        raise click.ClickException(msg)
    if style == "table":
        _show(rows)
    elif style == "csv":
        write_csv(_FIELDS, _records(rows))
    else:
        write_json({"model": model, "rates": _records(rows)})


@command.command(
    name="update",
    epilog="The data is kept in your data folder and used by processes that start from then on.  Nothing is ever "
    "fetched unless this command is run.",
)
@click.option(
    "--from",
    "source",
    metavar="FILE_OR_URL",
    help="A file, or an https address.  [default: where genai-prices publishes its data]",
)
@click.option(
    "--bundled", "is_bundled", is_flag=True, help="Forget the refreshed data: use what is installed."
)
def _update_command(*, source: str | None, is_bundled: bool) -> None:
    """Fetch today's price data, check it, and store it."""
    from bursar.prices.updating import forget, update

    if is_bundled and source is not None:
        msg = "--from and --bundled are two different wishes."
        raise click.UsageError(msg)
    if is_bundled:
        data = forget()
        click.echo(f"Prices are those of {_data_words(data)} from now on.")
        return
    _show_update(update(source))


def _show_update(done: Update) -> None:
    click.echo(f"Stored in {done.path}: {_data_words(done.after)}, from {done.after.source}.")
    click.echo(
        f"models with a price that had none: {len(done.added):,}; with another one: {len(done.changed):,}; "
        f"with none any more: {len(done.gone):,}"
    )
    if done.gone:
        more = f", and {len(done.gone) - _GONE_SHOWN:,} more" if len(done.gone) > _GONE_SHOWN else ""
        click.echo(
            f"calls to these are refused from now on: {', '.join(done.gone[:_GONE_SHOWN])}{more}. "
            '"bursar prices update --bundled" goes back.',
            err=True,
        )


def _data_words(data: PriceData) -> str:
    if data.source == "genai-prices":
        return f"genai-prices {data.version} ({data.day})"
    return f"price data {data.version}"


def _age_words(data: PriceData) -> str:
    from bursar.prices import STALE_DAYS

    now = datetime.now(UTC)
    days = data.age_days(now)
    age = "today's" if not days else "1 day old" if days == 1 else f"{days:,} days old"
    return age + (f", older than {STALE_DAYS} days: bursar prices update" if data.is_stale(now) else "")


def _show_overview(style: str) -> None:
    from bursar.prices import price_data
    from bursar.prices.overrides import STATE

    declared, data = STATE.now, price_data()
    records = _declaration_records(declared)
    if style == "csv":
        write_csv(("kind", "provider", "model", "what", "since", "source"), records)
    elif style == "json":
        write_json(
            {
                "data": {
                    "version": data.version,
                    "date": data.day.isoformat(),
                    "age_days": data.age_days(datetime.now(UTC)),
                    "is_stale": data.is_stale(datetime.now(UTC)),
                    "source": data.source,
                },
                "price_files": [str(path) for path in declared.files],
                "declarations": records,
            }
        )
    else:
        _show_declarations(declared, data, records)


def _show_declarations(declared: Declarations, data: PriceData, records: Sequence[Record]) -> None:
    from bursar.ledger.fitting import Column, FittingTable
    from bursar.prices.files import ENVIRONMENT, default_path

    out = console()
    models = sum(len(provider.models) for provider in data.providers)
    out.print(
        f"{_data_words(data)}: {models:,} models of {len(data.providers)} providers, {_age_words(data)}"
    )
    if data.source != "genai-prices":
        out.print(f"  from {data.source}")
    if declared.files:
        out.print(f"price file: {', '.join(map(str, declared.files))}")
    else:
        out.print(f"no price file: {ENVIRONMENT} names none, and there is no {default_path()}")
    if records:
        names = ("kind", "provider", "model", "what", "since")
        columns = [
            Column(name, rank, is_name=not rank) for name, rank in zip(names, (0, 2, 0, 0, 1), strict=True)
        ]
        out.print()
        out.print(
            FittingTable(
                "declared", columns, [tuple(record[name] or "-" for name in names) for record in records]
            )
        )


def _declaration_records(declared: Declarations) -> list[Record]:
    """Return what is declared: for whom, from which day on, and from where it is."""
    records: list[Record] = []
    for (provider, _), prices in declared.prices.items():
        for price in prices:
            what = "free" if price.is_free else "by the second" if price.is_by_the_second else "price"
            records.append(_record("price", provider, price.model, what, (price.starts, price.data_version)))
    for name, (provider, model) in declared.aliases.items():
        records.append(_record("alias", provider, name, f"is {model}", (None, None)))
    records += [
        _record("discount", one.provider, one.model, f"x{one.factor:f}", (one.since, one.source))
        for one in declared.discounts
    ]
    return records


def _record(
    kind: str, provider: str | None, model: str | None, what: str, origin: tuple[date | None, str | None]
) -> Record:
    since, source = origin
    return {
        "kind": kind,
        "provider": provider,
        "model": model,
        "what": what,
        "since": None if since is None else since.isoformat(),
        "source": source,
    }


def _records(rows: Sequence[PriceRow]) -> list[Record]:
    """Return each rate of each row by itself, so that the columns are the same for every model."""
    return [
        {
            "provider": row.provider,
            "model": row.model,
            "tier": row.tier,
            "above_input_tokens": row.above_input_tokens,
            "unit": unit,
            "usd": f"{usd:f}",
            "per": per,
            "row": row.row,
            "source": row.source,
            "data_version": row.data_version,
            "data_age_days": _age_days(row),
            "discount": None if row.factor is None else f"{row.factor:f}",
            "starts": None if row.starts is None else row.starts.isoformat(),
            "context_window": row.context_window,
            "output_ceiling": row.output_ceiling,
        }
        for row in rows
        for per, amounts in ((1_000_000, row.usd_per_million), (1, row.usd_each))
        for unit, usd in amounts.items()
    ]


def _age_days(row: PriceRow) -> int | None:
    from bursar.prices import price_data

    return None if row.source == "override" else price_data().age_days(datetime.now(UTC))


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
    from bursar.prices import price_data

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
    discount = [f"list price x{row.factor:f}, a discount"] if row.factor is not None else []
    version = f" {row.data_version}" if row.source != row.data_version else ""
    age = "" if row.source == "override" else f", {_age_words(price_data())}"
    return (
        f"{row.provider}: {', '.join([*limits, *fees, *free, *discount])}\n"
        f"  {row.row}, {since}{hours}, {row.source}{version}{age}"
    )
