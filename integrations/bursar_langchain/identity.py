"""
Which agent makes a call, as LangChain or LangGraph itself would name it.

What names an agent for certain goes first: the user's own word, then a name that `create_agent` was given and that is
new at this graph, then a node of a graph that the user wrote, then a graph's own name.  What is left is inherited from
whatever encloses the graph; where nothing does, the call is unattributed, because a wrong name is worse than none.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from bursar.entry import Agent
from bursar.run import UNATTRIBUTED
from bursar.scope import agent_around, agents_in, current_agent
from bursar.tuples import make
from bursar.wire.fields import array_at

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bursar_langchain.tree import Node

FRAMEWORK: Final = "langchain"
NAMED_BY_USER: Final = "budget_agent"
_NAMED_BY_LANGCHAIN: Final = "lc_agent_name"
_NODE: Final = "langgraph_node"
_PLACE: Final = "langgraph_checkpoint_ns"

_NOBODY: Final = Agent(UNATTRIBUTED, UNATTRIBUTED, FRAMEWORK)
_NO_METADATA: Final[Mapping[str, Any]] = MappingProxyType({})

_UNNAMED_GRAPHS: Final = frozenset({"LangGraph", "CompiledGraph", "CompiledStateGraph", "Pregel"})
_NODES_OF_AGENTS: Final = frozenset(
    {"model", "agent", "tools", "call_model", "model_request", "generate_structured_response", "llm"}
)
"""What LangChain's own agents call the nodes of their graphs."""

_STEPS_OF_MIDDLEWARE: Final = (".before_model", ".after_model", ".before_agent", ".after_agent")


def agent_of(parent: Node | None, metadata: Mapping[str, Any] | None) -> Agent:
    """
    Return the agent that makes a call.

    Args:
        parent: The run that the call is made in, if it is in one.

        metadata: Of the call's start event.
    """
    about = metadata or _NO_METADATA
    names = [] if parent is None and _PLACE not in about else _names_of(parent, about)
    around = agent_around() if agents_in else current_agent.get()
    if around is not None and (not names or names[-1] != around):
        names.append(around)
    told = about.get(NAMED_BY_USER)
    if isinstance(told, str) and told and (not names or names[-1] != told):
        names.append(told)
    return make(Agent, (names[-1], "/".join(names), FRAMEWORK)) if names else _NOBODY


def _names_of(parent: Node | None, metadata: Mapping[str, Any]) -> list[str]:
    """Return the agents that a place lies in, outermost first."""
    if not metadata.get(_PLACE):
        return _names_outside(parent)
    graph = graph_of(parent, metadata)
    around = None if graph is None else graph.parent
    names = [] if around is None else _names_of(around, around.metadata)
    name = _name_in(graph, around, metadata)
    if name is not None and (not names or names[-1] != name):
        names.append(name)
    return names


def graph_of(parent: Node | None, metadata: Mapping[str, Any]) -> Node | None:
    """Return the run of the graph in whose node something happens, given the run that it happens in."""
    place = metadata.get(_PLACE)
    graph = parent
    while graph is not None and graph.metadata.get(_PLACE) == place:
        graph = graph.parent
    return graph


def _name_in(graph: Node | None, around: Node | None, metadata: Mapping[str, Any]) -> str | None:
    """Return how an agent is called at this *graph*, or None where it is whatever encloses the graph."""
    if graph is not None and graph.agent is not None:
        return graph.agent
    told = metadata.get(_NAMED_BY_LANGCHAIN)
    if told and told != (around.metadata.get(_NAMED_BY_LANGCHAIN) if around is not None else None):
        return str(told)
    node = metadata.get(_NODE)
    is_written = bool(node) and not _is_of_an_agent(str(node))
    if not told and is_written:
        return str(node)
    if graph is not None and graph.is_named:
        return graph.name
    return str(node) if is_written and around is None and not told else None


def _is_of_an_agent(node: str) -> bool:
    return node in _NODES_OF_AGENTS or node.endswith(_STEPS_OF_MIDDLEWARE) or node.startswith("__")


def _names_outside(node: Node | None) -> list[str]:
    """Return the name of the outermost run that the user named, outside any graph; and what a node was told it is."""
    names: list[str] = []
    while node is not None:
        if node.agent is not None:
            return [*names, node.agent]
        if node.is_named:
            names = [node.name]
        node = node.parent
    return names


def is_users_name(name: str, serialized: Mapping[str, Any] | None) -> bool:
    """
    Whether *name* is more than the name of one of LangChain's own classes.

    `AgentExecutor` is one, and an agent all the same: the only name that there is.
    """
    if not name or name.startswith("Runnable") or name in _UNNAMED_GRAPHS:
        return False
    if "Agent" in name:
        return True
    about = serialized or {}
    own = array_at(about, "id")[-1:] or [about.get("name")]
    return name not in own and name not in _CLASSES


_CLASSES: Final = frozenset(
    {"LLMChain", "ChatPromptTemplate", "PromptTemplate", "StrOutputParser", "Retriever"}
)
