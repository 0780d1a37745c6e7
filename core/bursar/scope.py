"""What surrounds a call: the run that pays, the agent that asks, the meter that already follows it."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from contextvars import ContextVar, Token
from typing import TYPE_CHECKING, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Generator
    from types import FrameType

    from bursar.meter import Meter, Observer
    from bursar.run import Run

T = TypeVar("T")

current_run: Final[ContextVar[Run | None]] = ContextVar("bursar_run", default=None)
"""The innermost `with budget.run(...)` of this context; see `run_around`."""

current_agent: Final[ContextVar[str | None]] = ContextVar("bursar_agent", default=None)
"""The innermost `with agent(...)` that this context knows of; see `agent_around`."""

begun_in: Final[ContextVar[int | None]] = ContextVar("bursar_agent_frame", default=None)
"""The `id` of the frame that began that block."""

current_meter: Final[ContextVar[Meter | Observer | None]] = ContextVar("bursar_meter", default=None)
"""The meter that owns the reservation of the call being made: an inner one must not reserve again."""


UNSEEN: Final = (
    "ended in another context than it began in, and nothing was paid from it: calls made meanwhile did not see it. "
    'In a dependency of a web framework, write "async with" in an async function; or guard the client inside the run'
)

_GENERATORS: Final = 0x20 | 0x200
"""Marks the code of a generator, and of an async one; from `inspect`, which takes long to import."""

_ENTERING: Final = frozenset({"__enter__", "__aenter__", "enter_context", "enter_async_context"})

runs_in: Final[dict[FrameType, list[Run]]] = {}
"""The runs that generators are in, innermost last, by the generators' frames."""

agents_in: Final[dict[FrameType, list[str]]] = {}
"""The agents that generators have named, innermost last, by the generators' frames."""


def run_around() -> Run | None:
    """
    Return the innermost `with budget.run(...)` around this code.

    A generator may be stepped in another context each time, as web frameworks step one that they stream from in
    threads: what it set at one step is not there at the next.  A run that a generator is in is found by its frame.
    """
    run = current_run.get()
    if not runs_in:
        return run
    inner = _run_in_stack()
    return run if inner is None or (run is not None and inner in run.lineage) else inner


def _run_in_stack() -> Run | None:
    frame: FrameType | None = sys._getframe(2)  # pyright: ignore[reportPrivateUsage]
    while frame is not None:
        if runs := runs_in.get(frame):
            return runs[-1]
        frame = frame.f_back
    return None


def agent_around() -> str | None:
    """
    Return the innermost `with agent(...)` around this code.

    As of a run, that of a generator is found by its frame; nearer than that is only what begins further in.
    """
    named = current_agent.get()
    if not agents_in:
        return named
    begun = begun_in.get()
    frame: FrameType | None = sys._getframe(1)  # pyright: ignore[reportPrivateUsage]
    while frame is not None:
        if names := agents_in.get(frame):
            return names[-1]
        if id(frame) == begun:
            return named
        frame = frame.f_back
    return named


def enter_run(run: Run) -> Token[Run | None]:
    """Put *run* around what the caller does from now on."""
    frame = _entered_from(sys._getframe(1))  # pyright: ignore[reportPrivateUsage]
    if frame is not None and _is_generator(frame):
        runs_in.setdefault(frame, []).append(run)
    return current_run.set(run)


def _entered_from(frame: FrameType | None) -> FrameType | None:
    """Return the frame of the `with` that *frame* was called by."""
    while frame is not None and frame.f_code.co_name in _ENTERING:
        frame = frame.f_back
    return frame


def _is_generator(frame: FrameType) -> bool:
    return bool(frame.f_code.co_flags & _GENERATORS)


def leave_run(run: Run, token: Token[Run | None]) -> bool:
    """End what `enter_run` began; whether that was seen in this context."""
    for frame, runs in tuple(runs_in.items()):
        if run in runs:
            runs.remove(run)
            if not runs:
                runs_in.pop(frame, None)
    return leave(current_run, token, run)


@contextmanager
def agent(name: str) -> Generator[None]:
    """
    Name the agent that every call in this block is booked to, where nothing nearer names one.

    Raises:
        ValueError: *name* is empty, or no text.
    """
    if not isinstance(name, str) or not name.strip():  # pyright: ignore[reportUnnecessaryIsInstance]
        msg = f"an agent's name must be a text that is not empty, not {name!r}"
        raise ValueError(msg)
    frame = _entered_from(sys._getframe(1))  # pyright: ignore[reportPrivateUsage]
    names = agents_in.setdefault(frame, []) if frame is not None and _is_generator(frame) else []
    names.append(name)
    begun = id(frame)
    token, outer = current_agent.set(name), begun_in.set(begun)
    try:
        yield
    finally:
        names.remove(name)
        if not names and frame is not None:
            agents_in.pop(frame, None)
        leave(current_agent, token, name)
        leave(begun_in, outer, begun)


def leave(variable: ContextVar[T | None], token: Token[T | None], value: T) -> bool:
    """
    End a block in which *variable* was *value*; whether it was that in this context.

    A block in an async generator, a test's fixture or a dependency of a web framework may end in another context than
    it began in; of that one nothing is known but whether it was copied from inside the block.
    """
    try:
        variable.reset(token)
    except ValueError:
        if variable.get() is not value:
            return False
        variable.set(None if token.old_value is Token.MISSING else token.old_value)
    return True
