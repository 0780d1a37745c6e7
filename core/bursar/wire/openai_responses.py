"""OpenAI Responses, and the providers that speak the same format."""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING, Final

from bursar.usage import Usage, sum_of
from bursar.wire.ask import SERVER_TOOL_UNITS, Ask
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
from bursar.wire.openai_common import add_overheads, at_most, count_messages, longest_ttl
from bursar.wire.reasoning import asked_reasoning
from bursar.wire.receipt import Part, Receipt, known_tier, stated_nanousd
from bursar.wire.weigh import Weight

if TYPE_CHECKING:
    from collections.abc import Iterable

_LEAST_LIMIT: Final = 16
"""The lowest `max_output_tokens` that is taken (OpenAI's API reference)."""
_CLIENT_TOOLS: Final = frozenset(
    {"function", "custom", "namespace", "local_shell", "apply_patch", "computer", "computer_use_preview"}
)
_UNSEEN_KEYS: Final = ("previous_response_id", "conversation", "prompt", "context_management")
_COMPACTION: Final = 1_024
_ENDED: Final = frozenset({"completed", "incomplete", "failed", "cancelled"})
_IMAGE_MODEL: Final = "gpt-image-1"
"""What the tool for images runs where the request names no other model (OpenAI's guide "Image generation")."""
_TOOL_KINDS: Final = {"shell": "code_interpreter"}
"""A shell of the provider's runs in a container, as code does, and is billed as one."""
_ITEM_KINDS: Final = {
    "shell_call": "code_interpreter",
    "web_search_call": "web_search",
    "file_search_call": "file_search",
    "code_interpreter_call": "code_interpreter",
    "image_generation_call": "image_generation",
}


class OpenAIResponses(Endpoint):
    """`POST /responses`."""

    name = "openai.responses"

    def read_request(self, body: Json) -> Ask:
        """See `Endpoint.read_request`."""
        model = text_at(body, "model") or ""
        weight = Weight(model)
        weight.add(body.get("instructions") or "")
        weight.add(body.get("input") or "")
        text_format = object_at(body, "text").get("format")
        add_overheads(weight, array_at(body, "tools"), (text_format, body.get("tool_choice")))
        server_tools = _server_tools(body)
        for key in _UNSEEN_KEYS:
            if body.get(key):
                weight.add_unseen(key)
        for kind in server_tools:
            # What a search of tools finds is in the body already.
            if kind != "tool_search":
                weight.add_unseen(kind)
        uses = count_at(body, "max_tool_calls")
        rounds = 1 if not server_tools else None if uses is None else uses + 1
        images = "image_generation" in server_tools
        return Ask(
            model=model,
            stream=body.get("stream") is True,
            background=body.get("background") is True,
            input_tokens_most=weight.tokens,
            image_tokens_most=weight.image_tokens,
            audio_tokens_most=weight.audio_tokens,
            input_unseen=tuple(weight.unseen),
            # Compaction is a round of its own.
            input_rounds_most=None if rounds is None or body.get("context_management") else rounds,
            output_limit=count_at(body, "max_output_tokens"),
            cache_write=longest_ttl(weight.cache_ttls),
            tier=known_tier(body.get("service_tier"), body.get("speed")),
            server_tools=server_tools,
            reasoning=asked_reasoning(body),
            modalities=tuple(item for item in array_at(body, "modalities") if isinstance(item, str)),
            unbounded="the image generation tool bills another model, by images" if images else None,
        )

    def count_input_tokens(self, body: Json) -> int | None:
        """See `Endpoint.count_input_tokens`; instructions are one more message."""
        if any(body.get(key) for key in _UNSEEN_KEYS) or _server_tools(body):
            return None
        given, instructions = body.get("input"), body.get("instructions")
        messages = (
            [{"role": "user", "content": given}] if isinstance(given, str) else list(array_at(body, "input"))
        )
        if isinstance(instructions, str):
            messages.append({"role": "developer", "content": instructions})
        schemas = [body.get("tools"), object_at(body, "text").get("format"), body.get("tool_choice")]
        return count_messages(text_at(body, "model") or "", messages, schemas)

    def with_model(self, body: Json, model: str) -> dict[str, object]:
        """See `Endpoint.with_model`."""
        return {**body, "model": model}

    def with_output_limit(
        self, body: Json, tokens: int, *, model: str, host: str
    ) -> dict[str, object] | None:
        """See `Endpoint.with_output_limit`; None below 16, the least that OpenAI takes."""
        del model, host
        if tokens < _LEAST_LIMIT:
            return None
        return {**body, "max_output_tokens": at_most(body, "max_output_tokens", tokens)}

    def read_response(self, body: Json) -> Receipt:
        """See `Endpoint.read_response`."""
        return _receipt(body, object_at(body, "usage"), objects_at(body, "output"))

    def read_events(self, events: Iterable[Json]) -> Receipt:
        """See `Endpoint.read_events`; the last event that holds the response counts, with the last usage."""
        response: Json = {}
        usage: Json = {}
        items: list[Json] = []
        for event in events:
            found = object_at(event, "response")
            response = found or response
            usage = object_at(found, "usage") or usage
            if event.get("type") == "response.output_item.done":
                items.append(object_at(event, "item"))
        return _receipt(response, usage, objects_at(response, "output") or items)

    def output_seen(self, events: Iterable[Json]) -> str:
        """See `Endpoint.output_seen`: texts, refusals, shown reasoning, arguments and code."""
        texts: list[str] = []
        for event in events:
            kind, delta = text_at(event, "type") or "", text_at(event, "delta")
            if delta is not None and kind.endswith(".delta") and kind != "response.audio.delta":
                texts.append(delta)
            elif kind == "response.output_item.added":
                texts.append(text_at(object_at(event, "item"), "name") or "")
            elif kind == "response.output_item.done":
                # What the model asks of the provider's own tools comes whole.
                item = object_at(event, "item")
                asked = [object_at(item, key) for key in ("arguments", "action")]
                texts += [json.dumps(dict(one)) for one in asked if one]
        return "".join(texts)

    def stop_response(self, body: Json, text: str) -> dict[str, object] | None:
        """See `Endpoint.stop_response`."""
        return {
            **_head(body),
            "status": "completed",
            "output": [_message(_said(body, text))],
            "usage": _zero_usage(),
        }

    def stop_events(self, body: Json, text: str) -> list[dict[str, object]] | None:
        """See `Endpoint.stop_events`: every event that an answer of one text has."""
        begun: dict[str, object] = {**_head(body), "status": "in_progress", "output": [], "usage": None}
        whole = _said(body, text)
        message = _message(whole)
        ended = {**begun, "status": "completed", "output": [message], "usage": _zero_usage()}
        item: dict[str, object] = {**message, "status": "in_progress", "content": []}
        kind, key = str(whole["type"]), "text" if "text" in whole else "refusal"
        more: dict[str, object] = {"logprobs": []} if "logprobs" in whole else {}
        place: dict[str, object] = {"output_index": 0, "content_index": 0, "item_id": message["id"]}
        events: list[dict[str, object]] = [
            {"type": "response.created", "response": begun},
            {"type": "response.in_progress", "response": begun},
            {"type": "response.output_item.added", "output_index": 0, "item": item},
            {"type": "response.content_part.added", **place, "part": {**whole, key: ""}},
            {"type": f"response.{kind}.delta", **place, "delta": text, **more},
            {"type": f"response.{kind}.done", **place, key: text, **more},
            {"type": "response.content_part.done", **place, "part": whole},
            {"type": "response.output_item.done", "output_index": 0, "item": message},
            {"type": "response.completed", "response": ended},
        ]
        return [{**event, "sequence_number": number} for number, event in enumerate(events)]


