"""
The runs that LangChain is in now: which lies in which, and what each is called.

One tree for the process, kept by a handler that LangChain calls for every run (`watch`).  A run is forgotten when it
ends, and with a root everything below it; a root whose end LangChain does not tell, when nothing refers to it any more.
"""

from __future__ import annotations

import threading
import weakref
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from bursar.dropped import dropped
from bursar_langchain.steps import lasting_task

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from bursar_langchain.handler import BudgetCallbackHandler

_ROOTS_MOST: Final = 10_000
"""Root runs followed at the same time; of more, the oldest is taken for one whose end was never told."""


@dataclass(slots=True, eq=False)
class Node:
    """
    One run of a chain, a graph, a graph's node, a tool or a retriever.

    Attributes:
        name: As LangChain names it.

        is_named: Whether that is more than the name of a class of LangChain's own.

        metadata: As its start event had it.

        agent: The agent that `BudgetMiddleware` was told it is.

        handlers: Those that pay for everything below it.

        inside: Of a root: the ids of all that is followed below it, and its own.

        alive: Of a root: the id that LangChain gave it, as long as LangChain holds it.

        begun_by: The task that began it; see `lasting_task`.
    """

    id: int
    name: str
    is_named: bool
    parent: Node | None
    metadata: Mapping[str, Any]
    root: Node = field(init=False)
    agent: str | None = None
    handlers: list[BudgetCallbackHandler] = field(default_factory=list["BudgetCallbackHandler"])
    inside: set[int] = field(default_factory=set[int])
    alive: weakref.ref[UUID] | None = None
    begun_by: str | None = None
    _text: str = ""

    def __post_init__(self) -> None:
        self.root = self if self.parent is None else self.parent.root

    @property
    def lineage(self) -> Iterator[Node]:
        """This run and those around it, innermost first."""
        node: Node | None = self
        while node is not None:
            yield node
            node = node.parent

    @property
    def run_id(self) -> str:
        """Its id as LangChain writes it."""
        # Every call in a root asks for it.
        self._text = self._text or str(UUID(int=self.id))
        return self._text


class Tree:
    """
    All runs that have started and not ended; safe to use from any thread.

    Attributes:
        at_end: What to do with a root that has ended.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._nodes: dict[int, Node] = {}
        self._roots: OrderedDict[int, Node] = OrderedDict()
        self.at_end: Callable[[Node], None] = lambda root: None

    def begin(
        self, run_id: UUID, parent_id: UUID | None, name: str, metadata: Mapping[str, Any], *, is_named: bool
    ) -> Node:
        """Return the node of a run that starts; told of it again, the same."""
        key = run_id.int
        with self._lock:
            known = self._nodes.get(key)
            if known is not None:
                return known
            parent = None if parent_id is None else self._nodes.get(parent_id.int)
            node = self._nodes[key] = Node(key, name, is_named, parent, metadata)
            node.begun_by = lasting_task()
            node.root.inside.add(key)
            if parent is not None:
                return node
            node.alive = weakref.ref(run_id, lambda _: dropped.later(lambda: self._ended(key)))
            self._roots[key] = node
            oldest = next(iter(self._roots)) if len(self._roots) > _ROOTS_MOST else None
        if not dropped.is_started:
            dropped.start()
        if oldest is not None:
            self._ended(oldest)
        return node

    def find(self, run_id: UUID | None) -> Node | None:
        """Return the node of a run that is followed."""
        return None if run_id is None else self._nodes.get(run_id.int)

    def end(self, run_id: UUID) -> Node | None:
        """Forget a run that ended, and return its node if it was followed."""
        return self._ended(run_id.int)

    def _ended(self, key: int) -> Node | None:
        with self._lock:
            node = self._nodes.pop(key, None)
            if node is None:
                return None
            node.root.inside.discard(key)
            if node.parent is None:
                self._roots.pop(key, None)
                for inside in node.inside:
                    self._nodes.pop(inside, None)
        if node.parent is None:
            self.at_end(node)
        return node

    def __len__(self) -> int:
        """Return how many runs are followed now."""
        return len(self._nodes)


TREE: Final = Tree()
