"""Ollama's own format: chat, generation and embeddings of a server that people run themselves, or in its cloud."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from bursar.usage import Usage
from bursar.wire.ask import Ask
from bursar.wire.endpoint import Endpoint
from bursar.wire.fields import Json, array_at, count_at, number_at, object_at, objects_at, text_at
from bursar.wire.openai_common import texts_in
from bursar.wire.receipt import Receipt
from bursar.wire.weigh import Weight

if TYPE_CHECKING:
    from collections.abc import Iterable

# A model's template may bring a system prompt and an instruction for tools of its own.
_BASE: Final = 1_024
_TOOLS: Final = 1_024
_OUTPUT_KEYS: Final = frozenset({"content", "response", "thinking", "name"})


class Ollama(Endpoint):
    """`POST /api/chat`, `/api/generate`; with *embeds*, `/api/embed`."""

    def __init__(self, *, embeds: bool = False) -> None:
        self.embeds = embeds
        self.name = "ollama.embed" if embeds else "ollama.chat"

    def read_request(self, body: Json) -> Ask:
        """See `Endpoint.read_request`; it streams unless it is told not to."""
        weight = Weight(text_at(body, "model") or "")
        weight.tokens += _BASE
        pictures = [*array_at(body, "images")]
        for message in objects_at(body, "messages"):
            pictures += array_at(message, "images")
            weight.add({key: value for key, value in message.items() if key != "images"})
        for key in ("prompt", "system", "suffix", "input"):
            weight.add(body.get(key) or "")
        # A context is a conversation so far, in the model's own tokens.
        weight.tokens += len(array_at(body, "context"))
        for _ in pictures:
            weight.add_image()
        if array_at(body, "tools"):
            weight.tokens += _TOOLS
            weight.add_schema(body["tools"])
        weight.add_schema(body.get("format") or {})
        limit = count_at(object_at(body, "options"), "num_predict")
        return Ask(
            model=weight.model,
            stream=not self.embeds and body.get("stream") is not False,
            input_tokens_most=weight.tokens,
            image_tokens_most=weight.image_tokens,
            output_limit=0 if self.embeds else limit,
            generates=not self.embeds,
        )

    def with_model(self, body: Json, model: str) -> dict[str, object]:
        """See `Endpoint.with_model`."""
        return {**body, "model": model}

    def with_output_limit(
        self, body: Json, tokens: int, *, model: str, host: str
    ) -> dict[str, object] | None:
        """See `Endpoint.with_output_limit`; a negative limit of the caller's means none."""
        del model, host
        if self.embeds:
            return dict(body)
        if tokens < 1:
            return None
        options = object_at(body, "options")
        limit = count_at(options, "num_predict")
        return {
            **body,
            "options": {**options, "num_predict": tokens if limit is None else min(limit, tokens)},
        }

    def read_response(self, body: Json) -> Receipt:
        """See `Endpoint.read_response`."""
        return self.read_events((body,))

    def read_events(self, events: Iterable[Json]) -> Receipt:
        """See `Endpoint.read_events`; the last event has the counts."""
        last: Json = {}
        for event in events:
            last = event if "prompt_eval_count" in event or "eval_count" in event else last
        model = text_at(last, "model")
        sent, answered = count_at(last, "prompt_eval_count"), count_at(last, "eval_count")
        if answered is None and (sent is None or not self.embeds):
            return Receipt(model=model)
        # Of a prompt that it still has in memory, older versions count nothing.
        usage = Usage(input_tokens=sent or 0, output_tokens=number_at(last, "eval_count"))
        return Receipt(usage=usage, model=model, finished=self.embeds or last.get("done") is True)

    def output_seen(self, events: Iterable[Json]) -> str:
        """See `Endpoint.output_seen`: answers, thinking, names and arguments of tools."""
        texts: list[str] = []
        for event in events:
            message = object_at(event, "message")
            shown = {key: event[key] for key in ("response", "thinking") if key in event}
            texts += texts_in([shown, message], _OUTPUT_KEYS)
            for call in objects_at(message, "tool_calls"):
                texts.append(json.dumps(object_at(call, "function").get("arguments"), default=str))
        return "".join(texts)

    def stop_response(self, body: Json, text: str) -> dict[str, object] | None:
        """See `Endpoint.stop_response`; None where JSON was asked for, as there is no other way to refuse."""
        if self.embeds or body.get("format"):
            return None
        said: dict[str, object] = (
            {"message": {"role": "assistant", "content": text}} if "messages" in body else {"response": text}
        )
        ended: dict[str, object] = {
            "done": True,
            "done_reason": "stop",
            "prompt_eval_count": 0,
            "eval_count": 0,
        }
        return {"model": text_at(body, "model") or "", **said, **ended}

    def stop_events(self, body: Json, text: str) -> list[dict[str, object]] | None:
        """See `Endpoint.stop_events`: one line."""
        response = self.stop_response(body, text)
        return None if response is None else [response]

    def encode_events(self, events: Iterable[Json]) -> bytes:
        """See `Endpoint.encode_events`; one JSON object a line."""
        return b"".join(json.dumps(dict(event)).encode() + b"\n" for event in events)