class OpenAICompaction(OpenAIResponses):
    """`POST /responses/compact`: one round of the model over a conversation, whose summary has no limit."""

    name = "openai.responses_compact"

    def read_request(self, body: Json) -> Ask:
        """See `Endpoint.read_request`; the model reads an instruction besides, of about 100 tokens (measured)."""
        ask = super().read_request(body)
        return ask._replace(input_tokens_most=ask.input_tokens_most + _COMPACTION)

    def count_input_tokens(self, body: Json) -> int | None:
        """Return None: what the provider adds is not known."""
        del body
        return None

    def with_output_limit(
        self, body: Json, tokens: int, *, model: str, host: str
    ) -> dict[str, object] | None:
        """Return None: a compaction takes no limit."""
        del body, tokens, model, host
        return None

    def stop_response(self, body: Json, text: str) -> dict[str, object] | None:
        """Return None: a made-up summary would lose the conversation."""
        del body, text
        return None

    def stop_events(self, body: Json, text: str) -> list[dict[str, object]] | None:
        """Return None, as `stop_response` does."""
        del body, text
        return None


def _server_tools(body: Json) -> dict[str, int | None]:
    uses = count_at(body, "max_tool_calls")
    kinds: dict[str, int | None] = {}
    for tool in objects_at(body, "tools"):
        kind = text_at(tool, "type") or "function"
        # Run by the client: a search of tools that it answers itself, a shell of its own.
        where = text_at(tool, "execution") or text_at(object_at(tool, "environment"), "type")
        if kind in _CLIENT_TOOLS or where in {"client", "local"}:
            continue
        kinds[_tool_kind(kind)] = uses
    return kinds


def _tool_kind(kind: str) -> str:
    """Return what a tool of the provider's is called here, without the date of its version."""
    searches = next((name for name in ("web_search_preview", "web_search") if kind.startswith(name)), None)
    return searches or _TOOL_KINDS.get(kind, kind)


def _has_preview(response: Json) -> bool:
    return any(
        (text_at(tool, "type") or "").startswith("web_search_preview")
        for tool in objects_at(response, "tools")
    )


