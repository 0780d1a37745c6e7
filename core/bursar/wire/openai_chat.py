"""OpenAI chat completions, and the many providers that speak the same format."""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING, Any, Final

from bursar.tokens import encoding_name
from bursar.tuples import make
from bursar.usage import Usage, sum_of
from bursar.wire.ask import NOTHING, Ask
from bursar.wire.endpoint import Endpoint
from bursar.wire.fields import (
    Json,
    array_at,
    count_at,
    first_count,
    is_mapping,
    number_at,
    object_at,
    objects_at,
    text_at,
)
from bursar.wire.openai_common import (
    HIDDEN_PROMPT,
    add_schemas,
    at_most,
    base_tokens_most,
    count_messages,
    is_reasoning,
    least,
    longest_ttl,
    texts_in,
    tool_types,
)
from bursar.wire.reasoning import asked_reasoning
from bursar.wire.receipt import Part, Receipt, known_tier, stated_nanousd
from bursar.wire.weigh import Weight, schema_tokens_most

if TYPE_CHECKING:
    from collections.abc import Iterable

_OUTPUT_KEYS: Final = frozenset(
    {"content", "text", "refusal", "reasoning", "reasoning_content", "thinking", "name", "arguments", "input"}
    | {"transcript"}
)
_CLIENT_TOOLS: Final = frozenset({"function", "custom"})
_MEDIA_IN: Final = frozenset({"audio_tokens", "image_tokens", "video_tokens"})
_MEDIA_OUT: Final = frozenset({"audio_tokens", "image_tokens"})
_SCHEMAS: Final = ("tools", "functions", "response_format", "tool_choice")
_OWN_USAGE: Final = frozenset(
    {
        "prompt_tokens",
        "completion_tokens",
        "total_tokens",
        "prompt_tokens_details",
        "completion_tokens_details",
    }
)
"""What OpenAI's own usage has at its top; whatever else stands there is of another dialect."""
_RARE: Final = frozenset(
    {
        "cache_control",
        "tools",
        "functions",
        "response_format",
        "tool_choice",
        "n",
        "web_search_options",
        "plugins",
    }
    | {"data_sources", "prediction", "service_tier", "speed", "models", "modalities"}
    | {"reasoning", "reasoning_effort", "thinking"}
    | {"safe_prompt", "prompt_mode"}
)
"""What `_read_rare` reads."""


