from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from click.testing import Result

from bursar.cli.output import duration
from bursar.ledger.wording import short_ids
from bursar.usage import Usage

if TYPE_CHECKING:
    from tests.core.cli.conftest import Book

Bursar = Callable[..., Result]


class TestRuns:
    def test_newest_come_first(self, book: Book, bursar: Bursar) -> None:
        """The newest --limit runs are listed, the newest first."""
        for number in range(4):
            book.now_s += 60
            book.run(f"run-{number}", "triage", took_s=5.0)

        document = json.loads(bursar("runs", "--limit", "2", "--format", "json").stdout)

        assert [("run-3", 5.0), ("run-2", 5.0)] == [
            (run["run"], run["duration_s"]) for run in document["runs"]
        ]

    def test_table_tells_that_there_are_more(self, book: Book, bursar: Bursar) -> None:
        """Runs that are not listed are counted."""
        for number in range(3):
            book.run(f"run-{number}", "triage")

        result = bursar("runs", "-n", "1", columns=60)

        assert "2 older ones are not listed" in result.stdout
        assert max(map(len, result.stdout.splitlines())) <= 60

    def test_run_includes_the_runs_inside_it(self, book: Book, bursar: Bursar) -> None:
        """A run's figures include those of the runs inside it, which are listed too."""
        book.run("outer", "w")
        book.call("outer", "w", 10)
        book.run("inner", "v", parent_id="outer")
        book.call("inner", "v", 5)

        found = list(csv.DictReader(io.StringIO(bursar("runs", "--format", "csv").stdout)))

        assert {("outer", "", "0.000000015"), ("inner", "outer", "0.000000005")} == {
            (row["run"], row["parent"], row["cost_usd"]) for row in found
        }

    def test_since_and_workflow_filter(self, book: Book, bursar: Bursar) -> None:
        """Only runs of the workflow that started in or after the hour."""
        book.run("old", "w")
        book.now_s += 86_400
        book.run("new", "w")
        book.run("other", "v")

        document = json.loads(bursar("runs", "-w", "w", "--since", "2026-09-22", "--format", "json").stdout)

        assert ["new"] == [run["run"] for run in document["runs"]]

    @pytest.mark.parametrize("by", ["agent", "workflow", "model", "run", ""])
    def test_a_name_cannot_command_a_terminal(self, book: Book, bursar: Bursar, by: str) -> None:
        """Whatever a framework or a provider calls something, a table shows it on one line."""
        name = "a\x1b[2Jb\nc\u202ed"
        book.run("outer", name)
        book.call("outer", name, 10, agent=name, served=name, status="error", reason=name, price=name)

        for arguments in (("report", "--by", by) if by else ("run", "outer"), ("runs",)):
            shown = bursar(*arguments, columns=250).stdout
            assert r"a\x1b[2Jb\nc\u202ed" in shown
            assert not {"\x1b", "\u202e"} & set(shown)

    def test_no_runs_is_no_failure(self, bursar: Bursar) -> None:
        """An empty list says so."""
        result = bursar("runs")

        assert (0, True) == (result.exit_code, "bursar demo" in result.stdout)


class TestRun:
    def test_shows_agents_calls_and_attempts(self, book: Book, bursar: Bursar) -> None:
        """The tree has agents, their calls, and the attempts of calls that needed several."""
        book.run("outer", "triage", took_s=75.0)
        book.call("outer", "triage", 0, status="error", source="none", call_id="c", reason="status 500")
        book.call(
            "outer",
            "triage",
            20_000_000,
            attempt=2,
            call_id="c",
            usage=Usage(input_tokens=1_200, output_tokens=7),
        )
        book.call("outer", "triage", 10_000_000, served="gpt-4o-mini", is_repeat=True, agent="planner")
        book.call(
            "outer", "triage", 0, status="refused", source="none", agent="planner", reason="broke: x (usd)"
        )
        book.run("inner", "lookup", parent_id="outer")
        book.call("inner", "lookup", 5_000_000, agent="finder", source="bound", status="aborted")

        result = bursar("run", "oute")

        lines = [line.strip("│├└─ ") for line in result.stdout.splitlines()]
        assert 0 == result.exit_code
        assert [
            "triage  $0.035  3 calls, 2 retries for $0.03, 1 refused",
            "writer  $0.02  1 call, 1 retry for $0.02",
            "openai.chat gpt-4o  $0.02  2 attempts",
            "1. gpt-4o  error  $0.00  1.2s  status 500",
            "2. gpt-4o  ok  $0.02  1,200 in, 7 out  1.2s",
            "planner  $0.01  1 call, 1 retry for $0.01, 1 refused",
            "openai.chat gpt-4o -> gpt-4o-mini  ok  $0.01  1.2s  same request again",
            "openai.chat gpt-4o  refused  broke: x (usd)",
            "lookup  $0.005  1 call",
            "finder  $0.005  1 call",
            "openai.chat gpt-4o  aborted  $0.005 (bound)  1.2s",
        ] == [line for line in lines if not line.startswith(("outer", "inner"))]
        assert "took 1m 15s" in result.stdout

    def test_dated_snapshot_is_no_downgrade(self, book: Book, bursar: Bursar) -> None:
        """The provider's name for the same model is shown without an arrow."""
        book.run("r", "w")
        book.call("r", "w", 1, served="gpt-4o-2024-08-06")

        assert "->" not in bursar("run", "r").stdout

    def test_many_calls_are_summed_up(self, book: Book, bursar: Bursar) -> None:
        """More than fifty calls of an agent are shown by what they have in common."""
        book.run("r", "w")
        for _ in range(51):
            book.call("r", "w", 10_000_000)

        result = bursar("run", "r")

        assert "51 x gpt-4o ok $0.51" in result.stdout

    def test_unknown_run_exits_with_1(self, bursar: Bursar) -> None:
        """A run that is not there is told."""
        assert 1 == bursar("run", "nix").exit_code


def test_short_ids_are_unique_and_no_longer_than_needed() -> None:
    """An id is cut to twelve digits, or to as many as tell it from its neighbours."""
    ids = ["0123456789abcdef", "0123456789abcdff", "0123456789ac0000", "x"]

    assert ["0123456789abcde", "0123456789abcdf", "0123456789ac", "x"] == list(short_ids(ids).values())


def test_durations_are_short() -> None:
    """A duration has two units at most."""
    assert ["-", "0.8s", "42s", "3m 05s", "2h 07m", "1m 00s"] == [
        duration(seconds) for seconds in (None, 0.8, 42.0, 185.2, 7_620.0, 59.7)
    ]
