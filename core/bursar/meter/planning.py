"""From a request's body to the plan of its call: what every adapter does before it reserves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from bursar.meter.plan import Plan, to_any_limit
from bursar.tuples import make
from bursar.wire import fingerprint

if TYPE_CHECKING:
    from collections.abc import Callable

    from bursar.paychain import Booking
    from bursar.wire import Endpoint
    from bursar.wire.fields import Json

_SHORT: Final = 8_192
"""Tokens at most, and so bytes, of a prompt that is written out as a whole for its fingerprint."""


def takes_limit(endpoint: Endpoint, body: Json, host: str, tokens: int) -> bool:
    """
    Whether the output limit of *body* can be lowered to so many tokens at *host*.

    A plan is given a `partial` of this, and no method: a plan that held whoever made it would keep every prompt until
    the garbage collector comes by.
    """
    model = str(body.get("model", ""))
    return endpoint.with_output_limit(body, tokens, model=model, host=host) is not None


def plan_request(
    endpoint: Endpoint,
    body: Json,
    booking: Booking,
    *,
    provider: str,
    can_downgrade: bool = True,
    can_shrink: Callable[[int], bool] = to_any_limit,
    is_sent_at_once: bool = True,
    is_async: bool = False,
    can_wait: bool = True,
    is_fitted_below: bool = False,
    timeout_s: Callable[[], float | None] | None = None,
    may_repeat: bool = True,
) -> Plan:
    """
    Return the plan of a call that sends *body* in the format of *endpoint*.

    An adapter of a framework need not have the very body that will be sent: the texts, images and tools of the
    request in `bursar.wire.chat_format(provider)` are enough for its bound.

    Args:
        booking: What it is booked to and paid from.

        provider: Who bills for it, in the words of the price data: `"openai"`, `"anthropic"`, `"google"`, ...

        can_downgrade, can_shrink, is_sent_at_once, is_async, can_wait, is_fitted_below, timeout_s: See `Plan`.

        may_repeat: Whether a call that comes later in the same run may be the same; if not, none is looked for.
    """
    run, agent, chain = booking
    ask = endpoint.read_request(body)
    mark = None
    if may_repeat:
        is_short = ask.input_tokens_most <= _SHORT and not (ask.image_tokens_most or ask.audio_tokens_most)
        mark = fingerprint(agent.name, body, is_short=is_short)
    return make(
        Plan,
        (
            run,
            agent,
            chain,
            provider,
            endpoint.name,
            ask,
            endpoint,
            body,
            mark,
            can_downgrade,
            can_shrink,
            timeout_s,
            None,  # No bound that was worked out elsewhere.
            True,  # It is metered.
            is_sent_at_once,
            is_async,
            can_wait,
            is_fitted_below,
            None,  # The body says what is asked for at another model.
        ),
    )
