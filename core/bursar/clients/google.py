"""
Guarded clients of Google's `google-genai`: a twin of the user's client, over a twin of its API client.

Whatever helper makes a call, sync, async, chat or stream, it goes through `_request` or `_async_request` of the API
client, and every HTTP attempt of it through `_request_once` or `_async_request_once`.
"""

# The one seam to what is not public in the SDK, and has no types that hold from version to version.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

import copy
import json
import sys
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

from bursar.clients.aiohttp_lines import read_lines
from bursar.clients.answer import AnswerReader
from bursar.clients.attempts import Attempts
from bursar.clients.patches import tell_patches
from bursar.clients.planning import plan_call
from bursar.clients.transport import http_package, read_through
from bursar.clients.twins import own_attributes, plain_class, twin_class, twin_of
from bursar.clients.unmetered import never
from bursar.errors import BudgetExceeded, UnmeteredEndpoint
from bursar.meter.failures import failure_of, failure_of_status
from bursar.wire import Free, Receipt, Unmetered, endpoint_of, model_in_path, path_with_model
from bursar.wire.fields import is_mapping

if TYPE_CHECKING:
    from bursar.meter import Held, Plan
    from bursar.payer import Payer
    from bursar.wire import Endpoint

ClientT = TypeVar("ClientT")
_current: Final[ContextVar[GoogleCall | None]] = ContextVar("bursar_google_call", default=None)
_BESIDE: Final = ("interactions", "agents", "triggers", "environments", "webhooks", "voices", "credentials")
"""What has a client of its own, which nothing here sees."""

_LIVE: Final = "a live session cannot be bounded before it is opened"
_OWN_CLIENT: Final = "it has a client of its own that is not metered"

if TYPE_CHECKING:
    ApiClient = Any
else:
    ApiClient = object


def is_google(client: object) -> bool:
    """Whether *client* is a `google.genai.Client`, or its `.aio`."""
    return any(base.__module__ == "google.genai.client" for base in type(client).__mro__)


def guard_google(client: ClientT, payer: Payer) -> ClientT:
    """Return a twin of *client* whose calls *payer* pays for."""
    given: Any = client
    tell_patches(client)
    api_client = _guarded_api_client(given._api_client, payer)
    twin: Any = _twin(given, api_client, payer)
    return cast("ClientT", twin)


def _twin(client: Any, api_client: Any, payer: Payer) -> Any:
    plain = plain_class(type(client))
    attributes = {
        # Connections are closed by whoever made them.
        "__del__": _keep_open,
        "bursar": payer,
        **{name: property(_refuse(name, _OWN_CLIENT)) for name in _BESIDE if hasattr(plain, name)},
    }
    if hasattr(plain, "live"):
        attributes["live"] = property(_refuse("live", _LIVE))
    twin: Any = object.__new__(twin_class(plain, **attributes))
    for name, value in own_attributes(client).items():
        if name == "_api_client":
            vars(twin)[name] = api_client
        elif name == "_aio":
            vars(twin)[name] = _twin(value, api_client, payer)
        elif getattr(value, "_api_client", None) is client._api_client:
            vars(twin)[name] = type(value)(api_client)
        else:
            vars(twin)[name] = value
    vars(twin)["_bursar_kept"] = client
    return twin


def _keep_open(client: object) -> None:
    """Close nothing."""
    del client


def _refuse(name: str, why: str) -> Any:
    def refuse(_: object) -> Any:
        msg = (
            f'"{name}" of a guarded Google client was not used: {why}. Use it on a client that is not guarded'
        )
        raise UnmeteredEndpoint(msg)

    return refuse


def _guarded_api_client(api_client: Any, payer: Payer) -> Any:
    twin = twin_of(api_client, twin_class(type(api_client), _GuardedApiClient, bursar=payer))
    # The SDK's own closes its connections when it goes; it lives as long as this does.
    twin._bursar_kept = api_client
    return twin


class _GuardedApiClient(ApiClient):
    """The choke point of a client, sync and async."""

    bursar: Payer

    def __del__(self) -> None:
        """Close nothing: whoever made the connections does."""

    def _request(self, http_request: Any, http_options: Any = None, stream: bool = False) -> Any:
        call = _call_of(self, http_request, stream=stream, is_async=False)
        if call is None:
            return super()._request(http_request, http_options, stream)
        token = _current.set(call)
        try:
            fitted = call.fitted(call.meter.reserve())
            response = super()._request(fitted, http_options, stream)
        except BudgetExceeded as exceeded:
            return call.stopped(exceeded)
        except BaseException as error:  # Booked, and raised again.
            call.raised(error)
            raise
        finally:
            _current.reset(token)
        call.received(response)
        return response

    def _request_once(self, http_request: Any, stream: bool = False) -> Any:
        if (call := _current.get()) is not None:
            call.sending()
        try:
            return super()._request_once(http_request, stream)
        except Exception as error:  # Booked, and raised again.
            if call is not None:
                call.failure = _failure_of(error)
            raise

    async def _async_request(self, http_request: Any, http_options: Any = None, stream: bool = False) -> Any:
        call = _call_of(self, http_request, stream=stream, is_async=True)
        if call is None:
            return await super()._async_request(http_request, http_options, stream)
        token = _current.set(call)
        try:
            fitted = call.fitted(await call.meter.areserve())
            response = await super()._async_request(fitted, http_options, stream)
        except BudgetExceeded as exceeded:
            return call.stopped(exceeded)
        except BaseException as error:  # Booked, and raised again.
            call.raised(error)
            raise
        finally:
            _current.reset(token)
        call.received(response)
        return response

    async def _async_request_once(self, http_request: Any, stream: bool = False) -> Any:
        if (call := _current.get()) is not None:
            await call.asending()
        try:
            return await super()._async_request_once(http_request, stream)
        except Exception as error:  # Booked, and raised again.
            if call is not None:
                call.failure = _failure_of(error)
            raise


