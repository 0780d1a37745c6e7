"""`on_anomaly`: told while a run is under way that it has cost far more than its workflow's runs do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import openai
import pytest

import bursar
from bursar import Anomaly, Budget
from bursar.simulator import Simulator
from bursar.store import Store

guard: Callable[..., Any] = bursar.guard
"""Typed loosely: the SDKs' overloads lose the thread on unpacked options."""

# A cent and a half: 1,500 tokens of output at $10 per million.
ASK: dict[str, Any] = {
    "model": "gpt-5",
    "messages": [{"role": "user", "content": "hi"}],
    "max_completion_tokens": 2_000,
}


@pytest.fixture
def sim() -> Iterator[Simulator]:
    """A simulator whose answers all cost the same."""
    with Simulator(output_tokens=1_500) as simulator:
        yield simulator


@pytest.fixture
def plain(sim: Simulator) -> Iterator[openai.OpenAI]:
    """A client of it."""
    with openai.OpenAI(base_url=sim.openai_base_url, api_key="sk-planted", max_retries=0) as client:
        yield client


def ordinary(budget: Budget, client: Any, runs: int = 12, workflow: str = "nightly") -> None:
    """Runs of a call each."""
    for _ in range(runs):
        with budget.run(workflow):
            client.chat.completions.create(**ASK)


def test_a_runaway_is_told_of_while_it_runs(plain: openai.OpenAI, sim: Simulator, store: Store) -> None:
    """Once for each run, before its next call, with its figures; ordinary runs never are."""
    told: list[Anomaly] = []
    budget = Budget("$10", store=store, on_anomaly=told.append)
    client = guard(plain, agent="researcher")
    ordinary(budget, client)
    assert [] == told

    at_call = 0
    with budget.run("nightly") as run:
        while not told:
            client.chat.completions.create(**ASK)
            at_call += not told
        for _ in range(5):
            client.chat.completions.create(**ASK)

    (anomaly,) = told
    assert (run.id, "nightly", "anomaly") == (anomaly.run.id, anomaly.run.workflow, anomaly.severity)
    assert anomaly.times == pytest.approx(at_call)
    assert 5 < at_call < 40
    assert anomaly.cost * (at_call + 6) == run.spent * at_call
    assert sim.bill.total == budget.spent


def test_what_it_raises_stops_the_call(plain: openai.OpenAI, sim: Simulator, store: Store) -> None:
    """Nothing is sent, and nothing stays reserved."""

    class TooDearError(Exception):
        """What the user raises."""

    def stop(anomaly: Anomaly) -> None:
        raise TooDearError(f"{anomaly.cost}")

    budget = Budget("$10", store=store, on_anomaly=stop)
    client = guard(plain)
    ordinary(budget, client)
    before, sent = sim.arrived, 0

    def ask_on() -> None:
        nonlocal sent
        while True:
            client.chat.completions.create(**ASK)
            sent += 1

    with budget.run("nightly") as run, pytest.raises(TooDearError):
        ask_on()

    assert sim.arrived - before == sent > 0
    assert 0 == run.reserved


def test_what_is_usual_is_read_from_the_ledger(plain: openai.OpenAI, store: Store) -> None:
    """Another budget, as of another process, knows what the runs before it cost."""
    ordinary(Budget("$10", store=store), guard(plain))
    told: list[Anomaly] = []
    with Budget("$10", store=store, on_anomaly=told.append).run("nightly") as run:
        run.record(cost="5", what="a rented machine")
        guard(plain).chat.completions.create(**ASK)

    assert [run.id] == [anomaly.run.id for anomaly in told]


def test_a_run_costs_what_is_inside_it(plain: openai.OpenAI, store: Store) -> None:
    """What runs inside it spend makes a run an anomaly; another workflow has a usual of its own."""
    told: list[Anomaly] = []
    outer = Budget("$50", store=store, on_anomaly=told.append)
    client = guard(plain)
    ordinary(outer, client)
    with outer.run("nightly") as run:
        for _ in range(40):
            with Budget("$1").run("search"):
                client.chat.completions.create(**ASK)

    assert [(run.id, "nightly")] == [(anomaly.run.id, anomaly.run.workflow) for anomaly in told]


def test_a_budget_around_others_is_told_too(plain: openai.OpenAI, store: Store) -> None:
    """`within` one that watches, each run of the inner budget is watched."""
    told: list[Anomaly] = []
    day = Budget("$100", per="day", name="org", store=store, on_anomaly=told.append)
    team = Budget("$50", within=day)
    client = guard(plain)
    ordinary(team, client)
    with team.run("nightly") as run:
        for _ in range(40):
            client.chat.completions.create(**ASK)

    assert [run.id] == [anomaly.run.id for anomaly in told]


@pytest.mark.parametrize("value", ["warn", 3, lambda: None])
def test_what_cannot_be_told_is_refused(value: Any) -> None:
    """Only a function that takes one."""
    with pytest.raises((TypeError, ValueError), match="on_anomaly"):
        Budget("$1", on_anomaly=value)


@pytest.mark.parametrize("name", ["on_anomaly", "on_notice"])
def test_what_nobody_would_await_is_refused(name: str) -> None:
    """A function that must be awaited would never run, and is told so at once."""

    async def told(_: object) -> None:
        """Never runs."""

    options: dict[str, Any] = {name: told}
    with pytest.raises(TypeError, match=f"{name} is told of an? .* never awaited"):
        Budget("$1", **options)


def test_an_agent_s_allotment_is_not_watched() -> None:
    """A run is an anomaly as a whole: what would be ignored is said to be wrong."""
    with pytest.raises(ValueError, match="on_anomaly="):
        Budget("$5", agents={"writer": Budget("$1", on_anomaly=print)})
