"""From what CrewAI hands to an LLM to a body that bursar can weigh: no less than will be sent."""

# CrewAI's own types differ from version to version.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from pydantic import BaseModel

from bursar.attributes import attribute, attributes
from bursar.prices import provider_of_url
from bursar.wire import chat_format
from bursar.wire.fields import is_array, is_mapping

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bursar.wire import Endpoint

_NAMES: Final = (
    "messages",
    "tools",
    "callbacks",
    "available_functions",
    "from_task",
    "from_agent",
    "response_model",
)
"""What `BaseLLM.call` takes, in order."""

_PROVIDERS: Final = {
    "gemini": "google",
    "google": "google",
    "vertex_ai": "google",
    "bedrock": "aws",
    "aws": "aws",
    "azure_openai": "azure",
    "xai": "x-ai",
}
_LIMITS: Final = ("max_completion_tokens", "max_tokens", "max_output_tokens")
_TEXT: Final = {str}
_URLS: Final = ("base_url", "api_base", "endpoint")
_SAID: Final = frozenset({"provider", *_URLS})
"""What says who bills for an LLM's calls."""
_ASKED: Final = frozenset({"n", "stream", "reasoning_effort", "response_format", *_LIMITS, *_SAID})


class Request(NamedTuple):
    """What a call will send, as far as its bound depends on it."""

    endpoint: Endpoint
    body: dict[str, Any]
    provider: str


def named_arguments(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Return what an LLM's `call` was called with, each by its name."""
    return {**dict(zip(_NAMES, args, strict=False)), **kwargs}


def request_of(llm: Any, arguments: Mapping[str, Any]) -> Request:
    """Return what *llm* is about to send."""
    found = attributes(llm, _ASKED)
    provider = _provider_of(llm, found)
    body: dict[str, Any] = {"model": str(llm.model)}
    for name in _LIMITS:
        limit = found.get(name)
        if limit is not None and isinstance(limit, int | float) and limit > 0:
            body["max_tokens"] = int(limit)
            break
    if isinstance(choices := found.get("n"), int):
        body["n"] = choices
    if found.get("stream"):
        body["stream"] = True
    if isinstance(effort := found.get("reasoning_effort"), str):
        body["reasoning_effort"] = effort
    if tools := arguments.get("tools"):
        body["tools"] = _plain(tools)
    wanted = arguments.get("response_model") or found.get("response_format")
    if isinstance(wanted, type) and issubclass(wanted, BaseModel):
        schema = wanted.model_json_schema()
        body["response_format"] = {
            "type": "json_schema",
            "json_schema": {"name": wanted.__name__, "schema": schema},
        }
    messages: Any = arguments.get("messages") or ()
    if isinstance(messages, str):
        messages = [{"role": "user", "content": messages}]
    body["messages"] = [_message(message) for message in messages]
    return Request(chat_format(provider, body["model"]), body, provider)


def limit_fields(llm: Any) -> list[str]:
    """Return the fields of *llm* that hold an output limit, those that are set first."""
    there = [name for name in _LIMITS if name in type(llm).model_fields]
    return [name for name in there if attribute(llm, name)] or there[-1:]


def provider_of(llm: Any) -> str:
    """Return who bills for what *llm* sends: whoever its address belongs to, else what CrewAI says."""
    return _provider_of(llm, attributes(llm, _SAID))


def _provider_of(llm: Any, about: Mapping[str, Any]) -> str:
    for place in _URLS:
        url = about.get(place)
        if isinstance(url, str) and url and (found := provider_of_url(url)) is not None:
            return found
    name = about.get("provider")
    if not isinstance(name, str) or type(llm).__module__.partition(".")[0] != "crewai":
        # Of a class of the user's own, CrewAI's default says nothing.
        return ""
    return _PROVIDERS.get(name, name)


def _message(message: Any) -> dict[str, Any]:
    if type(message) is dict and set(map(type, message.values())) == _TEXT:
        # Nearly always.
        return message
    plain = _plain(message)
    if not is_mapping(plain):
        return {"role": "user", "content": str(plain)}
    return {
        name: value for name, value in plain.items() if value is not None and name != "raw_tool_call_parts"
    }


def _plain(value: Any) -> Any:
    """Return *value* as JSON has it; of anything else, what it says when it is written down."""
    if value is None or isinstance(value, str | int | float):
        return value
    if is_mapping(value):
        return {str(key): _plain(item) for key, item in value.items()}
    if is_array(value):
        return [_plain(item) for item in value]
    dump = getattr(value, "model_dump", None)
    return _plain(dump()) if callable(dump) and not isinstance(value, type) else str(value)
