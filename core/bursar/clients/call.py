"""One call of a guarded client: what it asks for, what is changed to make it fit, and how it ends."""

from __future__ import annotations

from contextvars import ContextVar
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from bursar.clients.bodies import body_of, with_body
from bursar.clients.linking import take_link
from bursar.clients.planning import plan_call
from bursar.clients.responses import stop_response, take_response
from bursar.clients.timeouts import timeout_of
from bursar.clients.unmetered import never
from bursar.dropped import dropped
from bursar.meter import Meter, Observer
from bursar.meter.failures import failure_of, failure_of_status
from bursar.scope import current_meter
from bursar.wire import Receipt, Unmetered

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from bursar.clients.followed import Followed
    from bursar.clients.sdk import Sdk
    from bursar.errors import BudgetExceeded
    from bursar.meter import Held
    from bursar.payer import Payer
    from bursar.wire import Endpoint


current_call: Final[ContextVar[Followed | None]] = ContextVar("bursar_guarded_call", default=None)
"""The call that the SDK is making in this context, for the hooks below its choke point."""

_OK: Final = 200
_NOT_OK: Final = 300
_NOT_UNDERSTOOD: Final = frozenset({400, 422})
_takes_no_usage: Final[set[str]] = set()
"""Hosts that refuse a stream's `include_usage`, as some that only speak OpenAI's format do; not asked twice."""


