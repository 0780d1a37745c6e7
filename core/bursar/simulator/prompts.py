"""
Reads the prompt out of a request body and counts its tokens as the provider does.

OpenAI's own rule (its cookbook, "How to count tokens with tiktoken"): 3 tokens a message, its role and its content,
1 more and the tokens for a name, and 3 to prime the answer.  Tools, functions and answer schemas are counted as
their compact JSON.  Anthropic publishes no tokenizer: the same rule stands in for it, plus the system prompt that
Anthropic adds to a request with tools.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, cast

from bursar.simulator.errors import WireError
from bursar.simulator.tokens import count_tokens

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_PER_MESSAGE: Final = 3
_PRIMING: Final = 3

# OpenAI: 85 for a low-detail image; 765 for a square one of high detail on gpt-4o, 33 1/3 times as much on its mini.
_IMAGE_LOW: Final = 85
_IMAGE_HIGH: Final = 765
_MINI_IMAGE_LOW: Final = 2_833
_MINI_IMAGE_HIGH: Final = 25_501
# Anthropic: about 1,600 for the largest image that is not scaled down.
_ANTHROPIC_IMAGE: Final = 1_600
# Anthropic, "Tool use: pricing": 346 tokens with tool_choice auto or none on Claude 4, 313 with any or tool.
_ANTHROPIC_TOOLS: Final = 346
_ANTHROPIC_TOOLS_FORCED: Final = 313

_SYSTEM_ROLES: Final = frozenset({"system", "developer"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """The texts of a prompt and the tokens of all of it."""

    system: str = ""
    messages: tuple[str, ...] = ()
    tokens: int = 0


@dataclass(slots=True)
class _Reader:
    """Adds up one prompt."""

    model: str
    tokens: int
    system: list[str]
    messages: list[str]

    def message(self, role: str, text: str, *, extra: int = 0, name: str | None = None) -> None:
        self.tokens += _PER_MESSAGE + count_tokens(role) + count_tokens(text) + extra
        if name:
            self.tokens += 1 + count_tokens(name)
        (self.system if role in _SYSTEM_ROLES else self.messages).append(text)

    def data(self, value: object) -> None:
        """Count a schema or the tools; nothing for `None` and an empty list."""
        if value:
            self.tokens += count_tokens(compact(value))

    def prompt(self) -> Prompt:
        return Prompt(system="\n".join(self.system), messages=tuple(self.messages), tokens=self.tokens)


def read_chat(model: str, body: Mapping[str, Any]) -> Prompt:
    """Return the prompt of a chat completion."""
    reader = _Reader(model, _PRIMING, [], [])
    for message in mappings(body.get("messages"), "messages"):
        role = message.get("role")
        if not isinstance(role, str):
            msg = "Missing required parameter: 'messages[].role'."
            raise WireError(400, msg, code="missing_required_parameter", param="messages")
        text, extra = _content(model, message.get("content"), "messages")
        for call in mappings(message.get("tool_calls") or [], "tool_calls"):
            function = part_of(call, "function") or part_of(call, "custom")
            extra += count_tokens(str(function.get("name", "")))
            extra += count_tokens(str(function.get("arguments") or function.get("input") or ""))
        reader.message(role, text, extra=extra, name=message.get("name"))
    reader.data(body.get("tools"))
    reader.data(body.get("functions"))
    reader.data(part_of(body, "response_format").get("json_schema"))
    return reader.prompt()


def read_responses(model: str, body: Mapping[str, Any]) -> Prompt:
    """Return the prompt of a Responses call, without the turns that `previous_response_id` stands for."""
    reader = _Reader(model, _PRIMING, [], [])
    if body.get("instructions"):
        reader.message("system", str(body["instructions"]))
    given = body.get("input")
    if isinstance(given, str):
        reader.message("user", given)
    else:
        for item in mappings(given, "input"):
            _read_item(reader, item)
    reader.data(body.get("tools"))
    reader.data(part_of(part_of(body, "text"), "format").get("schema"))
    return reader.prompt()


def read_messages(model: str, body: Mapping[str, Any]) -> Prompt:
    """Return the prompt of an Anthropic message."""
    reader = _Reader(model, _PRIMING, [], [])
    if body.get("system"):
        text, extra = _content(model, body["system"], "system")
        reader.message("system", text, extra=extra)
    for message in mappings(body.get("messages"), "messages"):
        role = message.get("role")
        if role not in ("user", "assistant", "system"):
            msg = f'messages: Unexpected role "{role}". Allowed roles are "user" or "assistant".'
            raise WireError(400, msg)
        text, extra = _content(model, message.get("content"), "messages")
        reader.message(cast("str", role), text, extra=extra)
    if body.get("tools"):
        forced = part_of(body, "tool_choice").get("type") in ("any", "tool")
        reader.tokens += _ANTHROPIC_TOOLS_FORCED if forced else _ANTHROPIC_TOOLS
        reader.data(body["tools"])
    reader.data(answer_format(body).get("schema"))
    return reader.prompt()


def answer_format(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return the JSON format that an Anthropic message asks for, under either of its names, or nothing."""
    return part_of(part_of(body, "output_config"), "format") or part_of(body, "output_format")


