"""What the time of a call may cost at most, at a price by the second."""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING

from bursar.errors import UnmeteredEndpoint
from bursar.prices.units import CALL_MILLISECONDS

if TYPE_CHECKING:
    from bursar.prices.price import Price


def time_most_pico(price: Price, *, stream: bool, timeout_s: float | None, is_limited: bool) -> int:
    """
    Return what the longest call at *price* costs for its time, in pico-dollars.

    That is the declared *longest_s*, else, for an answer that comes as a whole, the client's timeout.  Neither ends a
    call that a server keeps alive byte by byte, so a call can take longer: it is then booked in full, as an overage.
    A stream's timeout limits the wait for each piece of it and nothing else, so that it bounds nothing.

    Args:
        timeout_s: What the client waits at most; None where it is not known, or endless.

        is_limited: Whether anything limits what the call may cost; if not, nothing is held where nothing is known.

    Raises:
        UnmeteredEndpoint: Nothing bounds the time.
    """
    longest_s: float | None = price.longest_s
    if longest_s is None and not stream:
        longest_s = timeout_s
    if longest_s is None:
        if not is_limited:
            return 0
        why = (
            "the timeout of a stream limits the wait for each of its pieces only"
            if stream
            else "no timeout is known"
        )
        msg = (
            f'this call to "{price.model}" was not sent: its price is by the second, and nothing says how long it may '
            f'take ({why}); say so with bursar.prices.add("{price.model}", per_second=..., longest_s=600)'
        )
        raise UnmeteredEndpoint(msg)
    return (price.fee_pico(CALL_MILLISECONDS) or 0) * ceil(longest_s * 1000)
