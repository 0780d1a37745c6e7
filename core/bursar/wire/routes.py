"""Which endpoint a request goes to, what it is called, and whether it costs money."""

from __future__ import annotations

import re
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, unquote

from bursar.wire.anthropic_messages import AnthropicMessages
from bursar.wire.bedrock_converse import BedrockConverse
from bursar.wire.bedrock_invoke import BedrockInvoke
from bursar.wire.cohere import CohereChat, CohereEmbed, CohereRerank
from bursar.wire.endpoint import Endpoint, Free, Unmetered
from bursar.wire.fields import object_at
from bursar.wire.gemini import GeminiGenerate
from bursar.wire.gemini_embeddings import GeminiEmbeddings
from bursar.wire.ollama import Ollama
from bursar.wire.openai_chat import OpenAIChat
from bursar.wire.openai_embeddings import OpenAIEmbeddings
from bursar.wire.openai_responses import OpenAICompaction, OpenAIResponses

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bursar.wire.fields import Json

OPENAI_CHAT: Final = OpenAIChat()
OPENAI_RESPONSES: Final = OpenAIResponses()
OPENAI_COMPACTION: Final = OpenAICompaction()
OPENAI_EMBEDDINGS: Final = OpenAIEmbeddings()
ANTHROPIC_MESSAGES: Final = AnthropicMessages()
GEMINI_GENERATE: Final = GeminiGenerate()
GEMINI_STREAM: Final = GeminiGenerate(stream=True)
GEMINI_EMBEDDINGS: Final = GeminiEmbeddings()
BEDROCK_CONVERSE: Final = BedrockConverse()
BEDROCK_CONVERSE_STREAM: Final = BedrockConverse(stream=True)
BEDROCK_INVOKE: Final = BedrockInvoke()
BEDROCK_INVOKE_STREAM: Final = BedrockInvoke(stream=True)
COHERE_CHAT: Final = CohereChat()
COHERE_CHAT_V1: Final = CohereChat(version=1)
COHERE_EMBED: Final = CohereEmbed()
COHERE_RERANK: Final = CohereRerank()
OLLAMA: Final = Ollama()
OLLAMA_EMBED: Final = Ollama(embeds=True)

ENDPOINTS: Final[dict[str, Endpoint]] = {
    endpoint.name: endpoint
    for endpoint in (
        OPENAI_CHAT,
        OPENAI_RESPONSES,
        OPENAI_COMPACTION,
        OPENAI_EMBEDDINGS,
        ANTHROPIC_MESSAGES,
        GEMINI_GENERATE,
        GEMINI_STREAM,
        GEMINI_EMBEDDINGS,
        BEDROCK_CONVERSE,
        BEDROCK_CONVERSE_STREAM,
        BEDROCK_INVOKE,
        BEDROCK_INVOKE_STREAM,
        COHERE_CHAT,
        COHERE_CHAT_V1,
        COHERE_EMBED,
        COHERE_RERANK,
        OLLAMA,
        OLLAMA_EMBED,
    )
}
"""Every endpoint that is metered, by name."""

_Answer = Endpoint | Free | Unmetered

_ID: Final = r"[^/]+"
_GOOGLE: Final = r"(?:models|tunedModels|endpoints)"

