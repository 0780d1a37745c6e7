"""Which endpoint a request goes to, what it is called, and whether it costs money."""

from __future__ import annotations

import re
from functools import cache, lru_cache
from typing import Final

from bursar.wire.anthropic_messages import AnthropicMessages
from bursar.wire.endpoint import Endpoint, Free, Unmetered
from bursar.wire.free_routes import ADMINISTRATION, READS, WRITES
from bursar.wire.openai_audio import OpenAISpeech, OpenAITranscription
from bursar.wire.openai_chat import OpenAIChat
from bursar.wire.openai_completions import OpenAICompletions
from bursar.wire.openai_decisions import OpenAIDecisions
from bursar.wire.openai_embeddings import OpenAIEmbeddings
from bursar.wire.openai_images import OpenAIImages
from bursar.wire.openai_responses import OpenAIResponses
from bursar.wire.openai_videos import OpenAIVideos

OPENAI_CHAT: Final = OpenAIChat()
OPENAI_RESPONSES: Final = OpenAIResponses()
OPENAI_EMBEDDINGS: Final = OpenAIEmbeddings()
ANTHROPIC_MESSAGES: Final = AnthropicMessages()
OPENAI_COMPLETIONS: Final = OpenAICompletions()
OPENAI_IMAGES: Final = OpenAIImages("openai.images")
OPENAI_IMAGE_EDITS: Final = OpenAIImages("openai.image_edits")
# API reference: the only model that makes variations.
OPENAI_IMAGE_VARIATIONS: Final = OpenAIImages("openai.image_variations", default_model="dall-e-2")
OPENAI_SPEECH: Final = OpenAISpeech()
OPENAI_TRANSCRIPTIONS: Final = OpenAITranscription("openai.transcriptions")
OPENAI_TRANSLATIONS: Final = OpenAITranscription("openai.translations")
OPENAI_VIDEOS: Final = OpenAIVideos()
OPENAI_DECISIONS: Final = OpenAIDecisions()

ENDPOINTS: Final[dict[str, Endpoint]] = {
    endpoint.name: endpoint
    for endpoint in (
        OPENAI_CHAT,
        OPENAI_RESPONSES,
        OPENAI_EMBEDDINGS,
        ANTHROPIC_MESSAGES,
        OPENAI_COMPLETIONS,
        OPENAI_IMAGES,
        OPENAI_IMAGE_EDITS,
        OPENAI_IMAGE_VARIATIONS,
        OPENAI_SPEECH,
        OPENAI_TRANSCRIPTIONS,
        OPENAI_TRANSLATIONS,
        OPENAI_VIDEOS,
        OPENAI_DECISIONS,
    )
}
"""Every endpoint that is metered, by name."""

_Answer = Endpoint | Free | Unmetered

_ID: Final = r"[^/]+"

# A path counts from its end, as every host and gateway has prefixes of its own; the line that names most of it holds,
# and the first of several that name as much.
# Anthropic's messages keep their version, as OpenAI's threads have messages too.
_METERED: Final[tuple[tuple[str, Endpoint], ...]] = (
    (r"chat/completions", OPENAI_CHAT),
    (r"responses", OPENAI_RESPONSES),
    (r"embeddings", OPENAI_EMBEDDINGS),
    (r"v1/messages", ANTHROPIC_MESSAGES),
    (r"completions", OPENAI_COMPLETIONS),
    (r"images/generations", OPENAI_IMAGES),
    (r"images/edits", OPENAI_IMAGE_EDITS),
    (r"images/variations", OPENAI_IMAGE_VARIATIONS),
    (r"audio/speech", OPENAI_SPEECH),
    (r"audio/transcriptions", OPENAI_TRANSCRIPTIONS),
    (r"audio/translations", OPENAI_TRANSLATIONS),
    (r"videos", OPENAI_VIDEOS),
    (r"decisions", OPENAI_DECISIONS),
)
_UNMETERED: Final = (
    (r"images/.*", "this way to make images is not known"),
    (r"audio/.*", "what a voice costs is not stated"),
    (r"videos/.*", "how long a video that is made from another becomes is not in the request"),
    (
        r"(realtime|live)(/.*)?",
        "what a realtime connection will cost is decided by what is said on it, which nothing bounds before",
    ),
    (
        r"(messages/)?batches",
        "what its requests may cost cannot be told from what this client has seen",
    ),
    (
        r"fine_tuning/jobs(/{}/resume)?",
        "training is billed by the token and epoch of files that are not in the request",
    ),
    (r"fine_tuning/alpha/graders/run", "a grader may run a model, and states no usage"),
    (
        r"vector_stores(/{}/(files|file_batches))?",
        "a vector store is billed by the day and gigabyte for as long as it is kept",
    ),
    (r"vector_stores/{}/search", "what a search costs outside of a response is not stated"),
    (r"containers", "a container is billed for as long as it is used"),
    (r"threads/(runs|{}/runs(/{}/submit_tool_outputs)?)", "how often a run asks its model is not limited"),
    (r"evals/{}/runs", "an eval runs models over data that is not in the request"),
    (r"chatkit/sessions", "a session is paid by whoever talks to it, past this client"),
    (r"content_provenance_checks", "what a check costs is not stated"),
    (
        r"agents/(sessions(/{}/events)?|automations(/{}/(invocations|resume))?|environments(/{}/files)?)",
        "an agent that the provider runs works for as long as it likes",
    ),
    (
        r"(sessions(/{}/events)?|deployments(/{}/(run|unpause))?|dreams)",
        "an agent that the provider runs works for as long as it likes",
    ),
    (r".*/(invoke|converse|invoke-with-response-stream|converse-stream)", "Bedrock is not metered yet"),
    (
        r".*:(streamGenerateContent|generateContent|rawPredict|streamRawPredict|predict)",
        "Vertex is not metered yet",
    ),
    (r"responses/compact", "compaction is not metered yet"),
    (r"complete", "this format states no usage"),
)
_SOCKETS: Final = (
    r"realtime(/translations)?",
    r"live/sessions(/{}/(attach|fork))?",
    r"responses",
)
"""What is opened by GET and is no reading: a connection over which a model answers."""
_SOCKET: Final = "what a connection will cost is decided by what is sent on it, past this client's requests"

