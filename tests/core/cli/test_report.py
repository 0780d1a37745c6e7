from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from click.testing import Result

from bursar.account import Account, Amounts, Limits
from bursar.entry import Agent, RunRecord, Subject
from bursar.reservation import Claim
from bursar.usage import Usage

if TYPE_CHECKING:
    from tests.core.cli.conftest import Book

Bursar = Callable[..., Result]


def fill(book: Book) -> None:
    """Three runs of two workflows: $0.30 with a retry and a refusal, $0.10, and $0.000000001."""
    usage = Usage(input_tokens=1_000, cache_read_tokens=400, output_tokens=200, reasoning_tokens=50)
    book.run("run-a", "triage", took_s=12.0)
    book.call("run-a", "triage", 200_000_000, agent="writer", usage=usage)
    book.call(
        "run-a", "triage", 0, status="error", source="none", agent="planner", call_id="c", reason="status 500"
    )
    book.call("run-a", "triage", 100_000_000, agent="planner", attempt=2, call_id="c", source="estimated")
    book.call("run-a", "triage", 0, status="refused", source="none", agent="planner")
    book.run("run-b", "triage")
    book.call("run-b", "triage", 100_000_000, agent="writer", served="gpt-4o-mini")
    book.now_s += 2 * 86_400
    book.run("run-c", "nightly")
    book.call("run-c", "nightly", 1, agent="writer")


def rows(result: Result) -> list[dict[str, str]]:
    """Return the records of CSV output."""
    return list(csv.DictReader(io.StringIO(result.stdout)))


class TestTable:
    def test_shows_agents_models_and_runs(self, book: Book, bursar: Bursar) -> None:
        """Without options it shows the cost by agent and model, and per run of each workflow."""
        fill(book)

        result = bursar("report")

        assert (0, "") == (result.exit_code, result.stderr)
        for shown in (
            "cost by agent",
            "cost by model",
            "cost per run",
            "$0.3000",
            "$0.1000",
            "triage",
            "1,000",
        ):
            assert shown in result.stdout

    @pytest.mark.parametrize("columns", [40, 60, 80, 120])
    def test_fits_the_terminal(self, book: Book, bursar: Bursar, columns: int) -> None:
        """No line is wider than the terminal, and the cost is always there."""
        fill(book)

        result = bursar("report", columns=columns)

        assert max(map(len, result.stdout.splitlines())) <= columns
        assert "$0.3000" in result.stdout

    def test_long_model_name_is_whole_at_80_columns(self, book: Book, bursar: Bursar) -> None:
        """A long model name is not broken in 80 columns; less important columns go."""
        model = "claude-sonnet-4-5-20250929-v1"
        book.call("r", "w", 5, served=model)

        result = bursar("report", "--by", "model", columns=80)

        assert model in result.stdout

    def test_is_plain_when_piped(self, book: Book, bursar: Bursar) -> None:
        """Output that goes to no terminal has no escape codes."""
        fill(book)

        assert "\x1b" not in bursar("report").stdout

    def test_empty_ledger_is_no_failure(self, bursar: Bursar) -> None:
        """An empty ledger says how to fill it and exits with 0."""
        result = bursar("report")

        assert 0 == result.exit_code
        assert "is empty" in result.stdout
        assert "bursar demo" in result.stdout

    def test_filter_that_finds_nothing_says_so(self, book: Book, bursar: Bursar) -> None:
        """A filter that covers nothing is no empty ledger."""
        fill(book)

        assert "Nothing was spent there" in bursar("report", "--workflow", "nix").stdout

    def test_unknown_price_is_marked(self, book: Book, bursar: Bursar) -> None:
        """A call without a known price is told, and never counted as zero in silence."""
        book.call("r", "w", None, source="unknown")

        assert "1 call has no known price" in bursar("report").stdout


