"""From AutoGen's messages and tools to a body that bursar can weigh: no less than what will be sent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast
from weakref import WeakKeyDictionary

from autogen_core import Image
from autogen_core.models import AssistantMessage, FunctionExecutionResultMessage, SystemMessage, UserMessage
from pydantic import BaseModel

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from autogen_core.models import LLMMessage, ModelInfo
    from autogen_core.tools import Tool, ToolSchema

    from bursar_autogen.inner import Inner

_KINDS: Final[dict[Any, str]] = {"json_schema": "structured_output", "json_object": "json_output"}
_IMAGE: Final = {"type": "image_url"}
_schemas: Final[WeakKeyDictionary[object, Any]] = WeakKeyDictionary()


def body_of(
    inner: Inner,
    model: str,
    messages: Sequence[LLMMessage],
    *,
    tools: Sequence[Tool | ToolSchema],
    tool_choice: Any,
    json_output: bool | type[BaseModel] | None,
    extra: Mapping[str, Any],
    stream: bool,
) -> dict[str, Any]:
    """
    Return what a call is about to send.

    Args:
        extra: The call's own `extra_create_args`.
    """
    body = inner.arguments(extra)
    prefixed = inner.writes_names_into_texts
    body["model"] = model
    body["messages"] = [part for message in messages for part in _parts(message, prefixed=prefixed)]
    if stream:
        body["stream"] = True
    if tools:
        body["tools"] = [{"type": "function", "function": _schema_of(tool)} for tool in tools]
        if tool_choice != "auto":
            body["tool_choice"] = (
                "required" if isinstance(tool_choice, str) else _schema_of(tool_choice)["name"]
            )
    elif (last := inner.tools_sent_anyway()) and any(
        isinstance(message, FunctionExecutionResultMessage) for message in messages
    ):
        body["tools"] = last
    wanted = body.get("response_format") if json_output is None else json_output
    if isinstance(wanted, type) and issubclass(wanted, BaseModel):
        schema = _remembered(wanted, wanted.model_json_schema)
        body["response_format"] = {
            "type": "json_schema",
            "json_schema": {"name": wanted.__name__, "schema": schema},
        }
    elif wanted is True:
        body["response_format"] = {"type": "json_object"}
    return body


def can_do(
    info: ModelInfo,
    messages: Sequence[LLMMessage],
    tools: Sequence[Any],
    json_output: bool | type[BaseModel] | None,
    extra: Mapping[str, Any],
) -> bool:
    """Whether a model of which AutoGen says *info* can do all that a call needs."""
    wanted: Any = extra.get("response_format") if json_output is None else json_output
    if tools and not info.get("function_calling"):
        return False
    if isinstance(wanted, type) and not info.get("structured_output"):
        return False
    kind = _KINDS.get(wanted["type"]) if isinstance(wanted, dict) else None
    if kind is not None and not info.get(kind):
        return False
    if wanted is True and not info.get("json_output"):
        return False
    if not info.get("vision") and any(_has_image(message) for message in messages):
        return False
    return bool(info.get("multiple_system_messages")) or not _has_scattered_system(messages)


def _has_image(message: LLMMessage) -> bool:
    content = message.content
    return isinstance(content, list) and any(isinstance(part, Image) for part in content)


def _has_scattered_system(messages: Sequence[LLMMessage]) -> bool:
    """Whether there are system messages with others between them, which not every client can merge."""
    places = [index for index, message in enumerate(messages) if isinstance(message, SystemMessage)]
    return bool(places) and places[-1] - places[0] >= len(places)


def _parts(message: LLMMessage, *, prefixed: bool) -> list[dict[str, Any]]:
    if isinstance(message, UserMessage):
        content: Any = message.content
        if not isinstance(content, str):
            content = [
                {"type": "text", "text": part} if isinstance(part, str) else _IMAGE for part in content
            ]
        part = {"role": "user", "content": content, "name": message.source}
        return [part, {"content": f"{message.source} said:\n"}] if prefixed else [part]
    if isinstance(message, SystemMessage):
        return [{"role": "system", "content": message.content}]
    if isinstance(message, AssistantMessage):
        return [_answer(message)]
    return [
        {"role": "tool", "content": result.content, "tool_call_id": result.call_id, "name": result.name}
        for result in message.content
    ]


def _answer(message: AssistantMessage) -> dict[str, Any]:
    content = message.content
    part: dict[str, Any] = {"role": "assistant", "content": message.thought or "", "name": message.source}
    if isinstance(content, str):
        # The thought of an answer in words is sent back by some clients.
        part["content"] = content + (message.thought or "")
        return part
    part["tool_calls"] = [
        {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
        for call in content
    ]
    return part


def _schema_of(tool: Any) -> Any:
    is_schema = isinstance(cast("object", tool), dict)
    return tool if is_schema else _remembered(tool, lambda: tool.schema)


def _remembered(what: object, make: Any) -> Any:
    """Return a schema that was made before, as making one costs more than all the rest of a call."""
    try:
        known = _schemas.get(what)
        if known is None:
            known = _schemas[what] = make()
    except TypeError:
        # It cannot be remembered by.
        return make()
    return known
