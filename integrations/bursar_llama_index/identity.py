"""
Which of LlamaIndex's agents makes a call, in which of its runs.

LlamaIndex names the agent in two places, and neither is enough alone: a single agent is the instance whose `run` is
open, and the agents of an `AgentWorkflow` are named only by the events of its steps.  One span handler reads both and
writes what it finds into a context variable, which every call that is made below inherits:

```text
X.run-…               a frame more: the workflow's class, the agent, the run's id
a step with an event  that names the current agent: the last frame is that agent's
a step with ToolCall  is the turn of whoever was the run's agent last
```

It relies on the prefix of a run's span, on the events in a step's arguments and on the tag `llamaindex.run_id`; none of
them is documented, and a test pins each.  A span handler can raise nothing and stop nothing, so it only looks.
"""

from __future__ import annotations

from contextvars import ContextVar
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from llama_index.core.agent.workflow import BaseWorkflowAgent, ToolCall
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.base.llms.base import BaseLLM
from llama_index.core.instrumentation.span import BaseSpan
from llama_index.core.instrumentation.span_handlers import BaseSpanHandler
from llama_index.core.workflow import Event, Workflow
from llama_index_instrumentation import get_dispatcher
from llama_index_instrumentation.dispatcher import active_instrument_tags
from pydantic import Field

from bursar.entry import Agent
from bursar.run import UNATTRIBUTED
from bursar.scope import agent_around

if TYPE_CHECKING:
    import inspect
    from collections.abc import Callable, Mapping

_RUN_ID: Final = "llamaindex.run_id"


class Frame(NamedTuple):
    """
    One run of LlamaIndex's around a call.

    Attributes:
        workflow: The class that is run.

        agent: Whose turn it is, or None where the run is of no agent.

        run_id: LlamaIndex's own, as in `handler.run_id`.
    """

    workflow: str
    agent: str | None
    run_id: str


FRAMES: Final[ContextVar[tuple[Frame, ...]]] = ContextVar("bursar_llama_index_frames", default=())
"""The runs around this code, outermost first."""


def agent_of(frames: tuple[Frame, ...]) -> Agent | None:
    """Return the agent that a call inside of *frames* is booked to; None where LlamaIndex names none."""
    return _agent_of(frames, agent_around()) if frames else None


@lru_cache(maxsize=4096)
def _agent_of(frames: tuple[Frame, ...], block: str | None) -> Agent:
    path: list[str] = []
    for frame in frames:
        if frame.agent and (not path or path[-1] != frame.agent):
            path.append(frame.agent)
    source = "run" if path else "block" if block else UNATTRIBUTED
    path = path or [block or UNATTRIBUTED]
    told = f"llama_index:{source}:{'/'.join(frame.workflow for frame in frames)}"
    return Agent(name=path[-1], path="/".join(path), framework=told)


class AgentSpans(BaseSpanHandler[BaseSpan]):
    """
    Writes into `FRAMES` who is at work; keeps no span.

    What it writes is seen by what the span surrounds, because a span is entered in the callee's own context.

    Args:
        at_end: Told the id of every outermost run that ended.
    """

    # Fields, because every span asks for them, and what is private takes pydantic twenty times as long.
    on_model: Any = Field(default=None, exclude=True)
    at_end: Any = Field(default=None, exclude=True)
    runs: dict[str, tuple[str, bool]] = Field(default_factory=dict, exclude=True)
    turns: dict[str, str] = Field(default_factory=dict, exclude=True)

    def __init__(self, at_end: Callable[[str], None]) -> None:
        super().__init__()
        self.at_end = at_end

    @classmethod
    def class_name(cls) -> str:
        """Return the name that LlamaIndex shows."""
        return "BursarAgentSpans"

    def tell_models(self, on_model: Callable[[Any], None] | None) -> None:
        """Have *on_model* told every model whose method is about to be run, or nobody."""
        self.on_model = on_model

    def span_enter(
        self,
        id_: str,
        bound_args: inspect.BoundArguments,
        instance: Any = None,
        parent_id: str | None = None,
        tags: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Note a run that begins, or the agent whose step it is."""
        del parent_id, tags, kwargs
        if isinstance(instance, Workflow) and id_.startswith(f"{type(instance).__name__}.run-"):
            self._begin(id_, instance)
            return
        if self.on_model is not None and isinstance(instance, BaseLLM | BaseEmbedding):
            self.on_model(instance)
        frames = FRAMES.get()
        if not frames:
            return
        for argument in bound_args.arguments.values():
            if isinstance(argument, Event):
                self._step(frames, argument)
                return

    def span_exit(
        self,
        id_: str,
        bound_args: inspect.BoundArguments,
        instance: Any = None,
        result: Any = None,
        **kwargs: Any,
    ) -> None:
        """Forget a run that ended."""
        del bound_args, instance, result, kwargs
        self._end(id_)

    def span_drop(
        self,
        id_: str,
        bound_args: inspect.BoundArguments,
        instance: Any = None,
        err: BaseException | None = None,
        **kwargs: Any,
    ) -> None:
        """Forget a run that failed."""
        del bound_args, instance, err, kwargs
        self._end(id_)

    def new_span(self, *_: Any, **__: Any) -> None:
        """Keep no span."""

    def prepare_to_exit_span(self, *_: Any, **__: Any) -> None:
        """Keep no span."""

    def prepare_to_drop_span(self, *_: Any, **__: Any) -> None:
        """Keep no span."""

    def __len__(self) -> int:
        """Return how many runs are open."""
        return len(self.runs)

    def _begin(self, id_: str, workflow: Workflow) -> None:
        tags: Mapping[str, Any] = active_instrument_tags.get()
        run_id = str(tags.get(_RUN_ID) or id_)
        frames = FRAMES.get()
        agent: Any = (
            workflow.name
            if isinstance(workflow, BaseWorkflowAgent)
            # What it does before its first step is the doing of the agent that it begins with.
            else getattr(workflow, "root_agent", None)
        )
        frame = Frame(type(workflow).__name__, agent if isinstance(agent, str) else None, run_id)
        self.runs[id_] = run_id, not frames
        FRAMES.set((*frames, frame))

    def _step(self, frames: tuple[Frame, ...], event: Event) -> None:
        last = frames[-1]
        named: Any = getattr(event, "current_agent_name", None)
        if isinstance(named, str) and named:
            self.turns[last.run_id] = named
        elif isinstance(event, ToolCall):
            # Its name is in no event: an agent's tools are called before the next one has its turn.
            named = self.turns.get(last.run_id)
        if isinstance(named, str) and named and named != last.agent:
            FRAMES.set((*frames[:-1], last._replace(agent=named)))

    def _end(self, id_: str) -> None:
        run_id, is_root = self.runs.pop(id_, ("", False))
        self.turns.pop(run_id, None)
        if is_root:
            self.at_end(run_id)


def follow(spans: AgentSpans) -> None:
    """Have LlamaIndex tell *spans* of every run and step from now on; once, however often it is asked."""
    dispatcher: Any = get_dispatcher()
    if not any(handler is spans for handler in dispatcher.span_handlers):
        dispatcher.add_span_handler(spans)


def unfollow(spans: AgentSpans) -> None:
    """Undo `follow`; other handlers stay as they are."""
    dispatcher: Any = get_dispatcher()
    dispatcher.span_handlers = [handler for handler in dispatcher.span_handlers if handler is not spans]
