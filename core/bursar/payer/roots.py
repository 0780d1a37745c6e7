"""The runs that a framework opens by itself: LangChain's root run, a LlamaIndex workflow, a kickoff, a team run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from bursar.run import Run
from bursar.scope import current_run, run_around, runs_in

if TYPE_CHECKING:
    from bursar.budget import Budget

_OPEN_MOST: Final = 10_000
"""Framework runs followed at the same time; of more, the oldest are taken for such whose end was never told."""
_CLOSED_AT_ONCE: Final = 100
"""Many at a time, because all are looked through for the oldest."""


class Roots:
    """
    Turns the outermost runs of a framework into runs of one budget.

    Where the run around the code (`with budget.run(...)`) pays from that budget already, or there is no budget but
    that run's, a framework's run is booked to it. Otherwise each is a run of its own, and of the run around it.

    Safe to use from any thread; what is known of a framework's run is forgotten when it is closed.

    Attributes:
        runs: By the id of the framework's run, what everything in it is booked to.

    Args:
        budget: What each run pays from; None to pay from the run around it alone.

        is_always_one: Whether a framework's run is one of its own also where neither a budget of these nor a run
            around the code pays for it, so that its calls are told from those of other runs.

        made_in: The run that stands for the one around the code where there is none, as in other threads.
    """

    def __init__(
        self, budget: Budget | None = None, *, is_always_one: bool = False, made_in: Run | None = None
    ) -> None:
        self.budget = budget
        self._is_always_one = is_always_one
        self._made_in = made_in
        # Each step that changes it is one of C, and needs no lock.
        self.runs: dict[str, Run] = {}

    def open(self, root_id: str, workflow: str) -> Run | None:
        """
        Return the run to which everything in the framework's run *root_id* is booked; None where there is none.

        Asked again it answers the same until `close`, whatever run is around the code by then.

        Args:
            root_id: The framework's own id of its outermost run; it is the id of a run that is opened for it.

            workflow: What the framework calls it; runs of one workflow are compared with each other.
        """
        known = self.runs.get(root_id)
        if known is not None:
            return known
        budget = self.budget
        around = (run_around() if runs_in else current_run.get()) or self._made_in
        if around is not None and (budget is None or pays_from(around, budget)):
            run = around
        elif budget is None and not self._is_always_one:
            return None
        else:
            run = Run(budget, workflow, id=root_id)
            run.open(around)
        # Of two threads that open the same root at once, both get what the first one opened.
        kept = self.runs.setdefault(root_id, run)
        if len(self.runs) >= _OPEN_MOST + _CLOSED_AT_ONCE:
            for oldest in list(self.runs)[:_CLOSED_AT_ONCE]:
                self.close(oldest)
        return kept

    def find(self, root_id: str) -> Run | None:
        """Return what `open` answered for *root_id*, if it is not closed yet."""
        return self.runs.get(root_id)

    def close(self, root_id: str) -> None:
        """End the framework's run *root_id*; calls still in flight are booked to it all the same."""
        run = self.runs.pop(root_id, None)
        if run is not None and run.id == root_id:
            run.close()

    def __len__(self) -> int:
        """Return how many framework runs are followed now."""
        return len(self.runs)


def pays_from(run: Run, budget: Budget) -> bool:
    """Whether *run*, or a run around it, pays from *budget*, be it as one that its own budget lies within."""
    for each in run.lineage:
        paying = each.budget
        while paying is not None:
            if paying is budget:
                return True
            paying = paying.within
    return False
