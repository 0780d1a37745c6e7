"""From a call to its plan: who pays, what it may cost, and which clients could serve it."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from bursar.meter import plan_request, takes_limit
from bursar.tuples import make
from bursar_autogen.call import Request
from bursar_autogen.identity import agent_of
from bursar_autogen.request import body_of, can_do
from bursar_autogen.teams import run_of, under

if TYPE_CHECKING:
    from bursar.meter import Plan
    from bursar.payer import Booking, Payer
    from bursar.run import Run
    from bursar.wire import Ask, Endpoint
    from bursar_autogen.identity import Asker
    from bursar_autogen.inner import Inner


class Wanted(NamedTuple):
    """What a caller wants: `messages` and all else that `create` takes by name."""

    messages: Any
    arguments: dict[str, Any]
    stream: bool

    def body(self, inner: Inner, model: str, extra: dict[str, Any]) -> dict[str, Any]:
        """Return what it is weighed by at *inner*."""
        asked = self.arguments
        return body_of(
            inner,
            model,
            self.messages,
            tools=asked["tools"],
            tool_choice=asked["tool_choice"],
            json_output=asked["json_output"],
            extra=extra,
            stream=self.stream,
        )

    def can_be_done_by(self, info: Any) -> bool:
        """Whether a model of which AutoGen says *info* can do it."""
        asked = self.arguments
        return can_do(info, self.messages, asked["tools"], asked["json_output"], asked["extra_create_args"])


class Planner:
    """
    Plans the calls of one budgeted client.

    Args:
        inner: The client that it wraps.

        fallback: The clients that may stand in for that one, in order.

        made_in: The run that the budgeted client was made in.
    """

    def __init__(
        self, inner: Inner, fallback: tuple[Inner, ...], payer: Payer, *, made_in: Run | None
    ) -> None:
        self._inner = inner
        # A price is found by the name alone where both are of one provider, else with the provider before it.
        self._names = {other.model({}): _name_beside(inner, other) for other in fallback}
        self._fallback = {_name_beside(inner, other): other for other in fallback}
        self._payer = payer
        self._made_in = made_in

    def plan(self, wanted: Wanted, asker: Asker) -> tuple[Plan, Request]:
        """Return the plan of a call, and what it will ask of its client."""
        inner = self._inner
        for each in (inner, *self._fallback.values()):
            each.look_again()
        extra = wanted.arguments["extra_create_args"]
        model = inner.model(extra)
        endpoint = inner.endpoint(model)
        body = wanted.body(inner, model, extra)
        booking = self._booking(asker)
        steps = self._steps(model, booking, wanted)
        if steps is not None:
            booking = booking.with_ladder(model, steps)
        plan = plan_request(
            endpoint,
            body,
            booking,
            provider=inner.provider,
            can_downgrade=bool(steps),
            can_shrink=partial(_takes_limit, inner, endpoint, body),
            is_async=True,
        )
        messages, arguments, _ = wanted
        request = make(Request, (inner, endpoint, model, body, messages, arguments, self._fallback))
        if steps and self._fallback:
            plan = plan._replace(ask_again=partial(self._ask_again, wanted, plan))
        return plan, request

    def _booking(self, asker: Asker) -> Booking:
        payer = self._payer
        agent = agent_of(asker, bound=payer.agent, under=under(asker.handled))
        run = run_of(asker.handled, payer.budget, self._made_in)
        return payer.booking(agent, run=run)

    def _steps(self, model: str, booking: Booking, wanted: Wanted) -> tuple[str, ...] | None:
        """Return the models that a call may be sent to in the place of *model*; None where nobody names any."""
        named = booking.chain.ladders.get(model)
        if named is None and not self._fallback:
            return None
        asked = (self._names.get(step, step) for step in named or self._fallback)
        return tuple(step for step in asked if step != model and self._can_serve(step, wanted))

    def _can_serve(self, step: str, wanted: Wanted) -> bool:
        other = self._fallback.get(step)
        info = self._inner.info_of(step) if other is None else other.client.model_info
        return info is not None and wanted.can_be_done_by(info)

    def _ask_again(self, wanted: Wanted, plan: Plan, step: str) -> Ask:
        """Return what the request asks for at another client, which has limits of its own."""
        other = self._fallback.get(step)
        if other is None:
            return plan.ask_of(step)
        extra = {key: value for key, value in wanted.arguments["extra_create_args"].items() if key != "model"}
        return other.endpoint(step).read_request(wanted.body(other, step, extra))


def _takes_limit(inner: Inner, endpoint: Endpoint, body: dict[str, Any], tokens: int) -> bool:
    return takes_limit(endpoint, body, inner.host, tokens)


def _name_beside(inner: Inner, other: Inner) -> str:
    model = other.model({})
    return model if other.provider == inner.provider else f"{other.provider}/{model}"
