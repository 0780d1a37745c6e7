"""Guarded SDK clients on a running simulator; every connection is closed with its test."""

# What an SDK returns depends on unpacked options, which its overloads do not follow.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownLambdaType=false

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import anthropic
import openai
import pytest

from bursar import Budget, guard
from bursar.entry import Entry
from bursar.ledger import Report
from bursar.simulator import Simulator
from bursar.store import Store, Where
from bursar.stores.memory import MemoryStore

CHAT: dict[str, Any] = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hello"}]}
MESSAGE: dict[str, Any] = {
    "model": "claude-sonnet-4-6",
    "max_tokens": 100,
    "messages": [{"role": "user", "content": "hello"}],
}


def http_library(sdk: ModuleType) -> ModuleType:
    """The HTTP package that an installed SDK speaks: `httpx2`, or `httpx` in older versions."""
    bases: list[type] = list(sdk.DefaultHttpxClient.__mro__)
    return next(
        sys.modules[name] for base in bases if (name := base.__module__.partition(".")[0]).startswith("httpx")
    )


@dataclass(frozen=True)
class Stage:
    """
    A running simulator, a store in memory, and unguarded clients that do not retry.

    The clients are typed as anything: what they return depends on options that the tests unpack.
    """

    sim: Simulator
    store: Store
    openai: Any
    anthropic: Any
    async_openai: Any
    async_anthropic: Any

    def guard(self, client: Any, limit: Any = 10, *, label: str = "writer", **options: Any) -> Any:
        """Guard a client with a budget of its own in this stage's store."""
        return guard(client, Budget(limit, store=self.store, **options), label=label)

    def report(self) -> Report:
        """Return everything in the ledger."""
        return Report.of(self.store, Where())

    def entries(self) -> list[Entry]:
        """Return the lines of the ledger, oldest first."""
        return list(self.store.entries(Where()))

    def run(self, main: Coroutine[Any, Any, Any]) -> Any:
        """Run async code, and close its clients in the loop that they were used in."""

        async def closing() -> Any:
            try:
                return await main
            finally:
                await self.async_openai.close()
                await self.async_anthropic.close()

        return asyncio.run(closing())


Start = Callable[..., Stage]


@pytest.fixture
def start() -> Iterator[Start]:
    """Start a simulator with options, and clients for it."""
    with ExitStack() as stack:

        def started(*, max_retries: int = 0, **options: Any) -> Stage:
            sim = stack.enter_context(Simulator(**options))
            ours: dict[str, Any] = {
                "base_url": sim.openai_base_url,
                "api_key": "sk-planted",
                "max_retries": max_retries,
            }
            theirs: dict[str, Any] = {**ours, "base_url": sim.anthropic_base_url, "api_key": "sk-ant-planted"}
            return Stage(
                sim,
                MemoryStore(),
                stack.enter_context(openai.OpenAI(**ours)),
                stack.enter_context(anthropic.Anthropic(**theirs)),
                openai.AsyncOpenAI(**ours),
                anthropic.AsyncAnthropic(**theirs),
            )

        yield started


@pytest.fixture
def stage(start: Start) -> Stage:
    """A simulator without a script, and its clients."""
    return start()
