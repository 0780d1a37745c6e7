"""A table that leaves out its least important columns where the terminal is narrow, and says which."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from rich.box import SIMPLE
from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from bursar.ledger.wording import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console, ConsoleOptions, RenderResult

_GAP: Final = 2
"""What stands between two columns: a cell of padding and the box's own."""

_NAME_LEAST: Final = 16
_EMPTY: Final = frozenset({"", "-", "0", "0%", "$0.00"})


@dataclass(frozen=True, slots=True)
class Column:
    """
    One column.

    Attributes:
        heading: A newline breaks it, so that it is no wider than its figures.

        rank: 0 always stays; of the others the highest goes first, and before all of them those that are empty.

        is_name: Set flush left; only a name that is wider than the terminal is broken.

        is_optional: Left out where it is empty, however wide the terminal.
    """

    heading: str
    rank: int = 0
    is_name: bool = False
    is_optional: bool = False

    @property
    def words(self) -> str:
        """The heading on one line."""
        return self.heading.replace("-\n", "").replace("\n", " ")


@dataclass(frozen=True, slots=True)
class FittingTable:
    """Rows of cells, all of them as wide as they need to be."""

    title: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[str]]
    footer: Sequence[str] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "rows", [[printable(cell) for cell in row] for row in self.rows])

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        widths = [self._width(index) for index in range(len(self.columns))]
        kept, left_out = self._fit(widths, options.max_width)
        table = Table(
            box=SIMPLE,
            show_edge=False,
            show_footer=self.footer is not None,
            padding=(0, _GAP - 1, 0, 0),
            pad_edge=False,
            collapse_padding=True,
            header_style="bold",
            footer_style="bold",
        )
        for index in kept:
            column = self.columns[index]
            table.add_column(
                column.heading,
                "" if self.footer is None else self.footer[index],
                justify="left" if column.is_name else "right",
                vertical="bottom",
                overflow="fold",
                no_wrap=not column.is_name,
                min_width=min(widths[index], _NAME_LEAST) if column.is_name else widths[index],
            )
        for row in self.rows:
            table.add_row(*(Text(row[index]) for index in kept))
        yield Text(self.title, style="bold")
        yield table
        if left_out:
            yield Text(f"not shown, for want of width: {', '.join(left_out)}", style="dim")

    def _width(self, index: int) -> int:
        cells = [row[index] for row in self.rows] + ([] if self.footer is None else [self.footer[index]])
        return max(map(cell_len, [*self.columns[index].heading.split("\n"), *cells]))

    def _fit(self, widths: list[int], most: int) -> tuple[list[int], list[str]]:
        kept = [i for i, column in enumerate(self.columns) if not (column.is_optional and self._is_empty(i))]
        left_out: list[int] = []
        # A name so long that nothing would fit beside it is folded, rather than all the figures dropped.
        wanted = [
            min(width, max(most // 2, _NAME_LEAST)) if column.is_name else width
            for column, width in zip(self.columns, widths, strict=True)
        ]
        droppable = sorted(
            (index for index in kept if self.columns[index].rank),
            key=lambda index: (self._is_empty(index), self.columns[index].rank),
        )
        while droppable and sum(wanted[index] + _GAP for index in kept) - _GAP > most:
            left_out.append(droppable.pop())
            kept.remove(left_out[-1])
        return kept, [self.columns[index].words for index in sorted(left_out) if not self._is_empty(index)]

    def _is_empty(self, index: int) -> bool:
        cells = [row[index] for row in self.rows] + ([] if self.footer is None else [self.footer[index]])
        return all(cell in _EMPTY for cell in cells)
