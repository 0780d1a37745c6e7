"""Which endpoint a request goes to, what it is called, and whether it costs money."""

from __future__ import annotations

import re
from functools import cache, lru_cache
from typing import Final

from bursar.wire.anthropic_messages import AnthropicMessages
from bursar.wire.endpoint import Endpoint, Free, Unmetered
from bursar.wire.openai_chat import OpenAIChat
from bursar.wire.openai_embeddings import OpenAIEmbeddings
from bursar.wire.openai_responses import OpenAIResponses

OPENAI_CHAT: Final = OpenAIChat()
OPENAI_RESPONSES: Final = OpenAIResponses()
OPENAI_EMBEDDINGS: Final = OpenAIEmbeddings()
ANTHROPIC_MESSAGES: Final = AnthropicMessages()

ENDPOINTS: Final[dict[str, Endpoint]] = {
    endpoint.name: endpoint
    for endpoint in (OPENAI_CHAT, OPENAI_RESPONSES, OPENAI_EMBEDDINGS, ANTHROPIC_MESSAGES)
}
"""Every endpoint that is metered, by name."""

_Answer = Endpoint | Free | Unmetered

_ID: Final = r"[^/]+"

# A path counts from its end, as every host and gateway has prefixes of its own; the first line that matches holds.
# Anthropic's messages keep their version, as OpenAI's threads have messages too.
_METERED: Final[tuple[tuple[str, Endpoint], ...]] = (
    (r"chat/completions", OPENAI_CHAT),
    (r"responses", OPENAI_RESPONSES),
    (r"embeddings", OPENAI_EMBEDDINGS),
    (r"v1/messages", ANTHROPIC_MESSAGES),
)
# Free by the providers' price pages: what counts, checks, stops or only keeps.
_FREE_POSTS: Final = (
    r"moderations",
    r"messages/count_tokens",
    r"responses/input_tokens",
    rf"responses/{_ID}/cancel",
    rf"chat/completions/{_ID}",
    r"files",
    r"uploads",
    rf"uploads/{_ID}/(parts|complete|cancel)",
    r"conversations",
    rf"conversations/{_ID}",
    rf"conversations/{_ID}/items",
    r"assistants",
    rf"assistants/{_ID}",
    r"threads",
    rf"threads/(?!runs$){_ID}",
    rf"threads/{_ID}/messages",
    rf"threads/{_ID}/messages/{_ID}",
    rf"threads/{_ID}/runs/{_ID}/cancel",
    rf"batches/{_ID}/cancel",
    rf"fine_tuning/jobs/{_ID}/(cancel|pause)",
    rf"evals/{_ID}/runs/{_ID}/cancel",
)
_UNMETERED: Final = (
    (r"completions", "legacy text completions are not metered yet"),
    (r"responses/compact", "compaction is not metered yet"),
    (r"images/.*", "images are not metered yet"),
    (r"audio/.*", "audio is not metered yet"),
    (r"videos(/.*)?", "videos are not metered yet"),
    (r"(realtime|live)(/.*)?", "realtime connections are not metered yet"),
    (r"batches", "batches are not metered yet"),
    (r"fine_tuning/.*", "training is not metered yet"),
    (r"vector_stores(/.*)?", "vector stores are billed by the day and not metered yet"),
    (r"containers(/.*)?", "containers are not metered yet"),
    (r"threads/.*", "runs of assistants are not metered yet"),
    (r"evals(/.*)?", "evals are not metered yet"),
    (r"(agents|sessions|deployments|dreams|environments)(/.*)?", "hosted agents are not metered yet"),
    (r".*/(invoke|converse|invoke-with-response-stream|converse-stream)", "Bedrock is not metered yet"),
    (
        r".*:(streamGenerateContent|generateContent|rawPredict|streamRawPredict|predict)",
        "Vertex is not metered yet",
    ),
    (r"complete", "legacy text completions are not metered yet"),
)


@cache
def _rules() -> tuple[tuple[re.Pattern[str], _Answer], ...]:
    # On first use: compiling them takes longer than importing everything else here.
    return (
        *((_compiled(pattern), Free(pattern)) for pattern in _FREE_POSTS),
        *((_compiled(pattern), endpoint) for pattern, endpoint in _METERED),
        *((_compiled(pattern), Unmetered(pattern, reason)) for pattern, reason in _UNMETERED),
    )


def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(rf"(?:^|.*/)(?:{pattern})$")


_WEBSOCKETS: Final = frozenset({"realtime", "live"})
_READS: Final = frozenset({"GET", "HEAD", "OPTIONS", "DELETE"})


def endpoint_of(method: str, path: str) -> Endpoint | Free | Unmetered:
    """
    Return the endpoint that a request goes to, or why it is free, or why it is not metered.

    Reading and deleting is free.  What is posted is free only where the providers say that it costs nothing;
    anything unknown is unmetered.

    Args:
        method: The HTTP method, in any case.

        path: A path or a whole URL, with any prefix (`/v1`, `/openai/deployments/x`, `/api/v1`) and any query.
    """
    bare = path.partition("?")[0].partition("#")[0].rstrip("/")
    if method.upper() in _READS and _WEBSOCKETS.isdisjoint(bare.split("/")):
        return _READ
    return _find(bare)


def chat_format(provider: str, model: str) -> Endpoint:
    """
    Return the format in which a framework's chat request is weighed, where its body on the wire is not at hand.

    What matters of a format is what its provider adds to a prompt: Anthropic a hidden prompt for tools.  Messages may
    be written as any of these formats has them.
    """
    return ANTHROPIC_MESSAGES if provider == "anthropic" or "claude" in model else OPENAI_CHAT


_READ: Final = Free("reading and deleting")


@lru_cache(maxsize=1024)
def _find(path: str) -> _Answer:
    # Without its host: a host may be called what an endpoint is called.
    bare = re.sub(r"^[a-z][a-z0-9+.-]*://[^/]*", "", path, flags=re.IGNORECASE)
    found = next((answer for rule, answer in _rules() if rule.match(bare)), None)
    name = bare or "/"
    if found is None:
        return Unmetered(name, "this endpoint is not known, so that what it costs is not known")
    if isinstance(found, Unmetered):
        return Unmetered(name, found.reason)
    return Free(name) if isinstance(found, Free) else found
