"""
Guarded clients of boto3's `bedrock-runtime`: a twin of the user's client, over a twin of its endpoint.

Every operation goes through `_make_api_call`, once, and every HTTP attempt of it through the endpoint's
`_get_response`.
"""

# The one seam to what is not public in the SDK, and has no types that hold from version to version.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

import base64
import io
import json
import sys
from contextvars import ContextVar
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

from bursar.clients.attempts import Attempts
from bursar.clients.patches import tell_patches
from bursar.clients.twins import twin_class, twin_of
from bursar.clients.unmetered import unmetered_plan
from bursar.dropped import dropped
from bursar.errors import BudgetExceeded
from bursar.meter import plan_request, takes_limit
from bursar.meter.failures import failure_of, failure_of_status
from bursar.tokens import count_tokens
from bursar.wire import (
    BEDROCK_CONVERSE,
    BEDROCK_CONVERSE_STREAM,
    BEDROCK_INVOKE,
    BEDROCK_INVOKE_STREAM,
    Receipt,
    Unmetered,
)
from bursar.wire.fields import is_array, is_mapping

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bursar.meter import Held, Plan
    from bursar.payer import Payer
    from bursar.wire import Endpoint

ClientT = TypeVar("ClientT")
_current: Final[ContextVar[BedrockCall | None]] = ContextVar("bursar_bedrock_call", default=None)

_METERED: Final = {
    "Converse": BEDROCK_CONVERSE,
    "ConverseStream": BEDROCK_CONVERSE_STREAM,
    "InvokeModel": BEDROCK_INVOKE,
    "InvokeModelWithResponseStream": BEDROCK_INVOKE_STREAM,
}
_FREE: Final = frozenset({"CountTokens", "GetAsyncInvoke", "ListAsyncInvokes", "ListTagsForResource"})
_UNKNOWN: Final = "this operation is not metered"
_EXTEND_EVERY_S: Final = 60.0
_LEASE_S: Final = 600.0

if TYPE_CHECKING:
    Base = Any
else:
    Base = object


def is_bedrock(client: object) -> bool:
    """Whether *client* is boto3's of `bedrock-runtime`."""
    model = getattr(getattr(client, "meta", None), "service_model", None)
    return getattr(model, "service_name", None) == "bedrock-runtime"


def guard_bedrock(client: ClientT, payer: Payer) -> ClientT:
    """Return a twin of *client* whose calls *payer* pays for."""
    given: Any = client
    tell_patches(client)
    twin = _twin(given, _GuardedClient, bursar=payer)
    twin._endpoint = _twin(given._endpoint, _GuardedEndpoint)
    return cast("ClientT", twin)


def _twin(given: Any, mixin: type, **attributes: Any) -> Any:
    return twin_of(given, twin_class(type(given), mixin, **attributes))


class _GuardedClient(Base):
    """The choke point of a client."""

    bursar: Payer

    def _make_api_call(self, operation_name: str, api_params: Any) -> Any:
        if operation_name in _FREE:
            return super()._make_api_call(operation_name, api_params)
        call = BedrockCall(self, operation_name, api_params)
        token = _current.set(call)
        try:
            fitted = call.fitted(call.meter.reserve())
            answer = super()._make_api_call(operation_name, fitted)
        except BudgetExceeded as exceeded:
            return call.stopped(exceeded)
        except BaseException as error:  # Booked, and raised again.
            call.failed(*_failure_of(error))
            raise
        finally:
            _current.reset(token)
        return call.received(answer)


class _GuardedEndpoint(Base):
    """Sees every attempt."""

    def _get_response(self, request: Any, operation_model: Any, context: Any) -> Any:
        call = _current.get()
        if call is None:
            return super()._get_response(request, operation_model, context)
        call.sending()
        success, exception = super()._get_response(request, operation_model, context)
        if exception is not None:
            call.failure = _failure_of(exception)
        elif success is not None:
            call.failure = failure_of_status(success[0].status_code)
        return success, exception


