"""
What is being run, as CrewAI tells it at the boundaries of crews, flows and tasks.

One hook for each boundary writes it into a context variable, which every call inside inherits, in whatever thread or
task CrewAI makes it.  A hook of CrewAI's can stop nothing safely (it swallows what a hook raises), so these only look.
"""

# CrewAI's own types differ from version to version.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

import threading
from contextlib import contextmanager
from contextvars import ContextVar
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from weakref import finalize

from crewai import Crew
from crewai.execution import get_execution_uuid
from crewai.flow.flow import Flow
from crewai.hooks.dispatch import InterceptionPoint, register, unregister

from bursar.dropped import dropped
from bursar.ids import new_id
from bursar.payer.rooted import close_root
from bursar.scope import leave

if TYPE_CHECKING:
    from collections.abc import Generator

_EXECUTOR_MODULES: Final = ("crewai.agents.agent_executor", "crewai.experimental.agent_executor")
"""Where CrewAI has its `AgentExecutor`, newest first."""


def _executor() -> Any:
    name = next(name for name in _EXECUTOR_MODULES if find_spec(name) is not None)
    return import_module(name).AgentExecutor


_EXECUTOR: Final = _executor()


class Frame(NamedTuple):
    """
    One crew or flow that is being run.

    Attributes:
        owner: The `Crew` or the `Flow`.

        run_id: CrewAI's own id of the outermost execution.

        name: What the user called it, else its class.

        task, agent: The task that is being done, and whose it is, in a crew.

        finished: The outputs of the tasks that are done, oldest first.
    """

    owner: Any
    run_id: str
    name: str
    task: Any
    agent: Any
    finished: _Outputs

    @property
    def crew(self) -> Any:
        """The crew, or None in a flow."""
        return self.owner if isinstance(self.owner, Crew) else None


_alone: Final[ContextVar[tuple[Any, _Outputs] | None]] = ContextVar("bursar_crewai_alone", default=None)
"""What CrewAI runs an agent in that is kicked off alone."""

_FRAMES: Final[ContextVar[tuple[Frame, ...]]] = ContextVar("bursar_crewai_frames", default=())


_OUTSIDE: Final[ContextVar[Frame | None]] = ContextVar("bursar_crewai_outside", default=None)
"""The crew that works outside of any execution that CrewAI tells of: it is trained, or replayed."""


def frames() -> tuple[Frame, ...]:
    """Return what is being run around this code, outermost first."""
    found, outside = _FRAMES.get(), _OUTSIDE.get()
    if not found:
        return () if outside is None else (outside,)
    run_id = get_execution_uuid() or (outside and outside.run_id)
    # Of an execution that was cut short, CrewAI may tell no end.
    inside = tuple(frame for frame in found if frame.run_id == run_id)
    return inside or (() if outside is None else (outside,))


@contextmanager
def following(crew: Any) -> Generator[None]:
    """Take it that *crew* is run in this block, and its run over at the end."""
    run_id = get_execution_uuid() or new_id()
    frame = Frame(crew, run_id, _name_of(crew), None, None, EXECUTIONS.begin(run_id))
    token = _OUTSIDE.set(frame)
    try:
        yield
    finally:
        leave(_OUTSIDE, token, frame)
        EXECUTIONS.end(run_id, frame.finished)


class _Outputs(list[Any]):
    """
    The outputs of the tasks that are done; it goes with the last context that knows of its crew.

    Attributes:
        ended: Holds one truth: whether the end of what is run was told.
    """

    ended: list[bool]


class _Executions:
    """How many boundaries of each execution are open; at the end of the last, its run is over."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: dict[str, int] = {}

    def begin(self, run_id: str) -> _Outputs:
        """Count one more, and return what it is counted by: CrewAI tells no end of what is cancelled."""
        with self._lock:
            self._open[run_id] = self._open.get(run_id, 0) + 1
        outputs = _Outputs()
        dropped.start()
        # The list itself must not be kept by what happens when it goes.
        finalize(outputs, _gone, run_id, ended := [False]).atexit = False
        outputs.ended = ended
        return outputs

    def end(self, run_id: str, outputs: _Outputs) -> None:
        """Count one less, once."""
        if not outputs.ended[0]:
            outputs.ended[0] = True
            self.count_down(run_id)

    def count_down(self, run_id: str) -> None:
        """Count one less; at the last, close what was opened for the execution."""
        with self._lock:
            left = self._open.pop(run_id, 1) - 1
            if left > 0:
                self._open[run_id] = left
        if left <= 0:
            close_root(run_id)

    def __len__(self) -> int:
        """Return how many executions are open."""
        return len(self._open)


EXECUTIONS: Final = _Executions()


def _gone(run_id: str, ended: list[bool]) -> None:
    if not ended[0]:
        dropped.later(lambda: EXECUTIONS.count_down(run_id))


def _begin(context: Any) -> None:
    run_id = get_execution_uuid()
    owner = context.crew if context.crew is not None else context.flow
    if run_id is None or owner is None:
        return
    around = frames()
    if not isinstance(owner, _EXECUTOR):
        _FRAMES.set((*around, Frame(owner, run_id, _name_of(owner), None, None, EXECUTIONS.begin(run_id))))
    elif not around and _alone.get() is None:
        # CrewAI runs a single agent as a flow of its own; that is no flow of the user's.
        _alone.set((owner, EXECUTIONS.begin(run_id)))


def _end(context: Any) -> None:
    run_id = get_execution_uuid()
    owner = context.crew if context.crew is not None else context.flow
    if run_id is None or owner is None:
        return
    alone = _alone.get()
    if alone is not None and alone[0] is owner:
        _alone.set(None)
        EXECUTIONS.end(run_id, alone[1])
    found = frames()
    if found and found[-1].owner is owner:
        _FRAMES.set(found[:-1])
        EXECUTIONS.end(run_id, found[-1].finished)


def _step(context: Any) -> None:
    found = frames()
    if context.kind == "task" and found:
        _FRAMES.set((*found[:-1], found[-1]._replace(task=context.task, agent=context.agent)))


def _stepped(context: Any) -> None:
    found = frames()
    if context.kind == "task" and found:
        found[-1].finished.append(context.output)


def _name_of(owner: Any) -> str:
    name = getattr(owner, "name", None)
    return (
        name
        if isinstance(name, str) and name
        else type(owner).__name__.lower()
        if isinstance(owner, Crew)
        else type(owner).__name__
    )


_HOOKS: Final = (
    (InterceptionPoint.EXECUTION_START, _begin),
    (InterceptionPoint.EXECUTION_END, _end),
    (InterceptionPoint.PRE_STEP, _step),
    (InterceptionPoint.POST_STEP, _stepped),
)


def follow() -> None:
    """Have CrewAI tell of its boundaries from now on; once, however often it is asked."""
    unfollow()
    for point, hook in _HOOKS:
        register(point, hook)


def unfollow() -> None:
    """Undo `follow`; other hooks stay as they are."""
    for point, hook in _HOOKS:
        unregister(point, hook)


def is_flow(owner: object) -> bool:
    """Whether *owner* is a flow of the user's."""
    return isinstance(owner, Flow) and not isinstance(owner, _EXECUTOR)
