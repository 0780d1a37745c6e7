"""Downgrades and lowered output limits, as they are seen on the wire."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import openai
import pytest

import bursar
from bursar import Budget, BudgetExceeded, UnknownPrice
from bursar.simulator import Simulator
from bursar.store import Where

if TYPE_CHECKING:
    from tests.core.budget.conftest import Desk, Open

guard: Callable[..., Any] = bursar.guard
"""Typed loosely: the SDKs' overloads lose the thread on unpacked options."""

HI: list[dict[str, str]] = [{"role": "user", "content": "hi"}]
ASK: dict[str, Any] = {"model": "gpt-4o", "messages": HI, "max_tokens": 1000}
CALL = Decimal("0.01002")
"""What ASK costs at most at gpt-4o: 8 input tokens and 1,000 of output, counted exactly."""

ANY = Where()


def wire(desk: Desk) -> list[tuple[str, int | None]]:
    """Return the model and the output limit of every request that arrived."""
    return [(record.model, record.body.get("max_tokens")) for record in desk.sim.requests]


def test_the_first_model_of_the_ladder_that_fits_is_sent(desk: Desk) -> None:
    """A ladder goes down step by step, and its first model whose whole bound fits is asked."""
    ladder = {"gpt-4o": "gpt-4.1-mini", "gpt-4.1-mini": "gpt-4o-mini"}
    some = guard(desk.openai(), Budget("0.002", store=desk.store, downgrade=ladder))
    less = guard(desk.openai(), Budget("0.001", store=desk.store, downgrade=ladder))

    some.chat.completions.create(**ASK)
    less.chat.completions.create(**ASK)

    assert [("gpt-4.1-mini", 1000), ("gpt-4o-mini", 1000)] == wire(desk)
    assert desk.billed_nanousd == desk.ledger_nanousd


def test_the_output_limit_is_lowered_to_what_is_left(open_desk: Open) -> None:
    """Where no model fits whole, the request's own limit is lowered to what can be paid for."""
    desk = open_desk(talkative=True)
    client = guard(desk.openai(), Budget(CALL / 2, store=desk.store))

    answer = client.chat.completions.create(**ASK)

    assert [("gpt-4o", 499)] == wire(desk)
    assert "length" == answer.choices[0].finish_reason
    assert Decimal("0.00501") == client.bursar.spent


def test_a_call_without_a_limit_is_given_one_only_where_money_binds(open_desk: Open) -> None:
    """A request that names no limit is sent without one where the model's most can be paid, else with what is left."""
    desk = open_desk()
    client = guard(desk.openai(), Budget("0.01", store=desk.store))
    rich = guard(desk.openai(), Budget("10", store=desk.store))

    for each in (rich, client):
        each.chat.completions.create(model="gpt-4o", messages=HI)

    unlimited, limited = (record.body for record in desk.sim.requests)
    assert set() == {"max_tokens", "max_completion_tokens"} & set(unlimited)
    assert 998 == limited.get("max_tokens", limited.get("max_completion_tokens"))


def http_library() -> Any:
    """The HTTP package that the installed openai speaks: `httpx2`, or `httpx` before its version 3."""
    bases: Any = openai.DefaultHttpxClient.__mro__
    roots = (base.__module__.partition(".")[0] for base in bases)
    return sys.modules[next(root for root in roots if root.startswith("httpx"))]


def test_a_request_that_the_budget_does_not_bind_is_sent_byte_for_byte() -> None:
    """The body that a guarded client sends is the very body that the bare client sends."""
    bodies: list[bytes] = []
    library = http_library()
    with Simulator() as sim:
        transport: Any = sim.transport(library.__name__)

        def noting(request: Any) -> Any:
            bodies.append(request.read())
            return transport.handle_request(request)

        with library.Client(transport=library.MockTransport(noting)) as http:
            bare = openai.OpenAI(base_url=sim.openai_base_url, api_key="sk-planted", http_client=http)
            for client in (bare, guard(bare, Budget("$10", store="memory:unbound"))):
                client.chat.completions.create(
                    model="gpt-4o",
                    messages=[{"role": "user", "content": "žluťoučký kůň"}],
                    temperature=0.25,
                    seed=7,
                )

    assert bodies[0] == bodies[1]
    assert "žluťoučký kůň" == json.loads(bodies[0])["messages"][0]["content"]