class GuardedCall:
    """
    Follows one call through the SDK.

    Attributes:
        is_being_read: Whether its answer is read through us, piece by piece, by the caller.

    Args:
        found: The endpoint, or why it is not metered.

    Raises:
        UnmeteredEndpoint: It is not metered, and a budget limits dollars or tokens.
        UnknownAgent: The run's budget does not know the client's agent.
    """

    is_being_read = False
    # A batch is planned in another way.
    _plan = staticmethod(plan_call)
    _attempts = 0
    _failure: tuple[bool, str] | None = None
    _hides_usage = False
    _is_answered = False

    def __init__(
        self, client: Any, sdk: Sdk, payer: Payer, options: Any, found: Endpoint | Unmetered
    ) -> None:
        self.endpoint = None if isinstance(found, Unmetered) else found
        linked, options = take_link(options)
        self._options = options
        self._body: Mapping[str, Any] = body_of(options)
        self._address = sdk.address(client)
        self._sent_body = self._body
        around = current_meter.get() if linked is None else linked
        outer = None if around is None else around.inner()
        if outer is not None:
            self.meter: Meter | Observer = Observer(outer)
            self._ask = outer.plan.ask
            return
        if dropped.may_be_any:
            dropped.do_all()
        booking = payer.booking()
        if self.endpoint is not None and not self._body:
            # By its name: a URL that the caller wrote may hold a key.
            found = Unmetered(
                self.endpoint.name, "its body is no JSON object that can be read before it is sent"
            )
        plan = self._plan(
            found,
            self._body,
            booking,
            provider=self._address.provider,
            host=self._address.host,
            is_async=sdk.is_async,
            timeout_s=partial(timeout_of, client, options),
        )
        self._ask = plan.ask
        self.meter = Meter(plan)

    def reserve(self) -> Any:
        """Hold the bound of the call, and return the options to send it with."""
        return self._fitted(self.meter.reserve())

    async def areserve(self) -> Any:
        """Do as `reserve` does, in a task."""
        return self._fitted(await self.meter.areserve())

    def sending(self) -> None:
        """An HTTP attempt is about to be sent: the first of the call, or another one."""
        self._attempts += 1
        if self._is_answered:
            self._start_over().reserve()
        elif self._attempts > 1:
            is_billed, reason = self._take_failure()
            self.meter.retry(is_billed=is_billed, reason=reason)
        self.meter.dispatch()

    async def asending(self) -> None:
        """Do as `sending` does, in a task."""
        self._attempts += 1
        if self._is_answered:
            await self._start_over().areserve()
        elif self._attempts > 1:
            is_billed, reason = self._take_failure()
            await self.meter.aretry(is_billed=is_billed, reason=reason)
        self.meter.dispatch()

    def _start_over(self) -> Meter | Observer:
        """Follow a request that was answered and is sent once more all the same, as a middleware may do."""
        self._is_answered = self.is_being_read = False
        if isinstance(self.meter, Meter):
            # It is built already, and can be changed no more.
            ask = self._ask if self.endpoint is None else self.endpoint.read_request(self._sent_body)
            plan = self.meter.plan._replace(ask=ask, can_downgrade=False, can_shrink=never)
            self.meter = Meter(plan)
        return self.meter

    @property
    def has_failure(self) -> bool:
        """Whether it is known why the last attempt failed."""
        return self._failure is not None

    def note_failure(self, response: Any, error: BaseException | None) -> None:
        """Note why the SDK is about to send the request again."""
        self._failure = failure_of(error) if response is None else failure_of_status(response.status_code)

    def received(self, response: Any, *, is_stream: bool) -> None:
        """Take a successful HTTP response: settle it if it is read, else let it be read through us."""
        if not _OK <= response.status_code < _NOT_OK or self._is_answered:
            return
        self._is_answered = True
        self.is_being_read = take_response(
            response,
            self.meter,
            self.endpoint,
            self._sent_body,
            is_stream=is_stream,
            hides_usage=self._hides_usage,
        )

    def returned(self) -> None:
        """The SDK gave the call back to the caller: what is neither settled nor being read now never will be."""
        if self.meter.held is None or self.is_being_read:
            return
        if self._attempts or isinstance(self.meter, Observer):
            self.meter.settle(Receipt())
        else:
            # A middleware answered in its place.
            self.meter.release()

    def raised(self, error: BaseException) -> None:
        """The SDK gave up."""
        if (self.meter.is_open or isinstance(self.meter, Observer)) and not self.is_being_read:
            is_billed, reason = failure_of(error)
            self.meter.fail(reason, is_billed=is_billed)

    def stop_answer(self, exceeded: BudgetExceeded, request_of: Callable[[], Any]) -> Any:
        """
        Return an HTTP response that says why the call was stopped, or None where its endpoint has no such thing.

        Args:
            request_of: Makes the request that it stands for.
        """
        if self.endpoint is None or not self.meter.stops_gracefully:
            return None
        return stop_response(self.endpoint, self._body, exceeded, request_of(), is_stream=self._ask.stream)

    def without_usage(self, error: Exception) -> Any:
        """Return the options without the usage that only bursar asked for, if *error* is about just that, or None."""
        status, said = getattr(error, "status_code", None), str(getattr(error, "body", "") or error)
        if not self._hides_usage or status not in _NOT_UNDERSTOOD or "stream_options" not in said:
            return None
        _takes_no_usage.add(self._address.host)
        self._hides_usage = False
        self._failure = failure_of_status(status)
        options = self._options.model_copy()
        options.json_data = {key: value for key, value in self._sent_body.items() if key != "stream_options"}
        if "stream_options" in self._body:
            options.json_data["stream_options"] = self._body["stream_options"]
        self._sent_body = options.json_data
        return options

    def _take_failure(self) -> tuple[bool, str]:
        # Of an attempt that failed in a way nobody told us, it must be presumed that it was billed.
        failure, self._failure = self._failure or (True, "unknown"), None
        return failure

    def _fitted(self, held: Held | None) -> Any:
        """Return the options changed to what was granted: another model, a lower output limit, usage asked for."""
        endpoint, body, ask = self.endpoint, self._body, self._ask
        is_whole = held is None or (held.output_limit is None and held.bound.model == ask.model)
        if endpoint is None or not body or (is_whole and not body.get("stream")):
            return self._options
        if held is not None and held.bound.model != ask.model:
            body = endpoint.with_model(body, held.bound.model)
        if held is not None and held.output_limit is not None:
            lowered = endpoint.with_output_limit(
                body, held.output_limit, model=held.bound.model, host=self._address.host
            )
            if lowered is None:
                # It was asked before the hold was taken, with this body or with one that stood for it.
                msg = f"the output limit of a call to {ask.model!r} could not be lowered"
                raise RuntimeError(msg)
            body = lowered
        if self._address.host not in _takes_no_usage:
            body, self._hides_usage = endpoint.with_stream_usage(body)
        if body is self._body:
            return self._options
        self._sent_body = body
        return with_body(self._options, body)
