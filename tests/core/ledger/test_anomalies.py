"""Runs that cost more than usual: found as seldom as is promised, and when it matters."""

from __future__ import annotations

import math
import random

import pytest

from bursar.entry import RunRecord
from bursar.ledger.anomalies import ANOMALOUS, FLOOR_NANOUSD, UNUSUAL, Usual, find_anomalies, upper_tail
from bursar.store import RunTotals
from bursar.totals import Totals

DOLLAR = 10**9


def run(number: int, cost: int, workflow: str = "triage", **options: object) -> RunTotals:
    """A run that ended; `parent_id`, `ended_s` in *options*."""
    made = {"ended_s": float(number) + 0.5, **options}
    record = RunRecord(id=f"run-{number}", workflow=workflow, started_s=float(number), **made)  # type: ignore[arg-type]
    return RunTotals(record, Totals(cost_nanousd=cost))


def ordinary(seed: int, spread: float, count: int, median: float = 0.2 * DOLLAR) -> list[int]:
    """Costs whose logarithms are normally distributed, with the spread that was measured of real systems."""
    rng = random.Random(seed)
    return [round(median * math.exp(rng.gauss(0, spread))) for _ in range(count)]


@pytest.mark.parametrize(
    ("t", "degrees", "expected"),
    [
        (6.313752, 1, 0.05),
        (2.919986, 2, 0.05),
        (4.540703, 3, 0.01),
        (3.364930, 5, 0.01),
        (3.169273, 10, 0.005),
        (4.143700, 10, 0.001),
        (2.457262, 30, 0.01),
        (3.290527, 100_000, 0.0005),
    ],
)
def test_student_s_distribution(t: float, degrees: int, expected: float) -> None:
    """The tail is what the tables of Student's distribution say."""
    assert expected == pytest.approx(upper_tail(t, degrees), rel=2e-3)


@pytest.mark.parametrize("spread", [0.76, 1.11, 1.23, 1.34])
@pytest.mark.parametrize("known_by", [10, 30, 100, 300])
def test_false_alarms_are_as_rare_as_is_promised(spread: float, known_by: int) -> None:
    """Of ordinary runs two in a thousand are anomalies, and ten are unusual, however few are known."""
    chances: list[float] = []
    for seed in range(200):
        usual = Usual()
        costs = ordinary(seed, spread, known_by + 50)
        for cost in costs[:known_by]:
            usual.add(cost)
        chances += [usual.chance(cost) for cost in costs[known_by:]]

    assert sum(chance <= ANOMALOUS for chance in chances) / len(chances) < 0.005
    assert 0.001 < sum(chance <= UNUSUAL for chance in chances) / len(chances) < 0.017


@pytest.mark.parametrize(("spread", "times", "least"), [(0.76, 20, 0.9), (1.11, 50, 0.7), (1.34, 50, 0.5)])
def test_a_runaway_is_found(spread: float, times: int, least: float) -> None:
    """A run of many times the average stands out, the more the evener a workflow is."""
    found = 0
    for seed in range(300):
        usual = Usual()
        for cost in ordinary(seed, spread, 100):
            usual.add(cost)
        found += usual.chance(times * usual.average_nanousd) <= ANOMALOUS

    assert found / 300 >= least


def test_a_run_is_compared_with_those_of_its_workflow_before_it() -> None:
    """What costs a lot in one workflow is ordinary in another; what comes later says nothing."""
    cheap = [run(n, 2 * FLOOR_NANOUSD + n, "cheap") for n in range(40)]
    dear = [run(100 + n, 5 * DOLLAR + n, "dear") for n in range(40)]
    runaway = run(200, 5 * DOLLAR, "cheap")
    (found,) = find_anomalies([*cheap, *dear, runaway])

    assert ("run-200", "cheap", "anomaly") == (found.run.id, found.run.workflow, found.severity)
    assert found.chance < ANOMALOUS
    assert found.times == pytest.approx(250, rel=0.01)
    assert 5 == found.cost
    assert [] == find_anomalies([run(0, 5 * DOLLAR, "cheap"), *cheap[1:]])


def test_a_run_costs_what_is_inside_it() -> None:
    """A child's cost is its parent's too, as in every report."""
    before = [run(n, 2 * FLOOR_NANOUSD) for n in range(20)]
    parent, child = run(50, FLOOR_NANOUSD), run(51, 9 * DOLLAR, "search", parent_id="run-50")

    assert ["run-50"] == [found.run.id for found in find_anomalies([*before, parent, child])]


def test_what_is_under_way_is_compared_and_teaches_nothing() -> None:
    """A runaway is found before it ends; what has only begun does not make the rest look dear."""
    before = [run(n, 2 * FLOOR_NANOUSD) for n in range(20)]
    begun = [run(30 + n, 1, ended_s=None) for n in range(200)]
    later = [run(300 + n, 2 * FLOOR_NANOUSD) for n in range(20)]
    runaway = run(400, 9 * DOLLAR, ended_s=None)

    assert ["run-400"] == [found.run.id for found in find_anomalies([*before, *begun, *later, runaway])]


@pytest.mark.parametrize("count", [0, 1, 7])
def test_few_runs_say_nothing(count: int) -> None:
    """Before eight runs have ended, nobody knows what is usual."""
    before = [run(n, 2 * FLOOR_NANOUSD) for n in range(count)]

    assert [] == find_anomalies([*before, run(100, 500 * DOLLAR)])


def test_what_costs_less_than_a_cent_worries_nobody() -> None:
    """However much more than usual it is."""
    before = [run(n, 10) for n in range(50)]

    assert [] == find_anomalies([*before, run(100, FLOOR_NANOUSD - 1)])
    assert 1 == len(find_anomalies([*before, run(100, FLOOR_NANOUSD)]))


def test_runs_that_cost_nothing_say_nothing() -> None:
    """A run without a call has no logarithm, and makes none of the others dear."""
    runs = [run(n, 0 if n % 2 else 2 * FLOOR_NANOUSD) for n in range(60)]

    assert [] == find_anomalies(runs)


def test_what_is_usual_changes() -> None:
    """A workflow that is dearer from some day on is told of at first, and is the new usual later."""
    before, after = ordinary(1, 0.5, 600), ordinary(2, 0.5, 1_200, median=10 * DOLLAR)
    found = find_anomalies([run(n, cost) for n, cost in enumerate([*before, *after])])
    numbers = [int(one.run.id.removeprefix("run-")) for one in found]

    assert any(600 <= number < 610 for number in numbers)
    assert sum(number >= 1_200 for number in numbers) < 15