class BedrockCall(Attempts):
    """
    Follows one call through boto3.

    Raises:
        UnmeteredEndpoint: It is not metered, and a budget limits dollars or tokens.
        UnknownAgent: The run's budget does not know the client's agent.
    """

    def __init__(self, client: Any, operation: str, params: Any) -> None:
        self._params: dict[str, Any] = dict(params)
        self._endpoint: Endpoint | None = _METERED.get(operation)
        self._is_invoke = operation.startswith("Invoke")
        self._is_stream = operation.endswith("Stream")
        self._body = self._read_body()
        self._sent_body = self._body
        super().__init__(lambda: self._plan(client, operation))

    def _plan(self, client: Any, operation: str) -> Plan:
        booking = client.bursar.booking()
        model = str(self._body.get("model", ""))
        if self._endpoint is None or not self._params.get("modelId"):
            found = Unmetered(f"bedrock-runtime.{operation}", _UNKNOWN)
            return unmetered_plan(found, booking, provider="aws", model=model)
        config = client.meta.config
        plan = plan_request(
            self._endpoint,
            self._body,
            booking,
            provider="aws",
            can_shrink=partial(takes_limit, self._endpoint, self._body, ""),
            timeout_s=lambda: config.read_timeout,
        )
        # Another model may read another body.
        return plan._replace(can_downgrade=False) if self._is_invoke else plan

    def _read_body(self) -> dict[str, Any]:
        model = {"model": str(self._params.get("modelId", ""))}
        if not self._is_invoke:
            return {
                **{name: _plain(value) for name, value in self._params.items() if name != "modelId"},
                **model,
            }
        content: Any = self._params.get("body")
        if hasattr(content, "read"):
            # It can be read but once.
            content = self._params["body"] = content.read()
        try:
            body: Any = json.loads(content or b"{}")
        except ValueError:
            body = {}
        return {**(body if isinstance(body, dict) else {}), **model}

    def _lowered(self, tokens: int) -> dict[str, Any] | None:
        if self._endpoint is None:
            return None
        model = str(self._body["model"])
        lowered = self._endpoint.with_output_limit(self._body, tokens, model=model, host="")
        return None if lowered is None else dict(lowered)

    def fitted(self, held: Held | None) -> dict[str, Any]:
        """Return the parameters changed to what was granted: another model, a lower output limit."""
        params = self._params
        if held is None or self._endpoint is None:
            return params
        if held.bound.model != self.meter.plan.ask.model:
            params = {**params, "modelId": held.bound.model}
        if held.output_limit is None:
            return params
        lowered = self._lowered(held.output_limit) or self._body
        self._sent_body = lowered
        if self._is_invoke:
            sent = {name: value for name, value in lowered.items() if name != "model"}
            return {**params, "body": json.dumps(sent).encode()}
        changed = ("inferenceConfig", "additionalModelRequestFields")
        return {**params, **{name: lowered[name] for name in changed if name in lowered}}

    def received(self, answer: Any) -> Any:
        """Take an answer, and return it to be read through us where it is a stream."""
        endpoint = self._endpoint
        if endpoint is None:
            self.meter.settle(Receipt())
            return answer
        if self._is_stream:
            key = "body" if self._is_invoke else "stream"
            return {**answer, key: _Events(answer[key], self, endpoint)}
        if not self._is_invoke:
            self._settle(endpoint.read_response(answer))
            return answer
        content = answer["body"].read()
        self._settle(endpoint.read_content(content, "application/json") or Receipt())
        return {**answer, "body": type(answer["body"])(io.BytesIO(content), len(content))}

    def _settle(self, receipt: Receipt) -> None:
        if self._endpoint is not None:
            self.meter.settle(self._endpoint.completed(self._sent_body, receipt))

    def ended(self, events: list[dict[str, Any]], reason: str | None) -> None:
        """Book a stream that came to its end, or for *reason* did not."""
        endpoint = self._endpoint
        if endpoint is None:
            return
        receipt = endpoint.completed(self._sent_body, endpoint.read_events(events))
        if receipt.usage is not None and (reason is None or receipt.finished):
            self.meter.settle(receipt)
            return
        text = endpoint.output_seen(events)
        counted = count_tokens(self.meter.plan.ask.model, text)
        tokens = len(text.encode()) if counted is None else counted
        if reason is None:
            self.meter.estimate(receipt, tokens)
        else:
            self.meter.abort(receipt, tokens if events else None, reason=reason)

    def stopped(self, exceeded: BudgetExceeded) -> Any:
        """
        Return an answer that says why the call was stopped.

        Raises:
            BudgetExceeded: There is no such answer, or none is asked for.
        """
        body = None
        if self._endpoint is not None and self.meter.stops_gracefully and not self._is_stream:
            body = self._endpoint.stop_response(self._body, f"[Stopped by the budget: {exceeded}]")
        if body is None:
            self.failed(*_failure_of(exceeded))
            raise exceeded
        if not self._is_invoke:
            return body
        # The SDK is there, as a client of it is.
        streaming_body: Any = sys.modules["botocore.response"].StreamingBody
        content = json.dumps(body).encode()
        return {"body": streaming_body(io.BytesIO(content), len(content)), "contentType": "application/json"}


