"""
Guarded clients of Cohere's SDK: a twin of the user's client and of its parts, over a twin of its HTTP client.

Every call of every part goes through `request` or `stream` of the SDK's own HTTP client, which asks itself again for
every attempt.
"""

# The one seam to what is not public in the SDK, and has no types that hold from version to version.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

import copy
import sys
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from contextvars import copy_context
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

from bursar.clients.patches import tell_patches
from bursar.clients.sent import Sending, guarded_http
from bursar.clients.twins import own_attributes, twin_class, twin_of
from bursar.prices import provider_of_url
from bursar.wire import endpoint_of

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator

    from bursar.payer import Payer

ClientT = TypeVar("ClientT")

if TYPE_CHECKING:
    HttpClient = Any
else:
    HttpClient = object

_CLIENTS: Final = frozenset({"BaseCohere", "AsyncBaseCohere"})
_ELSEWHERE: Final = frozenset({"AwsClient", "AwsClientV2", "OciClient", "OciClientV2"})
"""Clients that have another host answer, in ways of its own."""


def is_cohere(client: object) -> bool:
    """
    Whether *client* is of Cohere's SDK.

    Raises:
        TypeError: It is, and another host than Cohere answers it.
    """
    names = {base.__name__ for base in type(client).__mro__ if base.__module__.startswith("cohere.")}
    if not names & _CLIENTS:
        return False
    if names & _ELSEWHERE:
        msg = (
            f"guard() takes Cohere's clients of Cohere's own API, not {type(client).__name__}; of Bedrock, guard "
            'boto3.client("bedrock-runtime")'
        )
        raise TypeError(msg)
    return True


def guard_cohere(client: ClientT, payer: Payer) -> ClientT:
    """Return a twin of *client* whose calls *payer* pays for."""
    given: Any = client
    tell_patches(client)
    wrapper = copy.copy(given._client_wrapper)
    wrapper.httpx_client = _guarded(wrapper.httpx_client, payer, wrapper.get_base_url())
    twin: Any = object.__new__(twin_class(type(client), bursar=payer))
    vars(twin).update(
        {name: _over(value, given._client_wrapper, wrapper) for name, value in own_attributes(client).items()}
    )
    if (pool := vars(twin).get("_executor")) is not None:
        vars(twin)["_executor"] = _Carrying(pool)
    # The SDK wraps these methods for each of its clients, by hand.
    module: Any = sys.modules.get("cohere.client")
    if (
        "chat" in vars(client)
        and hasattr(module, "validate_args")
        and hasattr(module, "throw_if_stream_is_true")
    ):
        module.validate_args(twin, "chat", module.throw_if_stream_is_true)
    vars(twin)["_bursar_kept"] = client
    return cast("ClientT", twin)


def _over(value: Any, wrapper: Any, twin: Any) -> Any:
    """Return *value*, or a copy of it over *twin* where it is a part of the SDK's that calls through *wrapper*."""
    if value is wrapper:
        return twin
    if not type(value).__module__.startswith("cohere.") or not hasattr(value, "__dict__"):
        return value
    own = own_attributes(value)
    changed = {name: _over(inner, wrapper, twin) for name, inner in own.items()}
    if all(changed[name] is inner for name, inner in own.items()):
        return value
    part = object.__new__(type(value))
    vars(part).update(changed)
    return part


def _guarded(http: Any, payer: Payer, url: str) -> Any:
    is_async = type(http).__name__.startswith("Async")
    choke_point = _AsyncGuarded if is_async else _SyncGuarded
    provider = provider_of_url(url) or "cohere"
    twin = twin_of(http, twin_class(type(http), choke_point, bursar=payer, bursar_provider=provider))
    twin.httpx_client = guarded_http(http.httpx_client, is_async=is_async)
    return twin


class _Carrying:
    """The SDK's threads for a long list of texts: what they send is of the run and the agent that asked for it."""

    def __init__(self, pool: Any) -> None:
        self._pool = pool

    def map(self, function: Callable[..., Any], *lists: Any, **options: Any) -> Any:
        """Do as the pool does, each call in a copy of this context."""
        calls = [partial(copy_context().run, function, *each) for each in zip(*lists, strict=False)]
        return self._pool.map(_made, calls, **options)

    def __getattr__(self, name: str) -> Any:
        return getattr(object.__getattribute__(self, "_pool"), name)


def _made(call: Callable[[], Any]) -> Any:
    return call()


class _SyncGuarded(HttpClient):
    """The choke point of a client that blocks."""

    bursar: Payer
    bursar_provider: str

    def request(self, *args: Any, **kwargs: Any) -> Any:
        if kwargs.get("retries"):
            # It asks itself again, for another attempt of the same call.
            return super().request(*args, **kwargs)
        sending = Sending(self.bursar, self.bursar_provider, endpoint_of, is_async=False)
        with sending:
            sending.response = super().request(*args, **kwargs)
        return sending.taken()

    @contextmanager
    def stream(self, *args: Any, **kwargs: Any) -> Generator[Any]:
        sending = Sending(self.bursar, self.bursar_provider, endpoint_of, is_async=False)
        with ExitStack() as stack:
            with sending:
                sending.response = stack.enter_context(super().stream(*args, **kwargs))
            yield sending.taken(is_stream=True)


class _AsyncGuarded(HttpClient):
    """The choke point of a client that awaits."""

    bursar: Payer
    bursar_provider: str

    async def request(self, *args: Any, **kwargs: Any) -> Any:
        if kwargs.get("retries"):
            return await super().request(*args, **kwargs)
        sending = Sending(self.bursar, self.bursar_provider, endpoint_of, is_async=True)
        with sending:
            sending.response = await super().request(*args, **kwargs)
        return sending.taken()

    @asynccontextmanager
    async def stream(self, *args: Any, **kwargs: Any) -> AsyncGenerator[Any]:
        sending = Sending(self.bursar, self.bursar_provider, endpoint_of, is_async=True)
        async with AsyncExitStack() as stack:
            with sending:
                sending.response = await stack.enter_async_context(super().stream(*args, **kwargs))
            yield sending.taken(is_stream=True)
