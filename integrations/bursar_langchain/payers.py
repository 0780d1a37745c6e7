"""Who pays for a call: every handler that LangChain gave it or what it lies in, and the run around the code."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from langchain_core.runnables.config import var_child_runnable_config

from bursar.payer import Booking
from bursar.payer.roots import Roots, pays_from
from bursar.scope import current_run, runs_in
from bursar.tuples import make
from bursar_langchain.tree import TREE, Node

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from uuid import UUID

    from bursar.budget import Budget
    from bursar.entry import Agent
    from bursar.run import Run
    from bursar_langchain.handler import BudgetCallbackHandler

AROUND: Final = Roots()
"""The runs that `with budget.run(...)` put around LangChain's, where no handler does."""


def place_of(parent_id: UUID | None) -> Node | None:
    """
    Return the run that a call is made in.

    A model that was given callbacks of its own is told of no parent; LangChain's own context still knows it.
    """
    if parent_id is not None:
        return TREE.find(parent_id)
    config = var_child_runnable_config.get()
    return None if config is None else TREE.find(getattr(config.get("callbacks"), "parent_run_id", None))


def booking_of(
    agent: Agent,
    parent: Node | None,
    handlers: Iterable[BudgetCallbackHandler],
    *,
    root_id: str,
    workflow: str,
) -> Booking | None:
    """
    Return what a call is booked to and paid from; None where nobody pays for it.

    Args:
        handlers, root_id, workflow: See `runs_of`.

    Raises:
        ValueError: Two of the budgets are kept in different stores.
    """
    runs = runs_of(parent, handlers, root_id=root_id, workflow=workflow)
    if not runs:
        return None
    first = runs[0]
    return make(Booking, (first, agent, first.chain(agent.name, tuple(runs[1:]))))


def runs_of(
    parent: Node | None, handlers: Iterable[BudgetCallbackHandler], *, root_id: str, workflow: str
) -> list[Run]:
    """
    Return the runs that a call is paid from: first the one to book it to, then others that are not around that.

    Args:
        handlers: Those that were given to the call itself.

        root_id, workflow: Of the root run that the call is in, or that it is.
    """
    runs: list[Run] = []
    if AROUND.runs or runs_in or current_run.get() is not None:
        around = AROUND.open(root_id, workflow)
        runs += [] if around is None else [around]
    paying = list(handlers) if parent is None else _paying(parent, handlers)
    if len(paying) > 1:
        _keep_together([handler.budget for handler in paying if handler.budget is not None])
    for handler in paying:
        run = handler.roots.open(root_id, workflow)
        if run is not None and run not in runs:
            runs.append(run)
    if len(runs) < 2:
        return runs
    first = max(runs, key=lambda run: len(run.lineage))
    besides = [run for run in runs if all(run is not other for other in first.lineage)]
    return [first, *(run for run in besides if run.budget is not None and not pays_from(first, run.budget))]


def _paying(parent: Node, handlers: Iterable[BudgetCallbackHandler]) -> list[BudgetCallbackHandler]:
    paying = list(handlers)
    for node in parent.lineage:
        paying += [handler for handler in node.handlers if handler not in paying]
    return paying


def _keep_together(budgets: Iterable[Budget]) -> None:
    """Let budgets that name no store, nor lie within one that does, keep their accounts where the others do."""
    chains = [list(_outwards(budget)) for budget in budgets]
    named = next((each.store for chain in chains for each in chain if each.has_own_store), None)
    for chain in chains:
        if named is not None and not any(each.has_own_store for each in chain):
            for each in chain:
                each.bind(named)


def _outwards(budget: Budget | None) -> Iterator[Budget]:
    while budget is not None:
        yield budget
        budget = budget.within


def close_root(root_id: str, handlers: Iterable[BudgetCallbackHandler]) -> None:
    """End the runs that were opened for a root run of LangChain's."""
    if AROUND.runs:
        AROUND.close(root_id)
    for handler in handlers:
        handler.roots.close(root_id)
