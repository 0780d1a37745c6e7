"""Bad input gets an error that names the value and the remedy, before anything is sent."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

import bursar
from bursar import Budget, UnknownAgent

if TYPE_CHECKING:
    from tests.core.budget.conftest import Desk

guard: Callable[..., Any] = bursar.guard
"""Typed loosely: the SDKs' overloads lose the thread on unpacked options."""

ASK: dict[str, Any] = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 100}


def takes_nothing() -> None:
    """What a user might write who does not care why he is asked."""


def takes_two(_one: object, _two: object) -> None:
    """What a user might write who expects to be told more."""


def takes_one_or_two(_one: object, _two: object = None) -> bool:
    """What fits."""
    return True


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "negative": ({"limit": -1}, "must not be negative, got -1"),
    "negative text": ({"limit": "$-5"}, "'\\$-5'"),
    "nan": ({"limit": math.nan}, "must be finite, not nan"),
    "infinite": ({"limit": math.inf}, "must be finite, not inf; leave the limit out"),
    "decimal nan": ({"limit": Decimal("NaN")}, "must be finite"),
    "words": ({"limit": "lots"}, "'lots' is not an amount of dollars; write 5"),
    "empty": ({"limit": ""}, "is not an amount of dollars"),
    "euros": ({"limit": "5 €"}, "'5 €' is not an amount"),
    "share of nothing": ({"limit": "15%"}, "'15%' is a share of nothing; write dollars"),
    "huge": ({"limit": "1e30"}, "is above the largest amount"),
    "calls negative": ({"calls": -1}, "calls must be a whole number from 0 up, not -1"),
    "calls true": ({"calls": True}, "calls must be a whole number"),
    "tokens fraction": ({"tokens": 1.5}, "tokens must be a whole number from 0 up, not 1.5"),
    "attempts text": ({"attempts": "3"}, "attempts must be a whole number from 0 up, not '3'"),
    "per": (
        {"limit": 1, "per": "week"},
        'per must be "run", "day", "month", "total" or a timedelta, not \'week\'',
    ),
    "per nothing": ({"limit": 1, "per": timedelta(0)}, "per must be longer than nothing"),
    "warn_at": ({"limit": 1, "warn_at": 80}, "warn_at must be a share .* such as 0.8 or .* not 80"),
    "warn_at text": ({"limit": 1, "warn_at": "80"}, "such as 0.8 or \"80%\", not '80'"),
    "warn_at above": ({"limit": 1, "warn_at": ["50%", "120%"]}, "not '120%'"),
    "warn_at nothing": ({"limit": 1, "warn_at": "nan%"}, "not 'nan%'"),
    "warn_at thing": ({"limit": 1, "warn_at": timedelta(1)}, "warn_at must be a share"),
    "warn_at zero": ({"limit": 1, "warn_at": [0.5, 0]}, "warn_at must be"),
    "downgrade_at": ({"limit": 1, "downgrade_at": -0.1}, "downgrade_at must be a share"),
    "downgrade_at text": ({"limit": 1, "downgrade_at": "$5"}, "downgrade_at must be a share .* not '\\$5'"),
    "downgrade of nothing": ({"limit": 1, "downgrade": {"a": None}}, "or to several in order, not 'a': None"),
    "downgrade of numbers": ({"limit": 1, "downgrade": {"a": ["b", 5]}}, r"not 'a': \['b', 5\]"),
    "per list": ({"limit": 1, "per": ["day"]}, r"per must be .* not \['day'\]"),
    "downgrade in a circle": ({"limit": 1, "downgrade": {"a": "b", "b": "a"}}, 'leads from "a" back to "a"'),
    "on_exceed": (
        {"limit": 1, "on_exceed": "explode"},
        '"raise", "stop", "warn" or a function, not \'explode\'',
    ),
    "on_store_failure": (
        {"limit": 1, "on_store_failure": "maybe"},
        'must be "closed" or "open", not \'maybe\'',
    ),
    "wait_s": ({"limit": 1, "wait_s": -1}, "wait_s must be a number from 0 up, not -1"),
    "wait_s for ever": ({"limit": 1, "wait_s": math.inf}, "wait_s must be a number"),
    "min_output_tokens": (
        {"limit": 1, "min_output_tokens": 0},
        "min_output_tokens must be a whole number from 1 up",
    ),
    "store": ({"limit": 1, "store": "mysql://host/db"}, "is not the URL of a store; write"),
    "store without a file": ({"limit": 1, "store": "sqlite:///"}, "names no file"),
    "name": ({"limit": 1, "name": ""}, "a budget's name must be a text that is not empty"),
    "share above": (
        {"limit": 1, "agents": {"a": "120%"}},
        'agent "a" must be from "0%" to "100%".*not \'120%\'',
    ),
    "share negative": ({"limit": 1, "agents": {"a": "-5%"}}, 'from "0%" to "100%"'),
    "share of words": ({"limit": 1, "agents": {"a": "half%"}}, "'half%'"),
    "shares together": (
        {"limit": 1, "agents": {"a": "60%", "b": "50%"}},
        "add up to 110%, .*oversubscribe=True",
    ),
    "amounts together": (
        {"limit": 1, "agents": {"a": "$0.90", "b": "20%"}},
        r"\$1.10, more than the limit of \$1.00",
    ),
    "shares without a whole": ({"agents": {"a": "60%"}}, "a budget that has no limit; give it one"),
    "nameless": (
        {"limit": 1, "agents": {"": "60%"}},
        "an agent's name must be a text that is not empty, not ''",
    ),
    "budget of an agent": (
        {"limit": 5, "agents": {"a": Budget(1, per="day")}},
        "give it limits and rules alone",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_a_value_that_makes_no_sense_is_named_with_its_remedy(name: str) -> None:
    """Every bad value is refused where it is written."""
    options, message = BAD[name]

    with pytest.raises(ValueError, match=message):
        Budget(**options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"limit": [5]}, "must be dollars such as 5, .* not list"),
        ({"limit": True}, "not bool"),
        ({"limit": 1, "agents": ["a", "b"]}, "agents must map names to shares or amounts"),
        ({"limit": 1, "within": 100}, r"within must be the Budget around this one, not 100"),
        ({"limit": 1, "store": 5}, r"store must be a URL .* or an open store, not int"),
        (
            {"limit": 1, "on_exceed": takes_nothing},
            "on_exceed is called with one argument, the BudgetExceeded",
        ),
        ({"limit": 1, "on_notice": takes_two}, "on_notice is called with one argument, a Notice"),
        (
            {"limit": 1, "downgrade": "gpt-4o-mini"},
            r'downgrade must map .* \{"gpt-4o": "gpt-4o-mini"\}, not \'gpt',
        ),
        ({"limit": 1, "on_notice": "log"}, "on_notice must be a function that takes a Notice, not 'log'"),
    ],
)
def test_a_value_of_another_type_is_named(options: dict[str, Any], message: str) -> None:
    """What is of no fitting type is a TypeError."""
    with pytest.raises(TypeError, match=message):
        Budget(**options)


