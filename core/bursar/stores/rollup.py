"""Roll-ups in memory: what the ledger adds up to, by hour and by run, in bounded space."""

from __future__ import annotations

from collections import defaultdict
from itertools import islice
from typing import TYPE_CHECKING, Final, NamedTuple

from bursar.entry import RunRecord
from bursar.ids import id_at, time_of
from bursar.store import RunTotals
from bursar.totals import Totals
from bursar.tuples import make

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bursar.entry import Entry, Subject
    from bursar.store import By, Where

HOUR_S: Final = 3600
_RUNS_KEPT: Final = 10_000
_DROPPED_AT_ONCE: Final = 100


class Group(NamedTuple):
    """What the entries that are summed together have in common; *hour* counts from the epoch."""

    hour: int
    workflow: str
    agent: str
    model: str


class _Run:
    """One run and its sums."""

    __slots__ = ("groups", "is_implied", "record")

    def __init__(self, record: RunRecord, *, is_implied: bool = False) -> None:
        self.record = record
        self.is_implied = is_implied
        self.groups: dict[Group, Totals] = {}

    def add(self, group: Group, added: Totals) -> None:
        known = self.groups.get(group)
        self.groups[group] = added if known is None else known.plus(added)

    def totals(self, agent: str | None) -> Totals:
        return Totals.sum([totals for group, totals in self.groups.items() if agent in {None, group.agent}])


class Rollup:
    """
    Sums of entries by hour, workflow, agent and model, and by run.

    The newest 10,000 runs at least are kept one by one; of older ones only the sums by hour remain.  Not safe to call
    from several threads at once: the store's lock guards it.
    """

    def __init__(self) -> None:
        self._groups: defaultdict[Group, Totals] = defaultdict(Totals)
        self._runs: dict[str, _Run] = {}

    def fold(
        self, entries: Sequence[Entry], opened: Sequence[RunRecord], ended: Sequence[tuple[str, float]]
    ) -> None:
        """
        Add *entries* to the sums.

        Args:
            opened: Runs to keep; one that is kept already is not changed.

            ended: The ids of runs that ended, and when.
        """
        for record in opened:
            known = self._runs.get(record.id)
            if known is None:
                self._keep(_Run(record))
            elif known.is_implied:
                known.record, known.is_implied = record, False
        self._add(entries)
        for run_id, ended_s in ended:
            if (run := self._runs.get(run_id)) is not None:
                run.record = make(RunRecord, (*run.record[:-1], ended_s))

    def _add(self, entries: Sequence[Entry]) -> None:
        batches: defaultdict[tuple[str, Group], list[Totals]] = defaultdict(list)
        for entry in entries:
            subject = entry.subject
            group = Group(hour_of(entry.id), subject.workflow, subject.agent.name, entry.model)
            batches[subject.run_id, group].append(Totals.of(entry))
        by_group: defaultdict[Group, list[Totals]] = defaultdict(list)
        for (run_id, group), rows in batches.items():
            added = Totals.sum(rows)
            by_group[group].append(added)
            if run_id:
                run = self._runs.get(run_id) or self._keep(_Run(_implied(run_id, group), is_implied=True))
                run.add(group, added)
        for group, rows in by_group.items():
            self._groups[group] = self._groups[group].plus(Totals.sum(rows))

    def totals(self, by: By | None, where: Where) -> list[tuple[str, Totals]]:
        """Return the sums by name, dearest first."""
        sums: defaultdict[str, Totals] = defaultdict(Totals)
        if by is None:
            sums[""] = Totals()
        since_hour = 0 if where.since_s is None else int(where.since_s) // HOUR_S
        for run_id, group, totals in self._rows(by, where):
            if group.hour >= since_hour and _covers(where, group):
                name = _name(by, run_id, group)
                sums[name] = sums[name].plus(totals)
        return sorted(sums.items(), key=lambda row: (-row[1].cost_nanousd, row[0]))

    def runs(self, where: Where) -> list[RunTotals]:
        """Return the runs, oldest first."""
        since_s = 0.0 if where.since_s is None else where.since_s // HOUR_S * HOUR_S
        found = [
            RunTotals(run.record, run.totals(where.agent))
            for id_, run in self._runs.items()
            if where.run_ids is None or id_ in where.run_ids
            if run.record.started_s >= since_s and where.workflow in {None, run.record.workflow}
            if where.agent is None or any(group.agent == where.agent for group in run.groups)
        ]
        return sorted(found, key=lambda row: (row.run.started_s, row.run.id))

    def _rows(self, by: By | None, where: Where) -> Iterator[tuple[str, Group, Totals]]:
        if by != "run" and where.run_ids is None:
            yield from (("", group, totals) for group, totals in self._groups.items())
        else:
            ids = self._runs if where.run_ids is None else set(where.run_ids) & self._runs.keys()
            for id_ in ids:
                yield from ((id_, group, totals) for group, totals in self._runs[id_].groups.items())

    def _keep(self, run: _Run) -> _Run:
        self._runs[run.record.id] = run
        if len(self._runs) >= _RUNS_KEPT + _DROPPED_AT_ONCE:
            # At once, because the first key of a dict is found ever more slowly as first keys are deleted.
            ended = (id_ for id_, kept in self._runs.items() if kept.record.ended_s is not None)
            for id_ in list(islice(ended, _DROPPED_AT_ONCE)) or list(islice(self._runs, _DROPPED_AT_ONCE)):
                del self._runs[id_]
        return run


def hour_of(entry_id: str) -> int:
    """Return the hour since the epoch that an entry belongs to."""
    return int(time_of(entry_id)) // HOUR_S


def day_of(hour: int) -> str:
    """Return the UTC day of an hour since the epoch, as `2026-11-24`."""
    from datetime import UTC, datetime

    return datetime.fromtimestamp(hour * HOUR_S, UTC).strftime("%Y-%m-%d")


def covers_call(where: Where, id_: str, about: Subject | None) -> bool:
    """Whether a report on *where* covers the call with the reservation *id_*; *about* is what is known of it."""
    if where.since_s is not None and id_ < id_at(where.since_s // HOUR_S * HOUR_S):
        return False
    if about is None:
        return where.workflow is None and where.agent is None and where.run_ids is None
    return (
        where.workflow in {None, about.workflow}
        and where.agent in {None, about.agent.name}
        and (where.run_ids is None or about.run_id in where.run_ids)
    )


def _implied(run_id: str, group: Group) -> RunRecord:
    # Opened by nobody, or forgotten: its entries still count, from the hour of the first.
    return RunRecord(id=run_id, workflow=group.workflow, started_s=group.hour * HOUR_S)


def _covers(where: Where, group: Group) -> bool:
    return where.workflow in {None, group.workflow} and where.agent in {None, group.agent}


def _name(by: By | None, run_id: str, group: Group) -> str:
    match by:
        case None:
            return ""
        case "agent":
            return group.agent
        case "model":
            return group.model
        case "workflow":
            return group.workflow
        case "run":
            return run_id
        case "day":
            return day_of(group.hour)
