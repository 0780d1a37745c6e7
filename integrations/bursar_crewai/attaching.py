"""`attach_budget`: a budget for a crew, a flow or an agent, in place."""

# CrewAI's own types differ from version to version.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from crewai import Crew

from bursar_crewai.frames import is_flow
from bursar_crewai.identity import AGENTS
from bursar_crewai.patching import install
from bursar_crewai.payers import ATTACHED, Attached, attach, attached_to, detach, payer_for

if TYPE_CHECKING:
    from bursar.budget import Budget
    from bursar.money import Money
    from bursar.payer import Payer

OwnerT = TypeVar("OwnerT")


def attach_budget(owner: OwnerT, budget: Money | Budget) -> OwnerT:
    """
    Pay for everything that is run in *owner* from *budget*, before it is sent; return *owner*.

    ```python
    crew = attach_budget(crew, Budget("$5.00", agents={"Researcher": "50%"}))
    crew.kickoff()
    ```

    Every way to kick off is meant, and every LLM and embedder that is called meanwhile. A crew's copies, as
    `kickoff_for_each` makes them, pay from the same budget. Attached anew, the last one counts.

    Args:
        owner: A `Crew`, a `Flow`, or an agent; an agent's budget pays beside that of its crew.

        budget: A `Budget`, which pays for each outermost kickoff anew; or dollars that *owner* may spend as long as it
            lives.

    Raises:
        TypeError: *owner* is none of these.
        ValueError: The budget makes no sense.
    """
    if not _takes(owner):
        kind = f"{type(owner).__module__}.{type(owner).__qualname__}"
        msg = f"attach_budget() takes a crew, a flow or an agent of CrewAI's, not {kind}"
        raise TypeError(msg)
    payer = payer_for(budget)
    install()
    ATTACHED.append(payer)
    detach_budget(owner)
    if isinstance(owner, Crew):
        owner.before_kickoff_callbacks = [*owner.before_kickoff_callbacks, Attached(payer)]
    else:
        attach(owner, payer)
    return owner


def detach_budget(owner: object) -> None:
    """Take the budget of *owner* away again, if it has one."""
    if isinstance(owner, Crew):
        others: list[Any] = owner.before_kickoff_callbacks
        owner.before_kickoff_callbacks = [other for other in others if not isinstance(other, Attached)]
    else:
        detach(owner)


def budget_of(owner: object) -> Payer | None:
    """Return what *owner*'s budget has come to: `.spent`, `.remaining`, `.report()`; None where it has none."""
    return attached_to(owner)


def _takes(owner: object) -> bool:
    return isinstance(owner, (Crew, *AGENTS)) or is_flow(owner)
