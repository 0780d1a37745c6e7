"""What the demo shows while it runs: every line and every bar is read from the ledger."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Final

from rich.live import Live
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from bursar.ledger.wording import describe_model, is_other_model
from bursar.money import format_usd, to_usd
from bursar.store import Where

if TYPE_CHECKING:
    from collections.abc import Sequence
    from decimal import Decimal
    from types import TracebackType

    from rich.console import Console

    from bursar.account import AccountState
    from bursar.budget import Budget
    from bursar.entry import Entry
    from bursar.run import Run

_LOOK_EVERY_S: Final = 0.1
_BAR: Final = 24
_WIDTH_OF_THE_REST: Final = 58
_SHADES: Final = (("█", "green"), ("▒", "yellow"), ("░", "bright_black"))
_ASCII: Final = ("#", "+", ".")


class Board:
    """
    Shows one line for every attempt that the ledger has of *run*, and on a terminal a bar for each agent.

    Used in a `with`; it looks at the ledger from a thread of its own.
    """

    def __init__(self, console: Console, run: Run, budget: Budget, names: Sequence[str]) -> None:
        self._console = console
        self._run = run
        self._budget = budget
        self._names = names
        self._started_s = time.monotonic()
        self._shown: set[str] = set()
        self._calls = dict.fromkeys(names, 0)
        self._ended: dict[str, str] = {}
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="bursar-demo-board", daemon=True)
        self._failure: Exception | None = None
        self._live = Live(console=console, auto_refresh=False) if console.is_terminal else None

    def __enter__(self) -> Board:
        if self._live is not None:
            self._live.start()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._is_over.set()
        self._thread.join()
        if self._failure is None:
            self._look()
        if self._live is not None:
            self._live.stop()
        if self._failure is not None and error is None:
            raise self._failure

    def note_done(self, name: str) -> None:
        """Remember that an agent has come to its end."""
        self._ended.setdefault(name, "done")

    def _follow(self) -> None:
        try:
            while not self._is_over.wait(_LOOK_EVERY_S):
                self._look()
        except Exception as failure:  # noqa: BLE001 (raised again by the thread that is playing)
            self._failure = failure

    def _look(self) -> None:
        entries = self._run.store.entries(Where(run_ids=tuple(self._run.family)))
        for entry in entries:
            if entry.id not in self._shown:
                self._shown.add(entry.id)
                self._console.print(self._line(entry))
        if self._live is not None:
            self._live.update(Padding(self._bars(), (1, 0, 0, 0)), refresh=True)

    def _line(self, entry: Entry) -> Text:
        name = entry.subject.agent.name
        if entry.is_sent and entry.attempt == 1:
            self._calls[name] = self._calls.get(name, 0) + 1
        line = Text(f"{time.monotonic() - self._started_s:5.1f}s  {name:<12}  ", style="")
        if entry.status == "refused":
            self._ended[name] = "killed"
            line.append(f"killed: {self._refusal(name)}", style="bold red")
            return line
        line.append(f"{describe_model(entry):<17}")
        line.append(
            f"  {'?' if entry.cost_nanousd is None else format_usd(entry.cost_nanousd):<9}", style="green"
        )
        if entry.status != "ok":
            line.append(f"  attempt {entry.attempt}: {entry.reason or entry.status}", style="magenta")
        elif entry.attempt > 1:
            line.append(f"  attempt {entry.attempt}: answered", style="magenta")
        elif entry.subject.is_repeat:
            line.append("  the same request, again", style="magenta")
        if is_other_model(entry):
            line.append("  downgraded, 80% used", style="yellow")
        line.rstrip()
        return line

    def _refusal(self, name: str) -> str:
        refusal = next((refusal for refusal in self._run.refusals if refusal.agent == name), None)
        if refusal is None:
            return "nothing is left"
        numbers = refusal.details
        return f"{_dollars(numbers.remaining)} left, the next call may take {_dollars(numbers.asked)}"

    def _bars(self) -> Table:
        width = min(_BAR, max(self._console.width - _WIDTH_OF_THE_REST, 0))
        table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
        for _ in range(5):
            table.add_column(no_wrap=True)
        for name in self._names:
            state = self._state(name)
            spent, reserved, limit = (
                (state.spent.nanousd, state.reserved.nanousd, state.limits.nanousd or 0)
                if state is not None
                else (0, 0, self._budget.agent_limits(name).nanousd or 0)
            )
            word = "calling" if reserved else self._ended.get(name, "")
            style = {"calling": "yellow", "killed": "bold red", "done": "green"}.get(word, "")
            calls = self._calls[name]
            table.add_row(
                Text(name, style="bold" if reserved else ""),
                self._bar(spent, reserved, limit, width),
                Text(f"{_fixed(spent)} of {_fixed(limit)}"),
                Text(f"{calls} {'call' if calls == 1 else 'calls'}" if calls else ""),
                Text(word, style=style),
            )
        return table

    def _bar(self, spent: int, reserved: int, limit: int, width: int) -> Text:
        used = round(width * spent / limit) if limit else width
        held = round(width * (spent + reserved) / limit) - used if limit else 0
        is_ascii = not self._console.encoding.startswith("utf")
        bar = Text()
        sizes = (min(used, width), min(held, width - used), max(width - used - held, 0))
        for size, (block, style), plain in zip(sizes, _SHADES, _ASCII, strict=True):
            bar.append((plain if is_ascii else block) * size, style=style)
        return bar

    def _state(self, name: str) -> AccountState | None:
        accounts = self._run.chain(name).accounts
        return self._run.store.state(accounts[0].key)


def _fixed(nanousd: int) -> str:
    """Return dollars to four places, so that figures that change stay in their place."""
    return f"${to_usd(nanousd):.4f}"


def _dollars(usd: Decimal) -> str:
    return format_usd(int(usd.scaleb(9)))