_UNKNOWN: Final = "this endpoint is not known, so that what it costs is not known"

_READING: Final = frozenset({"GET", "DELETE"})
_HARMLESS: Final = frozenset({"HEAD", "OPTIONS"})


@cache
def _reading_rules() -> tuple[tuple[re.Pattern[str], _Answer], ...]:
    # On first use: compiling them takes longer than importing everything else here.
    return (
        *((_compiled(pattern), Unmetered(pattern, _SOCKET)) for pattern in _SOCKETS),
        *((_compiled(pattern), Free(pattern)) for pattern in (*READS, *ADMINISTRATION)),
    )


@cache
def _writing_rules() -> tuple[tuple[re.Pattern[str], _Answer], ...]:
    return (
        *((_compiled(pattern), Free(pattern)) for pattern in WRITES),
        *((_compiled(pattern), endpoint) for pattern, endpoint in _METERED),
        *((_compiled(pattern), Unmetered(pattern, reason)) for pattern, reason in _UNMETERED),
        *((_compiled(pattern), Free(pattern)) for pattern in ADMINISTRATION),
    )


def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(rf"(?:^|.*?/)({pattern.replace('{}', _ID)})$")


def endpoint_of(method: str, path: str) -> Endpoint | Free | Unmetered:
    """
    Return the endpoint that a request goes to, or why it is free, or why it is not metered.

    A path is free only where a rule says so, whatever its method; anything unknown is unmetered.  What only asks for
    headers is free.

    Args:
        method: The HTTP method, in any case.  A WebSocket is opened by GET.

        path: A path or a whole URL, with any prefix (`/v1`, `/openai/deployments/x`, `/api/v1`) and any query.
    """
    verb, bare = method.upper(), path.partition("?")[0].partition("#")[0].rstrip("/")
    if verb in _HARMLESS:
        return _HEADERS
    return _find(bare, verb in _READING)


def chat_format(provider: str, model: str) -> Endpoint:
    """
    Return the format in which a framework's chat request is weighed, where its body on the wire is not at hand.

    What matters of a format is what its provider adds to a prompt: Anthropic a hidden prompt for tools.  Messages may
    be written as any of these formats has them.
    """
    return ANTHROPIC_MESSAGES if provider == "anthropic" or "claude" in model else OPENAI_CHAT


_HEADERS: Final = Free("reading headers")


def matched_part(method: str, path: str) -> str:
    """Return the end of *path* that the rule for it names; empty where there is no rule."""
    bare = path.partition("?")[0].rstrip("/")
    found = _match(bare, method.upper() in _READING)
    return "" if found is None else bare[found[0] :]


@lru_cache(maxsize=1024)
def _match(bare: str, reads: bool) -> tuple[int, _Answer] | None:
    """Return the rule that names most of *bare*, and where that begins: files of a vector store are not files."""
    rules = _reading_rules() if reads else _writing_rules()
    matches = ((match.start(1), answer) for rule, answer in rules if (match := rule.match(bare)))
    return min(matches, key=lambda found: found[0], default=None)


@lru_cache(maxsize=1024)
def _find(path: str, reads: bool) -> _Answer:
    # Without its host: a host may be called what an endpoint is called.
    bare = re.sub(r"^[a-z][a-z0-9+.-]*://[^/]*", "", path, flags=re.IGNORECASE)
    matched = _match(bare, reads)
    name = bare or "/"
    if matched is None:
        return Unmetered(name, _UNKNOWN)
    found = matched[1]
    if isinstance(found, Unmetered):
        return Unmetered(name, found.reason)
    return Free(name) if isinstance(found, Free) else found
