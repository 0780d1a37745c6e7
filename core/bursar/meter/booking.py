"""What a call comes to in the ledger: an attempt that ended, a refusal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bursar.account import Amounts
from bursar.entry import Entry
from bursar.errors import StoreError
from bursar.ids import new_id
from bursar.names import writable
from bursar.policy import logger
from bursar.reservation import Resolution
from bursar.tuples import make
from bursar.usage import Usage

if TYPE_CHECKING:
    from bursar.billing import Bill
    from bursar.entry import Status, Subject
    from bursar.errors import BudgetExceeded
    from bursar.meter.held import Held
    from bursar.store import Store


def resolution_of(
    held: Held, subject: Subject, status: Status, found: Bill, reason: str, *, attempt: int, duration_ms: int
) -> Resolution:
    """
    Return how what is *held* is resolved, and its line in the ledger.

    Args:
        attempt: The how manieth of its call, and how long it took.
    """
    id_, _, (bound_nanousd, bound_tokens, calls, attempts), _, _, _ = held
    cost_nanousd, source, model, usage, price = found
    took_nanousd = cost_nanousd or 0
    if status == "released":
        calls = attempts = 0
    tokens = bound_tokens if source == "bound" else usage.input_tokens + usage.output_tokens
    overage_nanousd = max(took_nanousd - bound_nanousd, 0)
    entry = make(
        Entry,
        (
            id_,
            subject,
            status,
            source,
            attempt,
            model if model.isascii() else writable(model),
            cost_nanousd,
            bound_nanousd,
            usage,
            duration_ms,
            overage_nanousd,
            False,
            reason,
            price,
        ),
    )
    return make(Resolution, (entry, make(Amounts, (took_nanousd, tokens, calls, attempts))))


def enter_refusal(store: Store, subject: Subject, exceeded: BudgetExceeded, *, attempt: int) -> None:
    """Enter a refusal in the ledger, if the store answers: the refusal itself is what the caller must see."""
    try:
        store.record(_refusal_entry(subject, exceeded, attempt=attempt, at_s=store.now()))
    except StoreError as error:
        logger.error("a refusal is not entered in the ledger: %s", error)


def _refusal_entry(subject: Subject, exceeded: BudgetExceeded, *, attempt: int, at_s: float) -> Entry:
    details = exceeded.details
    bound_nanousd = int(details.asked.scaleb(9)) if details.unit == "usd" else 0
    reason = f"{details.reason}: {details.account} ({details.unit})"
    return Entry(
        new_id(at_s),
        subject,
        "refused",
        "none",
        attempt,
        subject.model,
        0,
        bound_nanousd,
        Usage(),
        reason=reason,
    )


def leave(store: Store, held: Held, subject: Subject, lease_s: float, *, attempt: int, reason: str) -> Entry:
    """Enter a call as answered and free, leave what is *held* for its cost for *lease_s*, and return its line."""
    store.waiters.holders.pop(held.id, None)
    bound_nanousd = held.amounts.nanousd
    note = Entry(
        new_id(store.now()), subject, "ok", "none", attempt, subject.model, 0, bound_nanousd, Usage()
    )._replace(reason=f"{reason} {held.id}")
    try:
        store.extend(held.id, lease_s)
        store.record(note)
    except StoreError as error:
        # The provider has taken it on all the same: the lease runs out early, and it is presumed spent.
        logger.error("what a batch holds is presumed spent, because the store does not answer: %s", error)
    return note


def tell_overage(entry: Entry) -> None:
    """Log that a call cost more than was held for it."""
    logger.warning(
        "a call of agent %r to %r cost more than was reserved for it (entry %s): the bound was too low; "
        "booked in full",
        entry.subject.agent.name,
        entry.model,
        entry.id,
    )
