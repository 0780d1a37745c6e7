"""
The meter: follows one call for an adapter, from the estimate to the last line in the ledger.

```text
reserve ── dispatch ── settle | abort | fail          the call was sent
   │           └────── retry ── dispatch ── …         the SDK sends it once more
   └── release                                        it never was
```

An adapter turns its framework's events into these calls and nothing else.
"""

from __future__ import annotations

import time
from functools import cached_property
from typing import TYPE_CHECKING, Any

from bursar.billing import Bill, bill
from bursar.entry import Entry, Subject
from bursar.errors import BudgetExceeded, StoreError
from bursar.ids import new_id
from bursar.meter.at_once import hold_at_once
from bursar.meter.booking import enter_refusal, leave, resolution_of, tell_overage
from bursar.meter.cut import bound_bill, seen_bill
from bursar.meter.held import Held
from bursar.meter.observer import Observer
from bursar.meter.outer import OuterCall
from bursar.meter.pausing import adrive, drive
from bursar.meter.plan import Plan
from bursar.meter.planning import plan_request, takes_limit
from bursar.meter.reserving import Reserving
from bursar.meter.unpaid import book_unpaid, let_through
from bursar.names import writable
from bursar.owner import owner
from bursar.policy import logger
from bursar.tuples import make
from bursar.usage import Usage
from bursar.watching import add_cost, look_at

if TYPE_CHECKING:
    from collections.abc import Generator

    from bursar.entry import Status
    from bursar.meter.pausing import Step
    from bursar.reservation import Resolution
    from bursar.wire import Receipt

__all__ = ["Held", "Meter", "Observer", "Plan", "plan_request", "takes_limit"]


