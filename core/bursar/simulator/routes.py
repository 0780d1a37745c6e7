"""Which path is which call, in whose dialect."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal
from urllib.parse import unquote

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bursar.simulator.errors import Dialect
    from bursar.simulator.script import Endpoint

_AZURE: Final = re.compile(r"/openai/(?:deployments/(?P<deployment>[^/]+)/|v1/)?(?P<call>.+)")
_GOOGLE: Final = re.compile(
    r"/v1(?:beta1?|alpha)?/(?:projects/[^/]+/locations/[^/]+/)?(?:publishers/google/)?models/"
    r"(?P<model>[^/:]+):(?P<verb>\w+)"
)
_AWS: Final = re.compile(
    r"/model/(?P<model>[^/]+)/(?P<verb>converse|invoke)(?P<stream>-stream|-with-response-stream)?"
)
_MISTRAL: Final = "/mistral/v1/"
"""Mistral speaks OpenAI's format on the same paths: it has an address of its own here."""

_COHERE: Final = re.compile(r"/(?P<version>v[12])/(?P<call>chat|embed)")
_COHERE_CALLS: Final[Mapping[tuple[str, str], Endpoint]] = {
    ("v1", "chat"): "chat_v1",
    ("v2", "chat"): "chat",
    ("v1", "embed"): "embeddings",
    ("v2", "embed"): "embeddings",
}
_GOOGLE_CALLS: Final[Mapping[str, Endpoint]] = {
    "generateContent": "generate",
    "streamGenerateContent": "generate",
    "embedContent": "embeddings",
    "batchEmbedContents": "embeddings",
    "countTokens": "count_tokens",
}

_OPENAI_CALLS: Final[Mapping[str, Endpoint]] = {
    "chat/completions": "chat",
    "completions": "completions",
    "fim/completions": "completions",
    "images/generations": "images",
    "images/edits": "image_edits",
    "images/variations": "image_variations",
    "audio/speech": "speech",
    "audio/transcriptions": "transcriptions",
    "audio/translations": "translations",
    "videos": "videos",
    "decisions": "decisions",
    "responses": "responses",
    "responses/input_tokens": "count_tokens",
    "embeddings": "embeddings",
    "moderations": "moderations",
}
_ANTHROPIC_CALLS: Final[Mapping[str, Endpoint]] = {
    "messages": "messages",
    "messages/count_tokens": "count_tokens",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """
    Where a request goes.

    Attributes:
        provider: Whose prices it is billed at, as genai-prices names them.

        deployment: The model, or Azure's name for it, from the path.

        item: The model that is asked about, of `/models/{item}`.

        is_stream: Whether the path itself asks for a stream.
    """

    endpoint: Endpoint
    dialect: Dialect
    provider: Literal["openai", "azure", "anthropic", "google", "aws", "cohere", "mistral"]
    deployment: str | None = None
    item: str | None = None
    is_stream: bool = False


def find_route(method: str, path: str, *, speaks_anthropic: bool) -> Route:
    """Return the route of *path*; the endpoint is `"unknown"` where there is none."""
    if azure := _AZURE.fullmatch(path):
        deployment = azure["deployment"]
        endpoint, item = _find(method, azure["call"], _OPENAI_CALLS)
        return Route(
            endpoint=endpoint,
            dialect="openai",
            provider="azure",
            deployment=unquote(deployment) if deployment else None,
            item=item,
        )
    if google := _GOOGLE.fullmatch(path):
        verb = google["verb"]
        return Route(
            endpoint=_GOOGLE_CALLS.get(verb, "unknown") if method == "POST" else "unknown",
            dialect="google",
            provider="google",
            deployment=unquote(google["model"]),
            is_stream=verb == "streamGenerateContent",
        )
    if (aws := _AWS.fullmatch(path)) and method == "POST":
        return Route(
            endpoint="converse" if aws["verb"] == "converse" else "invoke",
            dialect="aws",
            provider="aws",
            deployment=unquote(aws["model"]),
            is_stream=aws["stream"] is not None,
        )
    if (cohere := _COHERE.fullmatch(path)) and method == "POST":
        return Route(
            endpoint=_COHERE_CALLS[cohere["version"], cohere["call"]], dialect="cohere", provider="cohere"
        )
    is_mistral = path.startswith(_MISTRAL)
    call = path.removeprefix(_MISTRAL if is_mistral else "/v1/")
    if call in _ANTHROPIC_CALLS or call.startswith("messages/") or speaks_anthropic:
        endpoint, item = _find(method, call, _ANTHROPIC_CALLS)
        return Route(endpoint=endpoint, dialect="anthropic", provider="anthropic", item=item)
    endpoint, item = _find(method, call, _OPENAI_CALLS)
    return Route(
        endpoint=endpoint, dialect="openai", provider="mistral" if is_mistral else "openai", item=item
    )


_BATCHES: Final = re.compile(r"(?:messages/)?batches(?:/[^/]+(?:/results)?)?|files(?:/[^/]+/content)?")


def _find(method: str, call: str, calls: Mapping[str, Endpoint]) -> tuple[Endpoint, str | None]:
    if _BATCHES.fullmatch(call):
        return "batches", None
    if method == "POST":
        return calls.get(call, "unknown"), None
    if method == "GET" and (call == "models" or call.startswith("models/")):
        return "models", unquote(call.removeprefix("models").removeprefix("/")) or None
    return "unknown", None
