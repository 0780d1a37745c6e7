"""The inner of two meters on one call: holds nothing, and tells the outer one what it alone can see."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bursar.meter import Held, Meter
    from bursar.meter.plan import Plan
    from bursar.wire import Receipt


class Observer:
    """
    Stands where a `Meter` would, for a guarded client that a framework's adapter calls.

    The outermost meter of a call owns its reservation, so that nothing is counted twice.  A client may send again
    what failed, in a call of its own: to the outer meter that is another attempt.
    """

    held = None
    is_open = False
    stops_gracefully = False

    def __init__(self, outer: Meter) -> None:
        self._outer = outer
        self._has_inner = False
        self.plan: Plan = outer.plan

    def inner(self) -> Meter | None:
        """Return the outer meter for the call that is made below this one, once; see `Meter.inner`."""
        if self._has_inner or not self._outer.is_open:
            return None
        self._has_inner = True
        return self._outer

    def reserve(self) -> Held | None:
        """Hold nothing, or the bound of another attempt; return what was granted if it is to be applied here."""
        if (failure := self._outer.take_inner_failure()) is not None:
            is_billed, reason = failure
            self._outer.retry(is_billed=is_billed, reason=reason)
        return self._granted

    async def areserve(self) -> Held | None:
        """Do as `reserve` does, in a task."""
        if (failure := self._outer.take_inner_failure()) is not None:
            is_billed, reason = failure
            await self._outer.aretry(is_billed=is_billed, reason=reason)
        return self._granted

    @property
    def _granted(self) -> Held | None:
        return self._outer.held if self.plan.is_fitted_below else None

    def dispatch(self) -> None:
        """Mark that the request is being sent."""
        self._outer.dispatch()

    def retry(self, *, is_billed: bool, reason: str) -> None:
        """Book the attempt that failed and hold the bound for the next."""
        self._outer.retry(is_billed=is_billed, reason=reason)

    async def aretry(self, *, is_billed: bool, reason: str) -> None:
        """Do as `retry` does, in a task."""
        await self._outer.aretry(is_billed=is_billed, reason=reason)

    def settle(self, receipt: Receipt) -> None:
        """Tell what the answer said; the outer meter settles."""
        self._outer.observe(receipt)

    def estimate(self, receipt: Receipt, output_tokens: int) -> None:
        """Tell nothing: an answer without usage is no news to the outer meter."""
        del output_tokens
        self.settle(receipt)

    def abort(self, receipt: Receipt, output_tokens: int | None, *, reason: str = "") -> None:
        """Tell what was reported before the end."""
        del output_tokens, reason
        self.settle(receipt)

    def fail(self, reason: str, *, is_billed: bool) -> None:
        """Tell what failed: the client may be asked once more, as it were by the same call."""
        self._has_inner = False
        self._outer.inner_failed(reason, is_billed=is_billed)

    def now_s(self) -> float:
        """Return the seconds that leases are measured in."""
        return self._outer.now_s()

    def extend(self, lease_s: float) -> None:
        """Let the hold live longer: the answer is still coming."""
        self._outer.extend(lease_s)
