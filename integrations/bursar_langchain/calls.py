"""
The model calls that LangChain makes now, from the start event to whatever ends each.

LangChain tells the end of most calls, and of some it never does: a cancelled `ainvoke`, a prompt of several whose
sibling failed, a call that another handler stopped.  So a call is also over when its task is, when nothing awaits it,
or when nothing refers to its run any more.
"""

from __future__ import annotations

import sys
import weakref
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from langchain_core.callbacks import AsyncCallbackManager

from bursar.dropped import dropped
from bursar.meter import Meter, Observer
from bursar.meter.failures import answer_in, failure_of
from bursar.scope import current_meter
from bursar.tokens import count_tokens
from bursar.wire import Receipt
from bursar_langchain.payers import close_root
from bursar_langchain.usage import first_of, is_from_cache, receipt_of, text_of

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Sequence
    from uuid import UUID

    from langchain_core.outputs import LLMResult

    from bursar.meter import Plan
    from bursar.wire import Endpoint
    from bursar_langchain.handler import BudgetCallbackHandler
    from bursar_langchain.request import Request
    from bursar_langchain.tree import Node

_EXTEND_EVERY_S: Final = 60.0
_LEASE_S: Final = 600.0
_AWAITS: Final = "agenerate"
_STREAMS: Final = "astream"
"""What of LangChain's awaits the answer of a model, and what hands it on piece by piece."""
_FRAMES_BETWEEN: Final = 5
"""How far they are, less one: behind the frames from `_asked_by` to the hook, and those that LangChain calls it by."""
_HANDLERS_MODULE: Final = "langchain_core.callbacks.manager"


