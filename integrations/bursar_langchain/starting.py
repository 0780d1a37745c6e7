"""The start of a call: who makes it, who pays, what it may cost; and the hold that it is not sent without."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final

from bursar.meter import plan_request
from bursar_langchain.calls import CALLS, ModelCall, Prompts
from bursar_langchain.claims import CLAIMS
from bursar_langchain.identity import agent_of
from bursar_langchain.payers import booking_of, close_root, place_of
from bursar_langchain.request import chat_request, class_of, text_request
from bursar_langchain.steps import holder_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence
    from uuid import UUID

    from bursar_langchain.request import Request

OFFERED: Final[ContextVar[ModelCall | None]] = ContextVar("bursar_langchain_offered", default=None)
"""The call that `BudgetMiddleware` has reserved already, for the start event that comes below it."""

_prompts: Final[ContextVar[Prompts | None]] = ContextVar("bursar_langchain_prompts", default=None)
"""What a `generate()` of several prompts has begun so far in this context."""


def _handlers_of(read: Callable[..., Request]) -> tuple[Callable[..., None], Callable[..., Awaitable[None]]]:
    """Return what holds for a call whose request *read* reads: for code that awaits it, the second."""

    def hold(serialized: Mapping[str, Any], prompts: Sequence[object], **event: Any) -> None:
        """
        Hold what a call may cost; the thread waits if the budget is busy.

        Raises:
            BudgetExceeded, UnknownPrice, StoreError: The call must not be sent.
        """
        call = _begin(read, prompts[0], serialized, event)
        if call is None:
            return
        try:
            call.meter.reserve()
        except BaseException:  # Refused, or cancelled while it waited: nothing is sent; raised again.
            call.refused()
            raise
        CALLS.add(event["run_id"], call)
        call.sending()

    async def ahold(serialized: Mapping[str, Any], prompts: Sequence[object], **event: Any) -> None:
        """Do as `hold` does, in a task, which alone waits."""
        task = asyncio.current_task()
        call = _begin(read, prompts[0], serialized, event, task)
        if call is None:
            return
        if task is not None:
            call.follow(task)
        try:
            await call.meter.areserve()
        except BaseException:  # Refused, or cancelled while it waited: nothing is sent; raised again.
            call.refused()
            raise
        CALLS.add(event["run_id"], call)
        call.sending()

    return hold, ahold


def _begin(
    read: Callable[..., Request],
    prompt: object,
    serialized: Mapping[str, Any],
    event: Mapping[str, Any],
    task: asyncio.Task[Any] | None = None,
) -> ModelCall | None:
    """
    Return the call to hold for; None where nobody pays for it, or it is paid already.

    Args:
        task: What awaits the answer, if anything does.
    """
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
    is_root = parent is None and parent_run_id is None
    root_id = str(parent_run_id or run_id) if parent is None else parent.root.run_id
    named = event.get("name") if parent is None else parent.root.name
    workflow = named or class_of(serialized) or "langchain"
    try:
        booking = booking_of(agent_of(parent, about), parent, handlers, root_id=root_id, workflow=workflow)
        if booking is None:
            return None
        endpoint, body, provider = read(prompt, params, about, serialized)
        plan = plan_request(
            endpoint,
            body,
            booking,
            provider=provider,
            can_downgrade=False,
            can_shrink=_never,
            is_async=task is not None,
            may_repeat=not is_root or booking[0].id != root_id,
        )
    except BaseException:  # Nothing is sent, and nobody will be told of its end; raised again.
        if is_root:
            close_root(root_id, handlers)
        raise
    prompts = _prompts_of(params) if event.get("batch_size", 1) > 1 else None
    holder = None if task is None else holder_of(task, parent)
    call = ModelCall(plan, endpoint, handlers=handlers, prompts=prompts, holder=holder)
    if is_root:
        call.root_id = root_id
    call.place = parent
    return call


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


hold_chat, ahold_chat = _handlers_of(chat_request)
hold_text, ahold_text = _handlers_of(text_request)
