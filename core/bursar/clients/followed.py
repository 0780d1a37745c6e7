"""What the choke point of a guarded client tells a call of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from bursar.errors import BudgetExceeded


class Followed(Protocol):
    """A call on its way through the SDK: one that is paid, or one that is only looked at."""

    @property
    def has_failure(self) -> bool:
        """Whether it is known why the last attempt failed."""
        ...

    @property
    def is_being_read(self) -> bool:
        """Whether its answer is read through us, piece by piece, by the caller."""
        ...

    def reserve(self) -> Any:
        """Hold what the call may cost, and return the options to send it with."""
        ...

    async def areserve(self) -> Any:
        """Do as `reserve` does, in a task."""
        ...

    def sending(self) -> None:
        """Take it that an HTTP attempt is about to be sent."""
        ...

    async def asending(self) -> None:
        """Do as `sending` does, in a task."""
        ...

    def note_failure(self, response: Any, error: BaseException | None) -> None:
        """Note why the SDK is about to send the request again."""
        ...

    def received(self, response: Any, *, is_stream: bool) -> None:
        """Take an HTTP response."""
        ...

    def returned(self) -> None:
        """Take it that the SDK gave the call back to the caller."""
        ...

    def raised(self, error: BaseException) -> None:
        """Take it that the SDK gave up."""
        ...

    def without_usage(self, error: Exception) -> Any:
        """Return the options to send once more after *error*, without the usage that was asked for, or None."""
        ...

    def stop_answer(self, exceeded: BudgetExceeded, request_of: Callable[[], Any]) -> Any:
        """Return an HTTP response in place of the exception, or None where there is none."""
        ...