class ModelCall:
    """
    One call of a model, followed by one meter.

    It ends once: the first of `settle`, `fail` and `leave` counts.

    Attributes:
        is_taken: Whether a start event of LangChain's stands for it already.

        is_stream: Whether a task reads its answer piece by piece; between the pieces the call is suspended.

        handlers: Who was given to the call itself to pay for it.

        key: What it is followed under.

        alive: The run that LangChain made for it, as long as LangChain holds that.

        place: The run that it is made in.

        root_id: The root run that it is itself, if it is made in none.

        prompts: The calls that one `generate()` makes together, if it makes several.

    Args:
        holder: See `Meter`.
    """

    is_taken = False
    is_stream = False
    key: int | None = None
    alive: weakref.ref[UUID] | None = None
    place: Node | None = None
    root_id: str | None = None
    _has_output = False
    _next_extend_s = 0.0
    _task: asyncio.Task[Any] | None = None
    _awaited: weakref.ref[Any] | None = None

    def __init__(
        self,
        plan: Plan,
        endpoint: Endpoint,
        *,
        handlers: Sequence[BudgetCallbackHandler] = (),
        prompts: Prompts | None = None,
        holder: str | None = None,
    ) -> None:
        if prompts is not None and prompts.calls:
            # What surrounds the first of several prompts surrounds them all.
            around, outer = prompts.calls[0]._around, None
        else:
            around = current_meter.get()
            outer = None if around is None else around.inner()
        self.meter: Meter | Observer
        self.meter = Meter(plan, holder) if outer is None else Observer(outer)
        self.plan = plan
        self.endpoint = endpoint
        self.handlers = handlers
        self.prompts = prompts
        if prompts is not None:
            prompts.add(self)
        self._around: Meter | Observer | None = around

    def covers(self, request: Request) -> bool:
        """Whether what is held is enough for *request*, which is what will be sent."""
        held = self.meter.held if isinstance(self.meter, Meter) else None
        if held is None:
            return True
        endpoint, body, _ = request
        asked, planned = endpoint.read_request(body), self.plan.ask
        limit = held.output_limit or planned.output_limit
        return (
            asked.model == held.bound.model
            and asked.input_tokens_most <= planned.input_tokens_most
            and asked.choices <= planned.choices
            and (limit is None or (asked.output_limit is not None and asked.output_limit <= limit))
        )

    def sending(self) -> None:
        """Mark that the request goes out now: what is called below this is this call's own."""
        self.meter.dispatch()
        if isinstance(self.meter, Meter) and (self.prompts is None or self.prompts.calls[0] is self):
            current_meter.set(self.meter)

    def follow(self, task: asyncio.Task[Any]) -> None:
        """End with *task*, which runs now, or with what awaits the answer in it, should LangChain not tell."""
        self._task = task
        task.add_done_callback(self._task_done)
        method, manager = _asked_by()
        self.is_stream = method == _STREAMS
        if manager is not None:
            self._awaited = weakref.ref(manager, self._not_awaited)

    def see_output(self) -> None:
        """A piece of the answer is there: calls made between pieces are the reader's own."""
        if not self._has_output:
            self._has_output = True
            if current_meter.get() is self.meter:
                current_meter.set(self._around)
        now_s = self.meter.now_s()
        if now_s > self._next_extend_s:
            if self._next_extend_s:
                self.meter.extend(_LEASE_S)
            self._next_extend_s = now_s + _EXTEND_EVERY_S

    def settle(self, result: LLMResult, run_id: UUID) -> None:
        """Book the answer."""
        generation = first_of(result)
        if is_from_cache(generation, run_id):
            self.release()
            return
        receipt = receipt_of(result, generation, self.endpoint)
        if receipt.usage is None and receipt.stated_nanousd is None and (text := text_of(result)):
            self.meter.estimate(receipt, self._tokens_in(text))
        else:
            self.meter.settle(receipt)
        self._ended()

    def fail(self, error: BaseException, result: LLMResult | None) -> None:
        """Book a call that raised *error*, or was left, with what had come by then."""
        text = text_of(result)
        if is_of_a_handler(error):
            self._release()
        elif self._has_output or text:
            reason = "closed" if isinstance(error, GeneratorExit) else type(error).__name__
            receipt = Receipt() if result is None else receipt_of(result, first_of(result), self.endpoint)
            self.meter.abort(receipt, self._tokens_in(text), reason=reason)
        elif (answer := answer_in(error)) is not None:
            self.meter.settle(self.endpoint.read_response(answer))
        elif isinstance(error, Exception):
            is_billed, reason = failure_of(error)
            self.meter.fail(reason, is_billed=is_billed)
        else:
            self.meter.abort(Receipt(), None, reason=type(error).__name__)
        self._ended()
        if self.prompts is not None and not self.plan.is_async:
            self.prompts.end_others(self)

    def leave(self, reason: str) -> None:
        """Book a call of whose end nothing is known."""
        if self.meter.is_open:
            self.meter.abort(Receipt(), None, reason=reason)
        self._ended()

    def release(self) -> None:
        """Give back what is held for a call that was never sent."""
        self._release()
        self._ended()

    def refused(self) -> None:
        """End a call that may not be sent, and those that were to be sent together with it."""
        self.release()
        if self.prompts is not None:
            for call in self.prompts.calls:
                call.release()

    def _release(self) -> None:
        if isinstance(self.meter, Meter):
            self.meter.release()

    def _ended(self) -> None:
        if current_meter.get() is self.meter:
            current_meter.set(self._around)
        if self._task is not None:
            self._task.remove_done_callback(self._task_done)
            self._task = self._awaited = None
        self.alive = None
        if self.key is not None:
            CALLS.pop(self.key, None)
        root_id, self.root_id = self.root_id, None
        if root_id is not None:
            close_root(root_id, self.handlers)

    def _tokens_in(self, text: str) -> int:
        """Count output, high where no tokenizer is at hand."""
        counted = count_tokens(self.plan.ask.model, text)
        return len(text.encode()) if counted is None else counted

    def forgotten(self, _: object) -> None:
        """Note that nothing refers to the call's run any more; safe inside of garbage collection."""
        dropped.later(partial(self._left, "dropped"))

    def _not_awaited(self, _: object) -> None:
        # Here is the middle of whatever raised.  Whoever knows more about it comes first: the run around the call, and
        # the task, whose own callbacks are called in the loop's next turn.
        task = self._task
        if task is not None and not (loop := task.get_loop()).is_closed():
            loop.call_soon_threadsafe(loop.call_soon, self._left, "CancelledError")

    def _left(self, reason: str) -> None:
        if self.key is not None and CALLS.get(self.key) is self:
            self.leave(reason)

    def _task_done(self, task: asyncio.Task[Any]) -> None:
        if not self.meter.is_open:
            return
        error = None if task.cancelled() else task.exception()
        if self.is_stream and (self._has_output or (error is None and not task.cancelled())):
            # A stream is suspended between its pieces, and each may be asked for in a task of its own, as chains do.
            return
        if error is not None and is_of_a_handler(error):
            self.release()
        else:
            self.leave("CancelledError" if task.cancelled() else "unknown")


