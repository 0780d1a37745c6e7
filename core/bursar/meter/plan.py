"""What an adapter tells a meter about a call before it is sent."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple

from bursar.wire.reasoning import hides_reasoning

if TYPE_CHECKING:
    from collections.abc import Callable

    from bursar.bound import Bound
    from bursar.entry import Agent
    from bursar.paychain import PayChain
    from bursar.run import Run
    from bursar.wire import Ask, Endpoint
    from bursar.wire.fields import Json

_NO_BODY: Final[Json] = MappingProxyType({})


def to_any_limit(tokens: int) -> bool:
    """Tell that the output limit can be lowered to whatever number of tokens."""
    del tokens
    return True


class Plan(NamedTuple):
    """
    A call about to be made.

    Attributes:
        run, agent, chain: What it is booked to and paid from: a `Booking`.

        operation: What it is, for people: `"openai.chat"`.

        endpoint, body: What the request is, by which it is weighed again for another model, and its input counted
            exactly where the cheap bound does not fit. None for a call of which there is no more to read.

        fingerprint: A keyed hash of the request; None where repetitions of it are not looked for.

        can_downgrade: Whether the adapter can send the call to another model.

        can_shrink: Whether the adapter can lower the output limit to this many tokens.

        timeout_s: Returns what the client waits for an answer at most, in seconds, or None where that is endless; asked
            only where time is billed. None where it is not known.

        fixed_bound: The bound, where it is worked out elsewhere, as that of a batch is the sum of many.

        is_metered: Whether what the call costs can be known; if not, its cost is entered as unknown.

        is_sent_at_once: Whether nothing lies between the hold and the request, so that no step of its own need mark
            when it is sent.

        is_async: Whether the call is made by a task, which may wait without blocking others of its thread.

        is_fitted_below: Whether a guarded client that sends the call changes the request to what was granted: the
            model, the output limit.

        can_wait: Whether it may wait for a budget that is busy. A framework's hook that is called on an event loop and
            not awaited must not: the calls that it would wait for are tasks of that very loop.

        ask_again: Returns what the request asks for at another model, where that is another than *body* says.
    """

    run: Run
    agent: Agent
    chain: PayChain
    provider: str
    operation: str
    ask: Ask
    endpoint: Endpoint | None = None
    body: Json = _NO_BODY
    fingerprint: int | None = None
    can_downgrade: bool = True
    can_shrink: Callable[[int], bool] = to_any_limit
    timeout_s: Callable[[], float | None] | None = None
    fixed_bound: Bound | None = None
    is_metered: bool = True
    is_sent_at_once: bool = True
    is_async: bool = False
    can_wait: bool = True
    is_fitted_below: bool = False
    ask_again: Callable[[str], Ask] | None = None

    def hides_output(self, *models: str) -> bool:
        """
        Whether an answer by a model of these names may hold output that is billed and not shown.

        Of such an answer, cut, nobody knows what it cost: somewhere between what was seen and all that it was allowed.
        A budget is kept only by the upper end, which is booked, marked `bound`, and corrected by nothing later.
        """
        if self.ask.background:
            # It is worked on to its end, whoever still listens.
            return True
        asked = self.ask.reasoning
        return any(map(hides_reasoning, models)) if asked is None else asked

    def ask_of(self, model: str) -> Ask:
        """Return what the request asks for at *model*: images and fixed overheads are weighed by the model."""
        if model == self.ask.model:
            return self.ask
        if self.ask_again is not None:
            return self.ask_again(model)
        if self.endpoint is None:
            return self.ask
        return self.endpoint.read_request(self.endpoint.with_model(self.body, model))

    def count_input(self) -> int | None:
        """Count the input exactly; None where it cannot be counted."""
        return None if self.endpoint is None else self.endpoint.count_input_tokens(self.body)
