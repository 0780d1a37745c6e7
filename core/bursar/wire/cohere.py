"""Cohere: chat of both versions and the older generation, embeddings, reranking."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Final

from bursar.usage import Usage
from bursar.wire.ask import Ask
from bursar.wire.endpoint import Endpoint
from bursar.wire.fields import (
    Json,
    array_at,
    count_at,
    first_count,
    is_array,
    is_mapping,
    number_at,
    object_at,
    objects_at,
    text_at,
)
from bursar.wire.openai_common import at_most, texts_in
from bursar.wire.receipt import Receipt
from bursar.wire.weigh import Weight, text_tokens_most

if TYPE_CHECKING:
    from collections.abc import Iterable

# Cohere bills what the caller wrote, not the templates around it, which are far longer; tools and documents bring
# instructions that may count.
_BASE: Final = 64
_TOOLS: Final = 1_024
_PER_TOOL: Final = 64
_PER_TEXT: Final = 4
_OUTPUT_KEYS: Final = frozenset({"text", "thinking", "tool_plan", "name", "arguments"})
_V1_PIECES: Final = frozenset({"text-generation", "tool-calls-chunk"})
_PIECES: Final = frozenset({"content-delta", "tool-call-delta", "tool-plan-delta"})
_CHUNK_TOKENS: Final = 250
"""A document above 500 tokens, its query included, counts as several ("Pricing", docs.cohere.com); half, to be safe."""
_DOCUMENTS_PER_SEARCH: Final = 100
_BY_SEARCH: Final = re.compile(r"rerank-(v\d|english|multilingual)|cohere|amazon")


class CohereChat(Endpoint):
    """`POST /v2/chat`; with *version* 1, `/v1/chat` and `/v1/generate`."""

    def __init__(self, *, version: int = 2) -> None:
        self.version = version
        self.name = "cohere.chat" if version == 2 else "cohere.chat_v1"

    def read_request(self, body: Json) -> Ask:
        """See `Endpoint.read_request`."""
        weight = Weight(text_at(body, "model") or "")
        weight.tokens += _BASE
        for key in ("messages", "message", "prompt", "preamble", "chat_history", "documents", "tool_results"):
            weight.add(body.get(key) or "")
        tools = array_at(body, "tools")
        if tools:
            weight.tokens += _TOOLS + _PER_TOOL * len(tools)
            weight.add_schema(tools)
        if body.get("documents"):
            weight.tokens += _TOOLS
        weight.add_schema(object_at(body, "response_format"))
        server_tools: dict[str, int | None] = {
            text_at(one, "id") or "connector": None for one in objects_at(body, "connectors")
        }
        for kind in server_tools:
            weight.add_unseen(kind)
        if body.get("conversation_id"):
            weight.add_unseen("conversation")
        return Ask(
            model=weight.model,
            stream=body.get("stream") is True,
            input_tokens_most=weight.tokens,
            image_tokens_most=weight.image_tokens,
            input_unseen=tuple(weight.unseen),
            input_rounds_most=None if server_tools else 1,
            output_limit=count_at(body, "max_tokens"),
            choices=max(number_at(body, "num_generations"), 1),
            server_tools=server_tools,
        )

    def with_model(self, body: Json, model: str) -> dict[str, object]:
        """See `Endpoint.with_model`."""
        return {**body, "model": model}

    def with_output_limit(
        self, body: Json, tokens: int, *, model: str, host: str
    ) -> dict[str, object] | None:
        """See `Endpoint.with_output_limit`; a budget for thinking is lowered with it."""
        del model, host
        if tokens < 1:
            return None
        copy: dict[str, object] = {**body, "max_tokens": at_most(body, "max_tokens", tokens)}
        thinking = object_at(body, "thinking")
        budget = count_at(thinking, "token_budget")
        if budget is not None and budget >= tokens:
            copy["thinking"] = {**thinking, "token_budget": max(tokens // 2, 1)}
        return copy

    def read_response(self, body: Json) -> Receipt:
        """See `Endpoint.read_response`."""
        usage = object_at(body, "usage") or object_at(body, "meta")
        ended = body.get("finish_reason") or objects_at(body, "generations")
        return Receipt(usage=_read_usage(usage), model=text_at(body, "model"), finished=bool(ended))

    def read_events(self, events: Iterable[Json]) -> Receipt:
        """See `Endpoint.read_events`; the last event has the usage: `message-end`, or `stream-end` with all of it."""
        usage: Json = {}
        finished = False
        for event in events:
            if text_at(event, "type") in _PIECES:
                continue
            for part in (event.get("response"), event.get("delta"), event):
                if is_mapping(part):
                    usage = object_at(part, "usage") or object_at(part, "meta") or usage
                    finished = finished or bool(part.get("finish_reason"))
        return Receipt(usage=_read_usage(usage), finished=finished)

    def output_seen(self, events: Iterable[Json]) -> str:
        """See `Endpoint.output_seen`: texts, thinking, plans, names and arguments of tools."""
        texts: list[str] = []
        for event in events:
            if event.get("event_type") is None or text_at(event, "event_type") in _V1_PIECES:
                texts += texts_in([event.get("delta"), event.get("message")], _OUTPUT_KEYS)
                texts += [text_at(event, "text") or ""]
        return "".join(texts)

    def stop_response(self, body: Json, text: str) -> dict[str, object] | None:
        """See `Endpoint.stop_response`."""
        nothing = {"billed_units": {"input_tokens": 0, "output_tokens": 0}}
        if self.version == 1:
            said: dict[str, object] = {"text": text, "generation_id": os.urandom(16).hex(), "meta": nothing}
        else:
            message = {"role": "assistant", "content": [{"type": "text", "text": text}]}
            said = {"id": os.urandom(16).hex(), "message": message, "usage": nothing}
        return {**said, "finish_reason": "COMPLETE"}

    def stop_events(self, body: Json, text: str) -> list[dict[str, object]] | None:
        """See `Endpoint.stop_events`."""
        whole = self.stop_response(body, text)
        if self.version == 1:
            return [
                {"event_type": "text-generation", "text": text, "is_finished": False},
                {
                    "event_type": "stream-end",
                    "is_finished": True,
                    "finish_reason": "COMPLETE",
                    "response": whole,
                },
            ]
        begun: dict[str, object] = {"message": {"role": "assistant", "content": []}}
        content = {"message": {"content": {"type": "text", "text": ""}}}
        nothing = {"billed_units": {"input_tokens": 0, "output_tokens": 0}}
        return [
            {"type": "message-start", "id": os.urandom(16).hex(), "delta": begun},
            {"type": "content-start", "index": 0, "delta": content},
            {"type": "content-delta", "index": 0, "delta": {"message": {"content": {"text": text}}}},
            {"type": "content-end", "index": 0},
            {"type": "message-end", "delta": {"finish_reason": "COMPLETE", "usage": nothing}},
        ]


class CohereEmbed(Endpoint):
    """`POST /v1/embed`, `/v2/embed`; it generates nothing."""

    name = "cohere.embed"

    def read_request(self, body: Json) -> Ask:
        """See `Endpoint.read_request`."""
        weight = Weight(text_at(body, "model") or "")
        for text in [*array_at(body, "texts"), *array_at(body, "inputs")]:
            weight.tokens += _PER_TEXT
            weight.add(text)
        for _ in array_at(body, "images"):
            weight.add_image()
        return Ask(
            model=weight.model,
            input_tokens_most=weight.tokens,
            image_tokens_most=weight.image_tokens,
            input_unseen=tuple(weight.unseen),
            output_limit=0,
            generates=False,
        )

    def with_model(self, body: Json, model: str) -> dict[str, object]:
        """See `Endpoint.with_model`; vectors of two models cannot be compared."""
        return {**body, "model": model}

    def with_output_limit(
        self, body: Json, tokens: int, *, model: str, host: str
    ) -> dict[str, object] | None:
        """Return a copy of *body* as it is: there is no output to limit."""
        del tokens, model, host
        return dict(body)

    def read_response(self, body: Json) -> Receipt:
        """See `Endpoint.read_response`."""
        return Receipt(usage=_read_usage(object_at(body, "meta") or object_at(body, "usage")), finished=True)

    def read_events(self, events: Iterable[Json]) -> Receipt:
        """See `Endpoint.read_events`; nothing streams, so the last event is the response."""
        seen = list(events)
        return self.read_response(seen[-1]) if seen else Receipt()


class CohereRerank(CohereEmbed):
    """
    `POST /v1/rerank`, `/v2/rerank`: billed by the search, a query over up to a hundred documents.

    Voyage and Jina, whose path is the same, bill the tokens that their models read: the query once for each document.
    """

    name = "cohere.rerank"

    def read_request(self, body: Json) -> Ask:
        """See `Endpoint.read_request`; at Cohere, long documents count as several."""
        model = text_at(body, "model") or ""
        query = text_tokens_most(text_at(body, "query") or "")
        sizes: list[int] = []
        for document in array_at(body, "documents"):
            weight = Weight("")
            weight.add(document)
            sizes.append(weight.tokens)
        if not _BY_SEARCH.search(model):
            tokens = sum(sizes) + len(sizes) * (query + _PER_TEXT)
            return Ask(model=model, input_tokens_most=tokens, output_limit=0, generates=False)
        # A query as long as a chunk leaves little of it to the document; more of them only make more searches.
        documents = sum(1 + size // _CHUNK_TOKENS for size in sizes) * (1 + query // _CHUNK_TOKENS)
        return Ask(
            model=model,
            input_tokens_most=0,
            output_limit=0,
            generates=False,
            server_tools={"rerank_searches": max(-(-documents // _DOCUMENTS_PER_SEARCH), 1)},
        )

    def read_response(self, body: Json) -> Receipt:
        """See `Endpoint.read_response`."""
        tokens = first_count(object_at(body, "usage"), "total_tokens", "prompt_tokens")
        if tokens is None:
            return super().read_response(body)
        return Receipt(usage=Usage(input_tokens=tokens), model=text_at(body, "model"), finished=True)


def _read_usage(usage: Json) -> Usage | None:
    """Return what is billed, which is less than what the model read; None where neither is stated."""
    billed = object_at(usage, "billed_units") or object_at(usage, "tokens")
    if not any(isinstance(count, int | float) for count in billed.values()):
        return None
    images = number_at(billed, "image_tokens")
    other = {
        "input_image_tokens": images,
        "images": number_at(billed, "images"),
        "rerank_searches": number_at(billed, "search_units"),
        "classifications": number_at(billed, "classifications"),
    }
    return Usage(
        input_tokens=(first_count(billed, "input_tokens") or 0) + images,
        output_tokens=number_at(billed, "output_tokens"),
        other={name: count for name, count in other.items() if count},
    )


def is_cohere_answer(body: Json) -> bool:
    """Whether *body* is an answer of Cohere's, wherever it was served."""
    return is_array(body.get("generations")) or "generation_id" in body or "event_type" in body
