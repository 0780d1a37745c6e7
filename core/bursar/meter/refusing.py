"""A refusal as a user sees it: an error with its numbers, and what to do."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from bursar.account import UNITS
from bursar.errors import BudgetExceeded, RefusalDetails
from bursar.money import format_usd, to_usd
from bursar.policy import format_amount

if TYPE_CHECKING:
    from bursar.bound import Bound
    from bursar.meter.plan import Plan
    from bursar.policy import Policy
    from bursar.reservation import Refusal


def exceeded_by(plan: Plan, refusal: Refusal, asked: Bound, policy: Policy) -> BudgetExceeded:
    """Return the error for a call that was refused; *asked* is what it would have held."""
    run = plan.run
    details = RefusalDetails(
        account=refusal.account,
        unit=UNITS[refusal.unit],
        reason=refusal.reason,
        limit=_figure(refusal.limit, refusal.unit),
        spent=_figure(refusal.spent, refusal.unit),
        reserved=_figure(refusal.reserved, refusal.unit),
        asked=_figure(refusal.asked, refusal.unit),
    )
    return BudgetExceeded(
        _message(plan, refusal, asked, policy),
        details=details,
        agent=plan.agent.name,
        model=plan.ask.model,
        run_id=run.id,
        workflow=run.workflow,
    )


def _figure(amount: int, unit: int) -> Decimal:
    return to_usd(amount) if unit == 0 else Decimal(amount)


def _message(plan: Plan, refusal: Refusal, asked: Bound, policy: Policy) -> str:
    unit = refusal.unit
    left = max(refusal.limit - refusal.spent - refusal.reserved, 0)
    held = f", {format_amount(refusal.reserved, unit)} held by calls in flight" if refusal.reserved else ""
    could = format_usd(refusal.asked) if unit == 0 else format_amount(refusal.asked, unit)
    return (
        f"{refusal.account} may spend {format_amount(refusal.limit, unit)} and has {format_amount(left, unit)} left "
        f"({format_amount(refusal.spent, unit)} spent{held}); this call could take up to {could} "
        f'(model "{asked.model}", at most {asked.input_tokens:,} input and {asked.shrink.most:,} output tokens).'
        f"{_waited(plan, refusal, policy)} "
        "Lower its output limit, choose a cheaper model, or raise that limit."
    )


def _waited(plan: Plan, refusal: Refusal, policy: Policy) -> str:
    if refusal.reason != "busy":
        return ""
    if not plan.can_wait:
        return " It was busy, and here, in a hook on an event loop, nothing can wait for it."
    return f" It was busy, and waiting {policy.wait_s:g} s did not help."
