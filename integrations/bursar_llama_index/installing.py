"""`install`: one handler for every model of the process, built before or after."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from weakref import WeakSet

from llama_index.core import Settings
from llama_index.core.callbacks import CallbackManager

from bursar_llama_index.handler import BudgetCallbackHandler
from bursar_llama_index.payers import SPANS, follow_runs, unfollow_runs

if TYPE_CHECKING:
    from bursar.budget import Budget
    from bursar.money import Money

_installed: Final[list[BudgetCallbackHandler]] = []
_managers: Final[WeakSet[Any]] = WeakSet()


def install(budget: Money | Budget | None = None, *, agent: str | None = None) -> BudgetCallbackHandler:
    """
    Pay for the calls of every LLM and embedding model of this process that tells LlamaIndex's callbacks of them.

    ```python
    handler = install(Budget("$2.00"))
    ```

    Those of `Settings` are among them, and models that were built before; each is given the handler when it is first
    called. `uninstall()` undoes it.

    Args:
        budget, agent: See `BudgetCallbackHandler`.

    Returns:
        The handler; `handler.bursar` says what was spent.

    Raises:
        ValueError: The budget or the name makes no sense.
    """
    handler = BudgetCallbackHandler(budget, agent=agent)
    _installed.append(handler)
    follow_runs()
    SPANS.tell_models(_give)
    _give_to(Settings.callback_manager)
    return handler


def uninstall() -> None:
    """Take back every handler that `install` gave, and stop to follow LlamaIndex's runs and agents."""
    for manager in tuple(_managers):
        manager.handlers[:] = [handler for handler in manager.handlers if handler not in _installed]
    _managers.clear()
    _installed.clear()
    SPANS.tell_models(None)
    unfollow_runs()


def _give(model: Any) -> None:
    """Give the handlers to *model*, which is about to be called."""
    manager = getattr(model, "callback_manager", None)
    if not isinstance(manager, CallbackManager):
        manager = model.callback_manager = CallbackManager()
    _give_to(manager)


def _give_to(manager: CallbackManager) -> None:
    missing = [handler for handler in _installed if handler not in manager.handlers]
    if missing:
        manager.handlers.extend(missing)
        _managers.add(manager)
