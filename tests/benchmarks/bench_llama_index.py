"""
What LlamaIndex's adapter costs: a `MockLLM` as it is, guarded, and with `BudgetCallbackHandler`.

Each is timed in turns with the bare one, in CPU time; the last row is a guarded LLM that has made many calls before.
"""

from __future__ import annotations

import argparse
import asyncio
from typing import Any

from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.callbacks import CallbackManager
from llama_index.core.llms.mock import MockLLM
from tests.benchmarks.pairs import overhead_us, report

from bursar import Budget
from bursar.stores.memory import MemoryStore
from bursar_llama_index import BudgetCallbackHandler, guard

MESSAGES = [ChatMessage("hello")]
GUARD_MOST_US, HANDLER_MOST_US = 100, 60


def main() -> None:
    """Print what is measured beside what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--strict", action="store_true", help="end with an error where a target is missed")
    parser.add_argument("--calls", type=int, default=100_000, help="calls before the last row")
    options = parser.parse_args()
    bare = MockLLM(max_tokens=8)
    guarded: Any = guard(bare, Budget("$1000", store=MemoryStore()))
    handler = BudgetCallbackHandler(Budget("$1000", store=MemoryStore()))
    handled = MockLLM(max_tokens=8, callback_manager=CallbackManager([handler]))
    loop = asyncio.new_event_loop()

    def chat(llm: Any) -> Any:
        return lambda: llm.chat(MESSAGES)

    def achat(llm: Any) -> Any:
        return lambda: loop.run_until_complete(llm.achat(MESSAGES))

    rows = [
        ("guarded chat", *overhead_us(chat(bare), chat(guarded)), GUARD_MOST_US),
        ("guarded achat", *overhead_us(achat(bare), achat(guarded)), GUARD_MOST_US),
        ("chat with a handler", *overhead_us(chat(bare), chat(handled)), HANDLER_MOST_US),
    ]
    in_task = overhead_us(achat(bare), achat(handled))
    for _ in range(options.calls):
        guarded.chat(MESSAGES)
    title = f"guarded, {options.calls:,} calls later"
    rows.append((title, *overhead_us(chat(bare), chat(guarded)), GUARD_MOST_US))
    loop.close()
    met = [report(*row) for row in rows]
    print(f"{'achat with a handler':28} bare {in_task[0]:7.1f} µs  +{in_task[1]:6.1f} µs")
    if options.strict and not all(met):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
