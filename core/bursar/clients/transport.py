"""
What passes over the wire to and from one client: the bytes of answers that are not read yet.

The SDKs speak `httpx2` in their newest versions and `httpx` in older ones; both have the same classes, and the one
that a response comes from is taken from the response itself.
"""

from __future__ import annotations

import inspect
import sys
from copy import copy
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, Protocol

from bursar.dropped import dropped
from bursar.policy import logger

if TYPE_CHECKING:
    import asyncio
    from collections.abc import AsyncIterator, Callable, Iterator
    from types import ModuleType


_HTTP_PACKAGES = frozenset({"httpx", "httpx2"})


class Reader(Protocol):
    """Follows an answer that comes in pieces, and may hold some of them back."""

    loop: asyncio.AbstractEventLoop | None

    def feed(self, chunk: bytes) -> bytes:
        """Take the next bytes and return what of them the caller may see."""
        ...

    def end(self) -> bytes:
        """Take the end, and return what was held back."""
        ...

    def cut(self, error: BaseException) -> None:
        """Take it that the answer broke off."""
        ...

    def closed(self) -> None:
        """Take it that the caller left."""
        ...


def http_package(thing: object) -> ModuleType:
    """
    Return the HTTP package that *thing*'s class comes from.

    Raises:
        TypeError: It comes from neither.
    """
    for base in type(thing).__mro__:
        root = base.__module__.partition(".")[0]
        if root in _HTTP_PACKAGES:
            return sys.modules[root]
    msg = f"{type(thing).__name__} is neither of httpx nor of httpx2"
    raise TypeError(msg)


def read_through(response: Any, reader: Reader) -> None:
    """Let the bytes of an unread *response* pass by *reader*, which may hold some of them back."""
    package = http_package(response)
    raw, encoding = response.stream, response.headers.get("content-encoding")
    is_async = isinstance(raw, package.AsyncByteStream)
    sync_type, async_type = _stream_types(package)
    if encoding:
        # What passes by must be plain: decode it here with the package's own decoder, and say that it is decoded.
        raw = package.Response(200, headers={"content-encoding": encoding}, stream=raw)
        del response.headers["content-encoding"]
    response.stream = async_type(raw, reader, _close_in_loop) if is_async else sync_type(raw, reader, _close)
    dropped.start()


def let_go_when_dropped(stream: Any) -> None:
    """
    Make an SDK's *stream* give its connection back as soon as the last reference to it is gone.

    A stream of most versions refers to a generator that refers to the stream, and a response to a stream of bytes
    that refers to the response: left alone, a dropped stream ends whenever the garbage collector comes by.
    """
    # Instrumentation may have put it into a proxy, which passes for it and cannot be copied.
    stream = inspect.unwrap(stream)
    passing: Any = getattr(getattr(stream, "response", None), "stream", None)
    if not isinstance(passing, _Passing):
        return
    # As it is, and not as an attribute: the newest SDKs would make it here.
    own: Any = stream.__dict__.get("_iterator")
    if inspect.isgenerator(own) or inspect.isasyncgen(own):
        # On a copy, as the newest SDKs do it themselves.
        twin = copy(stream)
        del twin._iterator
        stream._iterator = twin.__stream__()
        twin._bursar_end = _End(passing)
        stream._bursar_end = twin._bursar_end
    else:
        stream._bursar_end = _End(passing)


class _End:
    """Lives as long as an SDK's stream does."""

    def __init__(self, passing: _Passing) -> None:
        self._passing = passing

    def __del__(self) -> None:
        self._passing.drop()


class _Passing:
    """What both kinds of stream have in common; each lets go of its connection in its own way."""

    def __init__(self, raw: Any, reader: Reader, let_go: Callable[[Any, Reader], None]) -> None:
        self._let_go = let_go
        self._raw = raw
        self._reader = reader
        self._is_closed = False

    def __getattr__(self, name: str) -> Any:
        # The SDKs hang things of their own on a response's stream.
        return getattr(object.__getattribute__(self, "_raw"), name)

    def drop(self) -> None:
        """Close later what nobody reads any more."""
        if not self._is_closed:
            self._is_closed = True
            # Not of this object, which may be gone by then.
            dropped.later(partial(self._let_go, self._raw, self._reader))

    def __del__(self) -> None:
        self.drop()


class _SyncPassing(_Passing):
    """A response's bytes in a client that blocks."""

    def __iter__(self) -> Iterator[bytes]:
        chunks = self._raw.iter_bytes() if hasattr(self._raw, "iter_bytes") else self._raw
        try:
            for chunk in chunks:
                if out := self._reader.feed(chunk):
                    yield out
        except BaseException as error:  # Booked, and raised again.
            self._reader.cut(error)
            raise
        if rest := self._reader.end():
            yield rest

    def close(self) -> None:
        self._is_closed = True
        try:
            self._raw.close()
        finally:
            self._reader.closed()


def _close(raw: Any, reader: Reader) -> None:
    try:
        raw.close()
    finally:
        reader.closed()


class _AsyncPassing(_Passing):
    """A response's bytes in a client that awaits."""

    async def __aiter__(self) -> AsyncIterator[bytes]:
        chunks = self._raw.aiter_bytes() if hasattr(self._raw, "aiter_bytes") else self._raw
        try:
            async for chunk in chunks:
                if out := self._reader.feed(chunk):
                    yield out
        except BaseException as error:  # Booked, and raised again.
            self._reader.cut(error)
            raise
        if rest := self._reader.end():
            yield rest

    async def aclose(self) -> None:
        self._is_closed = True
        # First, as a task that is cancelled may not come back from closing.
        self._reader.closed()
        await self._raw.aclose()


def _close_in_loop(raw: Any, reader: Reader) -> None:
    reader.closed()
    loop = reader.loop
    if loop is None or not loop.is_running():
        # A connection can only be given back by its loop; a loop that has ended has none to give back.
        return
    try:
        loop.call_soon_threadsafe(_close_soon, loop, raw)
    except RuntimeError:
        logger.debug("the event loop of a dropped answer has ended, and its connection with it")


def _close_soon(loop: asyncio.AbstractEventLoop, raw: Any) -> None:
    closing = loop.create_task(raw.aclose())
    _closing.add(closing)
    closing.add_done_callback(_closing.discard)


_closing: set[asyncio.Task[None]] = set()


@lru_cache(maxsize=2)
def _stream_types(package: ModuleType) -> tuple[type[Any], type[Any]]:
    sync_type = type("PassingStream", (_SyncPassing, package.SyncByteStream), {})
    async_type = type("AsyncPassingStream", (_AsyncPassing, package.AsyncByteStream), {})
    return sync_type, async_type
