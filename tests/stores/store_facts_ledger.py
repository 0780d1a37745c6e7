"""Facts about the ledger: entries, runs, and sums that are those of the entries."""

from __future__ import annotations

import random
from collections import defaultdict
from datetime import UTC, datetime
from typing import Any, cast

import pytest
from store_parts import START_S, Clock, account, amounts_of, claim, entry, run, settling, spend, subject

from bursar.account import Limits
from bursar.entry import Agent, Entry
from bursar.ids import new_id, time_of
from bursar.reservation import Resolution
from bursar.store import By, Store, Where
from bursar.totals import Totals
from bursar.usage import Usage

_HOUR_S = 3600


class LedgerFacts:
    def test_an_empty_ledger_adds_up_to_nothing(self, store: Store) -> None:
        """Without entries there is one empty sum, and no row by any name."""
        assert [("", Totals())] == store.totals(None, Where())
        assert [] == store.totals("agent", Where())
        assert ([], []) == (store.runs(Where()), list(store.entries(Where())))

    def test_an_entry_keeps_every_field(self, store: Store) -> None:
        """What is read is what was written, field by field."""
        asked = claim(account())
        store.reserve(asked)
        usage = Usage(
            **{name: n for n, name in enumerate(Usage._fields, 1) if name != "other"},
            other={"input_audio_tokens": 5, "web_searches": 2},
        )
        about = subject(
            run_id="run-1",
            agent=Agent(name="écrivain", path="chef/écrivain", framework="langchain"),
            is_repeat=True,
        )
        written = Entry(
            asked.id, about, "aborted", "estimated", 3, "gpt-4o-2024-08-06", 61, 99, usage,
            duration_ms=812, overage_nanousd=4, is_late=False, reason="cut", price="genai-prices 0.2.3",
        )  # fmt: skip
        store.resolve(Resolution(written, asked.amounts))
        refused = entry(
            new_id(START_S + 1), None, status="refused", source="unknown", usage=Usage(), reason="broke"
        )
        store.record(refused)

        assert [written, refused] == list(store.entries(Where()))

    def test_entries_are_the_newest_oldest_first(self, store: Store) -> None:
        """`most` cuts off the oldest."""
        made = [new_id(START_S + second) for second in range(5)]
        for id_ in (made[2], made[0], made[4], made[1], made[3]):
            store.record(entry(id_))

        assert made == [found.id for found in store.entries(Where())]
        assert made[3:] == [found.id for found in store.entries(Where(), most=2)]

    @pytest.mark.parametrize("by", [None, "agent", "workflow", "model", "run", "day"])
    def test_sums_are_those_of_the_entries(self, store: Store, by: By | None) -> None:
        """By any name, and under any condition, the sums equal what the entries come to."""
        _fill(store, 300)
        entries = list(store.entries(Where()))
        conditions = (
            Where(),
            Where(workflow="triage"),
            Where(run_ids=("run-1", "run-3", "nobody")),
            Where(since_s=START_S + 20 * _HOUR_S + 59),
            Where(workflow="summary", run_ids=("run-0", "run-1"), since_s=START_S + 7 * _HOUR_S),
        )

        assert len(entries) == 300
        for where in conditions:
            assert _expected(entries, by, where) == dict(store.totals(by, where))

    def test_sums_are_dearest_first(self, store: Store) -> None:
        """The row that cost most comes first; equals are in the order of their names."""
        for name, cost in (("b", 5), ("a", 5), ("c", 9)):
            store.record(entry(new_id(START_S), cost, about=subject(agent=Agent(name=name))))

        assert ["c", "a", "b"] == [name for name, _ in store.totals("agent", Where())]

    def test_sums_add_up_across_foldings(self, store: Store) -> None:
        """A thousand settled calls are all there, each once, whenever one looks."""
        chain = (account("agent", None), account("run", None))
        for number in range(1_000):
            spend(store, chain, 60, about=subject(run_id="run-1"))
            if number % 333 == 0:
                assert store.totals(None, Where())[0][1].calls == number + 1

        assert (60_000, 0, 0) == amounts_of(store)
        assert (60_000, 1_000) == store.totals(None, Where())[0][1][:2]
        assert [(60_000, 1_000)] == [row.totals[:2] for row in store.runs(Where())]

    def test_runs_are_kept_and_counted(self, store: Store) -> None:
        """A run is what it was opened as, with its end and its sums; the oldest comes first."""
        second = run("run-2", "summary", START_S + 5, parent_id="run-1")
        store.open_run(second)
        store.open_run(run("run-1"))
        store.open_run(run("run-1", "another", START_S + 9))
        store.record(entry(new_id(START_S), 7, about=subject(run_id="run-2", workflow="summary")))
        store.close_run("run-2", START_S + 60)
        found = store.runs(Where())

        assert [
            run("run-1"),
            run("run-2", "summary", START_S + 5, parent_id="run-1", ended_s=START_S + 60),
        ] == [row.run for row in found]
        assert [(0, 0), (7, 1)] == [row.totals[:2] for row in found]

    def test_runs_are_found_by_name_workflow_and_start(self, store: Store) -> None:
        """A condition on time is on the hour that a run started in."""
        for number in range(4):
            store.open_run(
                run(f"run-{number}", ("triage", "summary")[number % 2], START_S + number * _HOUR_S)
            )

        def ids(**conditions: Any) -> list[str]:
            return [row.run.id for row in store.runs(Where(**conditions))]

        assert ["run-1", "run-3"] == ids(workflow="summary")
        assert ["run-2", "run-3"] == ids(since_s=START_S + 2 * _HOUR_S + 1)
        assert ["run-0"] == ids(run_ids=("run-0", "nobody"))

    @pytest.mark.parametrize("by", ["agent", "workflow", "model", "run", "day", None])
    def test_sums_of_one_agent_leave_the_others_out(self, store: Store, by: Any) -> None:
        """What one agent spent is told apart in every grouping, in entries and in runs."""
        for number, (name, run_id) in enumerate([("writer", "1"), ("planner", "1"), ("planner", "2")]):
            about = subject(run_id=f"run-{run_id}", agent=Agent(name=name))
            store.record(entry(new_id(START_S), 7 + number, about=about))

        narrowed: list[dict[str, Any]] = [
            {},
            {"since_s": START_S},
            {"run_ids": ("run-1", "run-2")},
            {"workflow": "triage"},
        ]
        for conditions in narrowed:
            where = Where(agent="writer", **conditions)
            assert [(7, 1)] == [totals[:2] for _, totals in store.totals(by, where)]
            assert ["writer"] == [found.subject.agent.name for found in store.entries(where)]
            assert [("run-1", 7, 1)] == [(row.run.id, *row.totals[:2]) for row in store.runs(where)]
        assert [17, 0] == [store.totals(None, Where(agent=name))[0][1][0] for name in ("planner", "nobody")]

    def test_a_run_that_nobody_opened_is_implied(self, store: Store) -> None:
        """Entries make their run known; opening it later gives it its own start."""
        store.record(entry(new_id(START_S), 7, about=subject(run_id="run-1")))
        implied = store.runs(Where())
        store.open_run(run("run-1", started_s=START_S - 9))

        assert ["run-1"] == [row.run.id for row in implied]
        assert [(START_S - 9, 7)] == [
            (row.run.started_s, row.totals.cost_nanousd) for row in store.runs(Where())
        ]

    def test_an_account_is_a_window_by_its_key_alone(self, store: Store, clock: Clock) -> None:
        """A settle after midnight books to the day of the reserve, whose key the hold froze."""
        monday, tuesday = account("monday"), account("tuesday")
        asked = claim(monday)
        store.reserve(asked)
        clock.advance(300)
        spend(store, (tuesday,), 5)
        store.resolve(settling(asked.id, 60))

        assert [(60, 0, 0), (5, 0, 0)] == [amounts_of(store, name) for name in ("monday", "tuesday")]

    def test_what_is_not_limited_stays_at_zero(self, store: Store) -> None:
        """The state shows money, and of the rest only what is limited."""
        store.declare((account("run", limits=Limits(calls=5)),))
        spend(store, (account("run"),))
        state = store.state("key of run")

        assert state is not None
        assert state.spent == (60, 0, 1, 0)


