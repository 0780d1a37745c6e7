"""What the tests of every store are made of: a clock, accounts, claims and the entries that resolve them."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Sequence
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

from bursar.account import Account, Amounts, Limits
from bursar.entry import Agent, Entry, RunRecord, Status, Subject
from bursar.ids import new_id
from bursar.reservation import Claim, Grant, Resolution, Shrink
from bursar.store import Store
from bursar.stores.postgres import PostgresStore
from bursar.stores.sqlite import SQLiteStore
from bursar.usage import Usage

START_S = 1_795_000_000.0
"""In the middle of a day and an hour, so that a test chooses when it crosses one."""


class Clock:
    """Seconds since the epoch, moved by hand."""

    def __init__(self) -> None:
        self.now_s = START_S

    def __call__(self) -> float:
        """Return the time."""
        return self.now_s

    def advance(self, seconds: float) -> None:
        """Move the time on."""
        self.now_s += seconds


_numbers = count()


def account(name: str = "run", limit: int | None = 1_000, **options: Any) -> Account:
    """An account of *limit* nano-dollars; `limits` in *options* gives the other units."""
    options.setdefault("limits", Limits(nanousd=limit))
    return Account(key=f"key of {name}", name=f'the "{name}"', **options)


def claim(*accounts: Account, nanousd: int = 100, id_: str | None = None, **options: Any) -> Claim:
    """A claim of *nanousd*, 10 tokens, a call and an attempt."""
    options.setdefault("amounts", Amounts(nanousd, 10, 1, 1))
    return Claim(id_ or new_id(START_S), accounts, **options)


def subject(**options: Any) -> Subject:
    """What made a call."""
    defaults = {"call_id": f"call-{next(_numbers)}", "run_id": "", "workflow": "triage", "provider": "openai"}
    made: dict[str, Any] = {**defaults, "agent": Agent(name="writer"), "model": "gpt-4o", "operation": "chat"}
    return Subject(**{**made, **options})


def entry(id_: str, cost: int | None = 60, *, about: Subject | None = None, **options: Any) -> Entry:
    """An entry of *cost* nano-dollars with 7 tokens of input and 3 of output."""
    status: Status = options.pop("status", "ok")
    usage = options.pop("usage", Usage(input_tokens=7, output_tokens=3))
    source, attempt = options.pop("source", "priced"), options.pop("attempt", 1)
    model, bound = options.pop("model", "gpt-4o"), options.pop("bound_nanousd", 100)
    return Entry(id_, about or subject(), status, source, attempt, model, cost, bound, usage, **options)


def settling(id_: str, cost: int = 60, **options: Any) -> Resolution:
    """A resolution of *cost* nano-dollars, 10 tokens, a call and an attempt."""
    return Resolution(entry(id_, cost, **options), Amounts(cost, 10, 1, 1))


def releasing(id_: str, **options: Any) -> Resolution:
    """A resolution that gives everything back."""
    released = entry(id_, 0, status="released", source="none", usage=Usage(), **options)
    return Resolution(released, Amounts())


def spend(store: Store, chain: tuple[Account, ...], cost: int = 60, **options: Any) -> Entry:
    """Reserve 100 nano-dollars, or the cost if that is more, and settle."""
    asked = claim(*chain, nanousd=max(cost, 100), id_=new_id(store.now()))
    granted(store.reserve(asked))
    return store.resolve(settling(asked.id, cost, **options))


def granted(answer: object) -> Grant:
    """The grant that *answer* is."""
    assert isinstance(answer, Grant), answer
    return answer


def amounts_of(store: Store, name: str = "run") -> tuple[int, int, int]:
    """What is spent, presumed and reserved of an account, in nano-dollars."""
    state = store.state(f"key of {name}")
    assert state is not None
    return state.spent.nanousd, state.presumed.nanousd, state.reserved.nanousd


def shrink(fixed: int, per_token: int, *, most: int, least: int = 1) -> Shrink:
    """A shrink with prices in pico-dollars, and as many tokens as its output limit."""
    return Shrink(fixed, 0, per_token, 1, most, least)


def run(id_: str, workflow: str = "triage", started_s: float = START_S, **options: Any) -> RunRecord:
    """A run."""
    return RunRecord(id=id_, workflow=workflow, started_s=started_s, **options)


class Turns:
    """Stands for a store, and has each verb done by the next of several; who waits, waits at the first."""

    def __init__(self, stores: Sequence[Store]) -> None:
        first = stores[0]
        for store in stores:
            store.waiters = first.waiters
        turns = itertools.cycle(stores)

        def turn(verb: str, *args: Any, **kwargs: Any) -> Any:
            return getattr(next(turns), verb)(*args, **kwargs)

        # Set on itself, not looked up: since Python 3.12 a protocol asks for what an object truly has.
        verbs = [name for name, value in vars(Store).items() if inspect.isfunction(value) and name[0] != "_"]
        vars(self).update({verb: partial(turn, verb) for verb in verbs})
        self.url, self.is_shared = first.url, first.is_shared
        self.now, self.waiters, self.journal = first.now, first.waiters, first.journal


def opened(place: str, *, lock_timeout_s: float = 10.0) -> Store:
    """The store at *place*: the URL of a database, or a file."""
    if place.startswith("postgresql:"):
        return PostgresStore(place, lock_timeout_s=lock_timeout_s)
    return SQLiteStore(Path(place), lock_timeout_s=lock_timeout_s)
