"""From a mark to the run that a test's calls are paid from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest

from bursar import Budget, Run

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bursar import BudgetExceeded

RUN: Final = pytest.StashKey[Run]()
"""Where an item keeps the run of its test."""

_EXAMPLE: Final = '@pytest.mark.budget("$0.05")'


def run_of(item: pytest.Item, mark: pytest.Mark | None) -> Run:
    """
    Return a run for the test, named as pytest names it; without a *mark* nothing limits it but what is around it.

    Raises:
        pytest.fail.Exception: The mark makes no budget; the message says why.
    """
    return Run(
        Budget() if mark is None else _budget_of(item, mark), item.nodeid, title=f'test "{item.nodeid}"'
    )


def _budget_of(item: pytest.Item, mark: pytest.Mark) -> Budget:
    if not mark.args and not mark.kwargs:
        pytest.fail(f"the budget mark of {item.nodeid} has no limit; write {_EXAMPLE}", pytrace=False)
    if len(mark.args) == 1 and isinstance(mark.args[0], Budget) and not mark.kwargs:
        return mark.args[0]
    try:
        return Budget(*mark.args, **mark.kwargs)
    except (TypeError, ValueError) as error:
        pytest.fail(
            f"the budget mark of {item.nodeid} makes no budget: {error}; an example is {_EXAMPLE}",
            pytrace=False,
        )


def refusals_of(run: Run) -> list[BudgetExceeded]:
    """Return the calls that the budget of *run* refused, not those that a budget inside it did."""
    names = list(_account_names(run))
    return [
        refusal
        for refusal in run.refusals
        if any(
            refusal.details.account == name or refusal.details.account.endswith(f" in {name}")
            for name in names
        )
    ]


def _account_names(run: Run) -> Iterator[str]:
    now_s = run.store.now()
    for around in run.lineage:
        budget = around.budget
        while budget is not None:
            yield budget.own_account(around, now_s).name
            budget = budget.within
