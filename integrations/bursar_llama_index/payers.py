"""Who pays for a call: the budget of the guard or of the handler, in LlamaIndex's run, and the run around the code."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from weakref import WeakSet

from bursar.budget import Budget
from bursar.budget.arguments import parse_name
from bursar.dropped import dropped
from bursar.ledger import Report
from bursar.payer import Booking, Payer
from bursar.payer.roots import Roots, pays_from
from bursar.scope import current_run
from bursar.store import Where
from bursar_llama_index.identity import FRAMES, AgentSpans, agent_of, follow, unfollow

if TYPE_CHECKING:
    from collections.abc import Iterable
    from decimal import Decimal

    from bursar.entry import Agent
    from bursar.money import Money
    from bursar.run import Run
    from bursar_llama_index.identity import Frame

_WORKFLOW: Final = "llama_index"
_AROUND: Final = Roots(is_always_one=True)
"""LlamaIndex's runs that no budget is opened anew for: what pays for them is around, or lives as long as its model."""

_open_roots: Final[WeakSet[Roots]] = WeakSet([_AROUND])


class LlamaIndexPayer(Payer):
    """
    Pays for a model's calls as LlamaIndex's runs say that they are made in.

    Args:
        budget: A `Budget` pays for each of LlamaIndex's outermost runs anew; dollars pay for all calls together.
    """

    def __init__(self, budget: Money | Budget | None, *, agent: str | None = None) -> None:
        own = budget if isinstance(budget, Budget) or budget is None else Budget(budget)
        name = parse_name(agent, "agent")
        super().__init__(
            own, agent=name, workflow=name or _WORKFLOW, made_in=current_run.get(), outer=None, store=None
        )
        self._is_for_each_run = isinstance(budget, Budget)
        self._roots = Roots(own, is_always_one=True) if self._is_for_each_run else _AROUND
        _open_roots.add(self._roots)

    def booking_in(self, frames: tuple[Frame, ...], besides: Iterable[LlamaIndexPayer] = ()) -> Booking:
        """
        Return what a call inside of *frames* is booked to and paid from.

        Args:
            besides: Others that pay for the same call.

        Raises:
            UnknownAgent: The run's budget has no allotment for the name that the user gave this payer.
        """
        booking = super().booking(agent_of(frames), run=self._run_in(frames))
        others = [run for other in besides if (run := other._beside(booking.run, frames)) is not None]
        if not others:
            return booking
        chain = booking.run.chain(booking.agent.name, (*self._payers(booking.run), *others))
        return booking._replace(chain=chain)

    def booking(self, named: Agent | None = None, *, run: Run | None = None) -> Booking:
        """See `Payer.booking`; asked by an SDK's client that makes a call of its own."""
        frames = FRAMES.get()
        return super().booking(named or agent_of(frames), run=run or self._run_in(frames))

    @property
    def spent(self) -> Decimal:
        """Dollars that were spent with this budget, in all of LlamaIndex's runs, what is presumed spent included."""
        if not self._is_for_each_run or current_run.get() is not None:
            return super().spent
        report = self.report()
        return report.total + report.presumed

    def report(self) -> Report:
        """Return what the calls have cost, in every run that they were made in."""
        if not self._used or current_run.get() is not None:
            return super().report()
        dropped.do_all()
        store = next(iter(self._used.values())).store
        return Report.of(store, Where(run_ids=tuple(self._used), agent=self.agent))

    def _run_in(self, frames: tuple[Frame, ...]) -> Run | None:
        return self._roots.open(frames[0].run_id, frames[0].workflow) if frames else None

    def _beside(self, run: Run, frames: tuple[Frame, ...]) -> Run | None:
        """Return the run that stands for this payer's budget beside *run*; None where that one pays from it already."""
        if self.budget is None or pays_from(run, self.budget):
            return None
        if self._is_for_each_run and frames:
            return self._run_in(frames)
        return self._own_run(run)

    def _payers(self, run: Run) -> tuple[Run, ...]:
        if self.budget is not None and self._own is not run and pays_from(run, self.budget):
            return ()
        return super()._payers(run)


def _close(run_id: str) -> None:
    for roots in tuple(_open_roots):
        roots.close(run_id)


SPANS: Final = AgentSpans(_close)
"""The one span handler of this process."""


def follow_runs() -> None:
    """Have LlamaIndex tell of its runs and agents."""
    follow(SPANS)


def unfollow_runs() -> None:
    """Leave LlamaIndex as it was; calls are booked to the names that their guards were given."""
    unfollow(SPANS)
