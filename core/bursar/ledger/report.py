"""A report: what a part of the ledger came to, by agent, workflow and model, and what its retries cost."""

from __future__ import annotations

import io
import shutil
from collections import defaultdict
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Final

from bursar.ledger.anomalies import ANOMALOUS, Anomaly, find_anomalies
from bursar.ledger.families import Families, inclusive_costs, outermost_totals
from bursar.money import format_usd, to_usd
from bursar.store import Where
from bursar.totals import Totals

if TYPE_CHECKING:
    from collections.abc import Sequence
    from decimal import Decimal

    from bursar.store import By, RunTotals, Store


_WIDTH: Final = 120
_WIDTH_LEAST: Final = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkflowRuns:
    """
    What the runs of one workflow cost, each with the runs inside it; nano-dollars.

    The percentiles are exact, by nearest rank: the smallest cost that at least that share of the runs does not pass.
    """

    workflow: str
    runs: int
    total_nanousd: int
    average_nanousd: int
    p50_nanousd: int
    p99_nanousd: int
    max_nanousd: int

    @classmethod
    def of(cls, workflow: str, costs: list[int]) -> WorkflowRuns:
        """Return the figures of runs that cost *costs*."""
        ordered = sorted(costs)
        return cls(
            workflow=workflow,
            runs=len(ordered),
            total_nanousd=sum(ordered),
            average_nanousd=round(sum(ordered) / len(ordered)),
            p50_nanousd=_nearest_rank(ordered, 50),
            p99_nanousd=_nearest_rank(ordered, 99),
            max_nanousd=ordered[-1],
        )


