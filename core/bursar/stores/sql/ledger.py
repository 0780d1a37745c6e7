"""Entries, runs and their roll-ups in tables."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any, Final

from bursar.entry import RunRecord
from bursar.ids import id_at
from bursar.store import RunTotals
from bursar.stores.rollup import HOUR_S
from bursar.stores.sql.reservations import PRESUMED, RESOLVED
from bursar.stores.sql.rows import ENTRY_COLUMNS, entry_of
from bursar.totals import Totals

if TYPE_CHECKING:
    from collections.abc import Callable

    from bursar.entry import Entry
    from bursar.store import By, Where
    from bursar.stores.sql.database import Cursor, Database

_DAY_HOURS: Final = 24
_SUMS: Final = ", ".join(Totals._fields)
_ADDED: Final = ", ".join(f"{name} = {{table}}.{name} + excluded.{name}" for name in Totals._fields)
_ROLLED_UP: Final = ", ".join(f"coalesce(CAST(sum({name}) AS BIGINT), 0)" for name in Totals._fields)

_IS_SENT: Final = "status IN ('ok', 'error', 'aborted')"
_IS_RETRY: Final = f"(attempt > 1 OR is_repeat <> 0) AND {_IS_SENT}"
_COUNTS: Final = "status <> 'refused'"
_KINDS: Final = (
    "input_tokens",
    "cache_read_tokens",
    "cache_write_tokens",
    "output_tokens",
    "reasoning_tokens",
)
_ONE: Final = (
    ("cost_nanousd", _COUNTS),
    ("1", f"attempt = 1 AND {_IS_SENT}"),
    ("1", _IS_SENT),
    *((kind, _COUNTS) for kind in _KINDS),
    ("1", _IS_RETRY),
    ("cost_nanousd", _IS_RETRY),
    ("1", "status = 'refused'"),
    ("cost_nanousd", f"source IN ('estimated', 'bound') AND {_COUNTS}"),
    ("1", f"cost_nanousd IS NULL AND {_COUNTS}"),
)
_ADDED_UP_EACH: Final = tuple(
    f"coalesce(CAST(sum(CASE WHEN {condition} THEN {what} ELSE 0 END) AS BIGINT), 0)"
    for what, condition in _ONE
)
_ADDED_UP: Final = ", ".join(_ADDED_UP_EACH)
"""What entries add up to, column by column as `Totals.of` has it."""

ENDED: Final = f"FROM reservations WHERE state = {RESOLVED}"
_COLUMNS: Final = f"id, {', '.join(ENTRY_COLUMNS)}"
ROLL_UP: Final = (
    f"INSERT INTO hours (hour, workflow, agent, model, {_SUMS}) "
    f"SELECT hour, workflow, agent, model, {_ADDED_UP} {ENDED} "
    f"GROUP BY hour, workflow, agent, model ON CONFLICT (hour, workflow, agent, model) DO UPDATE SET "
    f"{_ADDED.format(table='hours')}",
    f"INSERT INTO runs (id, workflow, started_s, is_implied, {_SUMS}) "
    f"SELECT run_id, min(workflow), min(hour) * {HOUR_S}, 1, {_ADDED_UP} {ENDED} AND run_id <> '' "
    f"GROUP BY run_id ON CONFLICT (id) DO UPDATE SET {_ADDED.format(table='runs')}",
)
"""Adds what has ended to the roll-ups."""

_MOVE: Final = (
    f"INSERT INTO entries ({_COLUMNS}) SELECT {_COLUMNS} {ENDED}",
    f"DELETE {ENDED}",
)


def fold(cursor: Cursor) -> None:
    """Move the entries of ended reservations to the ledger and the roll-ups, in the caller's transaction."""
    for statement in (*ROLL_UP, *_MOVE):
        cursor.execute(statement)


def fold_for_reading(database: Database) -> None:
    """Fold, in a transaction of its own; if there is nothing to fold, without taking the lock."""
    if database.query(f"SELECT 1 {ENDED} LIMIT 1"):
        with database as cursor:
            fold(cursor)


def open_run(cursor: Cursor, run: RunRecord) -> None:
    """Append *run*; a second time changes nothing."""
    cursor.execute(
        "INSERT INTO runs (id, workflow, parent_id, started_s) VALUES (?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET "
        "workflow = excluded.workflow, parent_id = excluded.parent_id, started_s = excluded.started_s, is_implied = 0 "
        "WHERE runs.is_implied <> 0",
        (run.id, run.workflow, run.parent_id, run.started_s),
    )


