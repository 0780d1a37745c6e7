"""A graceful answer is one that the client libraries themselves take for real."""

from __future__ import annotations

import importlib
import json
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from bursar.usage import Usage
from bursar.wire import ANTHROPIC_MESSAGES, ENDPOINTS, OPENAI_CHAT, OPENAI_EMBEDDINGS, OPENAI_RESPONSES

if TYPE_CHECKING:
    from types import ModuleType

    from anthropic import Anthropic
    from openai import OpenAI

    from bursar.wire import Endpoint

_TEXT = "The budget of this run is spent: “enough” 🎉"
_MESSAGES: list[Any] = [{"role": "user", "content": "hello"}]


def openai_client(endpoint: Endpoint) -> OpenAI:
    """Return an OpenAI client that *endpoint* answers."""
    sdk = pytest.importorskip("openai")
    client: OpenAI = sdk.OpenAI(api_key="none", http_client=http_client(sdk, endpoint), max_retries=0)
    return client


def anthropic_client() -> Anthropic:
    """Return an Anthropic client that is answered gracefully."""
    sdk = pytest.importorskip("anthropic")
    http = http_client(sdk, ANTHROPIC_MESSAGES)
    client: Anthropic = sdk.Anthropic(api_key="none", http_client=http, max_retries=0)
    return client


def http_client(sdk: ModuleType, endpoint: Endpoint) -> object:
    """Return an HTTP client of *sdk*'s own kind on which *endpoint* answers every request."""
    base: type[object] = sdk.DefaultHttpxClient
    # Newer libraries speak through httpx2, older ones through httpx.
    httpx: Any = importlib.import_module(base.__mro__[1].__module__.partition(".")[0])

    def answer(request: _Request) -> object:
        body = json.loads(request.content)
        if not body.get("stream"):
            return httpx.Response(200, json=endpoint.stop_response(body, _TEXT))
        content = endpoint.encode_events(endpoint.stop_events(body, _TEXT) or ())
        return httpx.Response(200, headers={"content-type": "text/event-stream"}, content=content)

    made: object = sdk.DefaultHttpxClient(transport=httpx.MockTransport(answer))
    return made


class _Request(Protocol):
    content: bytes


def test_chat_completion_is_valid() -> None:
    """The chat completion passes the library's own model, with one answer for each choice asked for."""
    types: Any = pytest.importorskip("openai.types.chat")
    made = types.ChatCompletion.model_validate(OPENAI_CHAT.stop_response({"model": "gpt-4o", "n": 2}, _TEXT))

    assert [_TEXT, _TEXT] == [choice.message.content for choice in made.choices]
    assert ["stop", "stop"] == [choice.finish_reason for choice in made.choices]
    assert ("gpt-4o", 0) == (made.model, made.usage.total_tokens)


def test_chat_chunks_are_valid() -> None:
    """Every chunk passes the library's own model, and usage comes only where it was asked for."""
    types: Any = pytest.importorskip("openai.types.chat")
    plain = OPENAI_CHAT.stop_events({"model": "gpt-4o"}, _TEXT)
    asked = OPENAI_CHAT.stop_events({"model": "gpt-4o", "stream_options": {"include_usage": True}}, _TEXT)
    assert plain is not None
    assert asked is not None
    chunks = [types.ChatCompletionChunk.model_validate(event) for event in (*plain, *asked)]

    assert [None] * 4 + [0] == [chunk.usage and chunk.usage.total_tokens for chunk in chunks]


def test_response_and_its_events_are_valid() -> None:
    """The response and every event of its stream pass the library's own models."""
    pydantic: Any = pytest.importorskip("pydantic")
    types: Any = pytest.importorskip("openai.types.responses")
    made = types.Response.model_validate(OPENAI_RESPONSES.stop_response({"model": "gpt-5"}, _TEXT))
    adapter = pydantic.TypeAdapter(types.ResponseStreamEvent)
    events = [
        adapter.validate_python(event)
        for event in OPENAI_RESPONSES.stop_events({"model": "gpt-5"}, _TEXT) or ()
    ]

    assert (_TEXT, "completed", 0) == (made.output_text, made.status, made.usage.total_tokens)
    assert list(range(9)) == [event.sequence_number for event in events]
    assert _TEXT == events[-1].response.output_text


def test_message_and_its_events_are_valid() -> None:
    """The message and every event of its stream pass the library's own models."""
    pydantic: Any = pytest.importorskip("pydantic")
    types: Any = pytest.importorskip("anthropic.types")
    made = types.Message.model_validate(
        ANTHROPIC_MESSAGES.stop_response({"model": "claude-sonnet-4-5"}, _TEXT)
    )
    adapter = pydantic.TypeAdapter(types.RawMessageStreamEvent)
    events = ANTHROPIC_MESSAGES.stop_events({"model": "claude-sonnet-4-5"}, _TEXT) or ()

    assert (_TEXT, "end_turn", 0) == (made.content[0].text, made.stop_reason, made.usage.output_tokens)
    assert "message_stop" == [adapter.validate_python(event).type for event in events][-1]


