"""
Budgets for LlamaIndex: every LLM and embedding call is paid before it is sent, and booked to the agent that made it.

```python
from bursar_llama_index import guard

llm = guard(OpenAI(model="gpt-4o"), Budget("$2.00"))
```

`BudgetCallbackHandler` does it for whatever holds LlamaIndex's callback manager, `attach_budget` for an agent or a
workflow that is there already, and `install` for all of a process.
"""

from __future__ import annotations

try:
    import llama_index.core as _llama_index
except ImportError as error:
    msg = 'bursar_llama_index needs LlamaIndex 0.14 or newer: pip install "bursar[llama-index]"'
    raise ImportError(msg) from error

from bursar_llama_index.attaching import attach_budget
from bursar_llama_index.guarding import guard
from bursar_llama_index.handler import BudgetCallbackHandler
from bursar_llama_index.installing import install, uninstall

__all__ = ["BudgetCallbackHandler", "attach_budget", "guard", "install", "uninstall"]

del _llama_index
