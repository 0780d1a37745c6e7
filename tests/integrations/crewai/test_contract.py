"""CrewAI keeps every fact of the adapters' contract: agents of its own over real SDKs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from crewai import Crew, Process, Task
from tests.integrations.adapter_contract import AdapterContract, Cast
from tests.integrations.crewai.conftest import agent, anthropic_llm, openai_llm

import bursar
from bursar.simulator import Simulator


class AgentsCast(Cast):
    """Agents that are kicked off alone; one under another is called by the other's tool."""

    def __init__(self, make: Callable[..., Any], model: str, cheaper_model: str) -> None:
        self.model, self.cheaper_model = model, cheaper_model
        self._make = make

    def ask(self, agent: str, text: str) -> Any:
        """See `Cast.ask`."""
        return _agent(agent, self._make()).kickoff(text)

    def stream(self, agent: str, text: str, *, leave_after: int | None = None) -> None:
        """See `Cast.stream`: CrewAI reads every stream to its end by itself."""
        del leave_after
        with bursar.agent(agent):
            self._make(stream=True).call(text)

    def ask_nested(self, agents: list[str], text: str) -> Any:
        """See `Cast.ask_nested`: a crew of one, whose agent has another asked before it answers."""
        inner = _agent(agents[-1], self._make())

        class Outer(type(inner)):  # type: ignore[misc]
            def execute_task(self, *args: Any, **kwargs: Any) -> str:
                return str(inner.kickoff(text).raw)

        outer = Outer(role=agents[0], goal="Answer.", backstory="You answer.", llm=self._make())
        task = Task(description=text, expected_output="A word.", agent=outer)
        return Crew(agents=[outer], tasks=[task], process=Process.sequential).kickoff()

    def close(self) -> None:
        """Leave the connections to the garbage collector, as CrewAI's own LLMs do."""


def _agent(name: str, llm: Any) -> Any:
    # CrewAI would ask the provider to count before each call, which costs nothing and is no call of the agent.
    return agent(name, llm, respect_context_window=False)


class TestOpenAILLMs(AdapterContract):
    """The native LLM of OpenAI's."""

    @pytest.fixture
    def cast(self, sim: Simulator) -> Cast:
        """Agents over this provider's LLM."""

        def make(**options: Any) -> Any:
            return openai_llm(sim, model="gpt-4o", max_retries=3, **options)

        return AgentsCast(make, "gpt-4o", "gpt-4o-mini")


class TestAnthropicLLMs(AdapterContract):
    """The native LLM of Anthropic's."""

    @pytest.fixture
    def cast(self, sim: Simulator) -> Cast:
        """Agents over this provider's LLM."""

        def make(**options: Any) -> Any:
            return anthropic_llm(sim, max_retries=3, **options)

        return AgentsCast(make, "claude-sonnet-4-6", "claude-haiku-4-5")