def _receipt(response: Json, usage: Json, output: Iterable[Json]) -> Receipt:
    counts = _count_tools(output)
    tools = object_at(response, "tool_usage")
    # The provider's own count has the searches within a search that its items do not show.
    searches = max(counts.get("web_search", 0), number_at(object_at(tools, "web_search"), "num_requests"))
    if searches:
        counts["web_search"] = searches
    used = _read_usage(usage, counts, is_preview=bool(searches) and _has_preview(response))
    images = _image_part(response, object_at(tools, "image_gen"))
    if images is not None:
        counts.pop("image_generation", None)
    if used is not None and counts.get("image_generation"):
        # Without a count of its tokens, an image has no rate, and the cost is an estimate.
        used = used._replace(other={**used.other, "image_generations": counts["image_generation"]})
    parts = () if images is None or used is None else (Part(model=None, usage=used), images)
    return Receipt(
        usage=sum_of(part.usage for part in parts) if parts else used,
        parts=parts,
        model=text_at(response, "model"),
        tier=known_tier(response.get("service_tier")),
        stated_nanousd=stated_nanousd(usage),
        finished=response.get("status") in _ENDED,
        server_tools=counts,
    )


def _image_part(response: Json, used: Json) -> Part | None:
    """Return what the tool for images used, which another model does and bills besides."""
    usage = _read_usage(used, {})
    if usage is None or not usage.total_tokens:
        return None
    tool = next((one for one in objects_at(response, "tools") if one.get("type") == "image_generation"), None)
    return Part(model=(text_at(tool, "model") if tool else None) or _IMAGE_MODEL, usage=usage)


def _read_usage(usage: Json, counts: dict[str, int], *, is_preview: bool = False) -> Usage | None:
    if count_at(usage, "input_tokens") is None or count_at(usage, "output_tokens") is None:
        return None
    into, out = object_at(usage, "input_tokens_details"), object_at(usage, "output_tokens_details")
    other = {
        "input_audio_tokens": number_at(into, "audio_tokens"),
        "input_image_tokens": number_at(into, "image_tokens"),
        "output_audio_tokens": number_at(out, "audio_tokens"),
        "output_image_tokens": number_at(out, "image_tokens"),
    }
    other |= {SERVER_TOOL_UNITS[kind]: count for kind, count in counts.items() if kind in SERVER_TOOL_UNITS}
    if is_preview:
        other[SERVER_TOOL_UNITS["web_search_preview"]] = counts["web_search"]
    return Usage(
        input_tokens=number_at(usage, "input_tokens"),
        # Perplexity's name, after OpenAI's.
        cache_read_tokens=first_count(into, "cached_tokens", "cache_read_input_tokens") or 0,
        cache_write_tokens=number_at(into, "cache_write_tokens"),
        output_tokens=_output(usage),
        reasoning_tokens=number_at(out, "reasoning_tokens"),
        other={name: count for name, count in other.items() if count},
    )


def _output(usage: Json) -> int:
    """Return the output; a total above it and the input has what it leaves out."""
    sent, answered = number_at(usage, "input_tokens"), number_at(usage, "output_tokens")
    return max(answered, number_at(usage, "total_tokens") - sent)


def _count_tools(output: Iterable[Json]) -> dict[str, int]:
    counts: dict[str, int] = {}
    containers: set[str] = set()
    for item in output:
        kind = _ITEM_KINDS.get(text_at(item, "type") or "")
        # Only the searches of a web search are billed, not the pages that it opens after.
        action = item.get("action")
        if kind is None or (is_mapping(action) and action.get("type") not in {"search", None}):
            continue
        container = text_at(item, "container_id") or text_at(object_at(item, "environment"), "container_id")
        if kind == "code_interpreter" and container is None and item.get("type") == "shell_call":
            continue  # It ran on the client's own machine.
        if container is not None:
            # A container is billed once, however often code runs in it.
            if container in containers:
                continue
            containers.add(container)
        counts[kind] = counts.get(kind, 0) + 1
    return counts


def _head(body: Json) -> dict[str, object]:
    return {
        "id": f"resp_{os.urandom(16).hex()}",
        "object": "response",
        "created_at": int(time.time()),
        "model": text_at(body, "model") or "",
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "metadata": {},
        "parallel_tool_calls": True,
        "temperature": None,
        "tool_choice": "auto",
        "tools": [],
        "top_p": None,
    }


def _said(body: Json, text: str) -> dict[str, object]:
    """Return *text* as the answer, or as a refusal where JSON was asked for and a caller would try to read it."""
    if text_at(object_at(object_at(body, "text"), "format"), "type") in {"json_schema", "json_object"}:
        return {"type": "refusal", "refusal": text}
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def _message(content: dict[str, object]) -> dict[str, object]:
    return {
        "id": f"msg_{os.urandom(16).hex()}",
        "type": "message",
        "role": "assistant",
        "status": "completed",
        "content": [content],
    }


def _zero_usage() -> dict[str, object]:
    return {
        "input_tokens": 0,
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": 0,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 0,
    }