def _fill(store: Store, number: int) -> None:
    """Write entries of every kind over two days."""
    rng = random.Random(1)
    for n in range(4):
        store.open_run(run(f"run-{n}", ("triage", "summary")[n % 2]))
    for n in range(number):
        chosen = rng.randrange(4)
        about = subject(
            run_id=f"run-{chosen}",
            workflow=("triage", "summary")[chosen % 2],
            agent=Agent(name=rng.choice("abc")),
            is_repeat=rng.random() < 0.2,
        )
        status = rng.choice(["ok", "ok", "error", "aborted", "released", "refused"])
        source = rng.choice(["stated", "priced", "estimated", "bound", "unknown"])
        cost = None if source == "unknown" else rng.randrange(1_000)
        id_ = new_id(START_S + rng.random() * 40 * _HOUR_S)
        usage = Usage(input_tokens=rng.randrange(9), cache_read_tokens=1, output_tokens=4, reasoning_tokens=2)
        options: dict[str, Any] = {"status": status, "source": source, "usage": usage}
        store.record(
            entry(id_, cost, about=about, attempt=rng.choice([1, 1, 2]), model=rng.choice("xy"), **options)
        )
        if n % 97 == 0:
            store.totals(None, Where())


def _expected(entries: list[Entry], by: By | None, where: Where) -> dict[str, Totals]:
    sums: defaultdict[str, list[Totals]] = defaultdict(list)
    if by is None:
        sums[""] = []
    for found in entries:
        about = found.subject
        if where.workflow is not None and about.workflow != where.workflow:
            continue
        if where.run_ids is not None and about.run_id not in where.run_ids:
            continue
        if where.since_s is not None and time_of(found.id) < where.since_s // _HOUR_S * _HOUR_S:
            continue
        day = datetime.fromtimestamp(time_of(found.id), UTC).date().isoformat()
        names = {
            "agent": about.agent.name,
            "workflow": about.workflow,
            "model": found.model,
            "run": about.run_id,
            "day": day,
        }
        sums[names[cast("str", by)] if by else ""].append(Totals.of(found))
    return {name: Totals.sum(rows) for name, rows in sums.items()}
