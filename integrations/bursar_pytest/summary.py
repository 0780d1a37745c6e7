"""What each test has spent, in its report, in JUnit's XML, and in a table at the end."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import pytest

    from bursar import Run

_SPENT: Final = "bursar_spent_usd"
_LIMIT: Final = "bursar_limit_usd"
_CALLS: Final = "bursar_calls"
_LINES_MOST: Final = 20


def note_spent(item: pytest.Item, run: Run) -> None:
    """Note in the test's report what it has spent: in dollars, and in calls."""
    noted: dict[str, object] = {_SPENT: f"{run.spent:f}", _CALLS: run.calls}
    if run.limit is not None:
        noted[_LIMIT] = f"{run.limit:f}"
    # A test that is run again says only what it spent last.
    item.user_properties[:] = [
        kept for kept in item.user_properties if kept[0] not in {_SPENT, _LIMIT, _CALLS}
    ]
    item.user_properties += noted.items()


class Summary:
    """Gathers what the tests have spent, of whichever process they ran in."""

    def __init__(self) -> None:
        self._tests: dict[str, dict[str, object]] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Gather what a test says of itself at its end."""
        noted = {name: value for name, value in report.user_properties if name.startswith("bursar_")}
        if report.when == "teardown" and noted.get(_CALLS):
            self._tests[report.nodeid] = noted

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Show the dearest tests, and the sum."""
        if not self._tests:
            return
        spent = {name: Decimal(str(noted[_SPENT])) for name, noted in self._tests.items()}
        dearest = sorted(spent, key=lambda name: (-spent[name], name))
        terminalreporter.section("what tests have spent")
        for name in dearest[:_LINES_MOST]:
            terminalreporter.write_line(f"{_figures(self._tests[name])}  {name}")
        if len(dearest) > _LINES_MOST:
            terminalreporter.write_line(f"... and {len(dearest) - _LINES_MOST} tests that spent less")
        terminalreporter.write_line(f"{_shown(sum(spent.values()))} in all")


def _figures(noted: dict[str, object]) -> str:
    limit = f" of {_shown(noted[_LIMIT])}" if _LIMIT in noted else ""
    calls = "1 call" if noted[_CALLS] == 1 else f"{noted[_CALLS]} calls"
    return f"{_shown(noted[_SPENT])}{limit}, {calls}"


def _shown(usd: object) -> str:
    from bursar.money import format_usd, parse_usd

    return format_usd(parse_usd(str(usd)))