class OpenAIChat(Endpoint):
    """`POST /chat/completions`."""

    name = "openai.chat"

    def read_request(self, body: Json) -> Ask:
        """See `Endpoint.read_request`."""
        name = body.get("model")
        model = name if isinstance(name, str) else ""
        weight = Weight(model)
        messages = body.get("messages")
        if type(messages) is list:
            weight.add_all(messages)  # pyright: ignore[reportUnknownArgumentType]
        else:
            weight.add(messages)
        weight.tokens += base_tokens_most(model)
        # To look for each of them would take longer than all the rest.
        is_plain = _RARE.isdisjoint(body) and "-search" not in model
        more = None if is_plain else self._read_rare(body, model, weight)
        limit = count_at(body, "max_tokens")
        if "max_completion_tokens" in body:
            limit = least(limit, count_at(body, "max_completion_tokens"))
        ask = make(
            Ask,
            (
                model,
                weight.tokens,
                body.get("stream") is True,
                False,
                limit,
                1,
                0,
                longest_ttl(weight.cache_ttls) if weight.cache_ttls else None,
                None,
                None,
                weight.image_tokens,
                weight.audio_tokens,
                tuple(weight.unseen),
                1,
                True,
                NOTHING,
                NOTHING,
                (),
                (),
                None,
            ),
        )
        return ask if more is None else ask._replace(**more)

    def _read_rare(self, body: Json, model: str, weight: Weight) -> dict[str, Any]:
        """Return what most requests do not ask for, and add to *weight* what it may be in tokens."""
        weight.note_cache(body)
        tools = [*array_at(body, "tools"), *array_at(body, "functions")]
        add_schemas(weight, tools, (body.get("response_format"), body.get("tool_choice")))
        if body.get("safe_prompt") or body.get("prompt_mode"):
            # Mistral puts a prompt of its own before the caller's.
            weight.tokens += HIDDEN_PROMPT
        choices = max(number_at(body, "n"), 1)
        server_tools: dict[str, int | None] = {
            kind: None for kind in tool_types(body) if kind not in _CLIENT_TOOLS
        }
        if "web_search_options" in body or "-search" in model or array_at(body, "plugins"):
            weight.add_unseen("web_search")
            server_tools["web_search"] = choices
        for kind in server_tools:
            weight.add_unseen(kind)
        if body.get("data_sources"):
            # Azure's "on your data" asks the model several times, with what it retrieves.
            weight.add_unseen("data_sources")
        unlimited = None in server_tools.values() or "data_sources" in weight.unseen
        return {
            "input_rounds_most": None if unlimited else 1,
            "choices": choices,
            "extra_output_tokens": schema_tokens_most(body["prediction"]) if body.get("prediction") else 0,
            "tier": known_tier(body.get("service_tier"), body.get("speed")),
            "server_tools": server_tools,
            "also_models": tuple(item for item in array_at(body, "models") if isinstance(item, str)),
            "reasoning": asked_reasoning(body),
            "modalities": tuple(item for item in array_at(body, "modalities") if isinstance(item, str)),
        }

    def count_input_tokens(self, body: Json) -> int | None:
        """See `Endpoint.count_input_tokens`."""
        model = body.get("model")
        if not isinstance(model, str) or encoding_name(model) is None:
            return None
        # Of messages with anything but text nothing is counted anyway.
        has_rare = not _RARE.isdisjoint(body) or "-search" in model
        if has_rare and self.read_request(body).input_unseen:
            return None
        schemas = [body[key] for key in _SCHEMAS if key in body]
        return count_messages(model, array_at(body, "messages"), schemas)

    def with_model(self, body: Json, model: str) -> dict[str, object]:
        """See `Endpoint.with_model`; a model that refuses `max_tokens` gets it under its newer name."""
        copy = {**body, "model": model}
        if is_reasoning(model) and copy.get("max_tokens") is not None:
            limit = least(count_at(copy, "max_tokens"), count_at(copy, "max_completion_tokens"))
            del copy["max_tokens"]
            copy["max_completion_tokens"] = limit
        return copy

    def with_output_limit(
        self, body: Json, tokens: int, *, model: str, host: str
    ) -> dict[str, object] | None:
        """
        See `Endpoint.with_output_limit`; each choice may use *tokens*, so divide by `choices` before.

        A limit goes where the caller put one.  Where there is none, it goes under the name that the host and the
        model take: compatible servers know `max_tokens`, OpenAI's own prefer `max_completion_tokens`.
        """
        if tokens < 1:
            return None
        present = [key for key in ("max_tokens", "max_completion_tokens") if body.get(key) is not None]
        newer = host == "api.openai.com" or is_reasoning(model)
        keys = present or ["max_completion_tokens" if newer else "max_tokens"]
        return {**body, **{key: at_most(body, key, tokens) for key in keys}}

    def with_stream_usage(self, body: Json) -> tuple[Json, bool]:
        """See `Endpoint.with_stream_usage`; asks for `include_usage` where the caller did not."""
        if body.get("stream") is not True:
            return body, False
        options = object_at(body, "stream_options")
        if options.get("include_usage") is True:
            return body, False
        return {**body, "stream_options": {**options, "include_usage": True}}, True

    def read_response(self, body: Json) -> Receipt:
        """See `Endpoint.read_response`."""
        usage, model, choices = body.get("usage"), body.get("model"), body.get("choices")
        if (
            type(usage) is not dict
            or type(model) is not str
            or not model
            or type(choices) is not list
            or len(choices) != 1  # pyright: ignore[reportUnknownArgumentType]
            or not is_mapping(choice := choices[0])  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
            or not usage.keys() <= _OWN_USAGE
            or "usage_breakdown" in body
            or "-search" in model
        ):
            return self.read_events((body,))
        # Nearly always, and as `read_events` would have it.
        used = _read_usage(usage, 0, is_dialect=False)  # pyright: ignore[reportUnknownArgumentType]
        tier = body.get("service_tier")
        tier = None if tier is None or tier == "default" else known_tier(tier)
        finished = bool(choice.get("finish_reason"))
        return make(Receipt, (used, (), model, tier, None, False, finished, {}))

    def read_events(self, events: Iterable[Json]) -> Receipt:
        """See `Endpoint.read_events`; the last usage counts, as some providers repeat it in every event."""
        usage: Json | None = None
        breakdown: Json = {}
        model = tier = None
        finished = False
        for event in events:
            found = event.get("usage")
            if found is None and "x_groq" in event:
                found = object_at(event, "x_groq").get("usage")
            if is_mapping(found):
                usage = found
                breakdown = object_at(event, "usage_breakdown") or breakdown
            # watsonx calls it `model_id`.
            model = text_at(event, "model") or text_at(event, "model_id") or model
            tier = event.get("service_tier") or tier
            finished = finished or _is_end(event)
        if usage is None:
            return Receipt(model=model, tier=known_tier(tier), finished=finished)
        # A search model searches before every answer, and says so nowhere.
        searches = 1 if model and "-search" in model else 0
        parts = _breakdown(breakdown) if breakdown else ()
        stated = None
        if is_dialect := not usage.keys() <= _OWN_USAGE:
            told = count_at(object_at(usage, "server_tool_use"), "web_search_requests")
            told = count_at(usage, "num_search_queries") if told is None else told
            searches = searches if told is None else told
            tier = known_tier(tier, usage.get("service_tier"))
            stated = stated_nanousd(usage)
        if parts:
            used: Usage | None = sum_of(part.usage for part in parts)
        else:
            used = _read_usage(usage, searches, is_dialect=is_dialect)
        server_tools = {"web_search": searches} if searches else {}
        tier = known_tier(tier) if tier else None
        return make(Receipt, (used, parts, model, tier, stated, False, finished, server_tools))

    def output_seen(self, events: Iterable[Json]) -> str:
        """See `Endpoint.output_seen`."""
        return "".join(
            text
            for event in events
            for choice in objects_at(event, "choices")
            for text in texts_in(_without_copies(choice.get("delta") or choice.get("message")), _OUTPUT_KEYS)
        )

    def stop_response(self, body: Json, text: str) -> dict[str, object] | None:
        """See `Endpoint.stop_response`."""
        message = {"role": "assistant", "content": None, "refusal": None, **_said(body, text)}
        return {
            **_head(body, "chat.completion"),
            "choices": [
                {"index": index, "message": message, "finish_reason": "stop", "logprobs": None}
                for index in range(max(number_at(body, "n"), 1))
            ],
            "usage": _zero_usage(),
        }

    def stop_events(self, body: Json, text: str) -> list[dict[str, object]] | None:
        """See `Endpoint.stop_events`; the usage comes only where the caller asked for it."""
        head = _head(body, "chat.completion.chunk")
        usage_asked = object_at(body, "stream_options").get("include_usage") is True
        more: dict[str, object] = {"usage": None} if usage_asked else {}
        events: list[dict[str, object]] = []
        for index in range(max(number_at(body, "n"), 1)):
            for delta, reason in (({"role": "assistant", **_said(body, text)}, None), ({}, "stop")):
                choice = {"index": index, "delta": delta, "finish_reason": reason, "logprobs": None}
                events.append({**head, "choices": [choice], **more})
        if usage_asked:
            events.append({**head, "choices": [], "usage": _zero_usage()})
        return events

    def encode_events(self, events: Iterable[Json]) -> bytes:
        """See `Endpoint.encode_events`; chat's have no names, and end with `[DONE]`."""
        return b"".join(
            [*(f"data: {json.dumps(event)}\n\n".encode() for event in events), b"data: [DONE]\n\n"]
        )