@pytest.mark.parametrize("share", [0.5, "50%", " 50 % ", ["50%"], (0.5, "50%")])
def test_a_threshold_is_a_share_or_a_percentage(share: Any) -> None:
    """As an allotment, it may be written with a `%`."""
    budget = Budget(1, warn_at=share)

    assert (500_000,) == budget.policy.warn_at_ppm
    assert 500_000 == Budget(1, downgrade_at="50%").policy.downgrade_at_ppm


@pytest.mark.parametrize("function", [print, takes_one_or_two, max])
def test_a_function_that_takes_one_argument_may_be_asked(function: Any) -> None:
    """Whatever can be called with one argument will do."""
    assert function is Budget(1, on_exceed=function, on_notice=function).policy.on_exceed


@pytest.mark.parametrize("name", ["label", "agent"])
@pytest.mark.parametrize("value", ["", " ", 5])
def test_the_name_of_a_client_is_a_text(desk: Desk, name: str, value: Any) -> None:
    """A client's name that nobody could find in a report is refused."""
    with pytest.raises(ValueError, match=f"{name} must be a text that is not empty, not {value!r}"):
        guard(desk.openai(), 1, **{name: value})


def test_a_clients_store_is_a_store(desk: Desk) -> None:
    """What is neither a URL nor a store is told when the client is guarded."""
    with pytest.raises(TypeError, match=r"store must be a URL .* not dict"):
        guard(desk.openai(), 1, store={})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"workflow": ""}, "a workflow's name must be a text that is not empty, not ''"),
        ({"workflow": 5}, "a workflow's name must be a text that is not empty, not 5"),
        ({"id": ""}, "a run's id must be a text that is not empty, not ''; leave it out for a new one"),
        ({"id": 5}, "a run's id must be a text"),
    ],
)
def test_a_run_is_named_by_texts(options: dict[str, Any], message: str) -> None:
    """Workflow and id of a run are texts."""
    with pytest.raises(ValueError, match=message):
        Budget(1).run(**options)


