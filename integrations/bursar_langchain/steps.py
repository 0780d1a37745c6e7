"""
Tasks that live for one piece of a stream.

LangChain steps the stream of a chain in a task for each piece.  What a call holds that is streamed so is nobody's who
is there between two pieces: it ends when whoever reads the stream goes on, who therefore must not wait for it.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from bursar.owner import task_owner

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
    return task_owner(task)


def holder_of(task: asyncio.Task[Any], parent: Node | None) -> str:
    """Return whose a hold is of a call that *task*, which runs now, makes in *parent*, as `owner` names it."""
    if parent is not None and _is_step(task):
        reader = next((node.begun_by for node in parent.lineage if node.begun_by is not None), None)
        if reader is not None:
            return reader
    return task_owner(task)


def _is_step(task: asyncio.Task[object]) -> bool:
    return getattr(task.get_coro(), "__name__", _ASEND) in _STEPS
