"""The adapter is held to what every adapter is held to."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from autogen_agentchat.agents import AssistantAgent
from autogen_agentchat.teams import RoundRobinGroupChat
from autogen_agentchat.tools import AgentTool
from autogen_ext.models.openai import OpenAIChatCompletionClient

from bursar.simulator import Simulator
from bursar_autogen import BudgetedChatCompletionClient

from ..adapter_contract import AdapterContract, Cast
from .conftest import ASK, Scripted, calls

pytestmark = pytest.mark.timeout(30)


class AutoGenCast(Cast):
    """Agents of AutoGen's over its own client of OpenAI."""

    model = "gpt-4o"
    cheaper_model = "gpt-4o-mini"

    def __init__(self, sim: Simulator) -> None:
        self._url = sim.openai_base_url
        self._loop = asyncio.Runner()
        self._clients: list[BudgetedChatCompletionClient] = []

    def client(self) -> BudgetedChatCompletionClient:
        """Return a client that pays from the run around each call."""
        plain = OpenAIChatCompletionClient(
            model=self.model, max_tokens=50, base_url=self._url, api_key="planted", max_retries=3
        )
        self._clients.append(BudgetedChatCompletionClient(plain))
        return self._clients[-1]

    async def _ask(self, agent: str, text: str) -> Any:
        asking = AssistantAgent(agent.replace("-", "_"), self.client())
        if asking.name == agent:
            return await asking.run(task=text)
        # A name of AutoGen's must be an identifier; the contract's others are bound.
        return await self.client().for_agent(agent).create(ASK)

    def ask(self, agent: str, text: str) -> Any:
        """Let an agent run."""
        return self._loop.run(self._ask(agent, text))

    def try_all(self, agents: list[str], text: str) -> list[Any]:
        """Let the agents run as tasks of one loop."""

        async def all_of_them() -> list[Any]:
            return await asyncio.gather(*(self._ask(agent, text) for agent in agents), return_exceptions=True)

        return self._loop.run(all_of_them())

    def stream(self, agent: str, text: str, *, leave_after: int | None = None) -> None:
        """Let an agent run that streams."""

        async def read() -> None:
            stream = self.client().for_agent(agent).create_stream(ASK)
            seen = 0
            async for _ in stream:
                seen += 1
                if seen == leave_after:
                    break
            await stream.aclose()

        self._loop.run(read())

    def ask_nested(self, agents: list[str], text: str) -> Any:
        """Let an agent run as the tool of another, which is a member of a team."""

        async def nested() -> Any:
            outer, inner = agents
            worker = AssistantAgent(inner, self.client(), description="works")
            planner = AssistantAgent(outer, Scripted(calls(inner)), tools=[AgentTool(worker)])
            return await RoundRobinGroupChat([planner], max_turns=1).run(task=text)

        return self._loop.run(nested())

    def close(self) -> None:
        """Give connections back."""
        for client in self._clients:
            self._loop.run(client.close())
        self._loop.close()


class TestAutoGen(AdapterContract):
    @pytest.fixture
    def cast(self, sim: Simulator) -> Iterator[Cast]:
        """Agents over a client that retries."""
        cast = AutoGenCast(sim)
        yield cast
        cast.close()