def test_an_output_limit_too_small_to_be_useful_is_not_sent(desk: Desk) -> None:
    """Below min_output_tokens the call is refused, and nothing is sent."""
    client = guard(desk.openai(), Budget(CALL / 5, store=desk.store))

    with pytest.raises(BudgetExceeded, match="at most 8 input and 1,000 output tokens"):
        client.chat.completions.create(**ASK)

    assert 0 == desk.sim.arrived


def test_past_its_threshold_a_budget_downgrades_at_once_and_recovers(open_desk: Open) -> None:
    """Above downgrade_at calls go one step down; they go back up once it is five points below, not sooner."""
    desk = open_desk(talkative=True)
    budget = Budget(
        "$0.10", store=desk.store, downgrade={"gpt-4o": "gpt-4o-mini"}, downgrade_at=0.5, warn_at=None
    )
    with budget.run("doc") as run:
        client = guard(desk.openai(), agent="writer")
        for limit in ("0.10",) * 6 + ("0.105", "0.12"):
            run.limit = limit
            client.chat.completions.create(**ASK)

    # Five calls of one cent take half; past it the small model's 0.06 cents; at 48 % it is armed still, at 42 % not.
    models = [model for model, _ in wire(desk)]
    assert ["gpt-4o"] * 5 + ["gpt-4o-mini", "gpt-4o-mini", "gpt-4o"] == models


