"""
Whose call it is, as CrewAI would say.

```text
from_agent    the agent that CrewAI hands over with the call; its own helpers work for the agent whose task it is
from_task     the agent of the task that it hands over
stack         the agent whose method is being run
llm           the one agent of the crew that this LLM belongs to
task          the agent whose task is being done
block         the name of a `with bursar.agent(...)` around the call
unattributed  nobody says
```

Which one it was is kept in the ledger beside the name, with crew, task and purpose: `crewai:from_agent:tides:draft`.
"""

# CrewAI's own types differ from version to version.
# pyright: reportPrivateUsage=false

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from crewai.agents.agent_builder.base_agent import BaseAgent
from crewai.execution import get_execution_uuid

from bursar.attributes import attribute
from bursar.entry import Agent
from bursar.payer.rooted import Root
from bursar.run import UNATTRIBUTED
from bursar.scope import agent_around
from bursar_crewai.frames import frames

if TYPE_CHECKING:
    from collections.abc import Collection
    from types import FrameType

    from bursar_crewai.frames import Frame

AGENTS: Final = (BaseAgent, getattr(import_module("crewai.lite_agent"), "LiteAgent", BaseAgent))
"""What CrewAI takes for an agent, as long as it has the second."""

_HELPERS: Final = {"Guardrail Agent": "guardrail", "Task Execution Planner": "planning"}
"""Agents that CrewAI makes for itself, by role; they are in no crew."""

_PURPOSES: Final = {
    "crewai.memory": "memory",
    "crewai.knowledge": "knowledge",
    "crewai.utilities.reasoning_handler": "reasoning",
    "crewai.utilities.planning_handler": "planning",
    "crewai.tasks.llm_guardrail": "guardrail",
    "crewai.utilities.converter": "conversion",
    "crewai.utilities.evaluators": "evaluation",
}
"""What a call is for, by the module that makes it."""

_OF_AGENTS: Final = ("crewai.agent", "crewai.lite_agent", "crewai.utilities.evaluators")
"""Modules whose methods are an agent's own, or work for one."""

_DEPTH_MOST: Final = 60


class Place(NamedTuple):
    """
    Where in CrewAI a call is made.

    Attributes:
        agent: CrewAI's agent, or None.

        purpose: What it is for, where that is not the agent's own work: `"memory"`.

        task: The task that the agent does.

        frames: What is being run around it.

        source: Who says which agent it is.
    """

    agent: Any
    purpose: str
    task: Any
    frames: tuple[Frame, ...]
    source: str

    @property
    def is_delegated(self) -> bool:
        """Whether the agent does this for another agent: CrewAI tells that one of an error, and goes on."""
        last = self.frames[-1] if self.frames else None
        return (
            last is not None
            and self.agent is not None
            and last.agent is not None
            and last.agent is not self.agent
        )

    @property
    def root(self) -> Root | None:
        """CrewAI's outermost execution."""
        run_id = self.frames[0].run_id if self.frames else get_execution_uuid()
        if run_id is None:
            return None
        return Root(run_id, self.frames[0].name if self.frames else self._alone)

    @property
    def _alone(self) -> str:
        return role_of(self.agent) if self.agent is not None else "crewai"


def place_of(llm: object, from_agent: Any, from_task: Any) -> Place:
    """Return where a call of *llm* is made, which CrewAI hands *from_agent* and *from_task* with."""
    around = frames()
    last = around[-1] if around else None
    purpose, on_stack = _on_stack()
    task = from_task if from_task is not None else (last.task if last is not None else None)
    if from_agent is not None and getattr(from_agent, "crew", None) is None:
        helper = _HELPERS.get(getattr(from_agent, "role", ""))
        if helper is not None and last is not None:
            return Place(last.agent, helper, task, around, "task")
    if from_agent is not None:
        # Nearly always.
        return Place(from_agent, purpose, task, around, "from_agent")
    found = (
        ("from_task", getattr(from_task, "agent", None)),
        ("stack", on_stack),
        ("llm", _only_owner(llm, last)),
        ("task", last.agent if last is not None else None),
    )
    source, agent = next(
        ((source, agent) for source, agent in found if agent is not None), (UNATTRIBUTED, None)
    )
    return Place(agent, purpose, task, around, source)


def agent_of(place: Place, *, known: Collection[str] = ()) -> Agent:
    """
    Return the agent that a call made at *place* is booked to.

    Args:
        known: Names that a budget has allotments for: a role's own wording stands before its template if it is there.
    """
    block = agent_around()
    name = _name(place, known) or block or UNATTRIBUTED
    source = place.source if place.agent is not None else "block" if block else UNATTRIBUTED
    path: list[str] = []
    for frame in place.frames:
        if frame.agent is not None and (step := role_of(frame.agent, known)) not in path[-1:]:
            path.append(step)
    if name not in path[-1:]:
        path.append(name)
    about = [place.frames[-1].name if place.frames else "", _task_name(place.task), place.purpose]
    return Agent(name=name, path="/".join(path), framework=":".join(["crewai", source, *about]).rstrip(":"))


def role_of(agent: Any, known: Collection[str] = ()) -> str:
    """Return the name of *agent*: its role as it was written, before the inputs of a kickoff went into it."""
    role = str(getattr(agent, "role", "") or type(agent).__name__).strip()
    if role in known:
        return role
    template = attribute(agent, "_original_role")
    return template.strip() if isinstance(template, str) and template.strip() else role


def _name(place: Place, known: Collection[str]) -> str | None:
    if place.agent is not None:
        return role_of(place.agent, known)
    if place.purpose == "planning" and place.frames:
        return f"({place.frames[-1].name})"
    return None


def _task_name(task: Any) -> str:
    name = getattr(task, "name", None)
    # A task without a name is told by its description, which is the user's text and not kept.
    return name if isinstance(name, str) else ""


def _only_owner(llm: object, last: Frame | None) -> Any:
    if last is None or last.crew is None:
        return None
    owners = [agent for agent in last.crew.agents if getattr(agent, "llm", None) is llm]
    return owners[0] if len(owners) == 1 else None


def _on_stack() -> tuple[str, Any]:
    """Return what the nearest module of CrewAI's that has a purpose is for, and the agent whose method is run."""
    purpose = ""
    frame: FrameType | None = sys._getframe(2)
    for _ in range(_DEPTH_MOST):
        if frame is None:
            break
        module = frame.f_globals.get("__name__", "")
        if module.startswith("crewai"):
            if not purpose:
                purpose = next((what for name, what in _PURPOSES.items() if module.startswith(name)), "")
            if module.startswith(_OF_AGENTS):
                owner: Any = frame.f_locals.get("self")
                owner = getattr(owner, "original_agent", owner)
                if isinstance(owner, AGENTS):
                    return purpose, owner
        frame = frame.f_back
    return purpose, None
