"""The callback that a user gives to LlamaIndex's callback manager: it holds before a call, and books after it."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any
from weakref import ref

from llama_index.core.callbacks import CBEventType, EventPayload
from llama_index.core.callbacks.base_handler import BaseCallbackHandler

from bursar.clients.linking import link_header
from bursar.dropped import dropped
from bursar.errors import BursarError
from bursar.meter import Meter
from bursar.scope import current_meter
from bursar_llama_index.calls import AT_WORK, ModelCall, is_at_work
from bursar_llama_index.changing import can_change_model, can_lower, changed, watched_options
from bursar_llama_index.clients import has_guarded_clients
from bursar_llama_index.identity import FRAMES
from bursar_llama_index.payers import LlamaIndexPayer, follow_runs
from bursar_llama_index.places import Mark, embedding_place, llm_place
from bursar_llama_index.request import embedding_request, request_of

if TYPE_CHECKING:
    from bursar.budget import Budget
    from bursar.money import Money
    from bursar_llama_index.places import EmbeddingPlace, LLMPlace


class BudgetCallbackHandler(BaseCallbackHandler):
    """
    Pays for every LLM and embedding call of whatever holds it, before the call is sent.

    ```python
    Settings.callback_manager = CallbackManager([BudgetCallbackHandler(Budget("$2.00"))])
    ```

    LlamaIndex hands it to the models that are built, or fetched through `Settings`, after that; `install()` reaches
    the others. A call that is refused raises `BudgetExceeded` and is not sent; where LlamaIndex swallows that, in a
    tool or an `output_cls`, the run's `refusals` still hold it. It never raises once a call was sent.

    It sees calls, not their attempts: what a model's own client sends again is one call. A call in a task that runs on
    an event loop cannot wait for a busy budget and is refused. `guard()` does both.

    Attributes:
        bursar: Who pays: what was spent, and the report.

    Args:
        budget: A `Budget`, which pays for each outermost run of LlamaIndex's anew; or dollars that this handler may
            spend as long as it lives; None to pay from the run around the code alone.

        agent: Who the calls are booked to; it wins over what LlamaIndex would say.

    Raises:
        ValueError: The budget or the name makes no sense.
    """

    def __init__(self, budget: Money | Budget | None = None, *, agent: str | None = None) -> None:
        paid = {CBEventType.LLM, CBEventType.EMBEDDING}
        others = [kind for kind in CBEventType if kind not in paid]
        super().__init__(event_starts_to_ignore=others, event_ends_to_ignore=others)
        self.bursar = LlamaIndexPayer(budget, agent=agent)
        self.bursar.check_agent()
        self._open: dict[str, _Open] = {}
        follow_runs()

    def on_event_start(
        self,
        event_type: CBEventType,
        payload: dict[str, Any] | None = None,
        event_id: str = "",
        parent_id: str = "",
        **kwargs: Any,
    ) -> str:
        """
        Hold the most that a call may cost.

        Raises:
            BudgetExceeded: It does not fit: nothing is sent.
            UnknownPrice, UnmeteredEndpoint, StoreError: It cannot be paid for: nothing is sent.
        """
        del parent_id, kwargs
        if event_type is CBEventType.LLM:
            place = llm_place(self._open)
            if place is not None:
                self._begin_llm(place, payload or {}, event_id)
        elif event_type is CBEventType.EMBEDDING:
            batch = embedding_place()
            if batch is not None and batch.texts and not is_at_work(batch.model):
                self._begin_embedding(batch, event_id)
        return event_id

    def on_event_end(
        self,
        event_type: CBEventType,
        payload: dict[str, Any] | None = None,
        event_id: str = "",
        **kwargs: Any,
    ) -> None:
        """Book what a call did cost."""
        del event_type, kwargs
        found = self._open.pop(event_id, None)
        if found is None:
            return
        found.step_aside()
        about = payload or {}
        error = about.get(EventPayload.EXCEPTION)
        if isinstance(error, BaseException):
            found.call.failed(error)
            return
        response = about.get(EventPayload.RESPONSE, about.get(EventPayload.COMPLETION))
        found.call.answered(response)

    def start_trace(self, trace_id: str | None = None) -> None:
        """Trace nothing."""

    def end_trace(self, trace_id: str | None = None, trace_map: dict[str, list[str]] | None = None) -> None:
        """Trace nothing."""

    def _begin_llm(self, place: LLMPlace, payload: dict[str, Any], event_id: str) -> None:
        model = place.model
        if AT_WORK.get() and is_at_work(model):
            # Its guard pays, and lets this handler's budget pay with it.
            return
        prompt: Any = payload.get(EventPayload.MESSAGES, payload.get(EventPayload.PROMPT, ""))
        arguments: dict[str, Any] = payload.get(EventPayload.ADDITIONAL_KWARGS, {})
        is_stream = "stream" in place.method
        request = request_of(model, prompt, arguments, stream=is_stream)
        if dropped.may_be_any:
            dropped.do_all()
        is_async = asyncio._get_running_loop() is not None
        call = ModelCall(
            model,
            request,
            partial(self.bursar.booking_inside, FRAMES.get()),
            is_async=is_async,
            can_wait=not is_async,
            can_downgrade=can_change_model(model),
            can_shrink=lambda _: can_lower(model),
            is_lazy=is_stream,
        )
        held = call.meter.reserve()
        if held is not None and (held.output_limit is not None or held.bound.model != request.body["model"]):
            changed(arguments, call)
        found = _Open(call)
        self._open[event_id] = found
        if not is_stream:
            self._end_with(place.mark, event_id)
            found.step_in()
            call.meter.dispatch()
            return
        call.meter.dispatch()
        options = watched_options(model, arguments)
        if options is not None:
            self._end_with(options, event_id)
        if isinstance(call.meter, Meter) and has_guarded_clients(model):
            # Which context the stream will be read in, nobody knows.
            arguments["extra_headers"] = {**(arguments.get("extra_headers") or {}), **link_header(call.meter)}

    def _begin_embedding(self, batch: EmbeddingPlace, event_id: str) -> None:
        if dropped.may_be_any:
            dropped.do_all()
        is_async = asyncio._get_running_loop() is not None
        mark = batch.mark
        last = self._open.get(mark[-1]) if mark else None
        if last is not None:
            # They are told of one after the other, and none lies within another.
            last.step_aside()
        call = ModelCall(
            batch.model,
            embedding_request(batch.model, batch.texts),
            partial(self.bursar.booking_inside, FRAMES.get()),
            is_async=is_async,
            can_wait=not is_async,
        )
        try:
            call.meter.reserve()
        except BursarError:
            if batch.is_gathered:
                for before in mark:
                    self._release(before)
            raise
        call.sending()
        found = self._open[event_id] = _Open(call)
        found.step_in()
        if last is not None and isinstance(last.call.meter, Meter) and isinstance(call.meter, Meter):
            # Whichever of them is sent first below, each is paid by one.
            call.meter.sibling = last.call.meter
        self._end_with(mark, event_id)

    def _end_with(self, mark: Mark | dict[str, Any], event_id: str) -> None:
        """End the call with *mark*, should LlamaIndex not tell: a handler that raises keeps the end from the others."""
        dropped.start()
        if isinstance(mark, Mark):
            mark.append(event_id)
        found = self._open[event_id]

        def dies(_: object) -> None:
            if event_id not in self._open:
                return
            if isinstance(found.call.meter, Meter):
                found.call.meter.take_no_inner()
            found.step_aside()
            dropped.later(lambda: self._left(event_id))

        found.dies = ref(mark, dies)

    def _left(self, event_id: str) -> None:
        found = self._open.pop(event_id, None)
        if found is not None:
            found.call.left()

    def _release(self, event_id: str) -> None:
        found = self._open.pop(event_id, None)
        if found is not None and isinstance(found.call.meter, Meter):
            found.step_aside()
            found.call.meter.release()

    def __deepcopy__(self, memo: object) -> BudgetCallbackHandler:
        # Copies of a model are paid for by whoever pays for the model.
        return self

    def __len__(self) -> int:
        """Return how many calls are in flight."""
        return len(self._open)

    def __bool__(self) -> bool:
        return True

    def __repr__(self) -> str:
        return f"BudgetCallbackHandler({self.bursar.budget!r})"


class _Open:
    """A call in flight; while it lasts, what is called below it is paid."""

    def __init__(self, call: ModelCall) -> None:
        self.call = call
        self.dies: object = None
        self._around: Any = None

    def step_in(self) -> None:
        """Tell what is called below who pays."""
        self._around = current_meter.get()
        current_meter.set(self.call.meter)

    def step_aside(self) -> None:
        """Tell it no more."""
        if current_meter.get() is self.call.meter:
            current_meter.set(self._around)
