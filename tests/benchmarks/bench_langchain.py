"""
What LangChain's adapter costs: a model that answers at once, with and without `BudgetCallbackHandler`.

Both are timed in turns in CPU time.  Without the handler the adapter is imported all the same, as it is in a program
that uses it.
"""

from __future__ import annotations

import argparse
import asyncio
from typing import Any

from langchain.agents import create_agent
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from tests.benchmarks.pairs import overhead_us, report

from bursar import Budget
from bursar.stores.memory import MemoryStore
from bursar_langchain import BudgetCallbackHandler


class Instant(BaseChatModel):
    """A chat model that answers at once, and always the same."""

    @property
    def _llm_type(self) -> str:
        return "instant"

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> Any:
        return {
            "ls_provider": "openai",
            "ls_model_name": "gpt-4o-mini",
            "ls_model_type": "chat",
            "ls_max_tokens": 100,
        }

    def _generate(
        self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> ChatResult:
        usage: Any = {"input_tokens": 9, "output_tokens": 2, "total_tokens": 11}
        return ChatResult(generations=[ChatGeneration(message=AIMessage("Hello.", usage_metadata=usage))])

    async def _agenerate(
        self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> ChatResult:
        return self._generate(messages)


def main() -> None:
    """Print what is measured beside what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--strict", action="store_true", help="end with an error where a target is missed")
    is_strict = parser.parse_args().strict
    model = Instant()
    config: Any = {"callbacks": [BudgetCallbackHandler(Budget("$1000", store=MemoryStore()))]}
    loop = asyncio.new_event_loop()
    agent = create_agent(model, [], name="writer")
    ask: Any = {"messages": [("user", "hello")]}
    results = [
        report(
            "sync invoke",
            *overhead_us(lambda: model.invoke("hello"), lambda: model.invoke("hello", config), rounds=2_000),
            60,
        ),
        report(
            "ainvoke",
            *overhead_us(
                lambda: loop.run_until_complete(model.ainvoke("hello")),
                lambda: loop.run_until_complete(model.ainvoke("hello", config)),
                rounds=2_000,
            ),
            80,
        ),
    ]
    agents = overhead_us(lambda: agent.invoke(ask), lambda: agent.invoke(ask, config), rounds=300)
    print(f"{'create_agent.invoke':28} bare {agents[0]:7.1f} µs  +{agents[1]:6.1f} µs")
    loop.close()
    if is_strict and not all(results):
        raise SystemExit("a target is missed")


if __name__ == "__main__":
    main()
