"""The termination condition: ends a team before a call has to be refused, and says who spent what."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from autogen_agentchat.base import TerminatedException, TerminationCondition
from autogen_agentchat.messages import StopMessage
from autogen_core import Component
from pydantic import BaseModel

from bursar.errors import StoreError
from bursar.money import format_usd
from bursar.payer.roots import pays_from
from bursar.policy import logger
from bursar.scope import run_around
from bursar.store import Where
from bursar_autogen.budgets import budget_named, must_be_given, name_to_dump
from bursar_autogen.exhaustion import refusal_that_stays, shortage
from bursar_autogen.identity import handled
from bursar_autogen.teams import run_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Self

    from autogen_agentchat.messages import BaseAgentEvent, BaseChatMessage

    from bursar.budget import Budget
    from bursar.money import Money
    from bursar.run import Run

_SPENDERS_NAMED: Final = 5


class BudgetTerminationConfig(BaseModel):
    """What a `BudgetTermination` is written down as: its budget by name."""

    budget: str


class BudgetTermination(TerminationCondition, Component[BudgetTerminationConfig]):
    """
    Ends a team when its budget is too little for another call.

    ```python
    RoundRobinGroupChat([...], termination_condition=BudgetTermination(budget) | MaxMessageTermination(50))
    ```

    AutoGen asks between turns. So it also ends a team whose turn was refused in the midst, if that was answered and
    not raised (`on_exceed="stop"`): at once where the run has nothing left, and where only an agent's own allotment
    is spent, when the same agent is refused again and nobody got a call through meanwhile.

    Once it has ended a run it stays so, until the limit is raised or the run is another one.

    Args:
        budget: What the team's clients pay from; what lies around it, in `with budget.run(...)` or `within=`, counts.
    """

    component_provider_override = "bursar_autogen.BudgetTermination"
    component_config_schema = BudgetTerminationConfig
    component_description = "Ends a team when its budget is too little for another call."

    def __init__(self, budget: Money | Budget) -> None:
        self._budget: Budget = must_be_given(budget)
        self._run: Run | None = None
        self._is_terminated = self._reason() is not None

    @property
    def terminated(self) -> bool:
        """Whether it has ended the team; no more, once the limit was raised or another run has begun."""
        if self._is_terminated and self._reason() is None:
            # Only this way round: what becomes true by being read breaks whatever it is combined with.
            self._is_terminated = False
        return self._is_terminated

    async def __call__(self, messages: Sequence[BaseAgentEvent | BaseChatMessage]) -> StopMessage | None:
        """
        Return why the team must end, or None.

        Raises:
            TerminatedException: It has ended already.
        """
        if self.terminated:
            msg = "Termination condition has already been reached"
            raise TerminatedException(msg)
        reason = self._reason()
        if reason is None:
            return None
        self._is_terminated = True
        return StopMessage(
            content=f"Budget exhausted: {reason}{self._spenders()}", source="BudgetTermination"
        )

    async def reset(self) -> None:
        """Begin anew; if nothing is left by now, it has ended at once."""
        self._is_terminated = self._reason() is not None

    def _reason(self) -> str | None:
        """Return why no other call can be made, in a sentence, or None; never raises, as it may only be read."""
        run = self._current_run()
        if run is None:
            return None
        try:
            short = shortage(run) or refusal_that_stays(run)
            return None if short is None else str(short)
        except StoreError as error:
            # The next call will say so too, and is not sent.
            logger.warning("whether a team's budget is exhausted is not known: %s", error)
            return None

    def _current_run(self) -> Run | None:
        """Return the run of the team that is asking; outside of a team, of the one that asked last."""
        at_work = handled()
        run = None
        if at_work is not None and at_work.team_id is not None:
            run = run_of(at_work, self._budget, None) or run_around()
        elif self._run is None:
            entered = run_around()
            run = entered if entered is not None and pays_from(entered, self._budget) else None
        if run is not None:
            self._run = run
        return self._run

    def _spenders(self) -> str:
        run = self._run
        if run is None:
            return ""
        rows = run.store.totals("agent", Where(run_ids=tuple(run.family)))
        named = ", ".join(
            f"{name} {format_usd(totals.cost_nanousd)}" for name, totals in rows[:_SPENDERS_NAMED]
        )
        more = f" and {len(rows) - _SPENDERS_NAMED} more" if len(rows) > _SPENDERS_NAMED else ""
        return f"; spent by {named}{more}" if named else ""

    def _to_config(self) -> BudgetTerminationConfig:
        name = name_to_dump(self._budget)
        assert name is not None  # noqa: S101 (there is a budget)
        return BudgetTerminationConfig(budget=name)

    @classmethod
    def _from_config(cls, config: BudgetTerminationConfig) -> Self:
        budget = budget_named(config.budget)
        assert budget is not None  # noqa: S101 (there is a name)
        return cls(budget)
