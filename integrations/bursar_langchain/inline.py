"""How bursar's handlers are called: in the thread or the task of the event, and what they raise ends the call."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from langchain_core.callbacks import BaseCallbackHandler

if TYPE_CHECKING:
    from collections.abc import Collection

_ASKED_OFTEN: Final = ("chain", "llm", "chat_model")


class InlineHandler(BaseCallbackHandler):
    """
    A handler that no thread and no task is made for.

    Args:
        ignores: The kinds of run that a class of it is told nothing of: `"chain"`, `"llm"`, `"chat_model"`.
    """

    raise_error = True
    run_inline = True

    def __init_subclass__(cls, *, ignores: Collection[str] = ()) -> None:
        """Say what is ignored by attributes: LangChain's own are properties, and at every event each is a call."""
        super().__init_subclass__()
        for kind in _ASKED_OFTEN:
            name = f"ignore_{kind}"
            if kind in ignores or getattr(cls, name) is getattr(BaseCallbackHandler, name):
                setattr(cls, name, kind in ignores)
