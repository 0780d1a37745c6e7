"""
Waiting and asking without writing everything twice.

What decides is a generator that says when it must wait for a busy account or ask the user; `drive` does that for
threads, and `adrive` for tasks.
"""

from __future__ import annotations

import inspect
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar, cast

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator

    from bursar.errors import BudgetExceeded
    from bursar.waiting import Ticket

T = TypeVar("T")

is_asking: Final[ContextVar[bool]] = ContextVar("bursar_is_asking", default=False)
"""Whether this code is what a user's function does when it is asked: its own calls must not ask it again."""


class Pause(NamedTuple):
    """Wait until the ticket is woken, for at most *timeout_s* seconds."""

    ticket: Ticket
    timeout_s: float


class Question(NamedTuple):
    """Ask the user's function what to do about a call that does not fit."""

    ask: Callable[[BudgetExceeded], Any]
    exceeded: BudgetExceeded


Step = Pause | Question


def drive(steps: Generator[Step, Any, T]) -> T:
    """
    Run *steps* in this thread, and return what they come to.

    Raises:
        TypeError: The function to ask is async, which a client that is not async cannot wait for.
    """
    answer: Any = None
    try:
        while True:
            step = steps.send(answer)
            answer = None
            if isinstance(step, Pause):
                step.ticket.wait(step.timeout_s)
            else:
                answer = _ask(step)
                if inspect.isawaitable(answer):
                    _discard(answer)
                    msg = (
                        "on_exceed is an async function, but the call is not async; use an async client "
                        "or a plain function"
                    )
                    raise TypeError(msg) from step.exceeded
    except StopIteration as end:
        return cast("T", end.value)
    finally:
        steps.close()


async def adrive(steps: Generator[Step, Any, T]) -> T:
    """Run *steps* in this task, and return what they come to."""
    answer: Any = None
    try:
        while True:
            step = steps.send(answer)
            answer = None
            if isinstance(step, Pause):
                await step.ticket.await_(step.timeout_s)
            else:
                answer = _ask(step)
                if inspect.isawaitable(answer):
                    answer = await _answered(answer)
    except StopIteration as end:
        return cast("T", end.value)
    finally:
        steps.close()


def _ask(step: Question) -> object:
    token = is_asking.set(True)
    try:
        return step.ask(step.exceeded)
    finally:
        is_asking.reset(token)


async def _answered(answer: Awaitable[object]) -> object:
    token = is_asking.set(True)
    try:
        return await answer
    finally:
        is_asking.reset(token)


def _discard(answer: object) -> None:
    if inspect.iscoroutine(answer):
        answer.close()
