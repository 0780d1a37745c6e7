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

    The outermost meter of a call owns its reservation, so that nothing is counted twice.
    """

    is_open = False
    stops_gracefully = False

    def __init__(self, outer: Meter) -> None:
        self._outer = outer
        self.plan: Plan = outer.plan

    def reserve(self) -> Held | None:
        """Hold nothing."""
        return None

    async def areserve(self) -> Held | None:
        """Hold nothing."""
        return None

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
        """Tell nothing: the outer meter sees the error too."""

    def now_s(self) -> float:
        """Return the seconds that leases are measured in."""
        return self._outer.now_s()

    def extend(self, lease_s: float) -> None:
        """Let the hold live longer: the answer is still coming."""
        self._outer.extend(lease_s)