class TestRecords:
    def test_json_is_exact(self, book: Book, bursar: Bursar) -> None:
        """JSON has every figure, dollars as exact decimal text."""
        fill(book)

        document = json.loads(bursar("report", "--format", "json").stdout)

        total = document["total"]
        assert {
            "cost_usd": "0.400000001",
            "calls": 4,
            "attempts": 5,
            "input_tokens": 1_000,
            "cache_read_tokens": 400,
            "cache_write_tokens": 0,
            "output_tokens": 200,
            "reasoning_tokens": 50,
            "retries": 1,
            "retry_cost_usd": "0.10",
            "refusals": 1,
            "estimated_usd": "0.10",
            "estimated_share": "0.2500",
            "unknown_price_calls": 0,
        } == total
        assert ["writer", "planner"] == [row["agent"] for row in document["rows"]]
        assert ["triage", "nightly"] == [row["workflow"] for row in document["workflows"]]
        assert "0.00" == document["presumed_usd"]

    def test_smallest_amount_has_no_exponent(self, book: Book, bursar: Bursar) -> None:
        """One nano-dollar is 0.000000001."""
        book.call("r", "w", 1)

        assert ["0.000000001"] == [row["cost_usd"] for row in rows(bursar("report", "--format", "csv"))]

    @pytest.mark.parametrize("by", ["agent", "workflow", "model", "run", "day"])
    def test_rows_add_up_to_the_whole(self, book: Book, bursar: Bursar, by: str) -> None:
        """Whatever it is summed up by, the rows add up to the same cost."""
        fill(book)

        found = rows(bursar("report", "--by", by, "--format", "csv"))

        assert Decimal("0.400000001") == sum(Decimal(row["cost_usd"]) for row in found)
        assert by == next(iter(found[0]))

    def test_csv_of_an_empty_ledger_has_the_header(self, bursar: Bursar) -> None:
        """The columns are the same whatever was found."""
        result = bursar("report", "--by", "workflow", "--format", "csv")

        assert result.stdout.startswith(
            "workflow,runs,total_usd,average_usd,p50_usd,p99_usd,max_usd,cost_usd,calls,"
        )

    def test_workflow_has_statistics_of_its_runs(self, book: Book, bursar: Bursar) -> None:
        """By workflow there are average, p50, p99 and maximum per run."""
        fill(book)

        triage = rows(bursar("report", "--by", "workflow", "--format", "csv"))[0]

        names = ("workflow", "runs", "average_usd", "p50_usd", "p99_usd", "max_usd")
        assert ("triage", "2", "0.20", "0.10", "0.30", "0.30") == tuple(triage[name] for name in names)


class TestFilters:
    def test_workflow(self, book: Book, bursar: Bursar) -> None:
        """--workflow covers what was booked to it."""
        fill(book)

        found = rows(bursar("report", "--workflow", "nightly", "--format", "csv"))

        assert [("writer", "0.000000001")] == [(row["agent"], row["cost_usd"]) for row in found]

    def test_since_an_iso_date(self, book: Book, bursar: Bursar) -> None:
        """--since takes a date, in UTC."""
        fill(book)

        found = rows(bursar("report", "--since", "2026-09-22", "--by", "day", "--format", "csv"))

        assert ["2026-09-23"] == [row["day"] for row in found]

    def test_run_by_the_beginning_of_its_id(self, book: Book, bursar: Bursar) -> None:
        """A run is found by any beginning of its id that is its alone."""
        fill(book)

        document = json.loads(bursar("report", "--run", "run-b", "--format", "json").stdout)

        assert ("run-b", "0.10") == (document["filters"]["run"], document["total"]["cost_usd"])

    def test_ambiguous_run_is_refused(self, book: Book, bursar: Bursar) -> None:
        """A beginning that several runs have is told with their ids."""
        fill(book)

        result = bursar("report", "--run", "run-")

        assert (1, 'Error: 3 runs begin with "run-": run-a, run-b, run-c\n') == (
            result.exit_code,
            result.stderr,
        )

    def test_unknown_run_is_refused(self, book: Book, bursar: Bursar) -> None:
        """A run that is not there exits with 1."""
        result = bursar("report", "--run", "nix")

        assert (1, 'Error: no run begins with "nix"; "bursar runs" lists them\n') == (
            result.exit_code,
            result.stderr,
        )