def _said(body: Json, text: str) -> dict[str, str]:
    """Return *text* as the answer, or as a refusal where JSON was asked for and a caller would try to read it."""
    asks_json = text_at(object_at(body, "response_format"), "type") in {"json_schema", "json_object"}
    return {"refusal" if asks_json else "content": text}


def _is_end(event: Json) -> bool:
    return any(is_mapping(choice) and choice.get("finish_reason") for choice in array_at(event, "choices"))


def _breakdown(breakdown: Json) -> tuple[Part, ...]:
    """Return the models that Groq's compound systems ran, which are billed each at its own rates."""
    models = objects_at(breakdown, "models")
    used = [
        (text_at(one, "model"), _read_usage(object_at(one, "usage"), 0, is_dialect=True)) for one in models
    ]
    return tuple(Part(model=model, usage=usage) for model, usage in used if model and usage is not None)


def _read_usage(usage: Json, web_searches: int, *, is_dialect: bool) -> Usage | None:
    """Return the *usage* of a chat completion in any dialect known, or None where it says too little."""
    prompt, completion = count_at(usage, "prompt_tokens"), count_at(usage, "completion_tokens")
    total = count_at(usage, "total_tokens")
    into, out = object_at(usage, "prompt_tokens_details"), object_at(usage, "completion_tokens_details")
    cached = count_at(into, "cached_tokens") if into else None
    reasoning = count_at(out, "reasoning_tokens") if out else None
    citations = 0
    if is_dialect:
        prompt = count_at(usage, "input_tokens") if prompt is None else prompt
        completion = count_at(usage, "output_tokens") if completion is None else completion
        reasoning = count_at(usage, "reasoning_tokens") if reasoning is None else reasoning
        citations = number_at(usage, "citation_tokens")
        if cached is None:
            # DeepSeek's own name, then Moonshot's.  Mistral's `num_cached_tokens` is left: it is not said to be
            # cheaper.
            cached = first_count(usage, "prompt_cache_hit_tokens", "cached_tokens")
        if prompt is not None:
            # What the tools of Mistral's agents read is input, apart from the prompt.
            prompt += number_at(usage, "connector_tokens")
    if prompt is None or (completion is None and total is None):
        return None
    # xAI leaves reasoning out of the completion, Gemini's compatible format leaves thinking out: the total has it.
    output = max(completion or 0, (total or 0) - prompt)
    if citations:
        # Perplexity's deep research bills reasoning and citations besides the completion.
        output = max(output, (completion or 0) + (reasoning or 0) + citations)
    written = number_at(into, "cache_write_tokens") if into else 0
    rarer: dict[str, int] = {}
    if citations:
        rarer["output_citation_tokens"] = citations
    if web_searches:
        rarer["web_searches"] = web_searches
    if into or out:
        media = {f"input_{kind}": number_at(into, kind) for kind in _MEDIA_IN & into.keys()}
        media |= {f"output_{kind}": number_at(out, kind) for kind in _MEDIA_OUT & out.keys()}
        rarer |= {name: count for name, count in media.items() if count}
    return make(Usage, (prompt, cached or 0, written, 0, output, reasoning or 0, rarer))


def _without_copies(delta: object) -> object:
    # OpenRouter sends the same reasoning three times, under three names.
    if is_mapping(delta) and isinstance(delta.get("reasoning"), str):
        return {
            key: value
            for key, value in delta.items()
            if key not in {"reasoning_content", "reasoning_details"}
        }
    return delta


def _head(body: Json, kind: str) -> dict[str, object]:
    return {
        "id": f"chatcmpl-{os.urandom(12).hex()}",
        "object": kind,
        "created": int(time.time()),
        "model": text_at(body, "model") or "",
    }


def _zero_usage() -> dict[str, object]:
    return {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
