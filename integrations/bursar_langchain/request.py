"""From LangChain's messages and parameters to a body that bursar can weigh: no less than what will be sent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast

from bursar.prices import provider_of_url
from bursar.wire import OPENAI_COMPLETIONS, chat_format
from bursar.wire.fields import is_mapping, text_at

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from langchain_core.messages import BaseMessage

    from bursar.wire import Endpoint

_PROVIDERS: Final = {
    "amazon_bedrock": "aws",
    "aws_bedrock": "aws",
    "bedrock": "aws",
    "azure_openai": "azure",
    "azure_ai": "azure",
    "google_genai": "google",
    "google_vertexai": "google",
    "google_anthropic_vertex": "google",
    "google": "google",
    "mistralai": "mistral",
    "xai": "x-ai",
    "fireworks": "fireworks",
}
"""What LangChain calls a provider (`ls_provider`), in the words of the price data; others are called the same."""

_URLS: Final = (
    "openai_api_base",
    "base_url",
    "anthropic_api_url",
    "azure_endpoint",
    "endpoint",
    "groq_api_base",
)
_URLS_SET: Final = frozenset(_URLS)
_NOT_SENT: Final = frozenset({"_type", "model_name", "model_kwargs", "streaming"})
_MODELS: Final = ("model", "model_name", "model_id")
_LIMITS: Final = ("max_tokens", "max_completion_tokens", "max_output_tokens", "max_tokens_to_sample")


Request = tuple["Endpoint", dict[str, Any], str]
"""What a call will send, as far as its bound depends on it: in whose format, the body, and who bills for it."""


def chat_request(
    messages: Iterable[BaseMessage],
    params: Mapping[str, Any],
    metadata: Mapping[str, Any],
    serialized: Mapping[str, Any] | None = None,
) -> Request:
    """
    Return what a chat model is about to send.

    Args:
        params: The event's `invocation_params`: tools, `n`, tiers.

        metadata: Of the event: the model and the limit as they go on the wire, which *params* may hold twice.

        serialized: Of the event: where the model's own address is.
    """
    named = metadata.get("ls_model_name")
    model = named if named and type(named) is str else _model_of(params, metadata, serialized)
    provider = _provider_of(params, metadata, serialized)
    body = _body(params, metadata, model)
    body["messages"] = [*map(_message, messages)]
    return chat_format(provider, model), body, provider


def text_request(
    prompt: str,
    params: Mapping[str, Any],
    metadata: Mapping[str, Any],
    serialized: Mapping[str, Any] | None = None,
) -> Request:
    """Return what a model that completes texts is about to send."""
    model, provider = _model_of(params, metadata, serialized), _provider_of(params, metadata, serialized)
    body = _body(params, metadata, model)
    body["prompt"] = prompt
    return OPENAI_COMPLETIONS, body, provider


def _body(params: Mapping[str, Any], metadata: Mapping[str, Any], model: str) -> dict[str, Any]:
    body = {
        key: _as_schema(value) if isinstance(value, type) else value
        for key, value in params.items()
        if key not in _NOT_SENT and value is not None
    }
    body["model"] = model
    limit = metadata.get("ls_max_tokens")
    if isinstance(limit, int):
        for key in _LIMITS:
            body.pop(key, None)
        body["max_tokens"] = limit
    elif "max_output_tokens" in body:
        body["max_tokens"] = body.pop("max_output_tokens")
    return body


def _as_schema(kind: Any) -> Any:
    """Return the JSON schema that a class is sent as, where an answer of its form is asked for."""
    schema_of: Any = getattr(kind, "model_json_schema", None) or getattr(kind, "schema", None)
    if schema_of is None:
        return kind
    return {"type": "json_schema", "json_schema": {"name": kind.__name__, "schema": _strict(schema_of())}}


def _strict(node: Any) -> Any:
    """Return a schema as the SDKs send it: every property is required, and no other is allowed."""
    if isinstance(node, list):
        return [_strict(item) for item in cast("list[Any]", node)]
    if not isinstance(node, dict):
        return node
    found = {key: _strict(value) for key, value in cast("dict[str, Any]", node).items()}
    properties: Any = found.get("properties")
    if isinstance(properties, dict):
        found |= {"required": list(cast("dict[str, Any]", properties)), "additionalProperties": False}
    return found


def class_of(serialized: Mapping[str, Any] | None) -> str:
    """Return the name of the class that an event is about, or an empty one."""
    try:
        return str((serialized or {})["id"][-1])
    except (KeyError, IndexError, TypeError):
        return ""


def _model_of(
    params: Mapping[str, Any], metadata: Mapping[str, Any], serialized: Mapping[str, Any] | None
) -> str:
    """Return the model's name; a model without any, as those of tests are, is called what its class is."""
    name = metadata.get("ls_model_name")
    if isinstance(name, str) and name:
        return name
    for key in _MODELS:
        name = params.get(key)
        if isinstance(name, str) and name:
            return name
    return class_of(serialized)


def _provider_of(
    params: Mapping[str, Any], metadata: Mapping[str, Any], serialized: Mapping[str, Any] | None
) -> str:
    """Return who bills: whoever the model's own address belongs to, else what LangChain calls the provider."""
    arguments: Any = serialized.get("kwargs") if serialized else None
    if arguments and is_mapping(arguments):
        for key in () if _URLS_SET.isdisjoint(arguments) else _URLS:
            url = text_at(arguments, key)
            if url is not None and (found := provider_of_url(url)) is not None:
                return found
    name = metadata.get("ls_provider") or params.get("_type") or ""
    return _PROVIDERS.get(name, name if isinstance(name, str) else "")


def _message(message: BaseMessage) -> dict[str, Any]:
    content: Any = message.content
    body: dict[str, Any] = {"role": message.type, "content": content}
    if not isinstance(content, str):
        body["content"] = [_block(block) for block in content]
    # What pydantic keeps the fields in: to ask for one that a message has not takes long.
    fields = vars(message)
    if calls := fields.get("tool_calls"):
        body["tool_calls"] = calls
    if (made_by := fields.get("tool_call_id")) is not None:
        body["tool_call_id"] = made_by
    if message.name:
        body["name"] = message.name
    return body


def _block(block: Any) -> Any:
    """Return a block of LangChain's own format as a provider has it; others are such already."""
    if not is_mapping(block):
        return block
    kind = block.get("type")
    data = block.get("base64") or block.get("data")
    if kind == "audio":
        return {"type": "input_audio", "input_audio": {"data": data}} if data else {"type": "input_video"}
    if kind == "video":
        return {"type": "input_video"}
    if kind == "file" and "file" not in block:
        source = (
            {"type": "base64", "media_type": block.get("mime_type"), "data": data}
            if data
            else {"type": "url"}
        )
        return {"type": "document", "source": source}
    if kind == "text-plain":
        return {"type": "text", "text": block.get("text")}
    return block
