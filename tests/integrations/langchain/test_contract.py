"""LangChain keeps every fact of the adapters' contract: graphs of agents with a `BudgetMiddleware`, over real SDKs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from langchain.agents import create_agent
from langgraph.graph import END, START, MessagesState, StateGraph
from tests.integrations.adapter_contract import AdapterContract, Cast
from tests.integrations.langchain.conftest import anthropic_model, openai_model

from bursar.simulator import Simulator
from bursar_langchain import BudgetMiddleware


class AgentsCast(Cast):
    """Agents made by `create_agent`; one under another is a node of the other's graph."""

    def __init__(self, make_model: Callable[..., Any], model: str, cheaper_model: str) -> None:
        self.model, self.cheaper_model = model, cheaper_model
        self._make_model = make_model

    def _agent(self, name: str, **options: Any) -> Any:
        model = self._make_model(max_retries=3, **options)
        return create_agent(model, [], name=name, middleware=[BudgetMiddleware()])

    def ask(self, agent: str, text: str) -> Any:
        """See `Cast.ask`."""
        return self._agent(agent).invoke({"messages": [("user", text)]})

    def stream(self, agent: str, text: str, *, leave_after: int | None = None) -> None:
        """See `Cast.stream`."""
        parts = self._agent(agent).stream({"messages": [("user", text)]}, stream_mode="messages")
        for index, _ in enumerate(parts, start=1):
            if index == leave_after:
                break
        parts.close()

    def ask_nested(self, agents: list[str], text: str) -> Any:
        """See `Cast.ask_nested`."""
        inner = self._agent(agents[-1])
        for name in reversed(agents[:-1]):
            graph = StateGraph(MessagesState)
            graph.add_node(name, lambda state, inner=inner: inner.invoke(state))
            graph.add_edge(START, name)
            graph.add_edge(name, END)
            inner = graph.compile(name="flow")
        return inner.invoke({"messages": [("user", text)]})

    def close(self) -> None:
        """Leave the connections to the garbage collector, as LangChain's own models do."""


class TestOpenAIModels(AdapterContract):
    """`ChatOpenAI`."""

    @pytest.fixture
    def cast(self, sim: Simulator) -> Cast:
        """Agents over this provider's model."""

        def make(**options: Any) -> Any:
            return openai_model(sim, model="gpt-4o", **options)

        return AgentsCast(make, "gpt-4o", "gpt-4o-mini")


class TestAnthropicModels(AdapterContract):
    """`ChatAnthropic`."""

    @pytest.fixture
    def cast(self, sim: Simulator) -> Cast:
        """Agents over this provider's model."""

        def make(**options: Any) -> Any:
            return anthropic_model(sim, model_name="claude-sonnet-4-6", **options)

        return AgentsCast(make, "claude-sonnet-4-6", "claude-haiku-4-5")
