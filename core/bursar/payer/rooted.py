"""Who pays for the calls that a framework makes in runs of its own: LlamaIndex's workflows, CrewAI's kickoffs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple
from weakref import WeakSet

from bursar.budget import Budget
from bursar.budget.arguments import parse_name
from bursar.dropped import dropped
from bursar.ledger import Report
from bursar.payer import Booking, Payer
from bursar.payer.roots import Roots, pays_from
from bursar.scope import run_around
from bursar.store import Where

if TYPE_CHECKING:
    from collections.abc import Sequence
    from decimal import Decimal

    from bursar.entry import Agent
    from bursar.money import Money
    from bursar.run import Run

_AROUND: Final = Roots(is_always_one=True)
"""Frameworks' runs that no budget is opened anew for: what pays for them is around, or lives as long as its payer."""

_open_roots: Final[WeakSet[Roots]] = WeakSet([_AROUND])


class Root(NamedTuple):
    """
    A framework's outermost run.

    Attributes:
        id: The framework's own.

        workflow: What the framework calls it.
    """

    id: str
    workflow: str


class RootedPayer(Payer):
    """
    Pays for calls as a framework's runs say that they are made in.

    Args:
        budget: A `Budget` pays for each of the framework's outermost runs anew; dollars pay for all calls together;
            None pays from the run around a call alone.

        workflow: What calls outside of any run of the framework's are taken to be part of.

        made_in: The run that stands for the one around a call where there is none, as in other threads.
    """

    def __init__(
        self, budget: Money | Budget | None, *, agent: str | None, workflow: str, made_in: Run | None = None
    ) -> None:
        own = budget if isinstance(budget, Budget) or budget is None else Budget(budget)
        name = parse_name(agent, "agent")
        super().__init__(own, agent=name, workflow=name or workflow, made_in=made_in, outer=None, store=None)
        self._is_for_each_run = isinstance(budget, Budget)
        self._roots = Roots(own, is_always_one=True, made_in=made_in) if self._is_for_each_run else _AROUND
        _open_roots.add(self._roots)

    def booking_in(
        self, root: Root | None, named: Agent | None, besides: Sequence[RootedPayer] = ()
    ) -> Booking:
        """
        Return what a call in *root* is booked to and paid from.

        Args:
            root: None outside of any run of the framework's.

            named: The agent that the framework names, if it names one.

            besides: Others that pay for the same call.

        Raises:
            UnknownAgent: The run's budget has no allotment for the name that the user gave this payer.
        """
        booking = super().booking(named, run=self._run_in(root))
        if not besides:
            return booking
        others = [run for other in besides if (run := other._beside(booking.run, root)) is not None]
        if not others:
            return booking
        chain = booking.run.chain(booking.agent.name, (*self._payers(booking.run), *others))
        return booking._replace(chain=chain)

    @property
    def spent(self) -> Decimal:
        """Dollars that were spent with this budget, in all of the framework's runs, presumed spent included."""
        if not self._is_for_each_run or run_around() is not None:
            return super().spent
        report = self.report()
        return report.total + report.presumed

    def report(self) -> Report:
        """Return what the calls have cost, in every run that they were made in."""
        if not self._used or run_around() is not None:
            return super().report()
        dropped.do_all()
        store = next(iter(self._used.values())).store
        return Report.of(store, Where(run_ids=tuple(self._used), agent=self.agent))

    def _run_in(self, root: Root | None) -> Run | None:
        return None if root is None else self._roots.open(root.id, root.workflow)

    def _beside(self, run: Run, root: Root | None) -> Run | None:
        """Return the run that stands for this payer's budget beside *run*; None where that one pays from it already."""
        if self.budget is None or pays_from(run, self.budget):
            return None
        if self._is_for_each_run and root is not None:
            return self._run_in(root)
        return self._own_run(run)

    def _payers(self, run: Run) -> tuple[Run, ...]:
        if self.budget is not None and self._own is not run and pays_from(run, self.budget):
            return ()
        return super()._payers(run)


def close_root(root_id: str) -> None:
    """End a framework's outermost run; calls still in flight are booked to it all the same."""
    for roots in tuple(_open_roots):
        roots.close(root_id)
