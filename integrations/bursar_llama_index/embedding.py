"""The methods of an embedding model that cost money: they see the texts, batch by batch, after its cache was asked."""

# What is overridden is of whatever class the user's model has.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from bursar.dropped import dropped
from bursar_llama_index.calls import ModelCall, is_at_work
from bursar_llama_index.identity import FRAMES
from bursar_llama_index.llm import payers_beside
from bursar_llama_index.request import embedding_request

if TYPE_CHECKING:
    from collections.abc import Callable

    Model = Any
else:
    Model = object


class GuardedEmbedding(Model):
    """Pays for each request; a method that calls another of these pays once."""

    def _get_query_embedding(self, query: str, *args: Any, **kwargs: Any) -> Any:
        return _embedded(self, partial(super()._get_query_embedding, query, *args, **kwargs), [query])

    def _get_text_embedding(self, text: str, *args: Any, **kwargs: Any) -> Any:
        return _embedded(self, partial(super()._get_text_embedding, text, *args, **kwargs), [text])

    def _get_text_embeddings(self, texts: list[str], *args: Any, **kwargs: Any) -> Any:
        return _embedded(self, partial(super()._get_text_embeddings, texts, *args, **kwargs), texts)

    async def _aget_query_embedding(self, query: str, *args: Any, **kwargs: Any) -> Any:
        return await _aembedded(self, partial(super()._aget_query_embedding, query, *args, **kwargs), [query])

    async def _aget_text_embedding(self, text: str, *args: Any, **kwargs: Any) -> Any:
        return await _aembedded(self, partial(super()._aget_text_embedding, text, *args, **kwargs), [text])

    async def _aget_text_embeddings(self, texts: list[str], *args: Any, **kwargs: Any) -> Any:
        return await _aembedded(self, partial(super()._aget_text_embeddings, texts, *args, **kwargs), texts)


def _embedded(model: Any, send: Callable[[], Any], texts: list[str]) -> Any:
    if is_at_work(model):
        return send()
    call = _call_of(model, texts, is_async=False)
    call.meter.reserve()
    try:
        with call.at_work():
            call.sending()
            vectors = send()
    except BaseException as error:  # Booked, and raised again: a call that was cancelled is paid, too.
        call.failed(error)
        raise
    call.answered(None)
    return vectors


async def _aembedded(model: Any, send: Callable[[], Any], texts: list[str]) -> Any:
    if is_at_work(model):
        return await send()
    call = _call_of(model, texts, is_async=True)
    await call.meter.areserve()
    try:
        with call.at_work():
            call.sending()
            vectors = await send()
    except BaseException as error:  # Booked, and raised again: a call that was cancelled is paid, too.
        call.failed(error)
        raise
    call.answered(None)
    return vectors


def _call_of(model: Any, texts: list[str], *, is_async: bool) -> ModelCall:
    dropped.do_all()
    guarding = model.bursar_guarding
    frames = FRAMES.get()
    return ModelCall(
        model,
        embedding_request(model, texts),
        lambda: guarding.payer.booking_inside(frames, besides=payers_beside(model)),
        is_async=is_async,
        is_seen_below=guarding.is_seen_below,
    )
