"""The start of a call: who makes it, who pays, what it may cost; and the hold that it is not sent without."""

from __future__ import annotations

from contextvars import ContextVar
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from bursar.meter import plan_request
from bursar_langchain.calls import CALLS, ModelCall, Prompts
from bursar_langchain.claims import CLAIMS
from bursar_langchain.identity import agent_of
from bursar_langchain.payers import booking_of, close_root, place_of
from bursar_langchain.request import chat_request, class_of, text_request
from bursar_langchain.steps import reader_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from uuid import UUID

    from langchain_core.messages import BaseMessage

    from bursar_langchain.request import Request

OFFERED: Final[ContextVar[ModelCall | None]] = ContextVar("bursar_langchain_offered", default=None)
"""The call that `BudgetMiddleware` has reserved already, for the start event that comes below it."""

_prompts: Final[ContextVar[Prompts | None]] = ContextVar("bursar_langchain_prompts", default=None)
"""What a `generate()` of several prompts has begun so far in this context."""


def hold_chat(serialized: Mapping[str, Any], messages: list[list[BaseMessage]], **event: Any) -> None:
    """
    Hold what a chat model's call may cost; the thread waits if the budget is busy.

    Raises:
        BudgetExceeded, UnknownPrice, StoreError: The call must not be sent.
    """
    _hold(_begin(chat_request, messages[0], serialized, event, is_async=False), event["run_id"])


async def ahold_chat(serialized: Mapping[str, Any], messages: list[list[BaseMessage]], **event: Any) -> None:
    """Do as `hold_chat` does, in a task, which alone waits."""
    await _ahold(_begin(chat_request, messages[0], serialized, event, is_async=True), event["run_id"])


def hold_text(serialized: Mapping[str, Any], prompts: list[str], **event: Any) -> None:
    """Do as `hold_chat` does, for a model that completes texts."""
    _hold(_begin(text_request, prompts[0], serialized, event, is_async=False), event["run_id"])


async def ahold_text(serialized: Mapping[str, Any], prompts: list[str], **event: Any) -> None:
    """Do as `hold_text` does, in a task, which alone waits."""
    await _ahold(_begin(text_request, prompts[0], serialized, event, is_async=True), event["run_id"])


def _begin(
    read: Callable[..., Request],
    prompt: object,
    serialized: Mapping[str, Any],
    event: Mapping[str, Any],
    *,
    is_async: bool,
) -> ModelCall | None:
    """Return the call to hold for; None where nobody pays for it, or it is paid already."""
    run_id: UUID = event["run_id"]
    parent_run_id: UUID | None = event.get("parent_run_id")
    handlers = CLAIMS.take(run_id)
    parent = place_of(parent_run_id)
    about: Mapping[str, Any] = event.get("metadata") or {}
    params: Mapping[str, Any] = event.get("invocation_params") or {}
    offered = OFFERED.get()
    if offered is not None and not offered.is_taken:
        offered.is_taken = True
        if offered.covers(read(prompt, params, about, serialized)):
            offered.place = parent
            CALLS.add(run_id, offered)
            offered.sending()
            return None
        # What is sent is more than the middleware could see: pay for that, as it is.
        offered.release()
        handlers += offered.handlers
    root_id = str(parent_run_id or run_id) if parent is None else parent.root.run_id
    named = event.get("name") if parent is None else parent.root.name
    workflow = named or class_of(serialized) or "langchain"
    booking = booking_of(agent_of(parent, about), parent, handlers, root_id=root_id, workflow=workflow)
    if booking is None:
        return None
    request = read(prompt, params, about, serialized)
    plan = plan_request(
        request.endpoint,
        request.body,
        booking,
        provider=request.provider,
        can_downgrade=False,
        can_shrink=_never,
        is_async=is_async,
    )
    is_root = parent is None and parent_run_id is None
    at_end = partial(close_root, root_id, handlers) if is_root else None
    prompts = _prompts_of(params) if event.get("batch_size", 1) > 1 else None
    holder = reader_of(parent) if is_async and parent is not None else None
    call = ModelCall(plan, request.endpoint, handlers=handlers, prompts=prompts, holder=holder, at_end=at_end)
    call.place = parent
    return call


def _hold(call: ModelCall | None, run_id: UUID) -> None:
    if call is None:
        return
    try:
        call.meter.reserve()
    except BaseException:  # Refused, or cancelled while it waited: nothing is sent; raised again.
        call.refused()
        raise
    CALLS.add(run_id, call)
    call.sending()


async def _ahold(call: ModelCall | None, run_id: UUID) -> None:
    if call is None:
        return
    call.follow_task()
    try:
        await call.meter.areserve()
    except BaseException:  # Refused, or cancelled while it waited: nothing is sent; raised again.
        call.refused()
        raise
    CALLS.add(run_id, call)
    call.sending()


def _prompts_of(params: Mapping[str, Any]) -> Prompts:
    """Return the prompts that are sent by the same `generate()`, which is told by the very object it passes."""
    prompts = _prompts.get()
    if prompts is None or prompts.params is not params:
        prompts = Prompts(params)
        _prompts.set(prompts)
    return prompts


def _never(tokens: int) -> bool:
    """Tell that a callback cannot change a request; `BudgetMiddleware` can."""
    del tokens
    return False
