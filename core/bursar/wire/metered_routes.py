"""Every endpoint that is metered, the paths that lead to it, and the shapes that its answers have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from bursar.wire.anthropic_messages import AnthropicMessages
from bursar.wire.bedrock_converse import BedrockConverse
from bursar.wire.bedrock_invoke import BedrockInvoke
from bursar.wire.cohere import CohereChat, CohereEmbed, CohereRerank
from bursar.wire.fields import object_at
from bursar.wire.gemini import GeminiGenerate
from bursar.wire.gemini_embeddings import GeminiEmbeddings
from bursar.wire.ollama import Ollama
from bursar.wire.openai_audio import OpenAISpeech, OpenAITranscription
from bursar.wire.openai_chat import OpenAIChat
from bursar.wire.openai_completions import MistralFim, OpenAICompletions
from bursar.wire.openai_decisions import OpenAIDecisions
from bursar.wire.openai_embeddings import OpenAIEmbeddings
from bursar.wire.openai_images import OpenAIImages
from bursar.wire.openai_responses import OpenAICompaction, OpenAIResponses
from bursar.wire.openai_videos import OpenAIVideos

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bursar.wire.endpoint import Endpoint
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
OPENAI_COMPLETIONS: Final = OpenAICompletions()
MISTRAL_FIM: Final = MistralFim()
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
        OPENAI_COMPLETIONS,
        MISTRAL_FIM,
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

_GOOGLE: Final = r"(?:models|tunedModels|endpoints)"

# Anthropic's messages keep their version, as OpenAI's threads have messages too.  `{}` stands for one name.
METERED: Final[tuple[tuple[str, Endpoint], ...]] = (
    (r"chat/completions", OPENAI_CHAT),
    (r"responses", OPENAI_RESPONSES),
    (r"responses/compact", OPENAI_COMPACTION),
    (r"embeddings", OPENAI_EMBEDDINGS),
    (r"v1/messages", ANTHROPIC_MESSAGES),
    # Google's, on /v1 and /v1beta, on Vertex AI below a project or without one.
    (rf"{_GOOGLE}/{{}}:generateContent", GEMINI_GENERATE),
    (rf"{_GOOGLE}/{{}}:streamGenerateContent", GEMINI_STREAM),
    (r"models/{}:(?:batchEmbedContents|embedContent|predict)", GEMINI_EMBEDDINGS),
    (r"publishers/anthropic/models/{}:(?:rawPredict|streamRawPredict)", ANTHROPIC_MESSAGES),
    (r"publishers/mistralai/models/{}:(?:rawPredict|streamRawPredict)", OPENAI_CHAT),
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
    (r"completions", OPENAI_COMPLETIONS),
    (r"fim/completions", MISTRAL_FIM),
    (r"images/generations", OPENAI_IMAGES),
    (r"images/edits", OPENAI_IMAGE_EDITS),
    (r"images/variations", OPENAI_IMAGE_VARIATIONS),
    (r"audio/speech", OPENAI_SPEECH),
    (r"audio/transcriptions", OPENAI_TRANSCRIPTIONS),
    (r"audio/translations", OPENAI_TRANSLATIONS),
    (r"videos", OPENAI_VIDEOS),
    (r"decisions", OPENAI_DECISIONS),
)
"""The end of a path, and where it leads; see `routes`."""


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
