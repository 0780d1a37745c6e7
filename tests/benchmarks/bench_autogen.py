"""
What a budgeted client costs over AutoGen's bare `ReplayChatCompletionClient`, identity included.

Both are timed in turns in CPU time of this process, so that neither noise nor another program counts for one of
them alone.  It needs AutoGen: run it with the interpreter of AutoGen's environment (`.ci/environments.py`).
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from autogen_agentchat.agents import BaseChatAgent
from autogen_agentchat.base import Response
from autogen_agentchat.messages import BaseChatMessage, TextMessage
from autogen_core import CancellationToken
from autogen_core.models import CreateResult, RequestUsage, UserMessage
from autogen_ext.models.replay import ReplayChatCompletionClient

from bursar import Budget
from bursar.stores.memory import MemoryStore
from bursar.stores.sqlite import SQLiteStore
from bursar_autogen import BudgetedChatCompletionClient

if TYPE_CHECKING:
    from bursar.store import Store

ROUNDS: Final = 1_000
TARGET_US: Final = {"memory": 40.0}
ANSWER: Final = CreateResult(
    finish_reason="stop",
    content="Paris.",
    usage=RequestUsage(prompt_tokens=9, completion_tokens=2),
    cached=False,
)
ASK: Final = [UserMessage(content="What is the capital of France?", source="user")]


class Asker(BaseChatAgent):
    """An agent whose turn is to time calls of two clients, from where an agent makes them."""

    def __init__(self, bare: Any, budgeted: Any) -> None:
        super().__init__("asker", "times calls")
        self._clients = bare, budgeted
        self.times: list[tuple[float, float]] = []

    @property
    def produced_message_types(self) -> Sequence[type[BaseChatMessage]]:
        """Return what it says."""
        return (TextMessage,)

    async def on_messages(
        self, messages: Sequence[BaseChatMessage], cancellation_token: CancellationToken
    ) -> Response:
        """Time the calls."""
        del messages, cancellation_token
        bare, budgeted = self._clients
        for _ in range(100):
            await bare.create(ASK)
            await budgeted.create(ASK)
        gc.collect()
        gc.disable()
        try:
            for _ in range(ROUNDS):
                self.times.append((await _cpu_us(bare), await _cpu_us(budgeted)))
        finally:
            gc.enable()
        return Response(chat_message=TextMessage(content="timed", source=self.name))

    async def on_reset(self, cancellation_token: CancellationToken) -> None:
        """Forget nothing."""


async def _cpu_us(client: Any) -> float:
    began_ns = time.process_time_ns()
    await client.create(ASK)
    return (time.process_time_ns() - began_ns) / 1_000


def overhead_us(store: Store) -> tuple[float, float]:
    """Return the median of the bare call, and the median of what the budgeted one takes longer, in turns."""
    bare = ReplayChatCompletionClient([ANSWER] * (2 * ROUNDS + 1_000))
    other = ReplayChatCompletionClient([ANSWER] * (2 * ROUNDS + 1_000))
    asker = Asker(bare, BudgetedChatCompletionClient(other, Budget("$1000", store=store), model="gpt-4o"))
    asyncio.run(asker.run(task="go"))
    floor = statistics.median(first for first, _ in asker.times)
    return floor, statistics.median(second for _, second in asker.times) - floor


def main() -> None:
    """Print what is measured beside what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--strict", action="store_true", help="end with an error where a target is missed")
    is_strict = parser.parse_args().strict
    missed: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        stores: dict[str, Store] = {
            "memory": MemoryStore(),
            "sqlite": SQLiteStore(Path(folder) / "ledger.db"),
        }
        for name, store in stores.items():
            floor, over = overhead_us(store)
            target = TARGET_US.get(name)
            missed += [name] if target is not None and over > target else []
            asked = "" if target is None else f"  (target +{target:.0f} µs)"
            print(
                f"{name:7} bare {floor:6.1f} µs  budgeted +{over:6.1f} µs, {over / floor:.1f} times that{asked}"
            )
    if is_strict and missed:
        raise SystemExit(f"missed: {', '.join(missed)}")


if __name__ == "__main__":
    main()