def totals(database: Database, by: By | None, where: Where) -> list[tuple[str, Totals]]:
    """Return the sums of the entries by name, dearest first."""
    if by == "run" and where.run_ids is None and where.since_s is not None and where.agent is None:
        return _totals_of_runs_since(database, where, where.since_s)
    if where.run_ids is not None or (by == "run" and where.agent is not None):
        # The roll-up of the hours does not tell its runs apart, that of the runs not its agents.
        source, sums, run, run_column = "entries", _ADDED_UP, "run_id", "run_id"
    elif by == "run":
        source, sums, run, run_column = "runs", _SUMS, "id", "id"
    else:
        source, sums, run, run_column = "hours", _ROLLED_UP, "''", ""
    day = f"hour / {_DAY_HOURS}"
    names = {None: "''", "agent": "agent", "model": "model", "workflow": "workflow", "run": run, "day": day}
    condition, parameters = _conditions(database, where, run_column, "hour", lambda at_s: int(at_s) // HOUR_S)
    grouping = "" if by is None or source == "runs" else "GROUP BY name"
    statement = f"SELECT {names[by]} AS name, {sums} FROM {source} {condition} {grouping}"
    rows = [
        (_day(row[0]) if by == "day" else str(row[0]), Totals._make(row[1:]))
        for row in database.query(statement, parameters)
    ]
    if by == "run" and where.run_ids is None:
        # A run that was opened and has no entry is in `runs`, and in no sum.
        rows = [(id_, sums_) for id_, sums_ in rows if id_ and any(sums_)]
    return sorted(rows, key=lambda row: (-row[1].cost_nanousd, row[0]))


def _totals_of_runs_since(database: Database, where: Where, since_s: float) -> list[tuple[str, Totals]]:
    """Take runs that began since then from their roll-up, and of those under way only the entries since then."""
    begin_s = _full_hour(since_s)
    began = _where(where, "started_s >= ?")
    under_way = "SELECT id FROM runs WHERE started_s < ? AND coalesce(ended_s, started_s + 1e12) >= ?"
    statement = (
        f"SELECT id, {_SUMS} FROM runs {began} UNION ALL SELECT run_id, {_ADDED_UP} FROM entries "
        f"{_where(where, f'hour >= ? AND run_id IN ({under_way})')} GROUP BY run_id"
    )
    workflow = () if where.workflow is None else (where.workflow,)
    parameters = (*workflow, begin_s, *workflow, int(since_s) // HOUR_S, begin_s, begin_s)
    rows = [(str(row[0]), Totals._make(row[1:])) for row in database.query(statement, parameters)]
    return sorted((row for row in rows if any(row[1])), key=lambda row: (-row[1].cost_nanousd, row[0]))


def _where(where: Where, condition: str) -> str:
    return f"WHERE workflow = ? AND {condition}" if where.workflow is not None else f"WHERE {condition}"


def runs(database: Database, where: Where) -> list[RunTotals]:
    """Return the runs, oldest first."""
    condition, parameters = _conditions(database, replace(where, agent=None), "id", "started_s", _full_hour)
    columns, source = f"id, workflow, started_s, parent_id, ended_s, {_SUMS}", "runs"
    if where.agent is not None:
        kept = "id, workflow, started_s, parent_id, ended_s"
        names = ", ".join(
            f"{one} AS {name}" for one, name in zip(_ADDED_UP_EACH, Totals._fields, strict=True)
        )
        of_agent = f"SELECT run_id, {names} FROM entries WHERE agent = ? GROUP BY run_id"
        source = f"(SELECT {kept} FROM runs) AS each_run JOIN ({of_agent}) AS of_agent ON run_id = id"
        parameters = (where.agent, *parameters)
    statement = f"SELECT {columns} FROM {source} {condition} ORDER BY started_s, id"
    return [
        RunTotals(
            RunRecord(id=row[0], workflow=row[1], started_s=row[2], parent_id=row[3], ended_s=row[4]),
            Totals._make(row[5:]),
        )
        for row in database.query(statement, parameters)
    ]


def entries(database: Database, where: Where, most: int) -> list[Entry]:
    """Return the newest *most* entries, oldest first."""
    condition, parameters = _conditions(database, where, "run_id", "id", lambda at_s: id_at(_full_hour(at_s)))
    statement = f"SELECT {_COLUMNS} FROM entries {condition} ORDER BY id DESC LIMIT ?"
    return [entry_of(row[0], row[1:]) for row in reversed(database.query(statement, (*parameters, most)))]


def presumed_nanousd(database: Database, where: Where) -> int:
    """Return what unresolved calls may have cost whose lease ran out."""
    condition, parameters = _conditions(database, where, "run_id", "id", lambda at_s: id_at(_full_hour(at_s)))
    chosen = f"{condition} AND" if condition else "WHERE"
    statement = (
        f"SELECT coalesce(CAST(sum(nanousd) AS BIGINT), 0) FROM reservations {chosen} state = {PRESUMED}"
    )
    return int(database.query(statement, parameters)[0][0])


def _conditions(
    database: Database, where: Where, run_column: str, since_column: str, since: Callable[[float], Any]
) -> tuple[str, tuple[Any, ...]]:
    conditions: list[str] = []
    parameters: list[Any] = []
    if where.workflow is not None:
        conditions.append("workflow = ?")
        parameters.append(where.workflow)
    if where.agent is not None:
        conditions.append("agent = ?")
        parameters.append(where.agent)
    if where.run_ids is not None:
        # One parameter however many runs there are: databases bound how many a statement may have.
        conditions.append(f"{run_column} IN ({database.listed})")
        parameters.append(json.dumps(where.run_ids))
    if where.since_s is not None:
        conditions.append(f"{since_column} >= ?")
        parameters.append(since(where.since_s))
    return ("WHERE " + " AND ".join(conditions) if conditions else ""), tuple(parameters)


def _day(days: int) -> str:
    """Return the date that is so many days after the epoch."""
    return (date(1970, 1, 1) + timedelta(days=days)).isoformat()


def _full_hour(at_s: float) -> float:
    return at_s // HOUR_S * HOUR_S
