"""
The public API as type checkers see it.

Never run and never imported: pyright reads it with the tests, and a signature that changes for users changes here.
"""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import assert_type

import anthropic
import openai
from openai.types.chat import ChatCompletion

from bursar import Budget, BudgetExceeded, guard

# A guarded client keeps the client's type, and adds `bursar`.

planner = guard(openai.OpenAI(), budget=1.00, label="planner")
sync_openai: openai.OpenAI = planner
async_openai: openai.AsyncOpenAI = guard(openai.AsyncOpenAI(), budget="$2.00", label="researcher")
azure: openai.AzureOpenAI = guard(openai.AzureOpenAI(), budget=Decimal(2))
sync_anthropic: anthropic.Anthropic = guard(anthropic.Anthropic(), budget=1.50, label="writer")
async_anthropic: anthropic.AsyncAnthropic = guard(anthropic.AsyncAnthropic(), agent="writer")

assert_type(planner.bursar.spent, Decimal)
assert_type(planner.bursar.limit, Decimal | None)
assert_type(planner.bursar.remaining, Decimal | None)
assert_type(planner.bursar.reserved, Decimal)
assert_type(planner.bursar.calls, int)
assert_type(
    planner.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": "hello"}]),
    ChatCompletion,
)

# Every way to write a budget.

Budget("$5.00")
Budget(5)
Budget(0.5)
Budget(calls=10, tokens=100_000, attempts=20)
Budget("$5", per="day")
Budget("$5", per=timedelta(hours=6), within=Budget("$100", per="month", name="org"))
Budget("$5", on_exceed="stop", downgrade={"gpt-4o": "gpt-4o-mini"}, downgrade_at=0.8, warn_at=(0.5, 0.9))
budget = Budget("$5.00", agents={"planner": "15%", "researcher": 2, "writer": Budget("$1", calls=3)})

Budget([5])  # pyright: ignore[reportArgumentType]
Budget("$5", per="week")  # pyright: ignore[reportArgumentType]
Budget("$5", on_exceed="ignore")  # pyright: ignore[reportArgumentType]
Budget("$5", 10)  # pyright: ignore[reportCallIssue]

# A run, and what it says.

with budget.run("doc-summary-v2") as run:
    assert_type(run.id, str)
    assert_type(run.spent, Decimal)
    assert_type(run.remaining, Decimal | None)
    assert_type(run.refusals, tuple[BudgetExceeded, ...])
    assert_type(run.report().total, Decimal)
    assert_type(run.report().by_agent, dict[str, Decimal])
    assert_type(run.report().by_model, dict[str, Decimal])
    assert_type(run.report().by_workflow, dict[str, Decimal])

assert_type(budget.spent, Decimal)


async def in_async_code() -> None:
    """A run is entered with or without `async`."""
    async with budget.run("doc-summary-v2") as run:
        assert_type(run.spent, Decimal)
