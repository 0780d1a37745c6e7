"""Who waits for a hold, and whose a hold is: a task, or a thread that blocks."""

from __future__ import annotations

import asyncio
import os
from threading import get_ident
from typing import Any, Final

from bursar.forking import at_fork

_BLOCKING: Final = (":", "/")
_THREADS_REMEMBERED: Final = 10_000


def owner(*, is_async: bool) -> str:
    """
    Name who makes a call: the process, the thread, the task if there is one, and whether the call blocks the thread.

    `1:2:3` is a task that waits as one, `1:2:3/` the same task in a call that blocks, `1:2:` a thread without tasks.
    Nobody waits for a hold of its own.  A task's own is what it holds itself, by whatever client.  While a thread
    blocks, none of its tasks can go on, and so none can end what it holds: to a call that blocks, whatever is held in
    its thread is its own.
    """
    loop = asyncio._get_running_loop()
    if loop is not None and (task := asyncio.current_task(loop)) is not None:
        return task_owner(task) if is_async else f"{task_owner(task)}/"
    number = get_ident()
    return _threads.get(number) or _name_thread(number)


def task_owner(task: asyncio.Task[Any]) -> str:
    """Name *task*, which runs now, as `owner` does for a call that it awaits."""
    number = get_ident()
    return f"{_threads.get(number) or _name_thread(number)}{id(task)}"


def _name_thread(number: int) -> str:
    # To write the two numbers out takes longer than all the rest.  A thread that comes later may have the number of
    # one that is gone, and then has its name as well.
    if len(_threads) >= _THREADS_REMEMBERED:
        _threads.clear()
    name = _threads[number] = f"{os.getpid()}:{number}:"
    return name


_threads: Final[dict[int, str]] = {}
at_fork(after_in_child=_threads.clear)


def is_of(holder: str, asker: str) -> bool:
    """Whether what *holder* holds is the *asker*'s own, for which it must not wait; both as `owner` names them."""
    if asker.endswith(_BLOCKING):
        return holder.startswith(thread_of(asker))
    return holder.removesuffix("/") == asker


def thread_of(owner: str) -> str:
    """Return how the names of all begin that make calls in the thread of *owner*."""
    return owner[: owner.rindex(":") + 1]
