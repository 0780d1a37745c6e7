"""The eight methods of an LLM that cost money: whatever else it can do goes through these."""

# What is overridden is of whatever class the user's model has.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

from llama_index.core.base.llms.types import ChatMessage, ChatResponse, CompletionResponse, MessageRole

from bursar.dropped import dropped
from bursar.errors import BudgetExceeded
from bursar_llama_index.calls import ModelCall, is_at_work
from bursar_llama_index.identity import FRAMES
from bursar_llama_index.payers import LlamaIndexPayer
from bursar_llama_index.request import request_of, setting
from bursar_llama_index.streams import PaidAsyncStream, PaidStream

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator

    from bursar_llama_index.request import Request

if TYPE_CHECKING:
    Model = Any
else:
    Model = object

_LIMIT: Final = "max_tokens"


class GuardedLLM(Model):
    """Pays for each call; one that calls another of these pays once."""

    def chat(self, messages: Any, *args: Any, **kwargs: Any) -> Any:
        """See `LLM`."""
        if is_at_work(self):
            return super().chat(messages, *args, **kwargs)
        return _whole(self, "chat", messages, args, kwargs)

    def complete(self, prompt: Any, *args: Any, **kwargs: Any) -> Any:
        """See `LLM`."""
        if is_at_work(self):
            return super().complete(prompt, *args, **kwargs)
        return _whole(self, "complete", prompt, args, kwargs)

    def stream_chat(self, messages: Any, *args: Any, **kwargs: Any) -> Any:
        """See `LLM`."""
        if is_at_work(self):
            return super().stream_chat(messages, *args, **kwargs)
        return _streamed(self, "stream_chat", messages, args, kwargs)

    def stream_complete(self, prompt: Any, *args: Any, **kwargs: Any) -> Any:
        """See `LLM`."""
        if is_at_work(self):
            return super().stream_complete(prompt, *args, **kwargs)
        return _streamed(self, "stream_complete", prompt, args, kwargs)

    async def achat(self, messages: Any, *args: Any, **kwargs: Any) -> Any:
        """See `LLM`."""
        if is_at_work(self):
            return await super().achat(messages, *args, **kwargs)
        return await _awhole(self, "achat", messages, args, kwargs)

    async def acomplete(self, prompt: Any, *args: Any, **kwargs: Any) -> Any:
        """See `LLM`."""
        if is_at_work(self):
            return await super().acomplete(prompt, *args, **kwargs)
        return await _awhole(self, "acomplete", prompt, args, kwargs)

    async def astream_chat(self, messages: Any, *args: Any, **kwargs: Any) -> Any:
        """See `LLM`."""
        if is_at_work(self):
            return await super().astream_chat(messages, *args, **kwargs)
        return await _astreamed(self, "astream_chat", messages, args, kwargs)

    async def astream_complete(self, prompt: Any, *args: Any, **kwargs: Any) -> Any:
        """See `LLM`."""
        if is_at_work(self):
            return await super().astream_complete(prompt, *args, **kwargs)
        return await _astreamed(self, "astream_complete", prompt, args, kwargs)


def _whole(model: Any, name: str, prompt: Any, args: Any, kwargs: Any) -> Any:
    call = _call_of(model, name, prompt, kwargs)
    try:
        call.meter.reserve()
    except BudgetExceeded as exceeded:
        return _stopped(call, name, exceeded)
    send = _serving(call, name, kwargs)
    try:
        with call.at_work():
            call.sending()
            answer = send(prompt, *args)
    except BaseException as error:  # Booked, and raised again: a call that was cancelled is paid, too.
        call.failed(error)
        raise
    call.answered(answer)
    return answer


async def _awhole(model: Any, name: str, prompt: Any, args: Any, kwargs: Any) -> Any:
    call = _call_of(model, name, prompt, kwargs)
    try:
        await call.meter.areserve()
    except BudgetExceeded as exceeded:
        return _stopped(call, name, exceeded)
    send = _serving(call, name, kwargs)
    try:
        with call.at_work():
            call.sending()
            answer = await send(prompt, *args)
    except BaseException as error:  # Booked, and raised again: a call that was cancelled is paid, too.
        call.failed(error)
        raise
    call.answered(answer)
    return answer


