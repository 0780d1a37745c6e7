"""
The simulator without sockets: transports for `httpx2` and `httpx` clients.

Both libraries are looked up by name, because neither is a dependency of bursar's own.
"""

from __future__ import annotations

import asyncio
import time
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Literal

from bursar.simulator.exchange import Break, Data, Head, Pause

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Generator, Iterator

    from bursar.simulator.exchange import Step
    from bursar.simulator.provider import Provider

Library = Literal["httpx2", "httpx"]


def open_transport(provider: Provider, library: Library | None, *, is_async: bool) -> Any:  # noqa: ANN401
    """
    Return a transport of *library*, by default `httpx2` where it is installed and `httpx` where not.

    Raises:
        ImportError: Neither library is installed, or not the one asked for.
    """
    chosen = library or ("httpx2" if find_spec("httpx2") else "httpx")
    classes = _classes(chosen)
    return (classes.asynchronous if is_async else classes.synchronous)(provider, import_module(chosen))


@cache
def _classes(library: str) -> SimpleNamespace:
    # Clients insist on their own library's base classes for bodies, so the classes are made once for each library.
    module: Any = import_module(library)
    return SimpleNamespace(
        synchronous=type("SimulatorTransport", (_SyncTransport, module.BaseTransport), {}),
        asynchronous=type("AsyncSimulatorTransport", (_AsyncTransport, module.AsyncBaseTransport), {}),
        sync_body=type("SimulatorBody", (_SyncBody, module.SyncByteStream), {}),
        async_body=type("AsyncSimulatorBody", (_AsyncBody, module.AsyncByteStream), {}),
    )


class _SyncTransport:
    def __init__(self, provider: Provider, library: Any) -> None:  # noqa: ANN401
        self._provider = provider
        self._library = library

    def handle_request(self, request: Any) -> Any:  # noqa: ANN401
        steps = _open(self._provider, request, request.read())
        try:
            for step in steps:
                if isinstance(step, Head):
                    body = _classes(self._library.__name__).sync_body(steps, self._library, request)
                    return self._library.Response(step.status, headers=_headers(step), stream=body)
                if isinstance(step, Break):
                    raise _broken(self._library, step, request)
                if isinstance(step, Pause):
                    time.sleep(step.seconds)
        except BaseException:  # Whatever it is, the exchange is over; raised again.
            steps.close()
            raise
        msg = "an exchange ended without a response"
        raise AssertionError(msg)

    def close(self) -> None:
        """Nothing is held open."""


class _AsyncTransport:
    def __init__(self, provider: Provider, library: Any) -> None:  # noqa: ANN401
        self._provider = provider
        self._library = library

    async def handle_async_request(self, request: Any) -> Any:  # noqa: ANN401
        steps = _open(self._provider, request, await request.aread())
        try:
            for step in steps:
                if isinstance(step, Head):
                    body = _classes(self._library.__name__).async_body(steps, self._library, request)
                    return self._library.Response(step.status, headers=_headers(step), stream=body)
                if isinstance(step, Break):
                    raise _broken(self._library, step, request)
                if isinstance(step, Pause):
                    await asyncio.sleep(step.seconds)
        except BaseException:  # Whatever it is, the exchange is over; raised again.
            steps.close()
            raise
        msg = "an exchange ended without a response"
        raise AssertionError(msg)

    async def aclose(self) -> None:
        """Nothing is held open."""


class _SyncBody:
    def __init__(self, steps: Generator[Step, None, None], library: Any, request: Any) -> None:  # noqa: ANN401
        self._steps = steps
        self._library = library
        self._request = request

    def __iter__(self) -> Iterator[bytes]:
        for step in self._steps:
            if isinstance(step, Data):
                yield step.data
            elif isinstance(step, Pause):
                time.sleep(step.seconds)
            elif isinstance(step, Break):
                raise _broken(self._library, step, self._request)

    def close(self) -> None:
        self._steps.close()


class _AsyncBody:
    def __init__(self, steps: Generator[Step, None, None], library: Any, request: Any) -> None:  # noqa: ANN401
        self._steps = steps
        self._library = library
        self._request = request

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for step in self._steps:
            if isinstance(step, Data):
                yield step.data
            elif isinstance(step, Pause):
                await asyncio.sleep(step.seconds)
            elif isinstance(step, Break):
                raise _broken(self._library, step, self._request)

    async def aclose(self) -> None:
        self._steps.close()


def _open(provider: Provider, request: Any, body: bytes) -> Generator[Step, None, None]:  # noqa: ANN401
    target = request.url.raw_path.decode("ascii")
    return provider.open(request.method, target, request.headers.items(), body)


def _headers(head: Head) -> list[tuple[str, str]]:
    length = [] if head.length is None else [("content-length", str(head.length))]
    return [*head.headers, *length]


def _broken(library: Any, step: Break, request: Any) -> Exception:  # noqa: ANN401
    kinds = {"reset": library.ReadError, "cut": library.RemoteProtocolError}
    error: Exception = kinds[step.kind]("the simulator dropped the connection", request=request)
    return error
