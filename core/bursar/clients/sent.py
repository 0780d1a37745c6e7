"""
One call of an SDK that sends through an HTTP client it was given: Mistral's and Cohere's.

Such an SDK has a method that every call goes through, which begins a call here, and an HTTP client of `httpx` or
`httpx2` whose `send` is asked once for every HTTP attempt.  What is sent is read there, where it is whole.
"""

# The one seam to what is not public in the SDKs, and has no types that hold from version to version.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

import json
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final

from bursar.clients.answer import parse_json
from bursar.clients.attempts import Attempts
from bursar.clients.planning import plan_call
from bursar.clients.responses import stop_response, take_response
from bursar.clients.twins import twin_class, twin_of
from bursar.errors import BudgetExceeded
from bursar.meter.failures import failure_of, failure_of_status
from bursar.wire import Free, Unmetered

if TYPE_CHECKING:
    from collections.abc import Callable

    from bursar.meter import Held
    from bursar.payer import Payer
    from bursar.wire import Endpoint

current_sending: Final[ContextVar[Sending | None]] = ContextVar("bursar_sending", default=None)
"""The call that the SDK is making in this context, for the HTTP client below it."""

if TYPE_CHECKING:
    HttpClient = Any
else:
    HttpClient = object


class Sending:
    """
    A call of the SDK's from its choke point on; who pays is asked when its first request is sent.

    ```python
    sending = Sending(payer, "cohere", endpoint_of, is_async=False)
    with sending:
        sending.response = super().request(...)
    return sending.taken()
    ```

    Attributes:
        response: What the SDK's own choke point returned.

    Args:
        rules: What a method and a path are, as `bursar.wire.endpoint_of` tells.
    """

    def __init__(
        self,
        payer: Payer,
        provider: str,
        rules: Callable[[str, str], Endpoint | Free | Unmetered],
        *,
        is_async: bool,
    ) -> None:
        self._payer = payer
        self._provider = provider
        self._rules = rules
        self._is_async = is_async
        self._is_free = False
        self._call: SentCall | None = None
        self._stopped: Any = None
        self.response: Any = None

    def __enter__(self) -> None:
        self._before = current_sending.set(self)

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> bool:
        """Book what went wrong; an answer that says why the call was stopped stands for the refusal of a budget."""
        current_sending.reset(self._before)
        call = self._call
        if error is None or call is None:
            return False
        if isinstance(error, BudgetExceeded):
            self._stopped = call.stop_response(error)
        if self._stopped is None:
            call.raised(error)
        return self._stopped is not None

    def taken(self, *, is_stream: bool = False) -> Any:
        """Return the response, booked if it is read, and else read through us."""
        if self._stopped is not None:
            return self._stopped
        if self._call is not None:
            self._call.returned(self.response, is_stream=is_stream)
        return self.response

    def call_of(self, request: Any) -> SentCall | None:
        """Return the call that *request* is an attempt of, or None where it costs nothing."""
        if self._call is None and not self._is_free:
            found = self._rules(request.method, str(request.url))
            if isinstance(found, Free):
                self._is_free = True
            else:
                self._call = SentCall(self._payer, self._provider, found, request, is_async=self._is_async)
        return self._call


