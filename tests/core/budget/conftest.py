"""A counter to be served at: a simulator over HTTP, a store of either kind, and real SDK clients."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

import anthropic
import openai
import pytest

from bursar.errors import BudgetExceeded
from bursar.simulator import Simulator
from bursar.store import Store, Where
from bursar.stores.memory import MemoryStore
from bursar.stores.postgres import PostgresStore
from bursar.stores.sql import SQLStore
from bursar.stores.sqlite import SQLiteStore

T = TypeVar("T")
NOON_S: Final = 1_795_521_600.0
"""2026-11-24 12:00 UTC."""


class Clock:
    """A clock that stands still until it is moved; safe to read from any thread."""

    def __init__(self) -> None:
        self.now_s = NOON_S

    def __call__(self) -> float:
        """Return the second it stands at."""
        return self.now_s


@dataclass
class Desk:
    """
    A simulator, a store, and real SDK clients for them.

    Attributes:
        clock: The store's, which stands still where a test asked for that.
    """

    sim: Simulator
    store: Store
    clock: Clock
    stack: ExitStack
    loop_clients: list[openai.AsyncOpenAI] = field(default_factory=list[openai.AsyncOpenAI])

    def openai(self, *, max_retries: int = 0, **options: Any) -> Any:
        """Return an OpenAI client that does not retry unless told."""
        client = openai.OpenAI(
            base_url=self.sim.openai_base_url, api_key="sk-planted", max_retries=max_retries, **options
        )
        return self.stack.enter_context(client)

    def aopenai(self, *, max_retries: int = 0, **options: Any) -> Any:
        """Return an async OpenAI client, which `run` closes."""
        client = openai.AsyncOpenAI(
            base_url=self.sim.openai_base_url, api_key="sk-planted", max_retries=max_retries, **options
        )
        self.loop_clients.append(client)
        return client

    def anthropic(self, *, max_retries: int = 0, **options: Any) -> Any:
        """Return an Anthropic client that does not retry unless told."""
        client = anthropic.Anthropic(
            base_url=self.sim.anthropic_base_url, api_key="sk-ant-planted", max_retries=max_retries, **options
        )
        return self.stack.enter_context(client)

    def run(self, main: Coroutine[Any, Any, T]) -> T:
        """Run *main* in a loop of its own and close the async clients in it."""

        async def closing() -> T:
            try:
                return await main
            finally:
                for client in self.loop_clients:
                    await client.close()

        return asyncio.run(closing())

    def reserved(self) -> dict[str, Any]:
        """Return the accounts on which something is still held; empty at the end of everything."""
        keys = {account.key for account in self.accounts}
        states = {key: self.store.state(key) for key in keys}
        return {
            key: state.reserved for key, state in states.items() if state is not None and any(state.reserved)
        }

    @property
    def accounts(self) -> list[Any]:
        """Every account that a chain of a run named so far."""
        return list(_declared)

    @property
    def ledger_nanousd(self) -> int:
        """What the whole ledger comes to."""
        return sum(totals.cost_nanousd for _, totals in self.store.totals(None, Where()))

    @property
    def billed_nanousd(self) -> int:
        """What the server has billed, once it is idle."""
        assert self.sim.wait_idle()
        return int(self.sim.bill.total.scaleb(9))


_declared: list[Any] = []


@pytest.fixture(autouse=True)
def declared(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keeps a note of every account that is declared, to look at all of them at the end."""
    _declared.clear()
    for kind in (MemoryStore, SQLStore):
        declare = kind.declare

        def noting(self: Any, accounts: Any, declare: Any = declare) -> Any:
            _declared.extend(accounts)
            return declare(self, accounts)

        monkeypatch.setattr(kind, "declare", noting)


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """A store of each kind, on the true clock."""
    kind: str = request.param
    if kind == "memory":
        made: Store = MemoryStore()
    elif kind == "sqlite":
        made = SQLiteStore(tmp_path / "ledger.db")
    else:
        made = PostgresStore(request.getfixturevalue("postgres"))
    yield made
    made.close()


@pytest.fixture
def ledger_url(store: Store, request: pytest.FixtureRequest) -> str:
    """What another process opens the store by."""
    return request.getfixturevalue("postgres") if isinstance(store, PostgresStore) else store.url


Open = Callable[..., Desk]
"""Takes the options of a simulator, and returns a desk with it."""


@pytest.fixture
def open_desk(store: Store) -> Iterator[Open]:
    """Open desks with a simulator of the options given, over the store."""
    with ExitStack() as stack:

        def opened(**options: Any) -> Desk:
            return Desk(stack.enter_context(Simulator(**options)), store, Clock(), stack)

        yield opened


@pytest.fixture
def desk(open_desk: Open) -> Desk:
    """A desk whose simulator answers shortly."""
    return open_desk()


@dataclass
class Rush:
    """What became of many calls made at once."""

    answers: list[Any] = field(default_factory=list[Any])
    refusals: list[BudgetExceeded] = field(default_factory=list[BudgetExceeded])

    def note(self, outcome: Any) -> None:
        """Sort one outcome in; what is neither an answer nor a refusal is an error of the test."""
        if isinstance(outcome, BudgetExceeded):
            self.refusals.append(outcome)
        elif isinstance(outcome, BaseException):
            raise outcome
        else:
            self.answers.append(outcome)


RushThreads = Callable[[Callable[[int], Any], int], Rush]
RushTasks = Callable[[Callable[[int], Awaitable[Any]], int], Coroutine[Any, Any, Rush]]


@pytest.fixture
def rush() -> RushThreads:
    """Make calls from that many threads at once."""

    def made(call: Callable[[int], Any], count: int) -> Rush:
        gate = threading.Barrier(count)

        def one(index: int) -> Any:
            gate.wait()
            try:
                return call(index)
            except BudgetExceeded as exceeded:
                return exceeded

        result = Rush()
        with ThreadPoolExecutor(count) as pool:
            for outcome in pool.map(one, range(count)):
                result.note(outcome)
        return result

    return made


@pytest.fixture
def arush() -> RushTasks:
    """Make calls from that many tasks at once."""

    async def made(call: Callable[[int], Awaitable[Any]], count: int) -> Rush:
        result = Rush()
        for outcome in await asyncio.gather(*(call(i) for i in range(count)), return_exceptions=True):
            result.note(outcome)
        return result

    return made


Eventually = Callable[[Callable[[], bool]], bool]


@pytest.fixture
def eventually() -> Eventually:
    """Look again and again until something holds, for at most ten seconds, and tell whether it came to hold."""

    def looked(holds: Callable[[], bool]) -> bool:
        deadline_s = time.monotonic() + 10
        while not holds():
            if time.monotonic() > deadline_s:
                return False
            time.sleep(0.002)
        return True

    return looked
