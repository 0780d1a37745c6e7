"""Real SDK clients on a running simulator; every one is closed, so that no socket outlives its test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import anthropic
import openai
import pytest

from bursar.simulator import Simulator


@dataclass(frozen=True)
class Stage:
    """A running simulator and a client of each SDK that does not retry."""

    sim: Simulator
    # The SDKs' overloads lose the thread on unpacked options; what they return is what the tests look at.
    openai: Any
    anthropic: Any

    def chat(self, content: str = "hello", /, **options: Any) -> Any:
        """Ask for a chat completion."""
        asked: dict[str, Any] = {"model": "gpt-4o", "messages": [{"role": "user", "content": content}]}
        return self.openai.chat.completions.create(**asked | options)

    def message(self, content: str = "hello", /, **options: Any) -> Any:
        """Ask for an Anthropic message."""
        asked: dict[str, Any] = {"model": "claude-sonnet-4-6", "max_tokens": 100}
        asked["messages"] = [{"role": "user", "content": content}]
        return self.anthropic.messages.create(**asked | options)


Start = Callable[..., Stage]
"""Takes the options of a simulator, and `max_retries` of the clients."""


@pytest.fixture
def start() -> Iterator[Start]:
    """Start a simulator with options, and clients for it."""
    with ExitStack() as stack:

        def started(*, max_retries: int = 0, **options: Any) -> Stage:
            sim = stack.enter_context(Simulator(**options))
            return Stage(
                sim,
                stack.enter_context(
                    openai.OpenAI(base_url=sim.openai_base_url, api_key="sk-planted", max_retries=max_retries)
                ),
                stack.enter_context(
                    anthropic.Anthropic(
                        base_url=sim.anthropic_base_url, api_key="sk-ant-planted", max_retries=max_retries
                    )
                ),
            )

        yield started


@pytest.fixture
def stage(start: Start) -> Stage:
    """A simulator without a script, and its clients."""
    return start()
