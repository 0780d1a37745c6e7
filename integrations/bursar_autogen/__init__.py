"""
Budgets for AutoGen: every model call is paid before it is sent, and booked to the agent, team and run that made it.

```python
from bursar_autogen import BudgetedChatCompletionClient, BudgetTermination

client = BudgetedChatCompletionClient(OpenAIChatCompletionClient(model="gpt-4o"), budget)
team = RoundRobinGroupChat([...], termination_condition=BudgetTermination(budget) | MaxMessageTermination(50))
```

Once this is imported, each `run` and `run_stream` of a team is a run of its own in the ledger.
"""

from __future__ import annotations

try:
    import autogen_agentchat as _autogen_agentchat
except ImportError as error:
    msg = 'bursar_autogen needs AutoGen 0.7.5 or newer: pip install "bursar[autogen]"'
    raise ImportError(msg) from error

from bursar_autogen.budgets import register_budget
from bursar_autogen.client import BudgetedChatCompletionClient
from bursar_autogen.running import TeamBudgetExceeded, run_team
from bursar_autogen.termination import BudgetTermination

__all__ = [
    "BudgetTermination",
    "BudgetedChatCompletionClient",
    "TeamBudgetExceeded",
    "register_budget",
    "run_team",
]

del _autogen_agentchat