def part_of(body: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return the object *name* of *body*; empty where there is none, or a value of another kind."""
    value: object = body.get(name)
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def mappings(value: object, param: str) -> list[dict[str, Any]]:
    """Return *value* as a list of JSON objects."""
    if not isinstance(value, list):
        msg = f"Invalid type for '{param}': expected an array of objects."
        raise WireError(400, msg, code="invalid_type", param=param)
    items = cast("list[object]", value)
    if not all(isinstance(item, dict) for item in items):
        msg = f"Invalid type for '{param}[]': expected an object."
        raise WireError(400, msg, code="invalid_type", param=param)
    return cast("list[dict[str, Any]]", items)


def compact(value: object) -> str:
    """Return *value* as JSON without spaces."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def _read_item(reader: _Reader, item: Mapping[str, Any]) -> None:
    kind = item.get("type", "message")
    if kind == "message":
        text, extra = _content(reader.model, item.get("content"), "input")
        reader.message(str(item.get("role", "user")), text, extra=extra)
    elif kind in ("function_call", "custom_tool_call"):
        called = str(item.get("name", "")) + str(item.get("arguments") or item.get("input") or "")
        reader.message("assistant", "", extra=count_tokens(called))
    elif kind in ("function_call_output", "custom_tool_call_output"):
        text, extra = _content(reader.model, item.get("output"), "input")
        reader.message("tool", text, extra=extra)
    elif kind not in ("reasoning", "item_reference"):
        msg = f"The simulator does not know input items of type '{kind}'."
        raise WireError(400, msg, code="invalid_value", param="input")


def _content(model: str, content: object, param: str) -> tuple[str, int]:
    """Return the text of *content* and the tokens of what is not text."""
    if content is None:
        return "", 0
    if isinstance(content, str):
        return content, 0
    texts: list[str] = []
    extra = 0
    for part in mappings(content, param):
        text, tokens = _part(model, part, param)
        extra += tokens
        if text is not None:
            texts.append(text)
    return "\n".join(texts), extra


def _part(model: str, part: Mapping[str, Any], param: str) -> tuple[str | None, int]:
    kind = part.get("type")
    if kind in ("text", "input_text", "output_text", "refusal"):
        return str(part.get("text") or part.get("refusal") or ""), 0
    if kind in ("image_url", "input_image"):
        detail = part.get("detail") or _detail(part.get("image_url"))
        mini = model.startswith("gpt-4o-mini")
        low, high = (_MINI_IMAGE_LOW, _MINI_IMAGE_HIGH) if mini else (_IMAGE_LOW, _IMAGE_HIGH)
        return None, low if detail == "low" else high
    if kind == "image":
        return None, _ANTHROPIC_IMAGE
    if kind == "tool_use":
        return None, count_tokens(str(part.get("name", ""))) + count_tokens(compact(part.get("input")))
    if kind == "tool_result":
        return _content(model, part.get("content"), param)
    if kind in ("thinking", "redacted_thinking"):
        # Earlier thinking is dropped from the context and not billed again.
        return None, 0
    msg = f"The simulator does not know content of type '{kind}'."
    raise WireError(400, msg, code="invalid_value", param=param)


def _detail(image: object) -> object:
    return cast("dict[str, object]", image).get("detail") if isinstance(image, dict) else None


def embedding_inputs(value: object) -> list[tuple[str, int]]:
    """
    Return each input of an embedding or moderation with its tokens.

    Raises:
        WireError: *value* is no text, no list of texts and no tokens, or there are more than 2,048.
    """
    if isinstance(value, str):
        return [(value, count_tokens(value))]
    items = cast("list[object]", value) if isinstance(value, list) else []
    if not items or len(items) > 2048:
        msg = "Invalid 'input': expected a string or an array of 1 to 2048 of them."
        raise WireError(400, msg, code="invalid_type", param="input")
    if all(isinstance(item, int) for item in items):
        return [(json.dumps(items), len(items))]
    return list(_embedding_items(items))


def _embedding_items(items: Iterable[object]) -> Iterable[tuple[str, int]]:
    for item in items:
        if isinstance(item, str):
            yield item, count_tokens(item)
        elif isinstance(item, list):
            tokens = cast("list[object]", item)
            yield json.dumps(tokens), len(tokens)
        elif isinstance(item, dict):
            text, extra = _part("", cast("dict[str, Any]", item), "input")
            yield text or "", count_tokens(text or "") + extra
        else:
            msg = "Invalid 'input': expected texts or tokens."
            raise WireError(400, msg, code="invalid_type", param="input")
