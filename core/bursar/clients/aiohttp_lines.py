"""What passes over the wire to a client that reads it by `aiohttp`, line by line, as Google's does in tasks."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any, cast

from bursar.dropped import dropped

if TYPE_CHECKING:
    from bursar.clients.answer import AnswerReader


def read_lines(response: Any, reader: AnswerReader) -> None:
    """Let the lines of an unread *response* of `aiohttp` pass by *reader*, until its end or its release."""
    kind = cast("Any", type(response))
    plain = kind.release
    # Of the response itself, nothing that it holds may know: it would live until the garbage collector comes by.
    myself = weakref.ref(response)

    def release() -> Any:
        reader.closed()
        return plain(myself())

    response.content = _Lines(response.content, reader)
    response.release = release
    dropped.start()


class _Lines:
    """A response's lines."""

    def __init__(self, raw: Any, reader: AnswerReader) -> None:
        self._raw = raw
        self._reader = reader

    async def readline(self, *args: Any, **kwargs: Any) -> bytes:
        """Read a line, and an empty one at the end."""
        try:
            line: bytes = await self._raw.readline(*args, **kwargs)
        except TypeError:
            # An older version takes no limit, and is asked once more without.
            raise
        except BaseException as error:  # Booked, and raised again.
            self._reader.cut(error)
            raise
        if line:
            self._reader.feed(line)
        else:
            self._reader.end()
        return line

    def __getattr__(self, name: str) -> Any:
        return getattr(object.__getattribute__(self, "_raw"), name)

    def __del__(self) -> None:
        if not self._reader.is_done:
            dropped.later(self._reader.closed)
