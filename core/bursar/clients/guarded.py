"""
Guarded clients: a subclass of the user's own client class, made for one `guard()`.

Both SDKs send every call through `request`, once, and every HTTP attempt of it through `_prepare_request`; copies made
by `with_options()` are of the same class, so they are guarded too.
"""

# The one seam to what is not public in the SDKs, and has no types that hold from version to version.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

import functools
import inspect
import sys
from types import NoneType
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

from bursar.clients.batches import batch_call
from bursar.clients.call import GuardedCall, current_call
from bursar.clients.patches import tell_patches
from bursar.clients.transport import let_go_when_dropped
from bursar.clients.twins import own_attributes, plain_class, twin_class
from bursar.clients.websockets import shut_sockets
from bursar.errors import BudgetExceeded
from bursar.wire import Free, Unmetered, endpoint_of

if TYPE_CHECKING:
    from bursar.clients.followed import Followed
    from bursar.clients.sdk import Sdk
    from bursar.payer import Payer

ClientT = TypeVar("ClientT")

if TYPE_CHECKING:
    # What is overridden here is not public in the SDKs, and has other types in each of them and in each version.
    SdkClient = Any
else:
    SdkClient = object


_PLAIN: Final = (str, bytes, int, float, NoneType)
"""What refers to no client; a constructor may have put it where a cached property would (Vertex's region)."""


_NOT_METERED: Final = (Free, Unmetered)


def guard_client(client: ClientT, sdk: Sdk, payer: Payer) -> ClientT:
    """Return a copy of *client*, of a subclass of its class, whose calls *payer* pays for."""
    plain = plain_class(type(client))
    choke_point = _AsyncGuard if sdk.is_async else _SyncGuard
    sockets = shut_sockets(plain)
    prepares = hasattr(plain, "_copy_and_prepare")
    guarded_class = twin_class(
        plain, choke_point, bursar=payer, _bursar_sdk=sdk, _bursar_prepares=prepares, **sockets
    )
    tell_patches(client)
    return cast("ClientT", _twin(client, guarded_class))


def unguard_client(client: ClientT) -> ClientT:
    """Return a client as *client* was before it was guarded, with its options and connections."""
    return cast("ClientT", _twin(client, plain_class(type(client))))


def _twin(client: Any, twin_class: type) -> Any:
    """
    Return a client of *twin_class* with the options and the connections of *client*.

    Not by the SDK's own `copy()`: it calls the constructor, which a user's subclass may have given other arguments.
    """
    twin: Any = object.__new__(twin_class)
    for name, value in own_attributes(client).items():
        is_cached = isinstance(inspect.getattr_static(twin_class, name, None), functools.cached_property)
        if is_cached and not isinstance(value, _PLAIN):
            # A resource that calls through the client that it was made by; the twin makes its own when asked.
            continue
        is_resource = getattr(value, "_client", None) is client and hasattr(value, "_post")
        make: Any = type(value)
        vars(twin)[name] = make(twin) if is_resource else value
    if getattr(twin, "_middleware_chain", None) is not None:
        twin._middleware_chain = twin._build_middleware_chain()
    return twin


class _Guard(SdkClient):
    """What guarded clients of both kinds have in common."""

    bursar: Payer
    _bursar_sdk: Sdk
    _bursar_prepares: bool
    bursar_plain: type

    def copy(self, *args: Any, **kwargs: Any) -> Any:
        """
        Return a guarded client with other options, as the SDK's own `copy` makes it; both pay from the same budget.

        The copy is made of the client as it was before it was guarded, because the SDKs and users' subclasses ask for
        the very class in places (Anthropic's credentials, OpenAI's Bedrock).
        """
        plain = _twin(self, plain_class(type(self)))
        return _twin(plain.copy(*args, **kwargs), type(self))

    with_options = copy

    def _bursar_call(self, options: Any) -> Followed | None:
        """Return the call to follow, or None where it costs nothing."""
        found = endpoint_of(options.method, options.url)
        if isinstance(found, _NOT_METERED):
            batch = batch_call(self, self._bursar_sdk, self.bursar, options, found)
            if batch is not None or isinstance(found, Free):
                return batch
        return GuardedCall(self, self._bursar_sdk, self.bursar, options, found)

    def _calculate_retry_timeout(self, *args: Any, **kwargs: Any) -> float:
        # Called once before every retry, inside the handler of what failed.
        if (call := current_call.get()) is not None and not call.has_failure:
            call.note_failure(None, sys.exc_info()[1])
        return cast("float", super()._calculate_retry_timeout(*args, **kwargs))

    def _should_retry(self, response: Any) -> bool:
        if (call := current_call.get()) is not None:
            call.note_failure(response, None)
        return cast("bool", super()._should_retry(response))


