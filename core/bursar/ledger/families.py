"""Runs inside runs: a run's figures include those of the runs inside it."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from bursar.entry import RunRecord
    from bursar.store import RunTotals
    from bursar.totals import Totals


class Families:
    """
    Which run is inside which.

    A parent that is not among the runs given, because it is older than what was asked for, counts as none.
    """

    def __init__(self, runs: Sequence[RunRecord]) -> None:
        self.runs = {run.id: run for run in runs}
        self.children: defaultdict[str, list[RunRecord]] = defaultdict(list)
        for run in runs:
            if run.parent_id in self.runs:
                self.children[run.parent_id].append(run)

    def family(self, run_id: str) -> tuple[str, ...]:
        """Return the ids of the run and of all runs inside it."""
        found: dict[str, None] = {}
        pending = [run_id]
        while pending:
            id_ = pending.pop()
            if id_ not in found:
                found[id_] = None
                pending.extend(child.id for child in self.children.get(id_, ()))
        return tuple(found)

    def around(self, run_id: str) -> Iterator[str]:
        """Yield the ids of the runs around a run, innermost first."""
        seen = {run_id}
        run = self.runs.get(run_id)
        while run is not None and run.parent_id in self.runs and run.parent_id not in seen:
            seen.add(run.parent_id)
            yield run.parent_id
            run = self.runs[run.parent_id]

    def outermost(self, run_id: str, selected: Collection[str]) -> str | None:
        """Return the outermost of *selected* that the run is, or is in."""
        found = run_id if run_id in selected else None
        for id_ in self.around(run_id):
            found = id_ if id_ in selected else found
        return found


def inclusive_costs(runs: Sequence[RunTotals]) -> list[tuple[RunTotals, int]]:
    """Return each run with what it and the runs inside it cost, in nano-dollars."""
    costs = {run.run.id: run.totals.cost_nanousd for run in runs}
    nested = [run for run in runs if run.run.parent_id in costs]
    if nested:
        families = Families([run.run for run in runs])
        for run in nested:
            for id_ in families.around(run.run.id):
                costs[id_] += run.totals.cost_nanousd
    return [(run, costs[run.run.id]) for run in runs]


def inclusive_totals(runs: Sequence[RunTotals]) -> dict[str, Totals]:
    """Return what each run and the runs inside it add up to, by id."""
    sums = {run.run.id: run.totals for run in runs}
    nested = [run for run in runs if run.run.parent_id in sums]
    families = Families([run.run for run in runs] if nested else [])
    for run in nested:
        for id_ in families.around(run.run.id):
            sums[id_] = sums[id_].plus(run.totals)
    return sums


def outermost_totals(
    families: Families, rows: Sequence[tuple[str, Totals]], selected: Collection[str]
) -> list[tuple[str, Totals]]:
    """Return the outermost of the *selected* runs with the sums of all runs inside them, dearest first."""
    if not families.children:
        return [(run_id, totals) for run_id, totals in rows if run_id in selected]
    sums: dict[str, Totals] = {}
    for run_id, totals in rows:
        if (outermost := families.outermost(run_id, selected)) is not None:
            sums[outermost] = sums[outermost].plus(totals) if outermost in sums else totals
    return sorted(sums.items(), key=lambda row: (-row[1].cost_nanousd, row[0]))
