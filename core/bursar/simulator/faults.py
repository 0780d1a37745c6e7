"""What goes wrong at a provider, and whether it is billed all the same."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

FaultKind = Literal["status", "reset", "cut", "stall", "malformed", "error_event", "no_usage"]

Billed = Literal["nothing", "generated", "all"]
"""What a request is billed for: nothing, the input and the output so far, or the whole answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """
    One thing that goes wrong with one request; use the class methods.

    An event is one server-sent event of the stream, so `after_events=0` comes before the first.

    Attributes:
        bill: What the provider bills. An error status and a reset bill nothing. A cut stream bills the whole
            answer, because the provider generated it; an error event bills what was generated before it.
    """

    kind: FaultKind
    status_code: int = 500
    retry_after_s: float | None = None
    message: str | None = None
    after_events: int = 0
    stall_s: float = 0.0
    bill: Billed = "nothing"

    def __post_init__(self) -> None:
        """Check the ranges, so that a typo fails where it is written and not in a request."""
        if self.after_events < 0:
            msg = f"after_events must not be negative, got {self.after_events}"
            raise ValueError(msg)
        if self.stall_s < 0:
            msg = f"stall_s must not be negative, got {self.stall_s}"
            raise ValueError(msg)
        if not 400 <= self.status_code <= 599:
            msg = f"a fault's status must be 400 to 599, got {self.status_code}"
            raise ValueError(msg)

    @classmethod
    def status(
        cls, status_code: int, *, retry_after_s: float | None = None, message: str | None = None
    ) -> Fault:
        """
        Answer with an error status in the provider's own shape; not billed.

        Args:
            status_code: 400 to 599; 529 is Anthropic's "overloaded".

            retry_after_s: Sent as `retry-after` (and `retry-after-ms`). The SDKs wait as long; without it they
                back off from half a second on, so a quick test passes `0.001`.

            message: The error's text, in place of the provider's usual one.
        """
        return cls(kind="status", status_code=status_code, retry_after_s=retry_after_s, message=message)

    @classmethod
    def rate_limited(cls, *, retry_after_s: float = 1.0) -> Fault:
        """Answer 429 with `retry-after`; not billed."""
        return cls.status(429, retry_after_s=retry_after_s)

    @classmethod
    def overloaded(cls, *, retry_after_s: float | None = None) -> Fault:
        """Answer 529, as Anthropic does under load; not billed."""
        return cls.status(529, retry_after_s=retry_after_s)

    @classmethod
    def reset(cls, *, bill: Billed = "nothing") -> Fault:
        """Reset the connection before the response; `bill="all"` if the provider had answered by then."""
        return cls(kind="reset", bill=bill)

    @classmethod
    def cut(cls, *, after_events: int = 3, bill: Billed = "all") -> Fault:
        """Close the connection after that many events, or in the middle of a JSON body; billed in full."""
        return cls(kind="cut", after_events=after_events, bill=bill)

    @classmethod
    def stall(cls, stall_s: float, *, after_events: int = 0) -> Fault:
        """
        Send nothing for *stall_s* seconds, then go on as if nothing had happened; billed in full.

        A client that gives up meanwhile is an aborted request and is billed like one.
        """
        return cls(kind="stall", stall_s=stall_s, after_events=after_events, bill="all")

    @classmethod
    def malformed(cls, *, after_events: int = 1) -> Fault:
        """Send half of the JSON body, or one broken event in the stream; billed in full."""
        return cls(kind="malformed", after_events=after_events, bill="all")

    @classmethod
    def error_event(
        cls, *, after_events: int = 2, status_code: int = 529, message: str | None = None
    ) -> Fault:
        """End the stream with the provider's error event; billed for what came before. Without a stream: a status."""
        return cls(
            kind="error_event",
            after_events=after_events,
            status_code=status_code,
            message=message,
            bill="generated",
        )

    @classmethod
    def no_usage(cls) -> Fault:
        """Leave the usage out of the response; billed in full."""
        return cls(kind="no_usage", bill="all")

    @property
    def prevents_answer(self) -> bool:
        """Whether the request fails before a model has answered, so that a script is not advanced."""
        return self.kind in ("status", "reset")
