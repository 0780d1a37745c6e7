from __future__ import annotations

import random
from decimal import Decimal

import pytest

from bursar.entry import Agent, Entry, RunRecord, Subject
from bursar.ids import new_id
from bursar.ledger import Report, WorkflowRuns
from bursar.ledger.families import Families, inclusive_costs, inclusive_totals
from bursar.store import RunTotals, Where
from bursar.stores.memory import MemoryStore
from bursar.totals import Totals
from bursar.usage import Usage


def run(run_id: str, parent_id: str | None, cost: int, workflow: str = "w") -> RunTotals:
    """Return a run that cost *cost* nano-dollars itself."""
    record = RunRecord(id=run_id, workflow=workflow, started_s=0.0, parent_id=parent_id)
    return RunTotals(record, Totals(cost_nanousd=cost))


class TestFamilies:
    def test_a_run_costs_what_is_inside_it(self) -> None:
        """Costs go up through every run around."""
        runs = [
            run("a", None, 1),
            run("b", "a", 10),
            run("c", "b", 100),
            run("d", "a", 1_000),
            run("e", None, 5),
        ]
        expected = {"a": 1_111, "b": 110, "c": 100, "d": 1_000, "e": 5}

        assert expected == {row.run.id: cost for row, cost in inclusive_costs(runs)}
        assert expected == {id_: totals.cost_nanousd for id_, totals in inclusive_totals(runs).items()}

    def test_a_circle_of_runs_ends(self) -> None:
        """A ledger with runs inside one another is damaged, and read all the same."""
        runs = [run("a", "b", 1), run("b", "a", 2), run("c", "c", 4)]

        assert {"a": 3, "b": 3, "c": 4} == {row.run.id: cost for row, cost in inclusive_costs(runs)}
        assert {"a", "b"} == set(Families([row.run for row in runs]).family("a"))

    def test_parent_that_is_not_covered_counts_as_none(self) -> None:
        """A run whose parent is older than what was asked for is an outermost one."""
        families = Families([run("b", "a", 1).run])

        assert "b" == families.outermost("b", {"b"})


class TestWorkflowRuns:
    @pytest.mark.parametrize("count", [1, 2, 3, 10, 99, 100, 101, 1_000])
    def test_percentiles_are_the_nearest_rank(self, count: int) -> None:
        """The p-th percentile is the smallest cost that at least p % of the runs do not pass."""
        costs = [random.Random(count).randrange(10**9) for _ in range(count)]

        found = WorkflowRuns.of("w", costs)

        for percent, value in ((50, found.p50_nanousd), (99, found.p99_nanousd)):
            least = min(c for c in costs if sum(other <= c for other in costs) * 100 >= percent * count)
            assert least == value
        assert (count, max(costs), sum(costs)) == (found.runs, found.max_nanousd, found.total_nanousd)


def store_with_costs(*costs: int) -> MemoryStore:
    """Return a store with one call for each of *costs*, each of an agent and a run of its own."""
    store = MemoryStore(clock=lambda: 1_790_000_000.0)
    for number, cost in enumerate(costs):
        store.open_run(RunRecord(id=f"r{number}", workflow="w", started_s=1_790_000_000.0))
        entry_id = new_id(1_790_000_000.0)
        subject = Subject(
            call_id=entry_id,
            run_id=f"r{number}",
            workflow="w",
            agent=Agent(name=f"agent-{number}"),
            provider="openai",
            model="gpt-4o",
            operation="chat",
        )
        store.record(
            Entry(entry_id, subject, "ok", "priced", 1, "gpt-4o", cost, cost, Usage(output_tokens=7))
        )
    return store


class TestReport:
    def test_has_exact_dollars(self) -> None:
        """Figures are Decimal dollars, dearest first."""
        report = Report.of(store_with_costs(1, 2_500_000_000), Where())

        assert {"agent-1": Decimal("2.50"), "agent-0": Decimal("0.000000001")} == report.by_agent
        assert ["agent-1", "agent-0"] == list(report.by_agent)
        assert (Decimal("2.500000001"), 2) == (report.total, report.calls)

    def test_prints_as_a_plain_table(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """`print(report)` is text without escape codes or trailing blanks, no wider than the terminal."""
        monkeypatch.setenv("COLUMNS", "80")

        lines = str(Report.of(store_with_costs(10, 20), Where())).split("\n")

        assert "cost by agent" == lines[0]
        assert max(map(len, lines)) <= 80
        assert not any("\x1b" in line or line != line.rstrip() for line in lines)

    def test_is_a_snapshot(self) -> None:
        """What comes after a report was made is not in it."""
        store = store_with_costs(10)
        report = Report.of(store, Where())
        store.record(next(iter(store.entries(Where())))._replace(id=new_id(1_790_000_001.0)))

        assert 1 == report.calls
        assert 2 == Report.of(store, Where()).calls