class TestNestedRuns:
    @pytest.fixture(autouse=True)
    def nested(self, book: Book) -> None:
        """A run of "outer" for $0.10 with a run of "inner" for $0.05 in it, and one for $0.02 in that."""
        for number, (workflow, cost) in enumerate((("outer", 10), ("inner", 5), ("inner", 2))):
            book.run(f"n{number}", workflow, parent_id=f"n{number - 1}" if number else None)
            book.call(f"n{number}", workflow, cost * 10_000_000)

    def test_run_covers_the_runs_inside_it(self, bursar: Bursar) -> None:
        """--run covers the runs inside, at any depth."""
        totals = [
            json.loads(bursar("report", "--run", f"n{n}", "--format", "json").stdout)["total"]["cost_usd"]
            for n in range(3)
        ]

        assert ["0.17", "0.07", "0.02"] == totals

    def test_by_run_lists_the_outermost(self, bursar: Bursar) -> None:
        """By run, a run inside another is counted in it and not once more."""
        found = rows(bursar("report", "--by", "run", "--format", "csv"))

        assert [("n0", "outer", "0.17")] == [(row["run"], row["workflow"], row["cost_usd"]) for row in found]

    def test_by_run_of_the_inner_workflow(self, bursar: Bursar) -> None:
        """With --workflow the outermost run of that workflow stands for those inside it."""
        found = rows(bursar("report", "--by", "run", "--workflow", "inner", "--format", "csv"))

        assert [("n1", "0.07")] == [(row["run"], row["cost_usd"]) for row in found]

    def test_statistics_of_a_workflow_include_the_runs_inside(self, bursar: Bursar) -> None:
        """The maximum per run of a workflow has what runs of other workflows cost inside it."""
        found = rows(bursar("report", "--by", "workflow", "--workflow", "outer", "--format", "csv"))

        assert [("0.10", "0.17")] == [(row["cost_usd"], row["max_usd"]) for row in found]


class TestPresumed:
    def test_presumed_spending_is_shown(self, book: Book, bursar: Bursar) -> None:
        """What calls may have cost that were never heard of again is a line of its own."""
        self.lose_a_call(book)

        assert "presumed spent: $0.07" in bursar("report").stdout

    @pytest.mark.parametrize(
        ("filters", "presumed"),
        [
            ((), "0.07"),
            (("--workflow", "lost"), "0.07"),
            (("--workflow", "nix"), "0.00"),
            (("--run", "run-lost"), "0.07"),
        ],
    )
    def test_presumed_spending_is_of_what_was_asked_for(
        self, book: Book, bursar: Bursar, filters: tuple[str, ...], presumed: str
    ) -> None:
        """A report on a part of the ledger has what the calls of just that part may have cost."""
        self.lose_a_call(book)
        report = json.loads(bursar("report", *filters, "--format", "json").stdout)

        assert Decimal(presumed) == Decimal(report["presumed_usd"])

    def lose_a_call(self, book: Book) -> None:
        """Reserve $0.07 for a call that is sent and never heard of again."""
        book.store.open_run(RunRecord(id="run-lost", workflow="lost", started_s=book.now_s))
        agent = Agent(name="writer")
        about = Subject(
            call_id="c",
            run_id="run-lost",
            workflow="lost",
            agent=agent,
            provider="",
            model="m",
            operation="o",
        )
        account = Account(key="k", name="k", limits=Limits(nanousd=10**9))
        claim = Claim("held", (account,), Amounts(70_000_000, 0, 1, 1), lease_s=1.0, about=about)
        book.store.reserve(claim)
        book.store.dispatch("held")
        book.now_s += 10.0
        book.store.expire()