def test_a_step_of_the_ladder_without_a_price_is_passed_over(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    """An unknown price on the ladder costs nobody the call: the next step is taken, and a warning says why, once."""
    unknown = f"acme-{id(desk)}"
    ladder = {"gpt-4o": [unknown, "gpt-4o-mini"]}
    client = guard(desk.openai(), Budget("0.001", store=desk.store, downgrade=ladder, warn_at=None))

    with caplog.at_level(logging.WARNING, "bursar"):
        for _ in range(2):
            client.chat.completions.create(**ASK)

    assert [("gpt-4o-mini", 1000)] * 2 == wire(desk)
    assert 1 == caplog.text.count(f'"{unknown}" is passed over')


def test_an_unknown_price_is_refused_with_the_line_to_add(desk: Desk) -> None:
    """Under a money budget a model without a price is not called; the message has the line that adds one."""
    client = guard(desk.openai(), Budget("$5", store=desk.store))

    with pytest.raises(UnknownPrice, match=r"bursar\.prices\.add\(\"acme-unheard-of\""):
        client.chat.completions.create(model="acme-unheard-of", messages=HI)

    assert 0 == desk.sim.arrived


@pytest.mark.parametrize("whose", ["budget", "run"])
def test_a_limit_that_comes_later_refuses_a_model_without_a_price(desk: Desk, whose: str) -> None:
    """What nothing limited a moment ago must have a price from now on, whoever made its calls before."""
    budget = Budget(store=desk.store)
    with budget.run("doc") as run:
        client = guard(desk.openai(), agent="writer")
        client.chat.completions.create(**ASK)
        if whose == "budget":
            budget.limit = "$5"
        else:
            run.limit = "$5"
        with pytest.raises(UnknownPrice, match="acme-unheard-of"):
            client.chat.completions.create(model="acme-unheard-of", messages=HI)

    assert 1 == desk.sim.arrived


def test_a_budget_of_calls_takes_a_model_without_a_price(open_desk: Open) -> None:
    """Under a budget of calls alone an unknown price is no obstacle, and its cost is unknown, not zero."""
    desk = open_desk(prices={"acme-unheard-of": {"input": 1, "output": 1}})
    budget = Budget(calls=1, store=desk.store)
    with budget.run("doc"):
        client = guard(desk.openai(), agent="writer")
        client.chat.completions.create(model="acme-unheard-of", messages=HI)

        with pytest.raises(BudgetExceeded):
            client.chat.completions.create(model="acme-unheard-of", messages=HI)

    (entry,) = [entry for entry in desk.store.entries(ANY) if entry.status == "ok"]
    assert (None, "unknown") == (entry.cost_nanousd, entry.source)
    assert 1 == desk.sim.arrived


def test_an_exact_count_is_not_used_for_another_tokenizer(open_desk: Open) -> None:
    """A prompt counted for gpt-4o says nothing of a model with other tables: its bound stays in bytes."""
    desk = open_desk(talkative=True)
    text = "你好\N{FULLWIDTH COMMA}世界。" * 200
    messages = [{"role": "user", "content": text}]
    client = guard(
        desk.openai(), Budget("0.0015", store=desk.store, downgrade={"gpt-4o": "gpt-3.5-turbo"}, warn_at=None)
    )

    try:
        client.chat.completions.create(model="gpt-4o", messages=messages, max_tokens=300)
    except BudgetExceeded:
        assert 0 == desk.sim.arrived

    assert desk.billed_nanousd <= 1_500_000
    assert all(0 == entry.overage_nanousd for entry in desk.store.entries(ANY))


# What is asked, what stands in for it, and what the body calls the output limit.
DOORS: dict[str, tuple[str, str, str]] = {
    "chat": ("gpt-4o", "gpt-4o-mini", "max_tokens"),
    "chat stream": ("gpt-4o", "gpt-4o-mini", "max_tokens"),
    "responses": ("gpt-4o", "gpt-4o-mini", "max_output_tokens"),
    "responses stream": ("gpt-4o", "gpt-4o-mini", "max_output_tokens"),
    "messages": ("claude-sonnet-4-6", "claude-haiku-4-5", "max_tokens"),
    "messages stream": ("claude-sonnet-4-6", "claude-haiku-4-5", "max_tokens"),
}


def go(desk: Desk, budget: Budget, door: str) -> Any:
    """Ask for 1,000 tokens of output through a door, and read the answer to its end."""
    kind, _, streamed = door.partition(" ")
    model, _, name = DOORS[door]
    client = guard(desk.anthropic() if kind == "messages" else desk.openai(), budget)
    asked: dict[str, Any] = {"model": model, name: 1000, "stream": bool(streamed)}
    asked["input" if kind == "responses" else "messages"] = "hi" if kind == "responses" else HI
    resource = {"chat": lambda: client.chat.completions, "messages": lambda: client.messages}
    answer = resource.get(kind, lambda: client.responses)().create(**asked)
    return list(answer) if streamed else answer


@pytest.mark.parametrize("door", DOORS)
def test_every_endpoint_goes_down_the_ladder(open_desk: Open, door: str) -> None:
    """Where the model asked for does not fit and a cheaper one does, that one is sent with the limit unchanged."""
    desk = open_desk(output_tokens=5)
    model, cheaper, name = DOORS[door]
    go(desk, Budget("$0.006", store=desk.store, downgrade={model: cheaper}), door)

    assert [(cheaper, 1000)] == [(record.model, record.body[name]) for record in desk.sim.requests]
    assert desk.billed_nanousd == desk.ledger_nanousd > 0
    assert [(model, cheaper)] == [
        (entry.subject.model, entry.model.removesuffix("-2024-07-18").removesuffix("-20251001"))
        for entry in desk.store.entries(ANY)
    ]


@pytest.mark.parametrize("door", DOORS)
def test_every_endpoint_is_asked_for_less(open_desk: Open, door: str) -> None:
    """Where no model fits whole, the output limit is lowered to what is left, and kept by the server."""
    desk = open_desk(talkative=True)
    budget = Budget("$0.006", store=desk.store)
    go(desk, budget, door)
    (record,) = desk.sim.requests
    _, _, name = DOORS[door]

    assert 256 <= record.body[name] < 1000
    assert desk.billed_nanousd == desk.ledger_nanousd <= 6_000_000
    assert {} == desk.reserved()
