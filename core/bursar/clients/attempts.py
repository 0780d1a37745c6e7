"""The attempts of one call, of which an SDK makes as many as it likes below the choke point that a call is seen at."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bursar.dropped import dropped
from bursar.meter import Meter, Observer
from bursar.meter.around import outer_meter

if TYPE_CHECKING:
    from collections.abc import Callable

    from bursar.meter import Plan


class Attempts:
    """
    Follows the attempts of one call.

    Attributes:
        meter: Pays for the call, or tells the one around it.

        failure: Whether the last attempt may be billed, and what failed; None if it did not.

    Args:
        plan: Asked only where no meter around pays for the call already.
    """

    def __init__(self, plan: Callable[[], Plan]) -> None:
        self.failure: tuple[bool, str] | None = None
        self._sent = 0
        outer = outer_meter()
        self.meter: Meter | Observer
        if outer is not None:
            self.meter = Observer(outer)
            return
        dropped.do_all()
        self.meter = Meter(plan())

    def sending(self) -> None:
        """
        Take it that an HTTP attempt is about to be sent: the first of the call, or another one.

        Raises:
            BudgetExceeded: No budget is left for another attempt.
        """
        self._sent += 1
        if self._sent > 1:
            is_billed, reason = self._take_failure()
            self.meter.retry(is_billed=is_billed, reason=reason)
        self.meter.dispatch()

    async def asending(self) -> None:
        """Do as `sending` does, in a task."""
        self._sent += 1
        if self._sent > 1:
            is_billed, reason = self._take_failure()
            await self.meter.aretry(is_billed=is_billed, reason=reason)
        self.meter.dispatch()

    def failed(self, is_billed: bool, reason: str) -> None:
        """Book a call that the SDK gave up."""
        if self.meter.is_open or isinstance(self.meter, Observer):
            self.meter.fail(reason, is_billed=is_billed)

    def _take_failure(self) -> tuple[bool, str]:
        # Of an attempt that failed in a way nobody told us, it must be presumed that it was billed.
        failure, self.failure = self.failure or (True, "unknown"), None
        return failure
