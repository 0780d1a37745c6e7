"""Who pays for a call: the budgets attached to the crews, flows and agents that it is made in, and the run around."""

# CrewAI's own types differ from version to version.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any, Final

from bursar.attributes import attribute
from bursar.payer.rooted import RootedPayer
from bursar.scope import run_around

if TYPE_CHECKING:
    from bursar.budget import Budget
    from bursar.money import Money
    from bursar_crewai.identity import Place

WORKFLOW: Final = "crewai"
AROUND: Final = RootedPayer(None, agent=None, workflow=WORKFLOW)
"""Pays from the run around a call, where nothing that it is made in has a budget of its own."""

ATTACHED: Final[list[RootedPayer]] = []
"""Not empty once a budget was attached to anything: from then on every call is looked at."""

_attached: Final[dict[int, RootedPayer]] = {}
"""What is attached to flows and agents, by `id`; forgotten with them."""


class Attached:
    """
    A budget that a crew carries with it: one of its `before_kickoff_callbacks`, which its copies have too.

    Attributes:
        bursar: Who pays.
    """

    def __init__(self, payer: RootedPayer) -> None:
        self.bursar = payer

    def __call__(self, inputs: Any) -> Any:
        """Change nothing of the inputs."""
        return inputs

    def __deepcopy__(self, memo: object) -> Attached:
        # Copies of a crew pay from the same budget.
        return self


def payer_for(budget: Money | Budget | None) -> RootedPayer:
    """Return who pays from *budget*; see `attach_budget`."""
    return RootedPayer(budget, agent=None, workflow=WORKFLOW, made_in=run_around())


def attach(owner: Any, payer: RootedPayer) -> None:
    """Have *payer* pay for what is run in *owner*, a flow or an agent."""
    key = id(owner)
    _attached[key] = payer
    weakref.finalize(owner, _attached.pop, key, None)


def detach(owner: Any) -> None:
    """Undo `attach`."""
    _attached.pop(id(owner), None)


def attached_to(owner: Any) -> RootedPayer | None:
    """Return who pays for what is run in *owner*: a crew, a flow or an agent."""
    for callback in attribute(owner, "before_kickoff_callbacks") or ():
        if isinstance(callback, Attached):
            return callback.bursar
    return _attached.get(id(owner))


def payers_of(place: Place) -> list[RootedPayer]:
    """Return who pays for a call made at *place*, innermost first; none where nobody does."""
    found: list[RootedPayer] = []
    if ATTACHED:
        owners = [place.agent, *[frame.owner for frame in reversed(place.frames)]]
        for owner in owners:
            payer = attached_to(owner) if owner is not None else None
            if payer is not None and payer not in found:
                found.append(payer)
    if not found and run_around() is not None:
        return [AROUND]
    return found
