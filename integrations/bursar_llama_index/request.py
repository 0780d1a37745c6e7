"""From LlamaIndex's messages and a model's own settings to a body that bursar can weigh: no less than will be sent."""

# What a model sends is asked of methods that each class of models has for itself.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from llama_index.core.llms import ChatMessage, MockLLM

from bursar.attributes import attribute, attributes
from bursar.prices import find_price, free, provider_of_url
from bursar.tuples import make
from bursar.wire import OPENAI_COMPLETIONS, OPENAI_EMBEDDINGS, OPENAI_RESPONSES, chat_format
from bursar.wire.fields import is_array, is_mapping

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bursar.wire import Endpoint

_PACKAGES: Final = {
    "openai_like": "openai",
    "azure_openai": "azure",
    "azure_inference": "azure",
    "bedrock": "aws",
    "bedrock_converse": "aws",
    "sagemaker_endpoint": "aws",
    "gemini": "google",
    "google_genai": "google",
    "vertex": "google",
    "mistralai": "mistral",
    "xai": "x-ai",
    "together": "together",
    "anthropic_vertex": "google",
}
"""Who bills, by the last part of `llama_index.llms.…`; of others it is that part itself."""

_URLS: Final = ("azure_endpoint", "api_base", "base_url", "endpoint")
_NAMES: Final = ("model", "model_name", "model_id")
_URLS_SET: Final = frozenset(_URLS)
_NAMES_SET: Final = frozenset(_NAMES)
_ASKED: Final = frozenset(
    {"_get_model_kwargs", "_get_all_kwargs", "max_tokens", "additional_kwargs", *_NAMES, *_URLS}
)
"""What a model has of these says what it will send, and to whom."""
_MOCK: Final = "mock"
_NOT_SENT: Final = frozenset({"formatted", "use_chat_completions"})


class Request(NamedTuple):
    """What a call will send, as far as its bound depends on it."""

    endpoint: Endpoint
    body: dict[str, Any]
    provider: str


def request_of(model: Any, prompt: object, arguments: Mapping[str, Any], *, stream: bool) -> Request:
    """
    Return what *model* is about to send.

    Args:
        prompt: A text, or messages.

        arguments: What the method was called with by name.
    """
    kind = _class_of(model)
    about = attributes(model, _ASKED, kind=kind)
    make_body = about.get("_get_model_kwargs")
    given = {key: value for key, value in arguments.items() if key not in _NOT_SENT} if arguments else {}
    if callable(asks := about.get("_get_all_kwargs") if make_body is None else make_body):
        # The model's class itself makes of its settings and of these what goes with the messages.
        more = {"stream": True} if stream and make_body is not None else {}
        made: Any = asks(**given, **more)
        body: dict[str, Any] = {key: value for key, value in made.items() if value is not None}
    else:
        limit, extra = about.get("max_tokens"), about.get("additional_kwargs")
        body = {"max_tokens": limit} if isinstance(limit, int) else {}
        if given:
            body |= _plain(given)
        if extra and is_mapping(extra):
            body |= _plain(extra)
    named = body.get("model")
    body["model"] = name = named if named and isinstance(named, str) else _named(model, about)
    provider = _provider(kind, name, about)
    if stream:
        body["stream"] = True
    if isinstance(prompt, str):
        if make_body is not None and not model.metadata.is_chat_model:
            body["prompt"] = prompt
            return Request(OPENAI_COMPLETIONS, body, provider)
        messages: list[Any] = [{"role": "user", "content": prompt}]
    else:
        given_messages: Any = (prompt,) if isinstance(prompt, ChatMessage) else prompt
        messages = list(map(_message, given_messages))
    if "OpenAIResponses" in _bases(kind):
        body["input"] = messages
        return Request(OPENAI_RESPONSES, body, provider)
    body["messages"] = messages
    return make(Request, (chat_format(provider, name), body, provider))


def embedding_request(model: Any, texts: Sequence[str]) -> Request:
    """Return what an embedding *model* is about to send."""
    engine = setting(model, "_text_engine")
    name = model_name(model)
    body = {"model": engine if isinstance(engine, str) else name, "input": list(texts)}
    return Request(OPENAI_EMBEDDINGS, body, provider_of(model, name))


def setting(model: Any, name: str) -> Any:
    """Return the attribute of *model* that is called *name*, or None."""
    return attribute(model, name, kind=_class_of(model))


def model_name(model: Any) -> str:
    """Return the name that *model* is asked for by, as its settings say."""
    return _named(model, attributes(model, _NAMES_SET, kind=_class_of(model)))


def _named(model: Any, about: Mapping[str, Any]) -> str:
    named: list[Any] = []
    if not _NAMES_SET.isdisjoint(about):
        named += [about[place] for place in _NAMES if isinstance(about.get(place), str) and about[place]]
    # A stand-in's metadata say that its name is unknown, and are made anew whenever they are asked for.
    if not named and getattr(type(model), "metadata", None) is not MockLLM.metadata:
        named.append(getattr(getattr(model, "metadata", None), "model_name", None))
    is_told = named and isinstance(named[0], str) and named[0] not in {"", "unknown"}
    return named[0] if is_told else type(model).__name__


