"""
A budget for every agent, run and workflow, reserved before every call.

```python
from bursar import Budget, guard

budget = Budget("$5.00", agents={"planner": "15%", "researcher": "50%"})
with budget.run("doc-summary-v2") as run:
    client = guard(openai.OpenAI(), agent="researcher")
print(run.report())
```
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from bursar.errors import (
    BudgetExceeded,
    BursarError,
    ReservationConflict,
    StoreError,
    UnknownAgent,
    UnknownPrice,
    UnmeteredEndpoint,
)

if TYPE_CHECKING:
    from bursar import prices
    from bursar.budget import Budget
    from bursar.clients import guard
    from bursar.ledger import Anomaly, Report
    from bursar.run import Run
    from bursar.scope import agent
    from bursar.stores.opening import open_store

__version__ = "0.1.0"

__all__ = [
    "Anomaly",
    "Budget",
    "BudgetExceeded",
    "BursarError",
    "Report",
    "ReservationConflict",
    "Run",
    "StoreError",
    "UnknownAgent",
    "UnknownPrice",
    "UnmeteredEndpoint",
    "agent",
    "guard",
    "open_store",
    "prices",
]

_HOMES = {
    "Anomaly": "bursar.ledger",
    "Budget": "bursar.budget",
    "Report": "bursar.ledger",
    "Run": "bursar.run",
    "agent": "bursar.scope",
    "guard": "bursar.clients",
    "open_store": "bursar.stores.opening",
}


def __getattr__(name: str) -> object:
    # Loaded when first asked for: a program that imports bursar may never make a call.
    if name == "prices":
        return import_module("bursar.prices")
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    msg = f"module 'bursar' has no attribute {name!r}"
    raise AttributeError(msg)
