"""
The handlers that LangChain calls for every run of this process: one keeps the tree, one meters the calls of models.

LangChain asks its configure hooks for handlers when a run begins, and adds them behind all others.  So whatever
handler a user gave has said by then that it pays, and one that stops the call has done so: a call is reserved once,
by all that pay for it together, as the last thing before it is sent.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final, cast

from langchain_core.tracers.context import register_configure_hook

from bursar_langchain.calls import CALLS
from bursar_langchain.identity import is_users_name
from bursar_langchain.inline import InlineHandler
from bursar_langchain.payers import close_root
from bursar_langchain.starting import ahold_chat, ahold_text, hold_chat, hold_text
from bursar_langchain.tree import TREE

if TYPE_CHECKING:
    from contextvars import ContextVar
    from uuid import UUID

    from langchain_core.callbacks import BaseCallbackHandler
    from langchain_core.outputs import LLMResult

_ASYNC_CALLER: Final = "_ahandle_event_for_handler"
"""What of LangChain's calls handlers for async code, and awaits those that are async."""


class RunWatch(InlineHandler, ignores={"llm", "chat_model"}):
    """Keeps the tree of all runs but those of models, for which LangChain would write every prompt out as one text."""

    def on_chain_start(
        self,
        serialized: dict[str, Any],
        inputs: dict[str, Any],
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        metadata: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> Any:
        """Add a run to the tree."""
        del inputs
        _begin(serialized, run_id, parent_run_id, metadata, kwargs.get("name"))

    def on_chain_end(self, outputs: dict[str, Any], *, run_id: UUID, **kwargs: Any) -> Any:
        """Take a run out of the tree."""
        del outputs, kwargs
        _end(run_id)

    def on_chain_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> Any:
        """Take a run out of the tree, and end the calls in it that were cancelled with it."""
        del kwargs
        _end(run_id, error)

    def on_tool_start(
        self,
        serialized: dict[str, Any],
        input_str: str,
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        metadata: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> Any:
        """Add a run to the tree."""
        del input_str
        name = kwargs.get("name") or (serialized or {}).get("name")
        _begin(serialized, run_id, parent_run_id, metadata, name)

    def on_tool_end(self, output: Any, *, run_id: UUID, **kwargs: Any) -> Any:
        """Take a run out of the tree."""
        del output, kwargs
        _end(run_id)

    def on_tool_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> Any:
        """Take a run out of the tree, and end the calls in it that were cancelled with it."""
        del kwargs
        _end(run_id, error)

    def on_retriever_start(
        self,
        serialized: dict[str, Any],
        query: str,
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        metadata: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> Any:
        """Add a run to the tree."""
        del query
        _begin(serialized, run_id, parent_run_id, metadata, kwargs.get("name"))

    def on_retriever_end(self, documents: Any, *, run_id: UUID, **kwargs: Any) -> Any:
        """Take a run out of the tree."""
        del documents, kwargs
        _end(run_id)

    def on_retriever_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> Any:
        """Take a run out of the tree."""
        del kwargs
        _end(run_id, error)


class CallWatch(InlineHandler, ignores={"chain"}):
    """Meters every call of a model that somebody pays for."""

    @property
    def on_chat_model_start(self) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        """
        Hold what a call may cost, as a coroutine for code that awaits it and as a function for all others.

        LangChain swallows what an async handler raises in code that is not async, and awaits nothing that is not: only
        so can a call be refused everywhere, and wait for a budget that is busy without blocking an event loop.

        Raises:
            BudgetExceeded, UnknownPrice, StoreError: The call must not be sent.
        """
        caller = sys._getframe(1)  # pyright: ignore[reportPrivateUsage]
        return ahold_chat if caller.f_code.co_name == _ASYNC_CALLER else hold_chat

    @property
    def on_llm_start(self) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Do as `on_chat_model_start` does, for models that complete texts."""
        caller = sys._getframe(1)  # pyright: ignore[reportPrivateUsage]
        return ahold_text if caller.f_code.co_name == _ASYNC_CALLER else hold_text

    def on_llm_new_token(self, token: Any, *, run_id: UUID, **kwargs: Any) -> Any:
        """See a piece of an answer."""
        del token, kwargs
        if (call := CALLS.get(run_id.int)) is not None:
            call.see_output()

    def on_stream_event(self, event: Any, *, run_id: UUID, **kwargs: Any) -> Any:
        """See a piece of an answer."""
        del event, kwargs
        if (call := CALLS.get(run_id.int)) is not None:
            call.see_output()

    def on_llm_end(self, response: LLMResult, *, run_id: UUID, **kwargs: Any) -> Any:
        """Book an answer."""
        del kwargs
        if (call := CALLS.get(run_id.int)) is not None:
            call.settle(response, run_id)

    def on_llm_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> Any:
        """Book a call that failed, or was left."""
        if (call := CALLS.get(run_id.int)) is not None:
            call.fail(error, kwargs.get("response"))


def _begin(
    serialized: dict[str, Any] | None,
    run_id: UUID,
    parent_id: UUID | None,
    metadata: dict[str, Any] | None,
    name: object,
) -> None:
    named = name if isinstance(name, str) else ""
    TREE.begin(run_id, parent_id, named, metadata or {}, is_named=is_users_name(named, serialized))


def _end(run_id: UUID, error: BaseException | None = None) -> None:
    node = TREE.end(run_id)
    if node is not None and error is not None and len(CALLS):
        CALLS.end_in(node, error)


class _Always:
    """Stands where LangChain expects a context variable: the handler is the same in every context and thread."""

    def __init__(self, handler: BaseCallbackHandler) -> None:
        self._handler = handler

    def get(self) -> BaseCallbackHandler:
        return self._handler


def _register(handler: BaseCallbackHandler, *, inheritable: bool) -> None:
    register_configure_hook(cast("ContextVar[BaseCallbackHandler | None]", _Always(handler)), inheritable)


TREE.at_end = lambda root: close_root(root.run_id, root.handlers)
# Once for the process.  The nodes of a graph have only what they inherit; what a model inherits would come before the
# handlers of its constructor.
_register(RunWatch(), inheritable=True)
_register(CallWatch(), inheritable=False)
