"""What surrounds a call: the run that pays, the agent that asks, the meter that already follows it."""

from __future__ import annotations

import os
import threading
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Generator

    from bursar.meter import Meter
    from bursar.run import Run

current_run: Final[ContextVar[Run | None]] = ContextVar("bursar_run", default=None)
"""The innermost `with budget.run(...)` around this code."""

current_agent: Final[ContextVar[str | None]] = ContextVar("bursar_agent", default=None)
"""The innermost `with agent(...)` around this code."""

current_meter: Final[ContextVar[Meter | None]] = ContextVar("bursar_meter", default=None)
"""The meter that owns the reservation of the call being made: an inner one must not reserve again."""


@contextmanager
def agent(name: str) -> Generator[None]:
    """
    Name the agent that every call in this block is booked to, where nothing nearer names one.

    Raises:
        ValueError: *name* is empty.
    """
    if not name:
        msg = "an agent's name must not be empty"
        raise ValueError(msg)
    token = current_agent.set(name)
    try:
        yield
    finally:
        current_agent.reset(token)


def is_of(holder: str, asker: str) -> bool:
    """Whether what *holder* holds is the *asker*'s own, for which it must not wait."""
    return holder == asker or (asker.endswith(":") and holder.startswith(asker))


def owner(*, is_async: bool) -> str:
    """
    Name who makes a call: the process, the thread, and the task if it waits as one.

    Nobody waits for a hold of its own, and a thread that blocks cannot wait for any of its tasks: the name of a
    thread is therefore the beginning of the names of its tasks.
    """
    # A program that is async has it already; to others it would be the dearest import of all.
    import asyncio

    thread = f"{os.getpid()}:{threading.get_ident()}:"
    return f"{thread}{id(asyncio.current_task())}" if is_async else thread
