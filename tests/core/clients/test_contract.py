"""`guard()` is held to what every adapter is held to, with each SDK, sync and async."""

# What an SDK returns depends on unpacked options, which its overloads do not follow.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownLambdaType=false

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import anthropic
import openai
import pytest

from bursar import Budget, guard
from bursar.entry import Agent
from bursar.meter import Meter, Plan, plan_request
from bursar.paychain import Booking
from bursar.scope import agent as acting
from bursar.scope import current_meter
from bursar.simulator import Fault, Simulator
from bursar.wire import OPENAI_CHAT, Receipt

from ...integrations.adapter_contract import AdapterContract, Cast
from .conftest import CHAT, Stage


class GuardedCast(Cast):
    """A client of either SDK, guarded anew for each agent."""

    def __init__(self, plain: Any) -> None:
        self.plain = plain
        is_openai = isinstance(plain, openai.OpenAI | openai.AsyncOpenAI)
        self.model = "gpt-4o" if is_openai else "claude-sonnet-4-6"
        self.cheaper_model = "gpt-4o-mini" if is_openai else "claude-haiku-4-5"
        self._is_openai = is_openai

    def create(self, client: Any, text: str, **options: Any) -> Any:
        """Begin a call."""
        asked = {"model": self.model, "max_tokens": 50, "messages": [{"role": "user", "content": text}]}
        make = client.chat.completions.create if self._is_openai else client.messages.create
        return make(**asked, **options)

    def ask(self, agent: str, text: str) -> Any:
        """Make one whole call."""
        return self.create(guard(self.plain, agent=agent), text)

    def stream(self, agent: str, text: str, *, leave_after: int | None = None) -> None:
        """Make one streamed call."""
        with self.create(guard(self.plain, agent=agent), text, stream=True) as stream:
            for seen, _ in enumerate(stream, 1):
                if seen == leave_after:
                    break

    def ask_nested(self, agents: list[str], text: str) -> Any:
        """Make one call of a client that is guarded twice."""
        outer, inner = agents
        return self.create(guard(guard(self.plain, agent=outer), agent=inner), text)

    def close(self) -> None:
        """Give connections back."""
        self.plain.close()


class AsyncGuardedCast(GuardedCast):
    """The same with an async client, in a loop of its own."""

    def __init__(self, plain: Any) -> None:
        super().__init__(plain)
        self._loop = asyncio.Runner()

    def ask(self, agent: str, text: str) -> Any:
        """Make one whole call."""
        return self._loop.run(self._ask(agent, text))

    async def _ask(self, agent: str, text: str) -> Any:
        # Named by the block around it rather than by its client, which is the other way to do it.
        with acting(agent):
            return await self.create(guard(self.plain), text)

    def try_all(self, agents: list[str], text: str) -> list[Any]:
        """Make the calls as tasks of one loop."""

        async def all_of_them() -> list[Any]:
            return await asyncio.gather(*(self._ask(agent, text) for agent in agents), return_exceptions=True)

        return self._loop.run(all_of_them())

    def stream(self, agent: str, text: str, *, leave_after: int | None = None) -> None:
        """Make one streamed call."""

        async def read() -> None:
            async with await self.create(guard(self.plain, agent=agent), text, stream=True) as stream:
                seen = 0
                async for _ in stream:
                    seen += 1
                    if seen == leave_after:
                        break

        self._loop.run(read())

    def ask_nested(self, agents: list[str], text: str) -> Any:
        """Make one call of a client that is guarded twice."""

        async def ask() -> Any:
            return await super(AsyncGuardedCast, self).ask_nested(agents, text)

        return self._loop.run(ask())

    def close(self) -> None:
        """Give connections back."""
        self._loop.run(self.plain.close())
        self._loop.close()


class GuardContract(AdapterContract):
    """What the four have in common."""

    client_class: type[Any]

    @pytest.fixture
    def cast(self, sim: Simulator) -> Iterator[Cast]:
        """A guarded client of this kind."""
        is_openai = issubclass(self.client_class, openai.OpenAI | openai.AsyncOpenAI)
        url = sim.openai_base_url if is_openai else sim.anthropic_base_url
        plain = self.client_class(base_url=url, api_key="planted", max_retries=3)
        is_async = issubclass(self.client_class, openai.AsyncOpenAI | anthropic.AsyncAnthropic)
        with ExitStack() as stack:
            cast = AsyncGuardedCast(plain) if is_async else GuardedCast(plain)
            stack.callback(cast.close)
            yield cast


def test_outer_meter_owns_the_call(stage: Stage) -> None:
    """Under an adapter's own meter a guarded client reserves nothing, and tells it what it saw: one entry, exact."""
    with Budget(5, store=stage.store).run("job") as run:
        plan = Plan(
            run=run,
            chain=run.chain("framework"),
            agent=Agent(name="framework", path="framework", framework="langchain"),
            provider="openai",
            operation="chat",
            ask=OPENAI_CHAT.read_request(CHAT),
        )
        stage.sim.fail_next(Fault.status(500, retry_after_s=0.001))
        meter = Meter(plan)
        meter.reserve()
        token = current_meter.set(meter)
        guard(stage.openai, label="inner").with_options(max_retries=2).chat.completions.create(**CHAT)
        current_meter.reset(token)
        meter.settle(Receipt())
    found = [
        (entry.subject.agent.name, entry.attempt, entry.status, entry.source) for entry in stage.entries()
    ]

    assert [("framework", 1, "error", "none"), ("framework", 2, "ok", "priced")] == found
    assert run.spent == stage.sim.bill.total


def test_a_second_call_below_an_outer_meter_pays_for_itself(stage: Stage) -> None:
    """A call that is made while the outer one's stream is open is not taken for a part of it."""
    with Budget(5, store=stage.store).run("job") as run:
        meter = Meter(
            plan_request(
                OPENAI_CHAT,
                CHAT,
                Booking(
                    run,
                    Agent(name="framework", path="framework", framework="langchain"),
                    run.chain("framework"),
                ),
                provider="openai",
            )
        )
        meter.reserve()
        token = current_meter.set(meter)
        client = guard(stage.openai, label="inner")
        client.chat.completions.create(**CHAT)
        client.chat.completions.create(**CHAT)
        current_meter.reset(token)
        meter.settle(Receipt())

    assert ["framework", "inner"] == [entry.subject.agent.name for entry in stage.entries()]
    assert run.spent == stage.sim.bill.total


class TestOpenAI(GuardContract):
    client_class = openai.OpenAI


class TestAsyncOpenAI(GuardContract):
    client_class = openai.AsyncOpenAI


class TestAnthropic(GuardContract):
    client_class = anthropic.Anthropic


class TestAsyncAnthropic(GuardContract):
    client_class = anthropic.AsyncAnthropic
