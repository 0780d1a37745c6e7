"""
What CrewAI's adapter costs: an LLM of the user's own that answers at once, with a budget around, and with none.

With none, the floor is the same class as it was before the adapter was imported; both are timed in turns, in CPU time.
"""

from __future__ import annotations

import argparse
from typing import Any

from crewai import Agent
from crewai.llms.base_llm import BaseLLM
from tests.benchmarks.pairs import overhead_us, report

from bursar import Budget
from bursar.stores.memory import MemoryStore
from bursar_crewai import install, uninstall

BUDGETED_MOST_US, IDLE_MOST_US = 60, 1
MESSAGES = [{"role": "user", "content": "hello"}]


class Instant(BaseLLM):
    """An LLM that answers at once, and always the same."""

    def call(self, messages: Any, *args: Any, **kwargs: Any) -> Any:
        """See `BaseLLM`."""
        self._track_token_usage_internal({"prompt_tokens": 9, "completion_tokens": 2})
        return "Hello."


def main() -> None:
    """Print what is measured beside what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--strict", action="store_true", help="end with an error where a target is missed")
    is_strict = parser.parse_args().strict
    llm = Instant(model="gpt-4o-mini", max_tokens=100)
    agent = Agent(role="writer", goal="g", backstory="b", llm=llm)
    uninstall()
    plain = Instant.call
    install()

    def bare() -> None:
        for _ in range(10):
            plain(llm, MESSAGES, from_agent=agent)

    def idle() -> None:
        for _ in range(10):
            llm.call(MESSAGES, from_agent=agent)

    floor_us, over_us = overhead_us(bare, idle)
    rows = [("no budget", floor_us / 10, over_us / 10, IDLE_MOST_US)]
    with Budget("$1000", store=MemoryStore()).run("bench"):
        rows.append(
            (
                "a budget around",
                *overhead_us(
                    lambda: plain(llm, MESSAGES, from_agent=agent),
                    lambda: llm.call(MESSAGES, from_agent=agent),
                ),
                BUDGETED_MOST_US,
            )
        )
    met = [report(*row) for row in rows]
    if is_strict and not all(met):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