class TestFailures:
    @pytest.mark.parametrize(
        "arguments",
        [("report", "--by", "nix"), ("report", "--since", "soon"), ("nix",), ("run",), ("report", "--nix")],
    )
    def test_bad_command_line_exits_with_2(self, bursar: Bursar, arguments: tuple[str, ...]) -> None:
        """What cannot be understood is a usage error."""
        result = bursar(*arguments)

        assert (2, "") == (result.exit_code, result.stdout)

    @pytest.mark.parametrize("url", ["nix", "sqlite://", "ftp://host/x"])
    def test_malformed_store_exits_with_1(self, bursar: Bursar, url: str) -> None:
        """A URL of no store is told, without a traceback."""
        result = bursar("report", "--store", url)

        assert (1, "") == (result.exit_code, result.stdout)
        assert result.stderr.startswith("Error: store")

    def test_reading_makes_no_ledger(self, bursar: Bursar, tmp_path: Path) -> None:
        """A file that is not there is told, and not made."""
        path = tmp_path / "nix.db"

        result = bursar("report", "--store", f"sqlite:///{path}")

        assert (1, f'Error: there is no ledger at "{path}"\n') == (result.exit_code, result.stderr)
        assert not path.exists()

    def test_damaged_ledger_exits_with_1(self, bursar: Bursar, tmp_path: Path) -> None:
        """A file that is no ledger is told, without a traceback."""
        path = tmp_path / "damaged.db"
        path.write_text("this is not a database at all, and long enough to be one" * 100)

        result = bursar("report", "--store", f"sqlite:///{path}")

        assert (1, "") == (result.exit_code, result.stdout)
        assert str(path) in result.stderr


class TestOutliers:
    """Runs that cost far more than runs of their workflow usually do."""

    @pytest.fixture
    def runaway(self, book: Book) -> str:
        """A hundred ordinary runs, and one that cost a hundred times as much, most of it by one agent."""
        for number in range(100):
            book.run(f"usual-{number:03}", "nightly", took_s=1.0)
            book.call(f"usual-{number:03}", "nightly", 20_000_000 + number * 100_000)
        book.run("runaway-1", "nightly", took_s=1.0)
        book.call("runaway-1", "nightly", 1_000_000, agent="planner")
        book.call("runaway-1", "nightly", 2_500_000_000, agent="researcher")
        return "runaway-1"

    def test_table_names_the_run_and_the_agent(self, runaway: str, bursar: Bursar) -> None:
        """The overview ends with what stands out: when, how dear, how unlikely, and by whom."""
        out = bursar("report").output

        shown = out.partition("runs that cost far more than usual")[2]
        assert runaway in shown
        assert "nightly" in shown
        assert "researcher" in shown
        assert "$2.501" in shown
        assert "usual-" not in shown

    def test_nothing_stands_out_without_it(self, book: Book, bursar: Bursar) -> None:
        """A ledger in which nothing does has no such table."""
        assert "more than usual" not in bursar("report").output

    def test_json_has_all_that_is_unusual(self, runaway: str, bursar: Bursar) -> None:
        """Programs get the figures behind it."""
        found = json.loads(bursar("report", "--format", "json").output)["anomalies"]

        assert found[0]["run"] == runaway
        assert ("anomaly", "2.501", "researcher") == tuple(
            found[0][name] for name in ("severity", "cost_usd", "dearest_agent")
        )
        assert 0 <= found[0]["chance"] < 0.0001

    def test_another_workflow_has_none(self, runaway: str, bursar: Bursar) -> None:
        """A filter holds for what stands out too."""
        assert runaway in bursar("report", "--workflow", "nightly").output
        assert runaway not in bursar("report", "--workflow", "research").output
