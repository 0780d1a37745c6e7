"""
What a batch came to, booked once: in place of what the ledger says is held for it, in whichever process.

The ledger is the memory: the entry of a batch's creation names the batch and the hold.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final

from bursar.account import Amounts
from bursar.billing import bill
from bursar.entry import Entry, Subject
from bursar.ids import new_id
from bursar.names import writable
from bursar.prices import find_price
from bursar.reservation import Resolution
from bursar.store import Where
from bursar.usage import Usage, sum_of

if TYPE_CHECKING:
    from bursar.entry import Source
    from bursar.payer import Booking
    from bursar.store import Store
    from bursar.wire import Receipt

_READABLE_S: Final = 31 * 86_400.0
"""Providers keep results for 29 or 30 days."""
_ENTRIES_MOST: Final = 1_000_000
_lock: Final = threading.RLock()
"""So that two readers of one process do not both find nothing booked; two processes may, and book one hold once."""


def note_of(batch_id: str) -> str:
    """Return what the ledger says of a hold, before its id."""
    return f"batch {batch_id} is held for by"


def _results(batch_id: str) -> str:
    return f"results of {batch_id}"


def book_results(booking: Booking, provider: str, batch_id: str, receipts: tuple[Receipt, ...]) -> None:
    """Book what a batch came to, once: in place of what is held for it, else by itself."""
    if not receipts:
        return
    store = booking.run.store
    bills = [bill(one, provider=provider, model=one.model or "") for one in receipts]
    model = writable(" + ".join(dict.fromkeys(one.model for one in bills)))
    usage = sum_of(one.usage for one in bills)
    costs = [one.nanousd for one in bills if one.nanousd is not None]
    known = sum(costs) if len(costs) == len(bills) else None
    sources = {one.source for one in bills}
    with _lock:
        note, is_booked = _find(store, batch_id)
        if is_booked:
            return
        subject = note.subject if note is not None else _subject(booking, provider, model)
        hold_id = note.reason.rpartition(" ")[2] if note is not None else new_id(store.now())
        held_nanousd = note.bound_nanousd if note is not None else 0
        source: Source = "priced" if sources == {"priced"} else "estimated"
        if known is None:
            known, source = (None, "unknown") if note is None else (held_nanousd, "bound")
        over_nanousd = max((known or 0) - held_nanousd, 0) if note is not None else 0
        entry = Entry(hold_id, subject, "ok", source, 1, model, known, held_nanousd, usage)
        entry = entry._replace(overage_nanousd=over_nanousd, reason=_results(batch_id))
        price = find_price(provider, bills[0].model)
        entry = entry._replace(price="" if price is None else f"{price.provenance()} batch")
        if note is None:
            store.record(entry, booking.chain.accounts)
        else:
            store.resolve(Resolution(entry, Amounts(known or 0, usage.total_tokens, 1, 1)))


def give_back(booking: Booking, batch_id: str, status: str) -> None:
    """Give back what is held for a batch that nothing was answered of."""
    store = booking.run.store
    with _lock:
        note, is_booked = _find(store, batch_id)
        if note is None or is_booked:
            return
        hold_id = note.reason.rpartition(" ")[2]
        entry = Entry(hold_id, note.subject, "error", "none", 1, note.model, 0, note.bound_nanousd, Usage())
        entry = entry._replace(reason=f"batch {status}")
        store.resolve(Resolution(entry, Amounts(0, 0, 1, 1)))


def _find(store: Store, batch_id: str) -> tuple[Entry | None, bool]:
    """Return the entry that says what is held for a batch, and whether its results are booked already."""
    note: Entry | None = None
    ids: set[str] = set()
    for entry in store.entries(Where(since_s=store.now() - _READABLE_S), most=_ENTRIES_MOST):
        if entry.reason.startswith(note_of(batch_id)):
            note = entry
        if entry.reason == _results(batch_id):
            return note, True
        ids.add(entry.id)
    return note, note is not None and note.reason.rpartition(" ")[2] in ids


def _subject(booking: Booking, provider: str, model: str) -> Subject:
    return Subject(
        call_id=new_id(),
        run_id=booking.run.id,
        workflow=booking.run.workflow,
        agent=booking.agent,
        provider=provider,
        model=model,
        operation="batches",
    )