class _Events:
    """A stream of boto3's, whose call is booked when it ends, however it does."""

    def __init__(self, plain: Any, call: BedrockCall, endpoint: Endpoint) -> None:
        dropped.start()
        self._plain = plain
        self._call = call
        self._endpoint = endpoint
        self._seen: list[dict[str, Any]] = []
        self._is_over = False
        self._next_extend_s = call.meter.now_s() + _EXTEND_EVERY_S

    def __iter__(self) -> Iterator[Any]:
        try:
            for event in self._plain:
                self._note(event)
                yield event
        except BaseException as error:  # Booked, and raised again.
            # Python ends a dropped generator so; to us it is the caller who left.
            self._end("closed" if isinstance(error, GeneratorExit) else type(error).__name__)
            raise
        self._end(None)

    def _note(self, event: Any) -> None:
        self._seen.append(_data_of(event))
        meter = self._call.meter
        if (now_s := meter.now_s()) > self._next_extend_s:
            self._next_extend_s = now_s + _EXTEND_EVERY_S
            meter.extend(_LEASE_S)

    def close(self) -> None:
        """End the stream: what came of it is paid."""
        self._plain.close()
        self._end("closed")

    def _end(self, reason: str | None) -> None:
        if not self._is_over:
            self._is_over = True
            self._call.ended(self._seen, reason)

    def __getattr__(self, name: str) -> Any:
        return getattr(object.__getattribute__(self, "_plain"), name)

    def __del__(self) -> None:
        if not getattr(self, "_is_over", True):
            self._is_over = True
            dropped.later(partial(_left, self._plain, self._call, self._seen))


def _left(plain: Any, call: BedrockCall, seen: list[dict[str, Any]]) -> None:
    try:
        plain.close()
    finally:
        call.ended(seen, "closed")


def _data_of(event: Any) -> dict[str, Any]:
    """Return an event as the wire has it: a chunk of a model's own stream is JSON in bytes."""
    chunk = event.get("chunk") if is_mapping(event) else None
    if not is_mapping(chunk):
        return dict(event)
    try:
        content: Any = chunk.get("bytes") or b"{}"
        data: Any = json.loads(content)
    except ValueError:
        return {}
    return data if isinstance(data, dict) else {}


def _plain(value: Any) -> Any:
    """Return *value* as the wire has it: boto3 writes bytes in base64."""
    if isinstance(value, bytes | bytearray):
        return base64.b64encode(value).decode("ascii")
    if is_mapping(value):
        return {str(key): _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if is_array(value) else value


def _failure_of(error: BaseException) -> tuple[bool, str]:
    response = getattr(error, "response", None)
    about = response.get("ResponseMetadata") if is_mapping(response) else None
    status = about.get("HTTPStatusCode") if is_mapping(about) else None
    if isinstance(status, int):
        return failure_of_status(status)
    if type(error).__name__ in _NEVER_SENT:
        return False, type(error).__name__
    return failure_of(error)


_NEVER_SENT: Final = frozenset(
    {
        "ParamValidationError",
        "NoCredentialsError",
        "EndpointConnectionError",
        "ConnectTimeoutError",
        "BudgetExceeded",
    }
)
"""Errors of botocore that come before any byte of the request has left."""
