"""The budgets that components refer to by name, as what a budget keeps cannot be written into a file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from weakref import WeakValueDictionary

from bursar.budget import Budget

if TYPE_CHECKING:
    from bursar.money import Money

_in_use: Final[WeakValueDictionary[str, Budget]] = WeakValueDictionary()
_registered: Final[dict[str, Budget]] = {}


def register_budget(budget: Budget) -> Budget:
    """
    Let components that name *budget* find it when they are loaded, as long as the process lives; return it.

    A budget that a client or a condition pays from is found without this, as long as anything still holds it.

    Raises:
        ValueError: It has no name.
    """
    _registered[_name_of(budget)] = budget
    return budget


def budget_named(name: str | None) -> Budget | None:
    """
    Return the budget that a component refers to, None for none.

    Raises:
        ValueError: No budget of this name is known in this process.
    """
    if name is None:
        return None
    found = _registered.get(name) or _in_use.get(name)
    if found is None:
        msg = (
            f'no budget named "{name}" is known in this process; before loading, write '
            f'bursar_autogen.register_budget(Budget(..., name="{name}"))'
        )
        raise ValueError(msg)
    return found


def name_to_dump(budget: Budget | None) -> str | None:
    """
    Return what a component writes for its budget, None for none.

    Raises:
        ValueError: It has no name.
    """
    return None if budget is None else _name_of(budget)


def taken(budget: Money | Budget | None) -> Budget | None:
    """Return *budget*, which may be written as dollars, and note it under its name."""
    own = budget if isinstance(budget, Budget) or budget is None else Budget(budget)
    if own is not None and own.name is not None:
        _in_use[own.name] = own
    return own


def must_be_given(budget: Money | Budget) -> Budget:
    """
    Return *budget* as `taken` does.

    Raises:
        TypeError: There is none.
    """
    own = taken(budget)
    if own is None:
        msg = "a budget is needed here: a Budget, or dollars"
        raise TypeError(msg)
    return own


def _name_of(budget: Budget) -> str:
    if budget.name is None:
        msg = f"a component keeps its budget by name, and {budget!r} has none; make it with Budget(..., name=...)"
        raise ValueError(msg)
    return budget.name
