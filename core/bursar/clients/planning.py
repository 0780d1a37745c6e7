"""From what an SDK is about to send to the plan of its call."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from bursar.clients.unmetered import unmetered_plan
from bursar.meter import plan_request, takes_limit
from bursar.wire import Unmetered

if TYPE_CHECKING:
    from collections.abc import Callable

    from bursar.meter import Plan
    from bursar.payer import Booking
    from bursar.wire import Endpoint
    from bursar.wire.fields import Json


def plan_call(
    found: Endpoint | Unmetered,
    body: Json,
    booking: Booking,
    *,
    provider: str,
    host: str = "",
    is_async: bool,
    timeout_s: Callable[[], float | None] | None = None,
) -> Plan:
    """
    Return the plan of a call that sends *body*.

    Args:
        found: The endpoint that it goes to, or why that is not metered.

        host: Where it goes, for limits that go by another name there.

    Raises:
        UnmeteredEndpoint: It is not metered, and a budget limits dollars or tokens.
    """
    if isinstance(found, Unmetered):
        model = body.get("model")
        name = model if isinstance(model, str) else ""
        return unmetered_plan(found, booking, provider=provider, model=name, is_async=is_async)
    return plan_request(
        found,
        body,
        booking,
        provider=found.billed_as.get(provider, provider),
        can_shrink=partial(takes_limit, found, body, host),
        is_async=is_async,
        timeout_s=timeout_s,
    )
