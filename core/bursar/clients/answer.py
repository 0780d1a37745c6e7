"""
Reading an answer as it passes: settles the call once, however the answer ends.

Events are looked at only for the words that matter, and parsed only if they hold one; the rest is kept as it came,
for the case that the stream is cut and what was seen must be counted.
"""

from __future__ import annotations

import asyncio
import json
import re
from typing import TYPE_CHECKING, Any, Final, cast

from bursar.tokens import count_tokens
from bursar.wire import Receipt

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bursar.meter import Meter, Observer
    from bursar.wire import Endpoint
    from bursar.wire.fields import Json

_EVENT_END: Final = re.compile(rb"\r\n\r\n|\n\r\n|\n\n|\r\r")
_MATTERS: Final = re.compile(
    rb'"usage(?:Metadata)?"\s*:\s*\{|"(?:finish|stop)_reason"\s*:\s*"|"finishReason"\s*:\s*"|"error"\s*:\s*[{"]'
)
_USAGE: Final = re.compile(rb'"usage"\s*:\s*\{')
_NO_CHOICES: Final = re.compile(rb'"choices"\s*:\s*\[\s*\]')
_END_LONGEST: Final = 4
_BYTES_KEPT: Final = 64 * 1024 * 1024
_EXTEND_EVERY_S: Final = 60.0
LEASE_S: Final = 600.0


class AnswerReader:
    """
    Follows one answer that comes in pieces.

    Args:
        request: The body that was sent.

        content_type: What the answer is, as its header says.

        is_events: Whether the answer is a stream of events, or one JSON body that is read late.

        hides_usage: Whether the event that states the usage was asked for by bursar, so that the caller must not
            see it.
    """

    def __init__(
        self,
        meter: Meter | Observer,
        endpoint: Endpoint,
        request: Json,
        *,
        content_type: str = "",
        is_events: bool,
        hides_usage: bool,
    ) -> None:
        self._meter = meter
        self._endpoint = endpoint
        self._request = request
        self._content_type = content_type
        self._is_events = is_events
        self._hides_usage = hides_usage
        self._partial = bytearray()
        self._scanned = 0
        self._events: list[bytes] = []
        self._matters: list[bytes] = []
        self._size = 0
        self._next_extend_s = meter.now_s() + _EXTEND_EVERY_S
        self.is_done = False
        self.loop: asyncio.AbstractEventLoop | None = None
        if meter.plan.is_async:
            self.loop = _running_loop()

    def feed(self, chunk: bytes) -> bytes:
        """Take the next bytes and return what of them the caller may see."""
        if (now_s := self._meter.now_s()) > self._next_extend_s:
            self._next_extend_s = now_s + _EXTEND_EVERY_S
            self._meter.extend(LEASE_S)
        if not self._is_events:
            self._events.append(chunk)
            return chunk
        self._partial += chunk
        # From where the last look ended, as one event may come in thousands of pieces.
        ends = [match.end() for match in _EVENT_END.finditer(self._partial, self._scanned)]
        self._scanned = max(len(self._partial) - _END_LONGEST + 1, 0)
        if not ends:
            # Without anything to hide, there is no need to wait for the end of an event.
            return b"" if self._hides_usage else chunk
        whole = bytes(self._partial[: ends[-1]])
        del self._partial[: ends[-1]]
        self._scanned = max(len(self._partial) - _END_LONGEST + 1, 0)
        shown = self._take_events(whole, ends)
        return shown if self._hides_usage else chunk

    def _take_events(self, whole: bytes, ends: list[int]) -> bytes:
        shown: list[bytes] = []
        start = 0
        for end in ends:
            event = whole[start:end]
            start = end
            if _MATTERS.search(event):
                self._matters.append(event)
            if self._size < _BYTES_KEPT:
                self._events.append(event)
                self._size += len(event)
            if self._hides_usage and _USAGE.search(event) and _NO_CHOICES.search(event):
                continue
            shown.append(event)
        return b"".join(shown)

    def end(self) -> bytes:
        """The answer came to its end: settle, and return what was held back."""
        rest = self._take_rest()
        shown = self._take_events(rest, [len(rest)]) if rest else b""
        self._finish(cut=None)
        return shown if self._hides_usage else b""

    def _take_rest(self) -> bytes:
        rest = bytes(self._partial)
        self._partial.clear()
        return rest

    def cut(self, error: BaseException) -> None:
        """The answer broke off."""
        # Python ends a dropped generator so; to us it is the caller who left.
        self._finish(cut="closed" if isinstance(error, GeneratorExit) else type(error).__name__)

    def closed(self) -> None:
        """The caller closed or dropped the answer, read or not."""
        self._finish(cut="closed")

    def _finish(self, *, cut: str | None) -> None:
        if self.is_done:
            return
        self.is_done = True
        if self._is_events and (rest := self._take_rest()):
            self._take_events(rest, [len(rest)])
        if not self._is_events:
            self._finish_body(cut)
            return
        receipt = self._endpoint.completed(self._request, self._endpoint.read_events(_data_of(self._matters)))
        if receipt.usage is not None and receipt.finished:
            # Nothing that comes after the end mark costs anything, so that a caller may leave right there.
            self._meter.settle(receipt)
        elif cut in (None, "closed") and receipt.finished:
            # Some SDK versions close a stream at its end mark, without reading on to the end of its bytes.
            self._meter.estimate(receipt, self._output_tokens())
        elif self._endpoint.is_billed_whole and self._events:
            # What was stated so far is of a part, and all of it is billed.
            self._meter.abort(Receipt(model=receipt.model), None, reason=cut or "cut")
        elif not self._events:
            self._meter.abort(receipt, None, reason=cut or "empty")
        else:
            self._meter.abort(receipt, self._output_tokens(), reason=cut or "cut")

    def _finish_body(self, cut: str | None) -> None:
        read = self._endpoint.read_content(b"".join(self._events), self._content_type)
        receipt = self._endpoint.completed(self._request, read or Receipt())
        if read is None or (cut is not None and self._endpoint.is_billed_whole):
            self._meter.abort(receipt, None, reason=cut or "not JSON")
        else:
            self._meter.settle(receipt)

    def _output_tokens(self) -> int:
        """Count the output that was seen, high where no tokenizer is at hand."""
        text = self._endpoint.output_seen(_data_of(self._events))
        counted = count_tokens(self._meter.plan.ask.model, text)
        return len(text.encode()) if counted is None else counted


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        # Another kind of loop, such as trio's: it closes its connections itself.
        return None


def parse_json(content: bytes | str) -> dict[str, Any] | None:
    """Return a JSON object, or None where *content* is none."""
    try:
        body: Any = json.loads(content)
    except ValueError:
        return None
    return cast("dict[str, Any]", body) if isinstance(body, dict) else None


def _data_of(events: Iterable[bytes]) -> Iterable[dict[str, Any]]:
    for event in events:
        data = b"\n".join(
            line[5:].strip()
            for line in event.splitlines()
            if line.startswith(b"data:") and line[5:].strip() != b"[DONE]"
        )
        if data and (parsed := parse_json(data)) is not None:
            yield parsed