@pytest.mark.parametrize("limit", ["$5.00", "5", 5, 5.0, Decimal(5), " $5 ", "$5.000_000"])
def test_five_dollars_may_be_written_in_many_ways(limit: Any) -> None:
    """What a person would write is understood."""
    assert 5 == Budget(limit).limit


def test_a_float_is_what_it_prints_as() -> None:
    """Ten cents written as a float are ten cents."""
    assert Decimal("0.1") == Budget(0.1).limit


def test_shares_are_split_by_the_largest_remainder() -> None:
    """Shares of 100 % give out the whole, to the nano-dollar, whatever they are."""
    budget = Budget("0.000000010", agents={"a": "33.4%", "b": "33.3%", "c": "33.3%"})

    assert [4, 3, 3] == [budget.agent_limits(agent).nanousd for agent in "abc"]


def test_shares_amounts_and_budgets_stand_side_by_side() -> None:
    """An allotment is a share of the whole, an amount, or limits of its own."""
    budget = Budget("$10", calls=100, agents={"a": "25%", "b": "$1.50", "c": Budget("$2", calls=5)})

    assert [(2_500_000_000, 25), (1_500_000_000, None), (2_000_000_000, 5)] == [
        (budget.agent_limits(agent).nanousd, budget.agent_limits(agent).calls) for agent in "abc"
    ]


def test_oversubscribed_shares_are_a_word_that_the_user_writes() -> None:
    """Shares above 100 % are taken where the user says so."""
    budget = Budget("$1", agents={"a": "80%", "b": "80%"}, oversubscribe=True)

    assert 800_000_000 == budget.agent_limits("b").nanousd


def test_an_unknown_role_is_told_with_the_known_ones(desk: Desk) -> None:
    """A name that the run's budget does not know is refused when the client is guarded."""
    with (
        Budget("$1", agents={"planner": "50%", "writer": "50%"}, store=desk.store).run("doc"),
        pytest.raises(
            UnknownAgent, match=r'agent "plannr" has no allotment .* "planner", "writer"; correct the name'
        ),
    ):
        guard(desk.openai(), agent="plannr")

    assert 0 == desk.sim.arrived


def test_a_misspelt_allotment_is_told_once(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    """A framework names its agents only when they call: one whose allotment is under a name like it is told of."""
    budget = Budget("$1", agents={"Reseacher": "50%", "writer": "50%"}, store=desk.store)
    client = guard(desk.openai())

    with caplog.at_level(logging.WARNING, "bursar"):
        for name in ("Researcher", "Writer", "planner", "writer", "Researcher"):
            with budget.run("doc"), bursar.agent(name):
                client.chat.completions.create(**ASK)

    said = [record.getMessage() for record in caplog.records]
    assert 2 == len(said)
    assert 'agent "Researcher" has no allotment' in said[0]
    assert 'its budget names "Reseacher"' in said[0]
    assert 'its budget names "writer"' in said[1]