def _call_of(client: Any, http_request: Any, *, stream: bool, is_async: bool) -> GoogleCall | None:
    """Return the call to follow, or None where it costs nothing."""
    found = endpoint_of(http_request.method, http_request.url)
    if isinstance(found, Free):
        return None
    return GoogleCall(client, http_request, found, stream=stream, is_async=is_async)


class GoogleCall(Attempts):
    """
    Follows one call through the SDK.

    Raises:
        UnmeteredEndpoint: It is not metered, and a budget limits dollars or tokens.
        UnknownAgent: The run's budget does not know the client's agent.
    """

    def __init__(
        self, client: Any, http_request: Any, found: Endpoint | Unmetered, *, stream: bool, is_async: bool
    ) -> None:
        self._request = http_request
        self._endpoint = None if isinstance(found, Unmetered) else found
        self._body = _body_of(http_request)
        self._sent_body = self._body
        super().__init__(lambda: self._plan(client, found, is_async=is_async))

    def _plan(self, client: Any, found: Endpoint | Unmetered, *, is_async: bool) -> Plan:
        timeout_s = self._request.timeout
        plan = plan_call(
            found,
            self._body,
            client.bursar.booking(),
            provider="google",
            is_async=is_async,
            timeout_s=lambda: timeout_s,
        )
        return plan if plan.ask.generates else plan._replace(can_downgrade=False, can_shrink=never)

    def fitted(self, held: Held | None) -> Any:
        """Return the request changed to what was granted: another model, a lower output limit."""
        endpoint = self._endpoint
        if held is None or endpoint is None:
            return self._request
        body, url = self._body, self._request.url
        asked = self.meter.plan.ask.model
        if held.bound.model != asked:
            url = path_with_model(url, held.bound.model)
        if held.output_limit is not None:
            body = (
                endpoint.with_output_limit(body, held.output_limit, model=held.bound.model, host="") or body
            )
        if body is self._body and url == self._request.url:
            return self._request
        self._sent_body = body
        sent = {name: value for name, value in body.items() if name != "model" or name in self._request.data}
        changed = copy.copy(self._request)
        changed.url, changed.data = url, sent
        return changed

    def received(self, response: Any) -> None:
        """Take an answer: settle it if it is read, else let it be read through us."""
        endpoint = self._endpoint
        if endpoint is None:
            self.meter.settle(Receipt())
            return
        whole = response.response_stream
        if isinstance(whole, list):
            read = endpoint.read_content(str(whole[0]).encode() if whole else b"", "application/json")
            self.meter.settle(endpoint.completed(self._sent_body, read or Receipt()))
            return
        reader = AnswerReader(
            self.meter,
            endpoint,
            self._sent_body,
            content_type=str(response.headers.get("content-type", "")),
            is_events=True,
            hides_usage=False,
        )
        if type(whole).__module__.startswith("aiohttp."):
            read_lines(whole, reader)
            return
        try:
            http_package(whole)
        except TypeError:
            # Read by an HTTP package that nothing passes through here: nothing is seen of it, and its bound is booked.
            reader.closed()
            return
        read_through(whole, reader)

    def raised(self, error: BaseException) -> None:
        """The SDK gave up."""
        self.failed(*_failure_of(error))

    def stopped(self, exceeded: BudgetExceeded) -> Any:
        """
        Return an answer that says why the call was stopped.

        Raises:
            BudgetExceeded: There is no such answer, or none is asked for.
        """
        body = None
        if self._endpoint is not None and self.meter.stops_gracefully:
            body = self._endpoint.stop_response(self._body, f"[Stopped by the budget: {exceeded}]")
        if body is None:
            self.raised(exceeded)
            raise exceeded
        # The SDK is there, as a client of it is; of its own modules this is the one that the client comes from.
        api_client: Any = sys.modules["google.genai._api_client"]
        return api_client.HttpResponse({}, [json.dumps(body)])


def _body_of(http_request: Any) -> dict[str, Any]:
    """Return the body of a request, with the model that its path names."""
    data: Any = http_request.data
    body = {str(name): value for name, value in data.items()} if is_mapping(data) else {}
    model = model_in_path(http_request.url)
    return body if model is None else {**body, "model": model}


def _failure_of(error: BaseException) -> tuple[bool, str]:
    code = getattr(error, "code", None)
    return failure_of_status(code) if isinstance(code, int) else failure_of(error)
