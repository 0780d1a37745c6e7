"""
Budgets for CrewAI: every LLM call is paid before it is sent, and booked to crew, role and task.

```python
from bursar_crewai import attach_budget

crew = attach_budget(crew, Budget("$5.00", agents={"Researcher": "50%"}))
crew.kickoff()
```

Once this is imported, `with budget.run("nightly"):` around any CrewAI code does the same for what runs inside.
"""

from __future__ import annotations

try:
    import crewai as _crewai
except ImportError as error:
    msg = 'bursar_crewai needs CrewAI 1.15.19 or newer: pip install "bursar[crewai]"'
    raise ImportError(msg) from error

from bursar_crewai.attaching import attach_budget, budget_of, detach_budget
from bursar_crewai.patching import install, uninstall
from bursar_crewai.stopping import BlockedByBudget, CrewBudgetExceeded

__all__ = [
    "BlockedByBudget",
    "CrewBudgetExceeded",
    "attach_budget",
    "budget_of",
    "detach_budget",
    "install",
    "uninstall",
]

install()

del _crewai
