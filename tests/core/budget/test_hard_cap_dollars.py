"""The hard cap in dollars: the server's own bill never passes the limit, whatever is asked for."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

import pytest

import bursar
from bursar import Budget
from bursar.store import Where
from bursar.stores.memory import MemoryStore

if TYPE_CHECKING:
    from tests.core.budget.conftest import Desk, Open, RushThreads

guard: Callable[..., Any] = bursar.guard
"""Typed loosely: the SDKs' overloads lose the thread on unpacked options."""

MANY: Final = 24
HI: Final = [{"role": "user", "content": "hi"}]
PIXEL: Final = (
    "data:image/png;base64,"
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
TOOL: Final = {
    "type": "function",
    "function": {
        "name": "look_up",
        "description": "Looks a customer up, by number or name. " * 8,
        "parameters": {
            "type": "object",
            "properties": {
                "name": {"type": "string", "enum": ["Ada", "Grace"]},
                "number": {"type": "integer"},
            },
            "required": ["name"],
        },
    },
}
SCHEMA: Final = {
    "type": "json_schema",
    "json_schema": {
        "name": "answer",
        "strict": True,
        "schema": {
            "type": "object",
            "properties": {"answer": {"type": "string"}},
            "required": ["answer"],
            "additionalProperties": False,
        },
    },
}

Call = Callable[[Any, Any], Any]


def chat(**options: Any) -> Call:
    """Return a chat completion with *options*."""
    asked: dict[str, Any] = {"model": "gpt-4o", "messages": HI} | options
    return lambda client, _: client.chat.completions.create(**asked)


def streamed(**options: Any) -> Call:
    """Return a chat completion that is read as a stream."""
    asked: dict[str, Any] = {"model": "gpt-4o", "messages": HI, "stream": True} | options
    return lambda client, _: list(client.chat.completions.create(**asked))


def response(**options: Any) -> Call:
    """Return a call of Responses."""
    asked: dict[str, Any] = {"model": "gpt-4o", "input": "hi"} | options
    return lambda client, _: client.responses.create(**asked)


def message(**options: Any) -> Call:
    """Return an Anthropic message."""
    asked: dict[str, Any] = {"model": "claude-sonnet-4-6", "messages": HI, "max_tokens": 120} | options
    return lambda _, client: client.messages.create(**asked)


def embedding(_client: Any, _: Any) -> Any:
    """Make an embedding."""
    return _client.embeddings.create(model="text-embedding-3-small", input=["to be embedded " * 50])


CACHED_SYSTEM: Final = [
    {"type": "text", "text": "You are careful. " * 400, "cache_control": {"type": "ephemeral"}}
]
CACHED_HOUR: Final = [
    {
        "type": "text",
        "text": "Du bist vorsichtig, 慎重に。" * 200,
        "cache_control": {"type": "ephemeral", "ttl": "1h"},
    }
]

# What is asked for, and dollars for a few calls and a bit: an odd amount, so that the last call does not fit whole.
CALLS: Final[dict[str, tuple[Call, str]]] = {
    "max_tokens": (chat(max_tokens=100), "0.00777"),
    "max_completion_tokens": (chat(max_completion_tokens=300), "0.0333"),
    "no limit": (chat(model="gpt-4o-mini"), "0.0777"),
    "three choices": (chat(n=3, max_tokens=50), "0.01111"),
    "tools": (chat(tools=[TOOL] * 3, max_tokens=60), "0.0123"),
    "schema": (chat(response_format=SCHEMA, max_tokens=60), "0.00999"),
    "long system prompt": (
        chat(
            messages=[{"role": "system", "content": "Be brief, être bref, 簡潔に。 " * 900}, *HI],
            max_tokens=20,
        ),
        "0.3",
    ),
    "image": (
        chat(
            messages=[
                {
                    "role": "user",
                    "content": [
                        {"type": "text", "text": "what is it?"},
                        {"type": "image_url", "image_url": {"url": PIXEL}},
                    ],
                }
            ],
            max_tokens=20,
        ),
        "0.0777",
    ),
    "reasoning model": (chat(model="o4-mini", max_completion_tokens=500), "0.0123"),
    "stream": (streamed(max_tokens=100), "0.00777"),
    "stream of three": (streamed(n=3, max_tokens=40), "0.00777"),
    "response": (response(max_output_tokens=100), "0.00777"),
    "response without a limit": (response(model="gpt-4o-mini"), "0.0777"),
    "message": (message(), "0.01234"),
    "message with a cached prompt": (message(system=CACHED_SYSTEM), "0.2"),
    "message with an hour of cache": (message(system=CACHED_HOUR), "0.4"),
    "message with tools": (
        message(tools=[{"name": "look_up", "description": "x" * 400, "input_schema": {"type": "object"}}]),
        "0.02222",
    ),
    "embedding": (embedding, "0.000111"),
}


def bound_of(desk: Desk, call: Call) -> int:
    """Return the most that one such call may cost, in nano-dollars, as a budget without a limit holds it."""
    store = MemoryStore()
    call(
        guard(desk.openai(), Budget("$100", store=store)),
        guard(desk.anthropic(), Budget("$100", store=store)),
    )
    desk.sim.reset()
    (entry,) = store.entries(Where())
    return entry.bound_nanousd


@pytest.mark.parametrize("name", CALLS)
def test_the_bill_stays_within_an_odd_limit(open_desk: Open, rush: RushThreads, name: str) -> None:
    """
    The server, which answers as long as it is allowed to, bills no more than the limit.

    And less than one call's bound is left, and nothing stays reserved.
    """
    call, usd = CALLS[name]
    desk = open_desk(talkative=True)
    most = bound_of(desk, call)
    budget = Budget(usd, store=desk.store, warn_at=None)
    client, other = guard(desk.openai(), budget, label="odd"), guard(desk.anthropic(), budget, label="odd")

    done = rush(lambda _: call(client, other), MANY)
    while not done.refusals:
        more = rush(lambda _: call(client, other), MANY)
        done.refusals += more.refusals
    limit = int(Decimal(usd).scaleb(9))
    billed = desk.billed_nanousd

    assert billed <= limit
    assert limit - billed < most
    assert billed == desk.ledger_nanousd
    assert billed == int(budget.spent.scaleb(9))
    assert {} == desk.reserved()
