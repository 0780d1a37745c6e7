"""What a meter holds for a call until it is resolved."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from bursar.account import Amounts
    from bursar.bound import Bound
    from bursar.reservation import Notice


class Held(NamedTuple):
    """
    A hold that was taken.

    Attributes:
        bound: Of the model that the call is to be sent to.

        output_limit: What the request's own limit is to be lowered to, or None to send it unchanged.

        is_unpaid: The store did not answer and the budget fails open: nothing is held, and the cost is booked when
            it is known.

        notices: The thresholds that it passed, to be told once it is safe.
    """

    id: str
    bound: Bound
    amounts: Amounts
    output_limit: int | None
    is_unpaid: bool = False
    notices: tuple[Notice, ...] = ()
