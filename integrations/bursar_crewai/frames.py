"""
What is being run, as CrewAI tells it at the boundaries of crews, flows and tasks.

One hook for each boundary writes it into a context variable, which every call inside inherits, in whatever thread or
task CrewAI makes it.  A hook of CrewAI's can stop nothing safely (it swallows what a hook raises), so these only look.
"""

# CrewAI's own types differ from version to version.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

import threading
from contextvars import ContextVar
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Final, NamedTuple

from crewai import Crew
from crewai.execution import get_execution_uuid
from crewai.flow.flow import Flow
from crewai.hooks.dispatch import InterceptionPoint, register, unregister

from bursar.payer.rooted import close_root

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
    finished: list[Any]

    @property
    def crew(self) -> Any:
        """The crew, or None in a flow."""
        return self.owner if isinstance(self.owner, Crew) else None


_FRAMES: Final[ContextVar[tuple[Frame, ...]]] = ContextVar("bursar_crewai_frames", default=())


def frames() -> tuple[Frame, ...]:
    """Return what is being run around this code, outermost first."""
    found = _FRAMES.get()
    if not found:
        return found
    run_id = get_execution_uuid()
    # Of an execution that was cut short, CrewAI may tell no end.
    return tuple(frame for frame in found if frame.run_id == run_id)


class _Executions:
    """How many boundaries of each execution are open; at the end of the last, its run is over."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: dict[str, int] = {}

    def begin(self, run_id: str) -> None:
        """Count one more."""
        with self._lock:
            self._open[run_id] = self._open.get(run_id, 0) + 1

    def end(self, run_id: str) -> bool:
        """Count one less; return whether it was the last."""
        with self._lock:
            left = self._open.pop(run_id, 0) - 1
            if left > 0:
                self._open[run_id] = left
        return left <= 0

    def __len__(self) -> int:
        """Return how many executions are open."""
        return len(self._open)


EXECUTIONS: Final = _Executions()


def _begin(context: Any) -> None:
    run_id = get_execution_uuid()
    owner = context.crew if context.crew is not None else context.flow
    if run_id is None or owner is None:
        return
    EXECUTIONS.begin(run_id)
    if isinstance(owner, _EXECUTOR):
        # CrewAI runs a single agent as a flow of its own; that is no flow of the user's.
        return
    _FRAMES.set((*frames(), Frame(owner, run_id, _name_of(owner), None, None, [])))


def _end(context: Any) -> None:
    run_id = get_execution_uuid()
    owner = context.crew if context.crew is not None else context.flow
    if run_id is None or owner is None:
        return
    found = frames()
    if found and found[-1].owner is owner:
        _FRAMES.set(found[:-1])
    if EXECUTIONS.end(run_id):
        close_root(run_id)


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
