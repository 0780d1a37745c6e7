"""
Budgets for LangChain and LangGraph: every model call is paid before it is sent, and booked to the agent that made it.

```python
from bursar_langchain import BudgetCallbackHandler

chain.invoke(question, config={"callbacks": [BudgetCallbackHandler(budget)]})
```

Once this is imported, `with budget.run("triage"):` around any LangChain code does the same for all inside.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

try:
    import langchain_core as _langchain_core
except ImportError as error:
    msg = 'bursar_langchain needs LangChain: pip install "bursar[langchain]"'
    raise ImportError(msg) from error

# Imported for what it does: it registers the handler that meters every call.
import bursar_langchain.watch as _watch
from bursar_langchain.guarding import guard
from bursar_langchain.handler import BudgetCallbackHandler

if TYPE_CHECKING:
    from bursar_langchain.middleware import BudgetMiddleware

__all__ = ["BudgetCallbackHandler", "BudgetMiddleware", "guard"]

del _langchain_core, _watch


def __getattr__(name: str) -> object:
    # `langchain` itself is imported only by who uses its agents; langchain-core is enough for the rest.
    if name != "BudgetMiddleware":
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    try:
        from bursar_langchain.middleware import BudgetMiddleware
    except ImportError as error:
        msg = 'BudgetMiddleware needs LangChain\'s agents: pip install "langchain>=1.0"'
        raise ImportError(msg) from error
    return BudgetMiddleware
