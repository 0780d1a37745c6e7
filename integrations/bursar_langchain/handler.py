"""The callback that a user gives to a chain, a model or an agent: it says who pays, and `watch` sees to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from bursar.budget import Budget
from bursar.payer.roots import Roots
from bursar.scope import run_around
from bursar_langchain.claims import CLAIMS
from bursar_langchain.identity import is_users_name
from bursar_langchain.inline import InlineHandler
from bursar_langchain.tree import TREE

if TYPE_CHECKING:
    from uuid import UUID

    from bursar.money import Money
    from bursar.run import Run


class Standing(Protocol):
    """What stands where `Roots` do, for a model that has a budget of its own as long as it lives."""

    def open(self, root_id: str, workflow: str) -> Run | None:
        """See `Roots.open`."""
        ...

    def close(self, root_id: str) -> None:
        """See `Roots.close`."""
        ...


class BudgetCallbackHandler(InlineHandler):
    """
    Pays for every model call below whatever it is given to, before the call is sent.

    ```python
    chain.invoke(question, config={"callbacks": [BudgetCallbackHandler(Budget("$5.00"))]})
    ```

    Each root run of LangChain's (an `invoke`, a `stream`, an item of a `batch`) is a run of the budget, whose id is
    LangChain's `run_id`; inside `with budget.run(...)` it is part of that run. One handler may be shared by any number
    of runs at the same time, threads and tasks. Given twice, by a config and a constructor, it pays once.

    A call that is refused raises `BudgetExceeded` from `invoke`, and nothing is sent. Where LangChain or LangGraph
    swallows the exception, the run's `refusals` still hold it.

    Args:
        budget: Dollars that each run may spend, or a `Budget`; None to pay from the run around the code alone.

    Raises:
        ValueError: The budget makes no sense.
    """

    def __init__(self, budget: Budget | Money | None = None) -> None:
        super().__init__()
        self.budget = budget if isinstance(budget, Budget) or budget is None else Budget(budget)
        self.roots: Roots | Standing = Roots(self.budget, made_in=run_around())

    def on_chain_start(
        self,
        serialized: dict[str, Any],
        inputs: dict[str, Any],
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        metadata: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> Any:
        """Pay for everything below this run, if it is a root."""
        del inputs
        self._pay_below(serialized, run_id, parent_run_id, metadata, kwargs)

    def on_tool_start(
        self,
        serialized: dict[str, Any],
        input_str: str,
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        metadata: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> Any:
        """Pay for everything below this run, if it is a root."""
        del input_str
        self._pay_below(serialized, run_id, parent_run_id, metadata, kwargs)

    def on_retriever_start(
        self,
        serialized: dict[str, Any],
        query: str,
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        metadata: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> Any:
        """Pay for everything below this run, if it is a root."""
        del query
        self._pay_below(serialized, run_id, parent_run_id, metadata, kwargs)

    def on_chat_model_start(self, *args: Any, run_id: UUID, **kwargs: Any) -> Any:
        """Pay for this call."""
        del args, kwargs
        CLAIMS.add(run_id, self)

    def on_llm_start(self, *args: Any, run_id: UUID, **kwargs: Any) -> Any:
        """Pay for this call."""
        del args, kwargs
        CLAIMS.add(run_id, self)

    def _pay_below(
        self,
        serialized: dict[str, Any] | None,
        run_id: UUID,
        parent_id: UUID | None,
        metadata: dict[str, Any] | None,
        more: dict[str, Any],
    ) -> None:
        name = str(more.get("name") or "")
        node = TREE.begin(run_id, parent_id, name, metadata or {}, is_named=is_users_name(name, serialized))
        if self not in node.root.handlers:
            node.root.handlers.append(self)

    def __repr__(self) -> str:
        return f"BudgetCallbackHandler({self.budget!r})"
