"""A provider, a store, AutoGen's real clients against it, and clients that answer from a script."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import AsyncGenerator, Iterator, Sequence
from typing import Any

import pytest
from autogen_core import FunctionCall
from autogen_core.models import ChatCompletionClient, CreateResult, RequestUsage, UserMessage
from autogen_ext.models.openai import OpenAIChatCompletionClient
from autogen_ext.models.replay import ReplayChatCompletionClient

from bursar import Budget
from bursar.dropped import dropped
from bursar.entry import Entry
from bursar.simulator import Simulator
from bursar.store import Where
from bursar.stores.memory import MemoryStore
from bursar_autogen import BudgetedChatCompletionClient

INPUT, OUTPUT = 10, 5
ABLE: Any = {
    "vision": True,
    "function_calling": True,
    "json_output": True,
    "structured_output": True,
    "family": "gpt-4o",
    "multiple_system_messages": True,
}
ASK = [UserMessage(content="hello", source="user")]


def said(content: Any, *, tokens: tuple[int, int] = (INPUT, OUTPUT), cached: bool = False) -> CreateResult:
    """Return an answer in words, or in calls of tools."""
    is_text = isinstance(content, str)
    usage = RequestUsage(prompt_tokens=tokens[0], completion_tokens=tokens[1])
    return CreateResult(
        finish_reason="stop" if is_text else "function_calls", content=content, usage=usage, cached=cached
    )


def calls(*names: str) -> CreateResult:
    """Return an answer that calls tools, each with a task."""
    return said(
        [FunctionCall(id=f"call-{i}", name=n, arguments='{"task": "go"}') for i, n in enumerate(names)]
    )


class Scripted(ReplayChatCompletionClient):
    """
    A client that answers with *script*, one after the other, and then with its last word again.

    It can do anything, counts what was sent, and may take its time.
    """

    def __init__(self, *script: Any, delay_s: float = 0.0, info: Any = None) -> None:
        answers = [said(each) if isinstance(each, str) else each for each in script or ("done",)]
        super().__init__([], model_info=info or ABLE)
        self.script = answers
        self.delay_s = delay_s
        self.sent: list[dict[str, Any]] = []

    def _next(self, arguments: dict[str, Any]) -> CreateResult:
        answer = self.script[min(len(self.sent), len(self.script) - 1)]
        self.sent.append(arguments)
        if isinstance(answer, BaseException):
            raise answer
        self._cur_usage = answer.usage
        self._update_total_usage()
        return answer.model_copy()

    async def create(self, messages: Sequence[Any], **arguments: Any) -> CreateResult:
        """Answer once."""
        answer = self._next({"messages": messages, **arguments})
        await asyncio.sleep(self.delay_s)
        return answer

    async def create_stream(
        self, messages: Sequence[Any], **arguments: Any
    ) -> AsyncGenerator[str | CreateResult, None]:
        """Answer word by word."""
        answer = self._next({"messages": messages, **arguments})
        if isinstance(answer.content, str):
            for word in answer.content.split():
                await asyncio.sleep(self.delay_s)
                yield word
        yield answer


class Stage:
    """A store, and what was booked in it."""

    def __init__(self, sim: Simulator | None = None) -> None:
        self._sim = sim
        self.store = MemoryStore()
        self.clients: list[ChatCompletionClient] = []

    @property
    def sim(self) -> Simulator:
        """The provider that real clients call."""
        assert self._sim is not None
        return self._sim

    def budget(self, limit: Any = 10, **options: Any) -> Budget:
        """Return a budget in this stage's store."""
        return Budget(limit, store=self.store, **options)

    def openai(self, model: str = "gpt-4o-2024-08-06", **options: Any) -> OpenAIChatCompletionClient:
        """Return AutoGen's own client of OpenAI, against the simulator."""
        given: dict[str, Any] = {
            "base_url": self.sim.openai_base_url,
            "api_key": "sk-planted",
            "max_retries": 0,
        }
        client = OpenAIChatCompletionClient(model=model, **{**given, **options})
        self.clients.append(client)
        return client

    def guarded(
        self, client: ChatCompletionClient, budget: Any = None, **options: Any
    ) -> BudgetedChatCompletionClient:
        """Return *client* paid from *budget*; one that does not say what it asks is taken for `gpt-4o`."""
        if isinstance(client, Scripted):
            options.setdefault("model", "gpt-4o")
        return BudgetedChatCompletionClient(client, budget, **options)

    def entries(self) -> list[Entry]:
        """Return the lines of the ledger, oldest first, once all that was dropped is settled."""
        dropped.do_all()
        return list(self.store.entries(Where()))

    def rows(self) -> list[tuple[str, str]]:
        """Return who was booked, and how each call ended."""
        return [(entry.subject.agent.name, entry.status) for entry in self.entries()]


def agents_of(entries: Sequence[Entry]) -> list[str]:
    """Return the agents that *entries* are booked to, in order."""
    return [entry.subject.agent.name for entry in entries]


def source_of(entry: Entry) -> str:
    """Return how an entry's agent was told."""
    return entry.subject.agent.framework.split(":")[1]


def team_of(entry: Entry) -> str:
    """Return the id of the team that an entry's call was made in."""
    return entry.subject.run_id.partition(".")[0]


@pytest.fixture(autouse=True)
def quiet_autogen() -> Iterator[None]:
    """Let AutoGen warn of the simulator's model names, which are not the point here."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Resolved model mismatch")
        # Its own dump of an answer by a schema.
        warnings.filterwarnings("ignore", message="Pydantic serializer warnings")
        yield


@pytest.fixture
def stage() -> Stage:
    """A store alone."""
    return Stage()


@pytest.fixture
def wire() -> Iterator[Stage]:
    """A store and a provider."""
    with Simulator(output_tokens=20) as sim:
        yield Stage(sim)


def run(main: Any, stage: Stage | None = None, *, most_s: float = 20.0) -> Any:
    """Run async code with a time limit, and close its clients in the loop that they were used in."""

    async def closing() -> Any:
        try:
            return await asyncio.wait_for(main, most_s)
        finally:
            for client in stage.clients if stage is not None else ():
                await client.close()

    return asyncio.run(closing())
