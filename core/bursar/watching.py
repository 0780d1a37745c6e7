"""Watching runs while they are under way: whether one has come to cost far more than runs of its workflow do."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Final, NamedTuple

from bursar.entry import RunRecord
from bursar.errors import StoreError
from bursar.ledger.anomalies import ANOMALOUS, Anomaly, Usual
from bursar.ledger.families import inclusive_costs
from bursar.money import format_usd
from bursar.policy import logger
from bursar.store import Where

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bursar.budget import Budget
    from bursar.run import Run

_HISTORY_S: Final = 30 * 86_400
_RUNS_KEPT: Final = 10_000
_WORKFLOWS_KEPT: Final = 1_000


class _Seen(NamedTuple):
    """A run that is under way: its first call, what it has cost, and whether that was told."""

    started_s: float
    cost_nanousd: int = 0
    is_told: bool = False


class Watch:
    """
    Adds up what the runs of one budget cost in this process, and tells of each that is an anomaly, once.

    What is usual for a workflow is read from the ledger at its first call, as of the last thirty days.

    Args:
        on_anomaly: Told before the next call of such a run is sent.
    """

    def __init__(self, on_anomaly: Callable[[Anomaly], object]) -> None:
        self._on_anomaly = on_anomaly
        # Reentrant, because a stream that is garbage-collected in here settles in this very thread.
        self._lock = threading.RLock()
        self._usual: dict[str, Usual] = {}
        self._runs: OrderedDict[str, _Seen] = OrderedDict()

    def add(self, run: Run, cost_nanousd: int) -> None:
        """Note what a call in *run*, or in a run inside it, has cost."""
        with self._lock:
            seen = self._runs.get(run.id) or _Seen(run.store.now())
            self._runs[run.id] = seen._replace(cost_nanousd=seen.cost_nanousd + cost_nanousd)
            if len(self._runs) > _RUNS_KEPT:
                # Of a run that nobody closed.
                self._runs.popitem(last=False)

    def look_at(self, run: Run) -> None:
        """
        Tell of *run* if it is an anomaly by now.

        Raises:
            Exception: What the user's function raises: the call is not sent.
        """
        with self._lock:
            try:
                usual = self._usual_of(run)
            except StoreError as error:
                # Whether the call is sent without it is for its budgets to say.
                logger.warning("what %s usually costs is not known: %s", run.title, error)
                return
            seen = self._runs.get(run.id)
            if seen is None or seen.is_told or (chance := usual.chance(seen.cost_nanousd)) > ANOMALOUS:
                return
            self._runs[run.id] = seen._replace(is_told=True)
            record = RunRecord(id=run.id, workflow=run.workflow, started_s=seen.started_s)
            found = Anomaly(record, seen.cost_nanousd, usual.average_nanousd, chance)
        logger.warning(
            "%s has cost %s, %.0f times the average of its workflow; one run in %s costs as much",
            run.title,
            format_usd(found.cost_nanousd),
            found.times,
            f"{round(1 / max(chance, 1e-9)):,}",
        )
        self._on_anomaly(found)

    def end(self, run: Run) -> None:
        """Learn from *run*, which has ended: what was an anomaly becomes usual if it goes on."""
        with self._lock:
            seen, usual = self._runs.pop(run.id, None), self._usual.get(run.workflow)
            if seen is not None and usual is not None:
                usual.add(seen.cost_nanousd)

    def _usual_of(self, run: Run) -> Usual:
        usual = self._usual.get(run.workflow)
        if usual is None:
            if len(self._usual) >= _WORKFLOWS_KEPT:
                self._usual.clear()
            before = run.store.runs(Where(since_s=run.store.now() - _HISTORY_S))
            usual = self._usual[run.workflow] = Usual()
            for row, cost in inclusive_costs(before):
                if row.run.workflow == run.workflow and row.run.ended_s is not None:
                    usual.add(cost)
        return usual


def add_cost(run: Run, cost_nanousd: int) -> None:
    """Note what a call in *run* has cost, wherever it is watched, or a run around it."""
    for watch, around in _watched(run):
        watch.add(around, cost_nanousd)


def look_at(run: Run) -> None:
    """
    Tell of *run*, and of each run around it, if it is watched and an anomaly by now.

    Raises:
        Exception: What a user's function raises.
    """
    for watch, around in _watched(run):
        watch.look_at(around)


def _watched(run: Run) -> Iterator[tuple[Watch, Run]]:
    for around in run.lineage:
        budget: Budget | None = around.budget
        while budget is not None:
            if budget.watch is not None:
                yield budget.watch, around
            budget = budget.within