class _SyncGuard(_Guard):
    """The choke point of a client that blocks."""

    def request(self, cast_to: Any, options: Any, *, stream: bool = False, stream_cls: Any = None) -> Any:
        if self._bursar_prepares:
            options = self._copy_and_prepare(options)
        if getattr(options, "extra_json", None) is not None:
            options = _merged(options)
        call = self._bursar_call(options)
        token = current_call.set(call)
        try:
            if call is None:
                return super().request(cast_to, options, stream=stream, stream_cls=stream_cls)
            fitted = call.reserve()
            try:
                answer = super().request(cast_to, fitted, stream=stream, stream_cls=stream_cls)
            except Exception as error:  # Raised again, unless it is for the usage that was asked for.
                if (plain := call.without_usage(error)) is None:
                    raise
                answer = super().request(cast_to, plain, stream=stream, stream_cls=stream_cls)
        except BudgetExceeded as exceeded:
            if call is None:
                raise
            response = call.stop_answer(exceeded, lambda: self._build_request(options, retries_taken=0))
            if response is None:
                call.raised(exceeded)
                raise
            current_call.set(None)
            return super()._process_response(
                cast_to=_overridden(self, cast_to, options),
                options=options,
                response=response,
                stream=stream,
                stream_cls=stream_cls,
            )
        except BaseException as error:  # Booked, and raised again.
            if call is not None:
                call.raised(error)
            raise
        finally:
            current_call.reset(token)
        call.returned()
        if call.is_being_read:
            let_go_when_dropped(answer)
        return answer

    def _prepare_request(self, request: Any) -> None:
        super()._prepare_request(request)
        if (call := current_call.get()) is not None:
            call.sending()

    def _process_response(self, **kwargs: Any) -> Any:
        if (call := current_call.get()) is not None:
            call.received(kwargs["response"], is_stream=bool(kwargs.get("stream")))
        return super()._process_response(**kwargs)


class _AsyncGuard(_Guard):
    """The choke point of a client that awaits."""

    async def request(
        self, cast_to: Any, options: Any, *, stream: bool = False, stream_cls: Any = None
    ) -> Any:
        if self._bursar_prepares:
            options = await self._copy_and_prepare(options)
        if getattr(options, "extra_json", None) is not None:
            options = _merged(options)
        call = self._bursar_call(options)
        token = current_call.set(call)
        try:
            if call is None:
                return await super().request(cast_to, options, stream=stream, stream_cls=stream_cls)
            fitted = await call.areserve()
            try:
                answer = await super().request(cast_to, fitted, stream=stream, stream_cls=stream_cls)
            except Exception as error:  # Raised again, unless it is for the usage that was asked for.
                if (plain := call.without_usage(error)) is None:
                    raise
                answer = await super().request(cast_to, plain, stream=stream, stream_cls=stream_cls)
        except BudgetExceeded as exceeded:
            if call is None:
                raise
            response = call.stop_answer(exceeded, lambda: self._build_request(options, retries_taken=0))
            if response is None:
                call.raised(exceeded)
                raise
            current_call.set(None)
            return await super()._process_response(
                cast_to=_overridden(self, cast_to, options),
                options=options,
                response=response,
                stream=stream,
                stream_cls=stream_cls,
            )
        except BaseException as error:  # Booked, and raised again.
            if call is not None:
                call.raised(error)
            raise
        finally:
            current_call.reset(token)
        call.returned()
        if call.is_being_read:
            let_go_when_dropped(answer)
        return answer

    async def _prepare_request(self, request: Any) -> None:
        await super()._prepare_request(request)
        if (call := current_call.get()) is not None:
            await call.asending()

    async def _process_response(self, **kwargs: Any) -> Any:
        if (call := current_call.get()) is not None:
            call.received(kwargs["response"], is_stream=bool(kwargs.get("stream")))
        return await super()._process_response(**kwargs)


def _merged(options: Any) -> Any:
    """Return *options* with `extra_body` in the body, where it must be seen: it may hold a limit or a model."""
    if not isinstance(options.json_data, dict | None):
        return options
    merged = options.model_copy()
    merged.json_data = {**(options.json_data or {}), **options.extra_json}
    merged.extra_json = None
    return merged


def _overridden(client: Any, cast_to: Any, options: Any) -> Any:
    """Return the type that the caller asked for, as the SDK's own `request` works it out."""
    return client._maybe_override_cast_to(cast_to, options)
