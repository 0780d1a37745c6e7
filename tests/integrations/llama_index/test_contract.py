"""LlamaIndex keeps every fact of the adapters' contract: guarded LLMs over real SDKs, alone and in agents."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.base.llms.types import ChatMessage
from tests.integrations.adapter_contract import AdapterContract, Cast
from tests.integrations.llama_index.conftest import (
    HAIKU,
    SONNET,
    Scripted,
    anthropic_llm,
    calls_tool,
    openai_llm,
)

from bursar.simulator import Simulator
from bursar_llama_index import guard


class AgentsCast(Cast):
    """Agents over guarded LLMs; one under another is called by the other's tool."""

    def __init__(self, make: Callable[..., Any], model: str, cheaper_model: str) -> None:
        self.model, self.cheaper_model = model, cheaper_model
        self._make = make

    def _agent(self, name: str) -> Any:
        return FunctionAgent(name=name, description=name, llm=guard(self._make()), streaming=False)

    def ask(self, agent: str, text: str) -> Any:
        """See `Cast.ask`."""

        async def run() -> Any:
            return await self._agent(agent).run(text)

        return asyncio.run(run())

    def stream(self, agent: str, text: str, *, leave_after: int | None = None) -> None:
        """See `Cast.stream`."""
        parts = guard(self._make(), agent=agent).stream_chat([ChatMessage(text)])
        for index, _ in enumerate(parts, start=1):
            if index == leave_after:
                break
        parts.close()

    def ask_nested(self, agents: list[str], text: str) -> Any:
        """See `Cast.ask_nested`."""

        async def run() -> Any:
            inner = self._agent(agents[-1])

            async def call() -> str:
                return str(await inner.run(text))

            for name in reversed(agents[:-1]):
                call = _as_only_step(name, call)
            return await call()

        return asyncio.run(run())

    def close(self) -> None:
        """Leave the connections to the garbage collector, as LlamaIndex's own models do."""


def _as_only_step(name: str, call: Any) -> Any:
    """Return what runs an agent of this name whose tool is *call*, and has it called."""

    async def ask_other() -> str:
        return await call()

    async def run() -> str:
        llm = Scripted(script=[[calls_tool("ask_other")]])
        return str(await FunctionAgent(name=name, description=name, llm=llm, tools=[ask_other]).run("go"))

    return run


class TestOpenAILLMs(AdapterContract):
    """`OpenAI`."""

    @pytest.fixture
    def cast(self, sim: Simulator) -> Cast:
        """Agents over this provider's LLM."""

        def make() -> Any:
            return openai_llm(sim, model="gpt-4o", max_retries=3)

        return AgentsCast(make, "gpt-4o", "gpt-4o-mini")


class TestAnthropicLLMs(AdapterContract):
    """`Anthropic`."""

    @pytest.fixture
    def cast(self, sim: Simulator) -> Cast:
        """Agents over this provider's LLM."""

        def make() -> Any:
            return anthropic_llm(sim, model=SONNET, max_retries=3)

        return AgentsCast(make, SONNET, HAIKU)
