"""
Which agent makes a call, as AutoGen itself would name it.

AutoGen says it in two places, and neither is enough alone.  The id of the agent whose message is being handled is
that of the outer agent inside an `AgentTool`; and of the agents on the stack there is none in a task of its own.  So
the stack is asked first, then the runtime:

```text
bound         the name that the user gave the client
frame         the nearest agent, or manager of a team, on the stack
runtime       the agent whose message is being handled
block         the name of a `with bursar.agent(...)` around the call
unattributed  nobody says
```

Which one it was is kept in the ledger beside the name: `autogen:frame`, and after that the runtime's whole id, as in
`autogen:frame:writer_8a…/8a…`, so that nothing that AutoGen knows is lost.
"""

# The manager of a team has no public class, and its name no public attribute.
# pyright: reportPrivateUsage=false

from __future__ import annotations

import asyncio
import sys
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from uuid import UUID

from autogen_agentchat.base import ChatAgent
from autogen_core import AgentId, MessageHandlerContext

from bursar.entry import Agent
from bursar.run import UNATTRIBUTED
from bursar.scope import agent_around
from bursar.tuples import make

try:
    from autogen_agentchat.teams._group_chat._base_group_chat_manager import BaseGroupChatManager
except ImportError:  # pragma: no cover (moved: the runtime's id names it all the same)
    BaseGroupChatManager: Any = ChatAgent

if TYPE_CHECKING:
    from types import CodeType, FrameType

__all__ = ["Asker", "Handled", "agent_of", "asker_of", "caller", "handled"]

_UUID_LENGTH: Final = 36
_STEP_OF_LOOP: Final = asyncio.Handle._run.__code__
"""The frame below which the stack is the event loop's and no longer the task's."""


class Handled(NamedTuple):
    """
    The agent whose message is being handled.

    Attributes:
        name: Its type, without the id of its team.

        team_id: Of the team it is a member or the manager of, or None.

        agent_id: The runtime's whole id of it.
    """

    name: str
    team_id: str | None
    agent_id: str


class Asker(NamedTuple):
    """
    Who makes a call.

    Attributes:
        named: The agent on the stack, or None.

        handled: The agent whose message is being handled, or None outside of any handler.
    """

    named: str | None
    handled: Handled | None


def asker_of(frame: FrameType | None) -> Asker:
    """Return who is calling from *frame*."""
    return make(Asker, (_named_on_stack(frame), handled()))


def handled() -> Handled | None:
    """Return the agent whose message is being handled in this context, or None."""
    try:
        agent_id = MessageHandlerContext.agent_id()
    except RuntimeError:
        return None
    return _handled(agent_id.type, agent_id.key)


def agent_of(asker: Asker, *, bound: str | None = None, under: str = "") -> Agent:
    """
    Return the agent that a call is booked to.

    Args:
        bound: The name that the user gave the client.

        under: The path of the agents that the team runs under.
    """
    return _agent_of(bound, asker.named, asker.handled, agent_around(), under)


@lru_cache(maxsize=4096)
def _agent_of(
    bound: str | None, framed: str | None, at_work: Handled | None, block: str | None, under: str
) -> Agent:
    runtime = at_work.name if at_work is not None else None
    found = (("bound", bound), ("frame", framed), ("runtime", runtime), ("block", block))
    source, name = next(((source, name) for source, name in found if name), (UNATTRIBUTED, UNATTRIBUTED))
    path = [*([under] if under else []), *(outer for outer in (runtime, framed, name) if outer)]
    # The same agent, told from two sides, runs under itself no more than once.
    path = [step for index, step in enumerate(path) if not index or path[index - 1] != step]
    told = "autogen:" + source
    if at_work is not None:
        told += ":" + at_work.agent_id
    return Agent(name=name, path="/".join(path), framework=told)


def _named_on_stack(frame: FrameType | None) -> str | None:
    """Return the name of the nearest agent whose method is on the stack of this task."""
    while frame is not None:
        code = frame.f_code
        if code is _STEP_OF_LOOP:
            return None
        if _is_method(code):
            found: object = frame.f_locals.get("self")
            is_agent, is_manager = _kind_of(type(found))
            owner: Any = found
            if is_agent:
                return owner.name
            if is_manager:
                return _handled(owner.id.type, owner.id.key).name
        frame = frame.f_back
    return None


@lru_cache(maxsize=16_384)
def _kind_of(cls: type) -> tuple[bool, bool]:
    """Whether objects of *cls* are agents, or managers of a team; to ask it of an object takes ten times as long."""
    return issubclass(cls, ChatAgent), issubclass(cls, BaseGroupChatManager)


@lru_cache(maxsize=16_384)
def _is_method(code: CodeType) -> bool:
    return code.co_argcount > 0 and code.co_varnames[0] == "self"


@lru_cache(maxsize=4096)
def _handled(kind: str, key: str) -> Handled:
    """Return an id in parts; a team puts its own id, which is also the key, behind the name of each of its agents."""
    name = kind.removesuffix(f"_{key}")
    is_of_team = name != kind and bool(name) and _is_uuid(key)
    return Handled(name if is_of_team else kind, key if is_of_team else None, str(AgentId(kind, key)))


def _is_uuid(text: str) -> bool:
    if len(text) != _UUID_LENGTH:
        return False
    try:
        UUID(text)
    except ValueError:
        return False
    return True


def caller(depth: int = 1) -> FrameType:
    """Return the frame of whoever called the caller of this, *depth* calls further up."""
    return sys._getframe(depth + 1)
