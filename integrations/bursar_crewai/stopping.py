"""What a refusal becomes in CrewAI: the end of a crew, of one agent's work, or of a mere convenience."""

# CrewAI's own types differ from version to version.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

from crewai.crews.crew_output import CrewOutput
from crewai.hooks.dispatch import HookAborted
from crewai.llms.base_llm import LLMCallBlockedError

from bursar.errors import BudgetExceeded

if TYPE_CHECKING:
    from bursar.run import Run
    from bursar_crewai.identity import Place

_CONVENIENCES: Final = frozenset({"memory", "knowledge", "reasoning"})
"""What CrewAI goes on without, if it is told that a call was blocked."""


class CrewBudgetExceeded(BudgetExceeded, HookAborted):
    """
    A budget has too little left, and CrewAI stops: `kickoff` raises this, and asks nobody again.

    Attributes:
        run: The run that the call would have been booked to; its report says who spent what.

        source: `"bursar"`, as CrewAI says who stopped it.
    """

    run: Run | None = None
    _finished: list[Any] | None = None

    @property
    def reason(self) -> str:
        """Why, in words."""
        return str(self)

    @reason.setter
    def reason(self, reason: str) -> None:
        # CrewAI's own constructor sets it; the message says it already.
        del reason

    @property
    def partial(self) -> CrewOutput | None:
        """What the tasks that are done have come to, as the crew would have said it; None outside of a crew."""
        if self._finished is None:
            return None
        outputs = list(self._finished)
        return CrewOutput(raw=outputs[-1].raw if outputs else "", tasks_output=outputs)

    def __reduce__(self) -> tuple[Any, ...]:
        # What is not in the message stays behind when an exception goes to another process.
        make = partial(
            BudgetExceeded,
            details=self.details,
            agent=self.agent,
            model=self.model,
            run_id=self.run_id,
            workflow=self.workflow,
        )
        return make, self.args


class BlockedByBudget(BudgetExceeded, LLMCallBlockedError):
    """A budget has too little left for memory, knowledge or reasoning; CrewAI goes on without."""


def refusal(exceeded: BudgetExceeded, place: Place, run: Run, *, is_structured: bool) -> str | BudgetExceeded:
    """
    Return what CrewAI is answered in the place of a refused call: a text, or what is to be raised.

    Args:
        is_structured: Whether the answer must be more than a text.
    """
    if place.purpose in _CONVENIENCES:
        return blocked(exceeded)
    is_of_agent = exceeded.details.account.startswith("agent ")
    goes_on = is_of_agent and place.frames and not place.is_delegated and not is_structured
    if goes_on and place.source == "from_agent":
        return f"[Stopped by the budget: {exceeded}]"
    stopped = _as(CrewBudgetExceeded, exceeded)
    stopped.run = run
    stopped.source = "bursar"
    crews = [frame for frame in place.frames if frame.crew is not None]
    if crews:
        stopped._finished = crews[0].finished
    return stopped


def blocked(exceeded: BudgetExceeded) -> BlockedByBudget:
    """Return *exceeded* as what CrewAI goes on after, without what was asked for."""
    return _as(BlockedByBudget, exceeded)


def _as(kind: Any, exceeded: BudgetExceeded) -> Any:
    return kind(
        str(exceeded),
        details=exceeded.details,
        agent=exceeded.agent,
        model=exceeded.model,
        run_id=exceeded.run_id,
        workflow=exceeded.workflow,
    )