class Report:
    """
    What a part of the ledger came to, as it was when the report was made.

    `print(report)` shows it as a table.  A snapshot: make another to see what came after.
    """

    def __init__(self, store: Store, where: Where) -> None:
        self._store = store
        self._where = where
        self._read: dict[Where, list[RunTotals]] = {}
        self.totals = next((totals for _, totals in store.totals(None, where)), Totals())
        self.presumed_nanousd = store.presumed_nanousd(where)
        self._by: dict[By, list[tuple[str, Totals]]] = {
            "agent": store.totals("agent", where),
            "model": store.totals("model", where),
            "workflow": store.totals("workflow", where),
        }

    @classmethod
    def of(cls, store: Store, where: Where) -> Report:
        """Return the report on the entries that *where* covers."""
        return cls(store, where)

    @property
    def total(self) -> Decimal:
        """Dollars, of every call whose cost is known."""
        return to_usd(self.totals.cost_nanousd)

    @property
    def calls(self) -> int:
        """Calls of which at least one request was sent."""
        return self.totals.calls

    @property
    def attempts(self) -> int:
        """Requests sent, retries included."""
        return self.totals.attempts

    @property
    def retries(self) -> int:
        """Attempts beyond the first of a call, and repeats of a request that the agent had sent before."""
        return self.totals.retries

    @property
    def retry_cost(self) -> Decimal:
        """Dollars that went into retries."""
        return to_usd(self.totals.retry_nanousd)

    @property
    def refusals(self) -> int:
        """Calls that were not let through."""
        return self.totals.refusals

    @property
    def estimated(self) -> Decimal:
        """Dollars that are estimated, or a bound, because the provider did not say."""
        return to_usd(self.totals.estimated_nanousd)

    @property
    def presumed(self) -> Decimal:
        """Dollars that calls may have cost that were sent and never heard of again; not in the other figures."""
        return to_usd(self.presumed_nanousd)

    @property
    def by_agent(self) -> dict[str, Decimal]:
        """Dollars by agent, dearest first."""
        return self._dollars("agent")

    @property
    def by_model(self) -> dict[str, Decimal]:
        """Dollars by the model that served, dearest first."""
        return self._dollars("model")

    @property
    def by_workflow(self) -> dict[str, Decimal]:
        """Dollars by workflow, dearest first."""
        return self._dollars("workflow")

    def rows(self, by: By) -> list[tuple[str, Totals]]:
        """
        Return the sums by name, dearest first.

        By `"run"` these are the outermost runs, each with the runs inside it, also those of other workflows.
        """
        if by in self._by:
            return self._by[by]
        return self._by_run if by == "run" else self._store.totals(by, self._where)

    @cached_property
    def runs(self) -> list[WorkflowRuns]:
        """Average, p50, p99 and maximum per run, by workflow, dearest first; read when first asked for."""
        workflow = self._where.workflow
        found = workflow_runs(self._runs_in(self._whole))
        return [row for row in found if workflow in {None, row.workflow}]

    @cached_property
    def anomalies(self) -> list[Anomaly]:
        """
        The runs that cost more than runs of their workflow usually do, the least likely first; read when asked for.

        Each is compared with the runs before it, also with those that are not covered here.  One ordinary run in a
        hundred is among them; see `outliers`.  Of one agent's costs nothing is said.
        """
        workflow, run_ids, since_s = self._where.workflow, self._where.run_ids, self._where.since_s
        if self._where.agent is not None:
            return []
        return [
            found
            for found in find_anomalies(self._runs_in(Where()))
            if workflow in {None, found.run.workflow}
            and (run_ids is None or found.run.id in run_ids)
            and (since_s is None or found.run.started_s >= since_s)
        ]

    @property
    def outliers(self) -> list[Anomaly]:
        """The anomalies of which, by chance alone, there would be fewer than one among so many runs."""
        most = min(ANOMALOUS, 1 / max(len(self.families.runs), 1))
        return [found for found in self.anomalies if found.chance <= most]

    def dearest_agent(self, run_id: str) -> str:
        """Return who has spent most in a run and the runs inside it; empty where nobody has."""
        rows = self._store.totals("agent", Where(run_ids=self.families.family(run_id)))
        return rows[0][0] if rows else ""

    @cached_property
    def _by_run(self) -> list[tuple[str, Totals]]:
        workflow = self._where.workflow
        selected = {run.id for run in self.families.runs.values() if workflow in {None, run.workflow}}
        return outermost_totals(self.families, self._store.totals("run", self._whole), selected)

    @cached_property
    def families(self) -> Families:
        """The runs that are covered, also those that began before the time that is, and which is inside which."""
        return Families([run.run for run in self._runs_in(replace(self._whole, since_s=None))])

    def _runs_in(self, where: Where) -> list[RunTotals]:
        """Return the runs that *where* covers, read once."""
        if where not in self._read:
            self._read[where] = self._store.runs(where)
        return self._read[where]

    @property
    def _whole(self) -> Where:
        """What is covered, and the runs of other workflows, which may be inside those of the one asked for."""
        return replace(self._where, workflow=None)

    def _dollars(self, by: By) -> dict[str, Decimal]:
        return {name: to_usd(totals.cost_nanousd) for name, totals in self._by[by]}

    def __str__(self) -> str:
        # rich is needed for a picture only, and takes longer to import than the whole of bursar.
        from rich.console import Console

        from bursar.ledger.tables import report_tables

        columns = shutil.get_terminal_size((_WIDTH, 0)).columns
        text = io.StringIO()
        console = Console(file=text, width=max(columns, _WIDTH_LEAST), color_system=None, soft_wrap=False)
        # What stands out among all runs is no matter of a report on one.
        tables = report_tables(self, shows_anomalies=self._where.run_ids is None)
        for number, table in enumerate(tables):
            if number:
                console.print()
            console.print(table)
        return "\n".join(line.rstrip() for line in text.getvalue().rstrip().split("\n"))

    def __repr__(self) -> str:
        return f"Report({format_usd(self.totals.cost_nanousd)}, {self.calls} calls, {len(self._by['agent'])} agents)"


def workflow_runs(runs: Sequence[RunTotals]) -> list[WorkflowRuns]:
    """Return the figures per workflow, dearest first; a run costs what it and the runs inside it cost."""
    costs: defaultdict[str, list[int]] = defaultdict(list)
    for run, cost in inclusive_costs(runs):
        costs[run.run.workflow].append(cost)
    found = [WorkflowRuns.of(name, of) for name, of in costs.items()]
    return sorted(found, key=lambda row: (-row.total_nanousd, row.workflow))


def _nearest_rank(ordered: list[int], percent: int) -> int:
    return ordered[max(-(-len(ordered) * percent // 100) - 1, 0)]