def _streamed(model: Any, name: str, prompt: Any, args: Any, kwargs: Any) -> Any:
    call = _call_of(model, name, prompt, kwargs)
    try:
        call.meter.reserve()
    except BudgetExceeded as exceeded:
        return _one(_stopped(call, name, exceeded))
    send = _serving(call, name, kwargs)
    try:
        with call.at_work():
            call.sending()
            parts = iter(send(prompt, *args))
    except BaseException as error:  # Booked, and raised again: a call that was cancelled is paid, too.
        call.failed(error)
        raise
    return PaidStream(call, parts)


async def _astreamed(model: Any, name: str, prompt: Any, args: Any, kwargs: Any) -> Any:
    call = _call_of(model, name, prompt, kwargs)
    try:
        await call.meter.areserve()
    except BudgetExceeded as exceeded:
        return _aone(_stopped(call, name, exceeded))
    send = _serving(call, name, kwargs)
    try:
        with call.at_work():
            call.sending()
            parts = aiter(await send(prompt, *args))
    except BaseException as error:  # Booked, and raised again: a call that was cancelled is paid, too.
        call.failed(error)
        raise
    return PaidAsyncStream(call, parts)


def _call_of(model: Any, name: str, prompt: Any, kwargs: dict[str, Any]) -> ModelCall:
    dropped.do_all()
    guarding = model.bursar_guarding
    is_stream = "stream" in name
    request = request_of(model, prompt, kwargs, stream=is_stream)
    frames = FRAMES.get()

    def can_shrink(tokens: int) -> bool:
        return _can_shrink(model, request, tokens)

    return ModelCall(
        model,
        request,
        lambda: guarding.payer.booking_inside(frames, besides=payers_beside(model)),
        is_async=name.startswith("a"),
        can_downgrade=guarding.is_seen_below or bool(guarding.fallback),
        can_shrink=can_shrink,
        is_seen_below=guarding.is_seen_below,
        is_lazy=is_stream,
        steps=guarding.steps,
    )


def payers_beside(model: Any) -> list[LlamaIndexPayer]:
    """Return who pays for the calls of *model* besides its guard: the handlers that it was given."""
    handlers = getattr(setting(model, "callback_manager"), "handlers", None) or ()
    found = (getattr(handler, "bursar", None) for handler in handlers)
    return [payer for payer in found if isinstance(payer, LlamaIndexPayer)]


def _can_shrink(model: Any, request: Request, tokens: int) -> bool:
    if not model.bursar_guarding.is_seen_below:
        return _LIMIT in type(model).model_fields
    name = str(request.body["model"])
    return request.endpoint.with_output_limit(request.body, tokens, model=name, host="") is not None


def _serving(call: ModelCall, name: str, kwargs: dict[str, Any]) -> Any:
    """Return the method to call: of the model itself, of a copy with a lower limit, or of what stands in for it."""
    guarding = call.model.bursar_guarding
    granted = call.granted_model
    serving = call.model if granted is None else guarding.fallback.get(granted, call.model)
    limit = call.granted_limit
    if serving is not call.model:
        # It is asked for its own model, in its own words.
        call.meter.plan = call.meter.plan._replace(is_fitted_below=False)
        call.is_seen_below = serving.bursar_guarding.is_seen_below
        kwargs = {key: value for key, value in kwargs.items() if key != "model"}
    if limit is not None and (serving is not call.model or not call.is_seen_below):
        if _LIMIT in type(serving).model_fields:
            serving = serving.model_copy(update={_LIMIT: limit})
        if _LIMIT in kwargs:
            kwargs = {**kwargs, _LIMIT: limit}
    call.model = serving
    return partial(getattr(serving, name), **kwargs)


def _stopped(call: ModelCall, name: str, exceeded: BudgetExceeded) -> Any:
    """Return the answer that stands for a refused call, or raise."""
    if not call.meter.stops_gracefully:
        raise exceeded
    text = f"[Stopped by the budget: {exceeded}]"
    delta = text if "stream" in name else None
    if "chat" in name:
        return ChatResponse(message=ChatMessage(role=MessageRole.ASSISTANT, content=text), delta=delta)
    return CompletionResponse(text=text, delta=delta)


def _one(answer: Any) -> Generator[Any, None, None]:
    yield answer


async def _aone(answer: Any) -> AsyncGenerator[Any, None]:
    yield answer