class Meter(OuterCall):
    """
    Follows one call.

    Safe to end from any thread: the first of `settle`, `abort`, `fail` and `release` counts, later ones do nothing.

    Attributes:
        attempt: 1 for the first send; more for retries.

        is_dispatched: Whether a request of it was sent, in whichever attempt.

        stops_gracefully: Of a refused call: whether its budget asks for an answer in place of an exception.

    Args:
        holder: Whose the hold is, as `bursar.owner.owner` names it; of the task or thread that makes this if left out.
    """

    attempt = 1
    stops_gracefully = False
    is_dispatched = False
    _sent_s: float | None = None
    _is_first = True

    def __init__(self, plan: Plan, holder: str | None = None) -> None:
        self.plan = plan
        run = plan.run
        store = run.store
        fingerprint, model = plan.fingerprint, plan.ask.model
        self._subject = make(
            Subject,
            (
                new_id(store.now()),
                run.id,
                run.workflow,
                plan.agent,
                plan.provider,
                model if model.isascii() else writable(model),
                plan.operation,
                fingerprint is not None and run.has_seen(fingerprint),
            ),
        )
        self._store = store
        self._owner = holder or owner(is_async=plan.is_async)

    @property
    def is_sent(self) -> bool:
        """Whether the request, or the attempt that is open, was sent as far as is known."""
        return self._sent_s is not None

    def reserve(self) -> Held:
        """
        Hold the most that the call may cost, waiting for it if need be.

        Raises:
            BudgetExceeded: It does not fit; the refusal is in the ledger.
            UnknownPrice, UnmeteredEndpoint: It cannot be bounded in dollars.
            StoreError: The store does not answer, and the budget fails closed.
        """
        try:
            taken = hold_at_once(self.plan, self._store, self._owner, self._subject, is_first=self._is_first)
            self._is_first = False
            held = taken if isinstance(taken, Held) else drive(self._reserving.first(taken))
        except (BudgetExceeded, StoreError) as error:
            held = self._instead(error)
        return self._take(held)

    async def areserve(self) -> Held:
        """Do as `reserve` does, without blocking the other tasks of this thread."""
        try:
            taken = hold_at_once(self.plan, self._store, self._owner, self._subject, is_first=self._is_first)
            self._is_first = False
            held = taken if isinstance(taken, Held) else await adrive(self._reserving.first(taken))
        except (BudgetExceeded, StoreError) as error:
            held = self._instead(error)
        return self._take(held)

    def dispatch(self) -> None:
        """
        Mark that the request is being sent: from here on it may be billed.

        Raises:
            StoreError: The store does not answer, and the budget fails closed.
        """
        held = self.held
        if held is None or self._sent_s is not None:
            return
        if not held.is_unpaid and not self.plan.is_sent_at_once:
            try:
                self.plan.run.store.dispatch(held.id)
            except StoreError as error:
                let_through(self.plan, error)
        self.is_dispatched = True
        self._sent_s = time.monotonic()

    def retry(self, *, is_billed: bool, reason: str) -> None:
        """
        Book the attempt that failed and hold the bound for the next.

        Args:
            is_billed: Whether the failed attempt may be billed: then it is settled at its bound.

            reason: What failed, in a word: `"status 500"`, `"ReadTimeout"`.

        Raises:
            BudgetExceeded: No budget is left for another attempt.
        """
        if (steps := self._next(is_billed=is_billed, reason=reason)) is not None:
            try:
                held = drive(steps)
            except (BudgetExceeded, StoreError) as error:
                held = self._instead(error)
            self._take(held)

    async def aretry(self, *, is_billed: bool, reason: str) -> None:
        """Do as `retry` does, without blocking the other tasks of this thread."""
        if (steps := self._next(is_billed=is_billed, reason=reason)) is not None:
            try:
                held = await adrive(steps)
            except (BudgetExceeded, StoreError) as error:
                held = self._instead(error)
            self._take(held)

    def now_s(self) -> float:
        """Return the seconds that leases and durations are measured in."""
        return time.monotonic()

    def extend(self, lease_s: float) -> None:
        """Let the hold live for *lease_s* more seconds: the answer is still coming."""
        if self.held is None or self.held.is_unpaid:
            return
        try:
            self.plan.run.store.extend(self.held.id, lease_s)
        except StoreError as error:
            # The answer is coming all the same; a lease that runs out is booked late.
            logger.warning("the hold of a call in flight was not extended: %s", error)

    def leave_held(self, lease_s: float, reason: str) -> Entry | None:
        """
        Enter the call as answered and free, and leave what it holds to be resolved later, by whoever has its id.

        Args:
            lease_s: Seconds until the hold is presumed spent.

            reason: What it is held for; the id of the hold is added.
        """
        held, self.held = self.held, None
        if held is None:
            return None
        return leave(self._store, held, self._subject, lease_s, attempt=self.attempt, reason=reason)

    def settle(self, receipt: Receipt) -> Entry | None:
        """
        Book what the call did cost.

        Where the receipt states neither usage nor cost, the bound is booked and marked as such.
        """
        held, plan = self.held, self.plan
        if held is None:
            return None
        model = held.bound.model
        if not plan.is_metered:
            return self._resolve("ok", Bill(None, "unknown", model, Usage()))
        if receipt.usage is None:
            receipt = self._best(receipt)
        duration_ms = self._duration_ms()
        found = bill(receipt, provider=plan.provider, model=model, duration_ms=duration_ms)
        if found.nanousd is None and held.bound.price is not None:
            found = bound_bill(held, found.model, found.usage)
        return self._resolve("ok", found, duration_ms=duration_ms)

    def abort(self, receipt: Receipt, output_tokens: int | None, *, reason: str = "") -> Entry | None:
        """
        Book a call that was cut, dropped or cancelled: it is paid.

        What was seen of a model that reasons unseen is the least it can have cost: the whole bound is booked.

        Args:
            receipt: What was reported before the end.

            output_tokens: The output that was seen, counted high; None if nothing of the answer was seen, which
                books the whole bound.
        """
        if self.held is None:
            return None
        receipt = self._best(receipt)
        reported = bill(
            receipt, provider=self.plan.provider, model=self._model, duration_ms=self._duration_ms()
        )
        if output_tokens is None and receipt.usage is None:
            return self._resolve(
                "aborted", bound_bill(self.held, reported.model, reported.usage), reason=reason
            )
        seen = seen_bill(self.plan, self.held, receipt, output_tokens or 0, duration_ms=self._duration_ms())
        known = reported if (reported.nanousd or 0) >= (seen.nanousd or 0) else seen
        if known.nanousd is not None:
            known = known._replace(
                source=known.source if known.source in {"stated", "bound"} else "estimated"
            )
        return self._resolve("aborted", known, reason=reason)

    def estimate(self, receipt: Receipt, output_tokens: int) -> Entry | None:
        """
        Book a call that came to its end and reported no usage: what was sent and what was seen, marked so.

        What an inner meter observed is better than that.
        """
        if self.held is None:
            return None
        best = receipt if self.observed is None else self._best(receipt)
        if best.usage is not None:
            return self.settle(best)
        duration_ms = self._duration_ms()
        seen = seen_bill(self.plan, self.held, receipt, output_tokens, duration_ms=duration_ms)
        return self._resolve("ok", seen, duration_ms=duration_ms)

    def fail(self, reason: str, *, is_billed: bool) -> Entry | None:
        """
        Book a call that was sent and brought no answer, as far as an inner meter did not see one.

        Args:
            is_billed: Whether it may be billed all the same; then the bound is booked.

            reason: What failed, in a word.
        """
        if self.held is None:
            return None
        if self._sent_s is None:
            return self.release()
        if self.observed is not None and self.observed.usage is not None and self.observed.finished:
            # It was answered; what went wrong is what was made of the answer.
            return self.settle(self.observed)
        if is_billed:
            return self._resolve("aborted", bound_bill(self.held, self._model, Usage()), reason=reason)
        return self._resolve("error", Bill(0, "none", self._model, Usage()), reason=reason)

    def release(self) -> Entry | None:
        """Give everything back: the request was never sent."""
        return self._resolve("released", Bill(0, "none", self._model, Usage()))

    def _best(self, receipt: Receipt) -> Receipt:
        """Return *receipt*, or what an inner meter observed where it says nothing of usage."""
        return receipt if receipt.usage is not None or self.observed is None else self.observed

    @cached_property
    def _reserving(self) -> Reserving:
        """What finds a hold where it is not had at once."""
        return Reserving(self.plan, self._store, self._owner, self._subject)

    @property
    def _model(self) -> str:
        return self.plan.ask.model if self.held is None else self.held.bound.model

    def _next(self, *, is_billed: bool, reason: str) -> Generator[Step, Any, Held] | None:
        held, self.held = self.held, None
        if held is None:
            return None
        self._store.waiters.holders.pop(held.id, None)
        model = held.bound.model
        found = bound_bill(held, model, Usage()) if is_billed else Bill(0, "none", model, Usage())
        resolution = resolution_of(
            held,
            self._subject,
            "aborted" if is_billed else "error",
            found,
            reason,
            attempt=self.attempt,
            duration_ms=self._duration_ms(),
        )
        if self.plan.chain.is_watched:
            add_cost(self.plan.run, resolution.amounts.nanousd)
        self.attempt += 1
        self._sent_s = None
        return self._again(held, resolution)

    def _again(self, held: Held, resolution: Resolution) -> Generator[Step, Any, Held]:
        if held.is_unpaid:
            book_unpaid(self.plan, resolution)
            return (yield from self._reserving.once_more(held))
        try:
            return (yield from self._reserving.again(held, resolution))
        except StoreError:
            # Booked again is booked once, should the store have taken it after all.
            self._store.journal.keep(resolution)
            raise

    def _take(self, held: Held) -> Held:
        self.held = held
        if held.notices or self.plan.chain.is_watched:
            try:
                self._reserving.tell(held.notices)
                look_at(self.plan.run)
            except BaseException:  # The user's own function raised: nothing is sent.
                self.release()
                raise
        return held

    def _instead(self, error: BudgetExceeded | StoreError) -> Held:
        """Return what stands for a hold that could not be had, or raise."""
        if isinstance(error, BudgetExceeded):
            self._note(error)
            raise error
        let_through(self.plan, error)
        return self._reserving.unpaid()

    def _note(self, exceeded: BudgetExceeded) -> None:
        """Enter a refusal in the ledger and in the run, for frameworks that swallow the exception."""
        plan = self.plan
        self.stops_gracefully = self._reserving.on_exceed_of(exceeded) == "stop"
        plan.run.note_refusal(exceeded)
        enter_refusal(plan.run.store, self._subject, exceeded, attempt=self.attempt)

    def _resolve(
        self, status: Status, found: Bill, *, reason: str = "", duration_ms: int | None = None
    ) -> Entry | None:
        held, self.held = self.held, None
        if held is None:
            return None
        store = self._store
        store.waiters.holders.pop(held.id, None)
        resolution = resolution_of(
            held,
            self._subject,
            status,
            found,
            reason,
            attempt=self.attempt,
            duration_ms=self._duration_ms() if duration_ms is None else duration_ms,
        )
        entry = resolution.entry
        if self.plan.chain.is_watched:
            add_cost(self.plan.run, resolution.amounts.nanousd)
        if entry.overage_nanousd:
            tell_overage(entry)
        if held.is_unpaid:
            if entry.is_sent:
                book_unpaid(self.plan, resolution)
            return entry
        try:
            return store.resolve(resolution)
        except StoreError as error:
            # The answer is there and paid for; only its booking failed. Keep the figure and book it later.
            logger.error("%s The cost of this call is kept aside and booked when the store answers.", error)
            store.journal.keep(resolution)
            return entry

    def _duration_ms(self) -> int:
        return 0 if self._sent_s is None else round((time.monotonic() - self._sent_s) * 1000)