def provider_of(model: Any, name: str) -> str:
    """Return who bills for what *model* of that *name* sends: whoever its address belongs to, or its class is for."""
    kind = _class_of(model)
    return _provider(kind, name, attributes(model, _URLS_SET, kind=kind))


def _provider(kind: type, name: str, about: Mapping[str, Any]) -> str:
    for place in () if _URLS_SET.isdisjoint(about) else _URLS:
        url = about.get(place)
        if isinstance(url, str) and url and (found := provider_of_url(url)) is not None:
            return found
    found = _provider_of_class(kind)
    # A test that gives a stand-in the name of a model wants it priced as that.
    return "" if found == _MOCK and name != kind.__name__ else found


def _class_of(model: Any) -> type:
    """Return the user's own class of *model*: that of a guarded one goes when the model does."""
    kind: type = type(model)
    # To ask a class of pydantic's for what it has not takes longer than to look.
    return model.bursar_plain if "bursar_plain" in vars(kind) else kind


@lru_cache(maxsize=1024)
def _provider_of_class(model_class: type) -> str:
    for base in model_class.__mro__:
        package, _, rest = base.__module__.removeprefix("llama_index.").partition(".")
        if base.__name__ in {"MockLLM", "MockEmbedding"} and package == "core":
            _free_of_charge(model_class.__name__)
            return _MOCK
        if package in {"llms", "embeddings", "multi_modal_llms"} and rest:
            name = rest.partition(".")[0]
            return _PACKAGES.get(name, name)
    return ""


def _free_of_charge(name: str) -> None:
    """Declare that LlamaIndex's own stand-ins for a model cost nothing."""
    if find_price(_MOCK, name) is None:
        free(name, provider=_MOCK)


@lru_cache(maxsize=1024)
def _bases(model_class: type) -> frozenset[str]:
    return frozenset(base.__name__ for base in model_class.__mro__)


def is_a(model: object, *names: str) -> bool:
    """Whether a class of one of these *names* is among those of *model*."""
    return not _bases(_class_of(model)).isdisjoint(names)


def _message(message: Any) -> dict[str, Any]:
    if not isinstance(message, ChatMessage):
        return {"role": "user", "content": str(message)}
    # A role is a text itself, and quicker than the value of what is an Enum besides.
    body: dict[str, Any] = {"role": str.__str__(message.role)}
    blocks = message.blocks
    if len(blocks) == 1 and blocks[0].block_type == "text":
        body["content"] = blocks[0].text
    else:
        body["content"] = [part for block in blocks for part in _parts(block)]
    if message.additional_kwargs:
        body.update(_plain(message.additional_kwargs))
    return body


def _parts(block: Any) -> list[dict[str, Any]]:
    part = _PARTS.get(getattr(block, "block_type", ""))
    if part is not None:
        return part(block)
    # A kind that came after this was written: all that it says.
    return [{"type": "text", "text": block.model_dump_json()}]


def _text_part(block: Any) -> list[dict[str, Any]]:
    return [{"type": "text", "text": block.text}]


def _image_part(block: Any) -> list[dict[str, Any]]:
    return [{"type": "image_url", "image_url": {"detail": block.detail or "auto"}}]


def _audio_part(block: Any) -> list[dict[str, Any]]:
    data = block.audio
    if not isinstance(data, bytes):
        return _video_part(block)
    return [{"type": "input_audio", "input_audio": {"data": data.decode("ascii", "replace")}}]


def _video_part(_: Any) -> list[dict[str, Any]]:
    return [{"type": "input_video"}]


def _document_part(block: Any) -> list[dict[str, Any]]:
    source: dict[str, Any] = {"type": "url"}
    if isinstance(block.data, bytes):
        data = block.data.decode("ascii", "replace")
        source = {"type": "base64", "media_type": block.document_mimetype, "data": data}
    return [{"type": "document", "source": source}]


def _cache_part(_: Any) -> list[dict[str, Any]]:
    return []


def _citable_part(block: Any) -> list[dict[str, Any]]:
    return [part for inner in block.content for part in _parts(inner)]


def _call_part(block: Any) -> list[dict[str, Any]]:
    said = block.tool_kwargs if isinstance(block.tool_kwargs, str) else _plain(block.tool_kwargs)
    return [{"type": "tool_use", "name": block.tool_name, "id": block.tool_call_id, "input": said}]


def _thinking_part(block: Any) -> list[dict[str, Any]]:
    return [{"type": "thinking", "thinking": block.content or "", **_plain(block.additional_information)}]


_PARTS: Final = {
    "text": _text_part,
    "image": _image_part,
    "audio": _audio_part,
    "video": _video_part,
    "document": _document_part,
    "cache": _cache_part,
    "citable": _citable_part,
    "tool_call": _call_part,
    "thinking": _thinking_part,
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
