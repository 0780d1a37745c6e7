"""Calls that are let through unpaid, because the store does not answer and every budget says `"open"`."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Final

from bursar.errors import StoreError
from bursar.policy import logger

if TYPE_CHECKING:
    from bursar.meter.plan import Plan
    from bursar.reservation import Resolution
    from bursar.store import Store


def let_through(plan: Plan, error: StoreError) -> None:
    """
    Let a call through, and say so once for each store, if every budget that it pays from allows that.

    Raises:
        StoreError: One does not; the message says what was not sent and what the remedy is.
    """
    if not plan.chain.fails_open:
        msg = (
            f'the call of agent "{plan.agent.name}" to "{plan.ask.model}" was not sent, because the store of its '
            f'budget does not answer: {error} Budget(on_store_failure="open") lets calls through unpaid.'
        )
        raise StoreError(msg) from error
    store = plan.run.store
    if store in _told:
        return
    _told.add(store)
    logger.warning(
        'calls are let through unpaid, because the store does not answer and on_store_failure is "open"; their cost is '
        "booked when it does: %s",
        error,
    )


_told: Final[weakref.WeakSet[Store]] = weakref.WeakSet()


def book_unpaid(plan: Plan, resolution: Resolution) -> None:
    """Enter what a call did cost that nothing was held for, now or when the store answers."""
    store = plan.run.store
    try:
        store.record(resolution.entry, plan.chain.accounts)
    except StoreError:
        store.journal.keep(resolution)