class SentCall(Attempts):
    """
    Follows one call from its first HTTP request on.

    Raises:
        UnmeteredEndpoint: It is not metered, and a budget limits dollars or tokens.
        UnknownAgent: The run's budget does not know the client's agent.
    """

    def __init__(
        self, payer: Payer, provider: str, found: Endpoint | Unmetered, request: Any, *, is_async: bool
    ) -> None:
        body = parse_json(_content_of(request))
        if not isinstance(found, Unmetered) and body is None:
            found = Unmetered(found.name, "its body is no JSON object that can be read before it is sent")
        self._endpoint = None if isinstance(found, Unmetered) else found
        self._body: dict[str, Any] = body or {}
        self._sent_body: Any = self._body
        self._request = request
        self._held: Held | None = None
        super().__init__(
            lambda: plan_call(found, self._body, payer.booking(), provider=provider, is_async=is_async)
        )

    def next_attempt(self, request: Any) -> Any:
        """
        Hold what the next attempt may cost, and return *request* changed to what was granted.

        Raises:
            BudgetExceeded: It does not fit.
        """
        if not self._sent:
            self._held = self.meter.reserve()
        self.sending()
        return self._fitted(request)

    async def anext_attempt(self, request: Any) -> Any:
        """Do as `next_attempt` does, in a task."""
        if not self._sent:
            self._held = await self.meter.areserve()
        await self.asending()
        return self._fitted(request)

    def _fitted(self, request: Any) -> Any:
        endpoint, held, body = self._endpoint, self._held, self._body
        if endpoint is None or held is None:
            return request
        if held.bound.model != self.meter.plan.ask.model:
            body = endpoint.with_model(body, held.bound.model)
        if held.output_limit is not None:
            lowered = endpoint.with_output_limit(body, held.output_limit, model=held.bound.model, host="")
            body = body if lowered is None else lowered
        if body is self._body:
            return request
        self._sent_body = body
        headers = [(name, value) for name, value in request.headers.raw if name.lower() != b"content-length"]
        return type(request)(
            request.method,
            request.url,
            headers=headers,
            content=json.dumps(body).encode(),
            extensions=request.extensions,
        )

    def answered(self, response: Any) -> None:
        """Note what an attempt brought."""
        if not response.is_success:
            self.failure = failure_of_status(response.status_code)

    def returned(self, response: Any, *, is_stream: bool) -> None:
        """Take the response of the last attempt: settle it if it is read, else let it be read through us."""
        if not response.is_success:
            self.failed(*(self.failure or failure_of_status(response.status_code)))
            return
        take_response(response, self.meter, self._endpoint, self._sent_body, is_stream=is_stream)

    def raised(self, error: BaseException) -> None:
        """The SDK gave up."""
        self.failed(*(self.failure or failure_of(error)))

    def stop_response(self, exceeded: BudgetExceeded) -> Any:
        """Return an HTTP response that says why the call was stopped, or None."""
        if self._endpoint is None or not self.meter.stops_gracefully:
            return None
        return stop_response(
            self._endpoint, self._body, exceeded, self._request, is_stream=self.meter.plan.ask.stream
        )


def guarded_http(http: Any, *, is_async: bool) -> Any:
    """Return a twin of an HTTP client over the same connections, which asks the call being made before it sends."""
    return twin_of(http, twin_class(type(http), _AsyncSends if is_async else _Sends))


class _Sends(HttpClient):
    """The attempts of a client that blocks."""

    def send(self, request: Any, **options: Any) -> Any:
        sending = current_sending.get()
        call = None if sending is None else sending.call_of(request)
        if call is None:
            return super().send(request, **options)
        fitted = call.next_attempt(request)
        try:
            response = super().send(fitted, **options)
        except Exception as error:  # Noted, and raised again.
            call.failure = failure_of(error)
            raise
        call.answered(response)
        return response


class _AsyncSends(HttpClient):
    """The attempts of a client that awaits."""

    async def send(self, request: Any, **options: Any) -> Any:
        sending = current_sending.get()
        call = None if sending is None else sending.call_of(request)
        if call is None:
            return await super().send(request, **options)
        fitted = await call.anext_attempt(request)
        try:
            response = await super().send(fitted, **options)
        except Exception as error:  # Noted, and raised again.
            call.failure = failure_of(error)
            raise
        call.answered(response)
        return response


def _content_of(request: Any) -> bytes:
    """Return the body of *request*; empty where it is made while it is sent, as uploads are."""
    content: Any = getattr(request, "_content", None)
    return content if isinstance(content, bytes) else b""