def test_openai_client_takes_them() -> None:
    """OpenAI's client returns the chat completion, the response and both streams as it returns real ones."""
    with openai_client(OPENAI_CHAT) as client:
        completion = client.chat.completions.create(model="gpt-4o", messages=_MESSAGES)
        with client.chat.completions.create(model="gpt-4o", messages=_MESSAGES, stream=True) as stream:
            chunks = [chunk.choices[0].delta.content or "" for chunk in stream]
        with client.chat.completions.stream(model="gpt-4o", messages=_MESSAGES) as stream:
            final = stream.get_final_completion()
    with openai_client(OPENAI_RESPONSES) as client:
        response = client.responses.create(model="gpt-5", input="hello")
        with client.responses.stream(model="gpt-5", input="hello") as stream:
            last = stream.get_final_response()

    assert [_TEXT] * 5 == [
        completion.choices[0].message.content,
        "".join(chunks),
        final.choices[0].message.content,
        response.output_text,
        last.output_text,
    ]


def test_anthropic_client_takes_them() -> None:
    """Anthropic's client returns the message and its streams, stable and beta, as it returns real ones."""
    with anthropic_client() as client:
        message = client.messages.create(model="m", max_tokens=10, messages=_MESSAGES)
        with client.messages.stream(model="m", max_tokens=10, messages=_MESSAGES) as stream:
            final = stream.get_final_message()
        beta = client.beta.messages.create(model="m", max_tokens=10, messages=_MESSAGES)
    contents: list[Any] = [message.content[0], final.content[0], beta.content[0]]

    assert [_TEXT] * 3 == [content.text for content in contents]
    assert ("end_turn", 0) == (final.stop_reason, final.usage.output_tokens)


_GRACEFUL = (
    "anthropic.messages",
    "aws.converse",
    "aws.converse_stream",
    "aws.invoke",
    "aws.invoke_stream",
    "cohere.chat",
    "cohere.chat_v1",
    "google.generate_content",
    "google.stream_generate_content",
    "ollama.chat",
    "openai.chat",
    "openai.completions",
    "mistral.fim",
    "openai.responses",
)
"""What answers in words: vectors, pictures and sounds cannot say why there is no answer."""


@pytest.mark.parametrize("name", _GRACEFUL)
def test_a_graceful_answer_used_nothing(name: str) -> None:
    """What is read back from a graceful answer, streamed or not, is finished and used nothing."""
    body: dict[str, Any] = {"model": "m", "stream_options": {"include_usage": True}}
    # Behind Bedrock's invoke, the vendor is known by its body.
    body |= {"messages": _MESSAGES} if name.startswith("aws.invoke") else {}
    endpoint = ENDPOINTS[name]
    events = endpoint.stop_events(body, _TEXT)
    assert events is not None
    receipts = [
        endpoint.read_response(endpoint.stop_response(body, _TEXT) or {}),
        endpoint.read_events(events),
    ]

    # Amazon's and Cohere's answers do not name their model.
    model = None if name.startswith(("aws.", "cohere.")) else "m"
    assert [(Usage(), True, model)] * 2 == [(one.usage, one.finished, one.model) for one in receipts]
    assert _TEXT == endpoint.output_seen(events)


@pytest.mark.parametrize(
    "name",
    ["openai.responses_compact", "google.embed_content", "cohere.embed", "cohere.rerank", "ollama.embed"],
)
def test_what_is_not_text_has_no_graceful_answer(name: str) -> None:
    """A made-up vector, order or summary would be worse than an error."""
    assert ENDPOINTS[name].stop_response({"model": "m"}, _TEXT) is None
    assert ENDPOINTS[name].stop_events({"model": "m"}, _TEXT) is None


def test_embeddings_have_no_graceful_answer() -> None:
    """A made-up vector would be worse than an error."""
    body = {"model": "text-embedding-3-small", "input": "x"}

    assert OPENAI_EMBEDDINGS.stop_response(body, _TEXT) is None
    assert OPENAI_EMBEDDINGS.stop_events(body, _TEXT) is None


@pytest.mark.parametrize("name", sorted(set(ENDPOINTS).difference(_GRACEFUL)))
def test_what_answers_in_no_words_has_no_graceful_answer(name: str) -> None:
    """A made-up picture, sound or vector would be worse than an exception."""
    assert ENDPOINTS[name].stop_response({"model": "m"}, _TEXT) is None
    assert ENDPOINTS[name].stop_events({"model": "m"}, _TEXT) is None
