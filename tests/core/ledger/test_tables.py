from __future__ import annotations

import pytest
from rich.console import Console

from bursar.ledger.fitting import Column, FittingTable
from bursar.ledger.tables import format_count, totals_table
from bursar.totals import Totals


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "-"),
        (9_999, "9,999"),
        (10_000, "10.0k"),
        (45_249, "45.2k"),
        (999_499, "999k"),
        (999_500, "1.00M"),
        (1_234_567, "1.23M"),
        (2_000_000_000, "2.00B"),
    ],
)
def test_counts_are_short(count: int, text: str) -> None:
    """Counts are exact below ten thousand and have three digits above."""
    assert text == format_count(count)


def shown(table: FittingTable, width: int) -> str:
    """Return the table as text."""
    console = Console(width=width, color_system=None)
    with console.capture() as capture:
        console.print(table)
    return capture.get()


@pytest.mark.parametrize(
    ("costs", "texts"),
    [
        ((12_500_000_000, 1_000_000), ("$12.50", "<$0.01")),
        ((340_000_000, 4_250_000), ("$0.3400", "$0.0043")),
        ((80_000, 1), ("$0.0000800", "<$0.0000001")),
        ((0, 0), ("-", "-")),
        ((1_234_567_890_000_000, 0), ("$1,234,567.89", "-")),
    ],
)
def test_a_column_of_dollars_has_the_same_places(costs: tuple[int, int], texts: tuple[str, str]) -> None:
    """The largest amount decides how many decimals all have; what would be rounded to nothing is less than that."""
    rows = [(f"agent-{n}", Totals(cost_nanousd=cost)) for n, cost in enumerate(costs)]

    lines = shown(totals_table("agent", rows, Totals(cost_nanousd=max(costs))), 120).splitlines()

    for n, text in enumerate(texts):
        assert text == next(line for line in lines if line.startswith(f"agent-{n}")).split()[1]


def test_the_least_important_columns_go_first() -> None:
    """In a narrow terminal empty columns go first, then those of the highest rank, and the table says which."""
    columns = [
        Column("name", is_name=True),
        Column("a" * 9),
        Column("b" * 9, 1),
        Column("c" * 9, 2),
        Column("d" * 9, 3),
    ]
    table = FittingTable("t", columns, [("x", "1", "-", "3", "4")])

    assert "not shown" not in shown(table, 60)
    narrow = shown(table, 32)
    assert "bbbbbbbbb" not in narrow
    assert "aaaaaaaaa  ccccccccc" in narrow
    assert "not shown, for want of width: ddddddddd" in " ".join(narrow.split())


def test_a_name_wider_than_the_terminal_is_folded() -> None:
    """No part of a name is lost."""
    name = "abcdefghij" * 9
    table = FittingTable("t", [Column("name", is_name=True), Column("cost")], [(name, "$1.00")])

    text = shown(table, 50)

    assert name == "".join(line.replace("$1.00", "").strip() for line in text.splitlines()[3:])


def test_markup_in_a_name_is_text() -> None:
    """An agent may be called anything."""
    table = FittingTable("[b]t", [Column("name", is_name=True)], [("[red]writer[/red]",)])

    assert "[red]writer[/red]" in shown(table, 50)
