"""
What a provider says that was used or spent: its export of usage or costs, read from CSV.

Known are the exports of OpenAI's dashboard (costs, usage) and of Anthropic's console (cost, tokens).  Any other file is
read by the names of its columns.  Days are UTC, as both providers count them.
"""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal, InvalidOperation
from typing import TYPE_CHECKING, Final, Literal

from bursar.errors import BursarError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Measure = Literal["cost_nanousd", "input_tokens", "output_tokens"]
"""What is compared."""

NO_MODEL: Final = "(no model)"
"""Where an invoice does not say which model a line is for."""

_DAY_S: Final = 86_400
_DELIMITERS: Final = ",;\t"


class InvoiceError(BursarError, ValueError):
    """A file is not an invoice that can be read; the message says which columns it has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """
    Which columns hold what; several columns of one measure are added up.

    Attributes:
        name: What the file is, for people.

        provider: Whose it is; None where it does not say.

        day: The column with the day, an ISO time, or seconds since the epoch.

        end: The column with the end of a line's time, which must not be longer than a day.

        model: The column with the model, or None.

        measures: The columns of each measure.

        currency: The column with the currency, which must be US dollars.

        has_line_items: Whether the model is followed by a comma and what of it is billed: `gpt-4o, input`.
    """

    name: str
    provider: str | None
    day: str
    model: str | None
    measures: Mapping[Measure, tuple[str, ...]]
    end: str | None = None
    currency: str | None = None
    has_line_items: bool = False

    @property
    def columns(self) -> set[str]:
        """Every column that must be there."""
        named = {self.day, *(column for columns in self.measures.values() for column in columns)}
        return named if self.model is None else named | {self.model}


_OPENAI_INPUT: Final = ("input_tokens", "input_audio_tokens")
_OPENAI_OUTPUT: Final = ("output_tokens", "output_audio_tokens")

LAYOUTS: Final = (
    Layout(
        name="OpenAI costs",
        provider="openai",
        day="start_time",
        end="end_time",
        model="line_item",
        measures={"cost_nanousd": ("amount_value",)},
        currency="amount_currency",
        has_line_items=True,
    ),
    Layout(
        name="OpenAI usage",
        provider="openai",
        day="start_time",
        end="end_time",
        model="model",
        # The usage API counts audio apart from text, and cached tokens in both (its reference, "Usage").
        measures={"input_tokens": _OPENAI_INPUT, "output_tokens": _OPENAI_OUTPUT},
    ),
    Layout(
        name="OpenAI usage",
        provider="openai",
        day="start_time",
        end="end_time",
        model="model",
        measures={"input_tokens": ("input_tokens",), "output_tokens": ("output_tokens",)},
    ),
    Layout(
        name="Anthropic cost",
        provider="anthropic",
        day="usage_date_utc",
        model="model",
        measures={"cost_nanousd": ("cost_usd",)},
    ),
    Layout(
        name="Anthropic tokens",
        provider="anthropic",
        day="usage_date_utc",
        model="model_version",
        measures={
            "input_tokens": (
                "usage_input_tokens_no_cache",
                "usage_input_tokens_cache_write_5m",
                "usage_input_tokens_cache_write_1h",
                "usage_input_tokens_cache_read",
            ),
            "output_tokens": ("usage_output_tokens",),
        },
    ),
)
"""The exports that are known by their columns; the first that fits holds."""


@dataclass(frozen=True, slots=True)
class InvoiceLine:
    """What a provider says of one model on one day; a measure that it says nothing of is not there."""

    day: date
    model: str
    amounts: Mapping[Measure, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Invoice:
    """
    An invoice that was read.

    Attributes:
        first, last: The days that it covers, also where nothing was used.

        names_models: Whether any line says which model it is for.
    """

    layout: Layout
    first: date
    last: date
    lines: tuple[InvoiceLine, ...] = field(repr=False)
    names_models: bool


def read_invoice(text: str, *, layout: Layout | None = None) -> Invoice:
    """
    Return the invoice in *text*.

    Args:
        layout: Which columns hold what; None is for the exports that are known.

    Raises:
        InvoiceError: It has not the columns, or a line cannot be read.
    """
    reader = csv.DictReader(io.StringIO(text), delimiter=_delimiter(text), strict=True)
    try:
        # Names as in the file's header, without the spaces that spreadsheets leave around them.
        header = [name.strip() for name in reader.fieldnames or ()]
        reader.fieldnames = header
        layout = _known_layout(header) if layout is None else _checked(layout, header)
        if layout.currency is not None and layout.currency not in header:
            layout = replace(layout, currency=None)
        rows = list(enumerate(reader, 2))
    except csv.Error as error:
        raise InvoiceError(f"the file is not CSV: {error}") from error
    days: list[date] = []
    lines: list[InvoiceLine] = []
    for number, row in rows:
        if not any((value or "").strip() for value in row.values() if isinstance(value, str)):
            continue
        day, line = _line(layout, row, number)
        days.append(day)
        if line is not None:
            lines.append(line)
    if not days:
        raise InvoiceError("the file has a header and no lines")
    return Invoice(
        layout=layout,
        first=min(days),
        last=max(days),
        lines=tuple(lines),
        names_models=any(line.model != NO_MODEL for line in lines),
    )


def _known_layout(header: list[str]) -> Layout:
    for layout in LAYOUTS:
        # OpenAI leaves the column out where costs are not grouped by it.
        needed = layout.columns - ({layout.model} if layout.has_line_items else set())
        if needed <= set(header):
            return layout if layout.model in header else replace(layout, model=None)
    names = sorted({layout.name for layout in LAYOUTS})
    raise InvoiceError(
        f"the columns are those of no export that is known ({', '.join(names)}). {_found(header)} Say which hold what: "
        "--day-column, --model-column, and --cost-column or --input-column and --output-column"
    )


def _checked(layout: Layout, header: list[str]) -> Layout:
    missing = sorted(layout.columns - set(header))
    if missing:
        quoted = ", ".join(f'"{name}"' for name in missing)
        raise InvoiceError(f"there is no column {quoted}. {_found(header)}")
    return layout


def _found(header: Iterable[str]) -> str:
    names = ", ".join(f'"{name}"' for name in header)
    return f"The file has {names}." if names else "The file has no header."


def _line(layout: Layout, row: Mapping[str, str | None], number: int) -> tuple[date, InvoiceLine | None]:
    def at(column: str | None) -> str:
        return "" if column is None else (row.get(column) or "").strip()

    start = _moment(at(layout.day), layout.day, number)
    if layout.end is not None and at(layout.end):
        end = _moment(at(layout.end), layout.end, number)
        if (end - start).total_seconds() > _DAY_S:
            raise InvoiceError(
                f"line {number} covers more than a day, from {start:%Y-%m-%d} to {end:%Y-%m-%d}; export it by day"
            )
    amounts: dict[Measure, int] = {}
    for measure, columns in layout.measures.items():
        stated = [_amount(at(column), column, number, measure) for column in columns if at(column)]
        if stated:
            amounts[measure] = sum(stated)
    if not amounts:
        return start.date(), None
    currency = at(layout.currency)
    if currency and currency.lower() != "usd":
        raise InvoiceError(
            f'line {number} is in "{currency}"; the ledger is in US dollars, so they cannot be compared'
        )
    model = at(layout.model)
    if layout.has_line_items:
        model = model.partition(", ")[0].strip()
    return start.date(), InvoiceLine(start.date(), model or NO_MODEL, amounts)


def _moment(text: str, column: str, number: int) -> datetime:
    """Return the moment in UTC; one without a zone is UTC already."""
    try:
        if text.replace(".", "", 1).isdigit() and "-" not in text and len(text) > 8:
            return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=float(text))
        found = datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        raise InvoiceError(
            f'line {number}: "{text}" in "{column}" is neither an ISO day or time nor seconds since the epoch'
        ) from None
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)


def _amount(text: str, column: str, number: int, measure: Measure) -> int:
    try:
        amount = Decimal(text.replace("$", "").replace(",", "").replace("_", "").strip())
        if not amount.is_finite():
            raise InvalidOperation
        if measure == "cost_nanousd":
            # Some exports have more digits than a nano-dollar.
            return int(amount.scaleb(9).to_integral_value(ROUND_HALF_EVEN))
        if amount != amount.to_integral_value():
            raise InvalidOperation
        return int(amount)
    except InvalidOperation:
        what = "an amount of dollars" if measure == "cost_nanousd" else "a whole number of tokens"
        raise InvoiceError(f'line {number}: "{text}" in "{column}" is not {what}') from None


def _delimiter(text: str) -> str:
    header = text.partition("\n")[0]
    return max(_DELIMITERS, key=header.count)
