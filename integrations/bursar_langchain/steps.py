"""
Tasks that live for one piece of a stream.

LangChain steps the stream of a chain in a task for each piece.  What a call holds that is streamed so is nobody's who
is there between two pieces: it ends when whoever reads the stream goes on, who therefore must not wait for it.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from bursar.owner import owner

if TYPE_CHECKING:
    from bursar_langchain.tree import Node

_ASEND: Final = "async_generator_asend"
"""One step of an async generator, which is run as it is, and has no name of its own."""
_STEPS: Final = frozenset({_ASEND, "get_next_chunk", "anext_impl"})
"""What else LangChain makes tasks of for one step each: in `RunnableParallel`, in `RunnableAssign`."""


def lasting_task() -> str | None:
    """Return the task that runs now, as `owner` names it; None where there is none, or it lives for one step."""
    if asyncio._get_running_loop() is None or (task := asyncio.current_task()) is None or _is_step(task):
        return None
    return owner(is_async=True)


def reader_of(parent: Node) -> str | None:
    """Return the task that reads what is streamed in *parent* by a task for each step; None where this is none."""
    task = asyncio.current_task()
    if task is None or not _is_step(task):
        return None
    return next((node.begun_by for node in parent.lineage if node.begun_by is not None), None)


def _is_step(task: asyncio.Task[object]) -> bool:
    return getattr(task.get_coro(), "__name__", _ASEND) in _STEPS