class Prompts:
    """The calls that one `generate()` of several prompts makes; without tasks, one after the other."""

    def __init__(self, params: object) -> None:
        self.params = params
        self.calls: list[ModelCall] = []

    def add(self, call: ModelCall) -> None:
        """Add the call of the next prompt."""
        last = self.calls[-1].meter if self.calls else None
        if isinstance(last, Meter) and isinstance(call.meter, Meter):
            last.sibling = call.meter
        self.calls.append(call)

    def end_others(self, failed: ModelCall) -> None:
        """End the calls whose sibling failed: what came before was answered, unseen; what comes after is not sent."""
        index = self.calls.index(failed)
        for call in self.calls[:index]:
            call.leave("sibling failed")
        for call in self.calls[index + 1 :]:
            call.release()


class Calls:
    """
    The calls in flight, by the run that LangChain made for each; safe to use from any thread.

    Attributes:
        get: Returns the call of a run by the `int` of its id, or None; it is asked for at every event.

        pop: Follows the call of a run no more; see `get`.
    """

    def __init__(self) -> None:
        self._calls: dict[int, ModelCall] = {}
        self.get, self.pop = self._calls.get, self._calls.pop

    def add(self, run_id: UUID, call: ModelCall) -> None:
        """Follow *call* under the id of its run, and end it when nobody refers to the run any more."""
        if not dropped.is_started:
            dropped.start()
        call.key = run_id.int
        call.alive = weakref.ref(run_id, call.forgotten)
        self._calls[call.key] = call

    def end_in(self, node: Node, error: BaseException) -> None:
        """End the calls made by tasks right in a run that was cancelled, or that another handler stopped."""
        is_stopped = is_of_a_handler(error)
        if isinstance(error, Exception) and not is_stopped:
            return
        inside = [call for call in list(self._calls.values()) if call.place is node]
        for call in inside:
            if is_stopped:
                call.release()
            elif call.plan.is_async and not call.is_stream:
                call.leave(type(error).__name__)
            # A stream is closed after what it lies in, and then told of.
            # In a thread of its own a call goes on to its end, whoever still listens.

    def __len__(self) -> int:
        """Return how many calls are in flight."""
        return len(self._calls)


CALLS: Final = Calls()


def _asked_by() -> tuple[str | None, AsyncCallbackManager | None]:
    """Return which method of LangChain's asks the model, and what that keeps for as long as it awaits the answer."""
    tells = sys._getframe(_FRAMES_BETWEEN)  # pyright: ignore[reportPrivateUsage]
    asks = tells.f_back
    method = None if asks is None else asks.f_code.co_name
    if method != _AWAITS:
        return method, None
    # What `agenerate` itself has is many times more, most of it not set yet, which is slow to look through.
    manager = tells.f_locals.get("self")
    return method, manager if isinstance(manager, AsyncCallbackManager) else None


def is_of_a_handler(error: BaseException) -> bool:
    """Whether *error* was raised by a callback handler at a call's start, so that the call was never sent."""
    seen = error.__traceback__
    names: list[str] = []
    while seen is not None:
        code = seen.tb_frame
        if code.f_globals.get("__name__") == _HANDLERS_MODULE:
            names.append(code.f_code.co_name)
        seen = seen.tb_next
    return any(name.endswith("_model_start") or name == "on_llm_start" for name in names)
