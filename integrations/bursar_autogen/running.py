"""`run_team`: a team's run whose refusal is raised as what it is, with all that was said until then."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from autogen_agentchat.base import TaskResult
from autogen_agentchat.messages import ModelClientStreamingChunkEvent

from bursar.errors import BudgetExceeded
from bursar_autogen.budgets import must_be_given

if TYPE_CHECKING:
    from collections.abc import Sequence

    from autogen_agentchat.base import Team
    from autogen_agentchat.messages import BaseAgentEvent, BaseChatMessage
    from autogen_core import CancellationToken

    from bursar.budget import Budget
    from bursar.money import Money
    from bursar.run import Run


class TeamBudgetExceeded(BudgetExceeded):
    """
    A call of a team was refused, and the team ended with that.

    Attributes:
        messages: What the team had said and done until then, its task included.
    """

    def __init__(
        self, message: str, *, messages: Sequence[BaseAgentEvent | BaseChatMessage] = (), **about: Any
    ) -> None:
        super().__init__(message, **about)
        self.messages = list(messages)

    def __reduce__(self) -> tuple[Any, ...]:
        make, arguments = super().__reduce__()
        return partial(make, messages=self.messages), arguments


async def run_team(
    team: Team,
    task: Any,
    budget: Money | Budget,
    *,
    workflow: str | None = None,
    cancellation_token: CancellationToken | None = None,
) -> TaskResult:
    """
    Run *team* in a run of *budget*, and return its result.

    A team of AutoGen's turns what its agents raise into the text of a RuntimeError. Here a refusal comes out as the
    `BudgetExceeded` that it was. The team itself cannot be used again after that: AutoGen leaves it in the midst of
    its turn. Make another, or end teams before that with `BudgetTermination` and `on_exceed="stop"`.

    Args:
        task: What `team.run` takes; None to go on.

        workflow: Names the run; the team's own name by default.

    Raises:
        TeamBudgetExceeded: A call was refused, and AutoGen ended the team for it; it holds the messages so far.
    """
    paying = must_be_given(budget)
    messages: list[BaseAgentEvent | BaseChatMessage] = []
    async with paying.run(workflow or getattr(team, "name", None) or type(team).__name__) as run:
        try:
            async for event in team.run_stream(task=task, cancellation_token=cancellation_token):
                if isinstance(event, TaskResult):
                    return event
                if not isinstance(event, ModelClientStreamingChunkEvent):
                    messages.append(event)
        except Exception as error:  # A refusal comes as an error of AutoGen's own; any other is raised again.
            refusal = _refusal_behind(error, run)
            if refusal is None:
                raise
            raise _with_messages(refusal, messages) from error
    msg = f"the team ended without a result: {team!r}"
    raise RuntimeError(msg)


def _refusal_behind(error: Exception, run: Run) -> BudgetExceeded | None:
    """Return the refusal that *error* is, or that AutoGen made its text of; None where it is something else."""
    if isinstance(error, BudgetExceeded):
        return error
    text = str(error)
    told = [refusal for refusal in run.refusals if str(refusal) in text]
    return told[-1] if told and BudgetExceeded.__name__ in text else None


def _with_messages(
    refusal: BudgetExceeded, messages: Sequence[BaseAgentEvent | BaseChatMessage]
) -> TeamBudgetExceeded:
    return TeamBudgetExceeded(
        str(refusal),
        messages=messages,
        details=refusal.details,
        agent=refusal.agent,
        model=refusal.model,
        run_id=refusal.run_id,
        workflow=refusal.workflow,
    )
