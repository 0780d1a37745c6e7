"""
Answers in parts, of which every way to end is seen: read, closed, broken, cancelled, dropped, never begun.

Python runs no `finally` of a generator that was never begun, so these are classes and no generators.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator
from typing import TYPE_CHECKING, Any

from bursar.dropped import dropped

if TYPE_CHECKING:
    from bursar_llama_index.calls import ModelCall


class PaidStream(Generator[Any, Any, None]):
    """The parts of one answer, as *parts* brings them; *call* is booked when they end, however they do."""

    def __init__(self, call: ModelCall, parts: Any) -> None:
        dropped.start()
        self._call = call
        self._parts = parts
        self._is_over = False

    def __next__(self) -> Any:
        return self.send(None)

    def send(self, value: Any) -> Any:
        """Return the next part."""
        call = self._call
        if self._is_over:
            raise StopIteration
        try:
            with call.at_work():
                part = next(self._parts) if value is None else self._parts.send(value)
        except StopIteration:
            self._is_over = True
            call.ended()
            raise
        except BaseException as error:  # Booked, and raised again: a stream that was left is paid, too.
            self._is_over = True
            call.failed(error)
            raise
        call.piece(part)
        return part

    def throw(self, kind: Any, value: Any = None, traceback: Any = None) -> Any:
        """Raise inside the model's own generator, which ends this one."""
        error = kind if isinstance(kind, BaseException) else (value or kind())
        del traceback
        if self._is_over:
            raise error
        try:
            with self._call.at_work():
                part = self._parts.throw(error)
        except BaseException as raised:  # The model's generator ended with it; raised again.
            self._is_over = True
            if not isinstance(raised, StopIteration):
                self._call.failed(raised)
            else:
                self._call.ended()
            raise
        self._call.piece(part)
        return part

    def close(self) -> None:
        """End the answer: what came of it is paid."""
        if self._is_over:
            return
        self._is_over = True
        try:
            with self._call.at_work():
                close = getattr(self._parts, "close", None)
                if close is not None:
                    close()
        finally:
            self._call.left()

    def __del__(self) -> None:
        if not getattr(self, "_is_over", True):
            self._is_over = True
            dropped.later(self._call.left)


class PaidAsyncStream(AsyncGenerator[Any, Any]):
    """The same for answers that are awaited."""

    def __init__(self, call: ModelCall, parts: Any) -> None:
        dropped.start()
        self._call = call
        self._parts = parts
        self._is_over = False

    async def __anext__(self) -> Any:
        return await self.asend(None)

    async def asend(self, value: Any) -> Any:
        """Return the next part."""
        call = self._call
        if self._is_over:
            raise StopAsyncIteration
        try:
            with call.at_work():
                part = await (anext(self._parts) if value is None else self._parts.asend(value))
        except StopAsyncIteration:
            self._is_over = True
            call.ended()
            raise
        except BaseException as error:  # Booked, and raised again: a stream that was left is paid, too.
            self._is_over = True
            call.failed(error)
            raise
        call.piece(part)
        return part

    async def athrow(self, kind: Any, value: Any = None, traceback: Any = None) -> Any:
        """Raise inside the model's own generator, which ends this one."""
        error = kind if isinstance(kind, BaseException) else (value or kind())
        del traceback
        if self._is_over:
            raise error
        try:
            with self._call.at_work():
                part = await self._parts.athrow(error)
        except BaseException as raised:  # The model's generator ended with it; raised again.
            self._is_over = True
            if not isinstance(raised, StopAsyncIteration):
                self._call.failed(raised)
            else:
                self._call.ended()
            raise
        self._call.piece(part)
        return part

    async def aclose(self) -> None:
        """End the answer: what came of it is paid."""
        if self._is_over:
            return
        self._is_over = True
        try:
            with self._call.at_work():
                close = getattr(self._parts, "aclose", None)
                if close is not None:
                    await close()
        finally:
            self._call.left()

    def __del__(self) -> None:
        if not getattr(self, "_is_over", True):
            self._is_over = True
            dropped.later(self._call.left)
