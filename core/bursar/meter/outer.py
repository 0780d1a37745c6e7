"""A call as those below it see it: a framework's, that an SDK makes for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from bursar.meter.held import Held
    from bursar.wire import Receipt


class OuterCall:
    """
    Pays for the one call that is made below it, and takes what that one alone can see.

    Attributes:
        held: What is held for it, until that is resolved.

        sibling: Another call that a framework makes together with this one.

        observed: What an inner meter saw of this call, or None.
    """

    held: Held | None = None
    sibling: Self | None = None
    observed: Receipt | None = None
    _has_inner = False
    _inner_failure: tuple[bool, str] | None = None

    @property
    def is_open(self) -> bool:
        """Whether something is held that is not resolved."""
        return self.held is not None

    def inner(self) -> Self | None:
        """
        Return the meter that pays already for the call being made below: this one, once, or else a sibling.

        None where that call pays for itself.  It may be another call of the same block, made while this one's stream
        is open.
        """
        if self.is_open and not self._has_inner:
            self._has_inner = True
            return self
        return self.sibling.inner() if self.sibling is not None else None

    def take_no_inner(self) -> None:
        """Pay for no call made below any more; safe inside of the garbage collector."""
        self._has_inner = True

    def inner_failed(self, reason: str, *, is_billed: bool) -> None:
        """Take it that the call made below brought no answer: the next one is another attempt of this call."""
        self._has_inner = False
        self._inner_failure = is_billed, reason

    def take_inner_failure(self) -> tuple[bool, str] | None:
        """Return whether the failed call below may be billed, and what failed, if another is made in its place."""
        failure, self._inner_failure = self._inner_failure, None
        return failure

    def observe(self, receipt: Receipt) -> None:
        """Take what an inner meter saw of this call: usage that the outer one may not see so exactly."""
        self.observed = receipt
