"""One call of a budgeted client: held before it is sent, and ended once, however it ends."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from autogen_core.models import CreateResult, RequestUsage

from bursar.dropped import dropped
from bursar.errors import BudgetExceeded
from bursar.meter import Meter
from bursar.meter.around import AtWork
from bursar.meter.failures import failure_of
from bursar.wire import Receipt
from bursar_autogen.exhaustion import note_answered, note_held, note_refused
from bursar_autogen.usage import output_tokens, settle, tell_usage, text_of

if TYPE_CHECKING:
    from autogen_core import CancellationToken

    from bursar.meter import Plan
    from bursar.wire import Endpoint
    from bursar_autogen.inner import Inner

current_call: Final[ContextVar[Call | None]] = ContextVar("bursar_autogen_call", default=None)
"""The call whose client is at work in this context: one budgeted client below another pays nothing for it."""

_LIMITS: Final = ("max_tokens", "max_completion_tokens", "options")
"""Where a body keeps its output limit, as `extra_create_args` do."""


class Request(NamedTuple):
    """
    What a call asks of its client.

    Attributes:
        body: What it is weighed by.

        arguments: What `create` was called with by name.

        inners: The clients that may serve it, by the model that each is asked for.
    """

    inner: Inner
    endpoint: Endpoint
    model: str
    body: dict[str, Any]
    messages: Any
    arguments: dict[str, Any]
    inners: dict[str, Inner]


class Call:
    """
    Follows one `create` or `create_stream`.

    Attributes:
        serving: The client that it was granted.

        has_inner: Whether a budgeted client below was let through for it.

    Args:
        on_exceed: `"raise"` or `"stop"`, or None to do as the budget says that refuses.
    """

    has_inner = False
    _counted_before = 0

    def __init__(self, plan: Plan, request: Request, *, on_exceed: str | None) -> None:
        self.meter = Meter(plan)
        self._request = request
        self._on_exceed = on_exceed
        self._texts: list[str] = []
        self.serving = request.inner

    async def hold(self, token: CancellationToken | None) -> None:
        """
        Hold the most that it may cost; where it must wait, a *token* that is cancelled ends the wait.

        Raises:
            BudgetExceeded, UnknownPrice, StoreError: It must not be sent.
        """
        try:
            if token is None:
                await self.meter.areserve()
            else:
                await self._hold_until(token)
        except BudgetExceeded as exceeded:
            note_refused(self.meter.plan, exceeded)
            raise
        held = self.meter.held
        assert held is not None  # noqa: S101 (what cannot be held is raised)
        note_held(self.meter.plan, held)
        self.serving = self._request.inners.get(held.bound.model, self._request.inner)
        if self.serving.is_replay and self.serving.has_cache:
            self._counted_before = self.serving.tokens_so_far

    async def _hold_until(self, token: CancellationToken) -> None:
        if token.is_cancelled():
            raise asyncio.CancelledError
        task = asyncio.current_task()
        if task is None:  # pragma: no cover (another kind of loop)
            await self.meter.areserve()
            return
        # A token lives as long as a whole run: what it keeps of a call must be next to nothing.
        waiting, is_cancelled = [task], False

        def cancel() -> None:
            nonlocal is_cancelled
            if waiting and not is_cancelled:
                is_cancelled = waiting[0].cancel()

        def cancelled() -> None:
            if waiting:
                # A token may be cancelled by any thread.
                waiting[0].get_loop().call_soon_threadsafe(cancel)

        token.add_callback(cancelled)
        try:
            await self.meter.areserve()
        finally:
            waiting.clear()
            if is_cancelled:
                # It was this call that was cancelled, and not the task that waits for it.
                task.uncancel()

    async def whole(self) -> CreateResult:
        """Send it, and return the answer."""
        arguments = self._fitted()
        try:
            with self._at_work():
                self._sending()
                result = await self.serving.client.create(self._request.messages, **arguments)
        except BaseException as error:  # Booked, and raised again: a call that was cancelled is paid, too.
            self.failed(error)
            raise
        self.answered(result)
        return result

    async def pieces(self) -> Any:
        """Send it, and yield the answer as it comes; its end is yielded when all is settled."""
        arguments: Any = self._fitted()
        if self.serving.asks_for_usage:
            extra = _with_usage(self.serving, arguments["extra_create_args"])
            arguments = {**arguments, "extra_create_args": extra}
        dropped.start()
        result: CreateResult | None = None
        stream: Any = None
        try:
            with self._at_work():
                self._sending()
                stream = aiter(self.serving.client.create_stream(self._request.messages, **arguments))
            while True:
                try:
                    with self._at_work():
                        piece = await anext(stream)
                except StopAsyncIteration:
                    break
                if isinstance(piece, CreateResult):
                    # A client may do more after that, and is left by nobody before it has.
                    result = piece
                    continue
                self._texts.append(piece)
                yield piece
        except BaseException as error:  # Booked, and raised again: a call that was cancelled is paid, too.
            self.failed(error)
            raise
        finally:
            if stream is not None and result is None:
                with self._at_work():
                    await stream.aclose()
        if result is None:
            self.meter.abort(Receipt(), self._output_tokens(), reason="no result")
            return
        self.answered(result)
        yield result

    def _at_work(self) -> AtWork:
        return AtWork(self.meter, current_call, self)

    def answered(self, result: CreateResult) -> None:
        """Book what an answer cost: nothing, where a cache gave it."""
        if result.cached and self._is_free():
            self.meter.release()
            return
        entry = settle(self.meter, result)
        tell_usage(self.meter, result)
        if entry is not None:
            note_answered(self.meter.plan, entry.usage, partial(text_of, result))

    def failed(self, error: BaseException) -> None:
        """Book a call that brought no answer, or only the beginning of one."""
        if not self.meter.is_open:
            return
        if self.serving.is_watched and not self.meter.is_dispatched:
            # It failed before anything was sent, or a cache was at work.
            self.meter.release()
            return
        if self._texts:
            # Python ends a generator that is dropped so; to us it is the caller who left.
            left = isinstance(error, GeneratorExit)
            self.meter.abort(
                Receipt(), self._output_tokens(), reason="closed" if left else type(error).__name__
            )
            return
        is_billed, reason = failure_of(error)
        self.meter.fail(reason, is_billed=is_billed)

    def note_dropped(self) -> None:
        """Note that nobody reads the stream any more, from within the garbage collector."""
        if self.meter.is_open:
            dropped.later(lambda: self.failed(GeneratorExit()))

    def stop_answer(self, exceeded: BudgetExceeded) -> CreateResult | None:
        """Return the answer that stands for a refused call, or None where it is to be raised."""
        stops = self.meter.stops_gracefully if self._on_exceed is None else self._on_exceed == "stop"
        if not stops:
            return None
        nothing = RequestUsage(prompt_tokens=0, completion_tokens=0)
        text = f"[Stopped by the budget: {exceeded}]"
        return CreateResult(finish_reason="stop", content=text, usage=nothing, cached=False)

    def _sending(self) -> None:
        # Where its requests are seen, the first of them says so: until then nothing can have been billed.
        if not self.serving.is_watched:
            self.meter.dispatch()

    def _output_tokens(self) -> int | None:
        """Count the output seen; None where there may be more than was shown, as of calls of tools."""
        if not self._texts or self._request.arguments["tools"]:
            return None
        return output_tokens(self.meter, self._texts)

    def _is_free(self) -> bool:
        if self.serving.is_watched:
            return not self.meter.is_dispatched
        if self.serving.is_replay:
            # It calls its own answers cached.
            return self.serving.has_cache and self.serving.tokens_so_far == self._counted_before
        return True

    def _fitted(self) -> dict[str, Any]:
        """Return the arguments changed to what was granted: another model, a lower output limit."""
        request, held = self._request, self.meter.held
        assert held is not None  # noqa: S101 (asked only after `hold`)
        model = held.bound.model
        serving = self.serving
        if serving is request.inner and model == request.model and held.output_limit is None:
            return request.arguments
        extra = dict(request.arguments["extra_create_args"])
        if serving is not request.inner:
            # The other client has a model of its own, which the call's must not stand before.
            extra.pop("model", None)
        elif model != request.model:
            extra["model"] = model
        if held.output_limit is not None:
            body = {**serving.arguments(extra), "messages": ()}
            endpoint = serving.endpoint(model)
            lowered = (
                endpoint.with_output_limit(body, held.output_limit, model=model, host=serving.host) or {}
            )
            extra.update({key: lowered[key] for key in _LIMITS if lowered.get(key) != body.get(key)})
        return {**request.arguments, "extra_create_args": extra}


def _with_usage(inner: Inner, extra: dict[str, Any]) -> dict[str, Any]:
    """Return *extra* so that a stream states its usage, unless the caller said whether it shall."""
    options = extra.get("stream_options")
    if options is None:
        options = inner.arguments({}).get("stream_options")
    if options is None or "include_usage" not in options:
        return {**extra, "stream_options": {**(options or {}), "include_usage": True}}
    return extra
