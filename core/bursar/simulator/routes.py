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

_OPENAI_CALLS: Final[Mapping[str, Endpoint]] = {
    "chat/completions": "chat",
    "completions": "completions",
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

        deployment: Azure's name for the model, from the path.

        item: The model that is asked about, of `/models/{item}`.
    """

    endpoint: Endpoint
    dialect: Dialect
    provider: Literal["openai", "azure", "anthropic"]
    deployment: str | None = None
    item: str | None = None


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
    call = path.removeprefix("/v1/")
    if call in _ANTHROPIC_CALLS or call.startswith("messages/") or speaks_anthropic:
        endpoint, item = _find(method, call, _ANTHROPIC_CALLS)
        return Route(endpoint=endpoint, dialect="anthropic", provider="anthropic", item=item)
    endpoint, item = _find(method, call, _OPENAI_CALLS)
    return Route(endpoint=endpoint, dialect="openai", provider="openai", item=item)


_BATCHES: Final = re.compile(r"(?:messages/)?batches(?:/[^/]+(?:/results)?)?|files(?:/[^/]+/content)?")


def _find(method: str, call: str, calls: Mapping[str, Endpoint]) -> tuple[Endpoint, str | None]:
    if _BATCHES.fullmatch(call):
        return "batches", None
    if method == "POST":
        return calls.get(call, "unknown"), None
    if method == "GET" and (call == "models" or call.startswith("models/")):
        return "models", unquote(call.removeprefix("models").removeprefix("/")) or None
    return "unknown", None