# A path counts from its end, as every host and gateway has prefixes of its own; the first line that matches holds.
# Anthropic's messages keep their version, as OpenAI's threads have messages too.
_METERED: Final[tuple[tuple[str, Endpoint], ...]] = (
    (r"chat/completions", OPENAI_CHAT),
    (r"responses", OPENAI_RESPONSES),
    (r"responses/compact", OPENAI_COMPACTION),
    (r"embeddings", OPENAI_EMBEDDINGS),
    (r"v1/messages", ANTHROPIC_MESSAGES),
    # Google's, on /v1 and /v1beta, on Vertex AI below a project or without one.
    (rf"{_GOOGLE}/{_ID}:generateContent", GEMINI_GENERATE),
    (rf"{_GOOGLE}/{_ID}:streamGenerateContent", GEMINI_STREAM),
    (rf"models/{_ID}:(?:batchEmbedContents|embedContent|predict)", GEMINI_EMBEDDINGS),
    (rf"publishers/anthropic/models/{_ID}:(?:rawPredict|streamRawPredict)", ANTHROPIC_MESSAGES),
    (rf"publishers/mistralai/models/{_ID}:(?:rawPredict|streamRawPredict)", OPENAI_CHAT),
    # An ARN has slashes of its own, where it is not quoted.
    (r"model/.+/converse", BEDROCK_CONVERSE),
    (r"model/.+/converse-stream", BEDROCK_CONVERSE_STREAM),
    (r"model/.+/invoke", BEDROCK_INVOKE),
    (r"model/.+/invoke-with-response-stream", BEDROCK_INVOKE_STREAM),
    (r"v2/chat", COHERE_CHAT),
    (r"v1/(?:chat|generate)", COHERE_CHAT_V1),
    (r"v[12]/embed", COHERE_EMBED),
    (r"v[12]/rerank", COHERE_RERANK),
    (r"api/(?:chat|generate)", OLLAMA),
    (r"api/embed", OLLAMA_EMBED),
    # Voyage's, in OpenAI's words.
    (r"v1/multimodalembeddings", OPENAI_EMBEDDINGS),
)
# Free by the providers' price pages: what counts, checks, stops or only keeps.
_FREE_POSTS: Final = (
    r"moderations",
    r".*:(?:countTokens|computeTokens)",
    r"model/.+/count-tokens",
    r"v1/(?:tokenize|detokenize|check-api-key)",
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
    (r"model/.+/invoke-with-bidirectional-stream", "speech on Bedrock is not metered yet"),
    (r".*:(rawPredict|streamRawPredict|predictLongRunning)", "this vendor on Vertex is not metered yet"),
    (r".*:(batchGenerateContent|asyncBatchEmbedContent)", "batches are not metered yet"),
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


def endpoint_of_answer(events: Iterable[Json]) -> Endpoint | None:
    """Return the endpoint whose shape *events* have, a stream's or a whole response alone, or None: for odd paths."""
    for event in events:
        for keys, endpoint in _SHAPES:
            if keys <= event.keys():
                return endpoint
        usage = object_at(event, "usage")
        if "prompt_tokens" in usage:
            generates = "choices" in event or "completion_tokens" in usage
            return OPENAI_CHAT if generates else OPENAI_EMBEDDINGS
    return None


_SHAPES: Final[tuple[tuple[frozenset[str], Endpoint], ...]] = (
    (frozenset({"candidates"}), GEMINI_GENERATE),
    (frozenset({"usageMetadata"}), GEMINI_GENERATE),
    (frozenset({"output", "stopReason"}), BEDROCK_CONVERSE),
    (frozenset({"output", "object", "status"}), OPENAI_RESPONSES),
    (frozenset({"type", "response", "sequence_number"}), OPENAI_RESPONSES),
    (frozenset({"type", "role", "content", "stop_reason"}), ANTHROPIC_MESSAGES),
    (frozenset({"type", "message"}), ANTHROPIC_MESSAGES),
    (frozenset({"choices", "object"}), OPENAI_CHAT),
)

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


_MODEL_IN_PATH: Final = re.compile(
    rf"(?:^|/)(?:{_GOOGLE}/(?P<google>[^/:]+(?::[^/:]+)*):[A-Za-z]+"
    r"|model/(?P<aws>.+)/(?:invoke|converse|count-tokens)[a-z-]*"
    r"|(?:deployments|engines)/(?P<azure>[^/]+)/.+)$"
)


@lru_cache(maxsize=1024)
def model_in_path(path: str) -> str | None:
    """
    Return the model that *path* names, or None: Google's, Bedrock's, or an Azure deployment's own name.

    It is returned as it reads, without the quoting of an address.
    """
    match = _MODEL_IN_PATH.search(path.partition("?")[0].rstrip("/"))
    return None if match is None else unquote(next(name for name in match.groups() if name is not None))


def path_with_model(path: str, model: str) -> str:
    """Return *path* with *model* in place of the model that it names, quoted; without one, *path* as it is."""
    bare, mark, query = path.partition("?")
    match = _MODEL_IN_PATH.search(bare)
    if match is None:
        return path
    group = next(name for name, found in match.groupdict().items() if found is not None)
    start, end = match.span(group)
    return (
        f"{bare[:start]}{quote(model, safe='@.-_~:' if group == 'google' else '')}{bare[end:]}{mark}{query}"
    )
