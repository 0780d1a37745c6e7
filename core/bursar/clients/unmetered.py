"""What costs money and cannot be bounded: refused under a budget that it could break, else entered as unknown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bursar.errors import UnmeteredEndpoint
from bursar.meter import Plan
from bursar.wire import Ask

if TYPE_CHECKING:
    from bursar.payer import Booking
    from bursar.wire import Unmetered


def unmetered_plan(
    found: Unmetered, booking: Booking, *, provider: str, model: str, is_async: bool = False
) -> Plan:
    """
    Return the plan of a call whose cost will not be known: it counts as a call, and holds no money.

    Raises:
        UnmeteredEndpoint: A budget limits dollars or tokens, which cannot be kept for it.
    """
    if booking.chain.is_limited:
        msg = (
            f'"{found.name}" was not called: {found.reason}. A budget in dollars or tokens cannot be kept for what is '
            "not metered. Call it with a client that is not guarded, and book what it cost with run.record(...)"
        )
        raise UnmeteredEndpoint(msg)
    return Plan(
        *booking,
        provider=provider,
        operation=found.name,
        ask=Ask(model=model, input_tokens_most=0, generates=False),
        can_shrink=never,
        is_async=is_async,
        is_metered=False,
    )


def never(tokens: int) -> bool:
    """Tell that a request cannot be shortened, to whatever number of tokens."""
    del tokens
    return False
