"""
Which model an event of LlamaIndex's callbacks is about.

An event says next to nothing of it: no model, no text of an embedding.  The method that tells of the event is on the
stack, with both.
"""

# Python has no public way to its stack.
# pyright: reportPrivateUsage=false

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import llama_index.core.base.embeddings.base as embeddings
import llama_index.core.llms.callbacks as llm_callbacks
from llama_index.core.llms.structured_llm import StructuredLLM

from bursar.tuples import make

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from types import FrameType

_NEAREST: Final = 12
"""Frames between a handler and the method that tells of an event, at most."""

_MARK: Final = "bursar mark"
_TEXTS: Final = ("query", "text", "cur_batch")
_LLM_GLOBALS: Final[Any] = vars(llm_callbacks)
_EMBEDDING_GLOBALS: Final[Any] = vars(embeddings)


class Mark(list[str]):
    """
    The events that a method told of.

    It goes when the method is done, however it ends: it is kept with the method's variables, and nowhere else.
    """


class LLMPlace(NamedTuple):
    """
    Where an event of an LLM is told.

    Attributes:
        method: The method of *model*: `"achat"`.

        mark: Lives as long as the method that tells of the event.
    """

    model: Any
    method: str
    mark: Mark


class EmbeddingPlace(NamedTuple):
    """
    Where an event of an embedding model is told.

    Attributes:
        texts: What is embedded and not in the model's cache.

        mark: Lives as long as the method that tells of the event, which may tell of more.

        is_gathered: Whether other batches are told of before the first is sent.
    """

    model: Any
    texts: list[str]
    mark: Mark
    is_gathered: bool


def llm_place(is_open: Collection[str]) -> LLMPlace | None:
    """
    Return where the LLM's event is told that is being handled.

    None where nothing tells, or the method is called by another one whose event is open: that one pays.  None also of a
    model that only words what another one is asked, which tells of that itself.

    Args:
        is_open: The events that are paid for and have not ended.
    """
    frame = _nearest(_LLM_GLOBALS)
    if frame is None or (is_open and _is_inside(frame.f_back, is_open)):
        return None
    about = frame.f_locals
    model, method = about.get("_self"), about.get("f")
    if model is None or method is None or isinstance(model, StructuredLLM):
        return None
    return make(LLMPlace, (model, getattr(method, "__name__", ""), _mark_in(about)))


def embedding_place() -> EmbeddingPlace | None:
    """Return where the embedding model's event is told that is being handled, or None where nothing tells."""
    frame = _nearest(_EMBEDDING_GLOBALS)
    if frame is None:
        return None
    about = frame.f_locals
    model = about.get("self")
    given = next((about[name] for name in _TEXTS if about.get(name) is not None), None)
    if model is None or given is None:
        return None
    texts = [given] if isinstance(given, str) else list(given)
    cache = getattr(model, "embeddings_cache", None)
    if cache is not None:
        texts = [text for text in texts if cache.get(key=text, collection="embeddings") is None]
    return EmbeddingPlace(
        model, texts, _mark_in(about), frame.f_code.co_name.startswith("aget_text_embedding_batch")
    )


def _nearest(module: Mapping[str, Any]) -> FrameType | None:
    frame: FrameType | None = sys._getframe(2)
    for _ in range(_NEAREST):
        if frame is None:
            return None
        if frame.f_globals is module:
            return frame
        frame = frame.f_back
    return None


def _mark_in(variables: dict[str, Any]) -> Mark:
    mark: Any = variables.get(_MARK)
    if mark is None:
        variables[_MARK] = mark = Mark()
    return mark


def _is_inside(frame: FrameType | None, is_open: Collection[str]) -> bool:
    while frame is not None:
        if frame.f_globals is _LLM_GLOBALS and frame.f_locals.get("event_id", "") in is_open:
            return True
        frame = frame.f_back
    return False
