"""Every path finds its endpoint, or the reason why it has none."""

from __future__ import annotations

import pytest

from bursar.wire import (
    ANTHROPIC_MESSAGES,
    BEDROCK_CONVERSE,
    BEDROCK_CONVERSE_STREAM,
    BEDROCK_INVOKE,
    BEDROCK_INVOKE_STREAM,
    COHERE_CHAT,
    COHERE_CHAT_V1,
    COHERE_EMBED,
    COHERE_RERANK,
    ENDPOINTS,
    GEMINI_EMBEDDINGS,
    GEMINI_GENERATE,
    GEMINI_STREAM,
    OLLAMA,
    OLLAMA_EMBED,
    OPENAI_CHAT,
    OPENAI_COMPACTION,
    OPENAI_EMBEDDINGS,
    OPENAI_RESPONSES,
    Endpoint,
    Free,
    Unmetered,
    endpoint_of,
    model_in_path,
    path_with_model,
)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/chat/completions", OPENAI_CHAT),
        ("chat/completions", OPENAI_CHAT),
        ("/v1/chat/completions", OPENAI_CHAT),
        ("/openai/v1/chat/completions", OPENAI_CHAT),
        ("/openai/deployments/my-4o/chat/completions?api-version=2024-10-21", OPENAI_CHAT),
        ("//openai/deployments/test/chat/completions", OPENAI_CHAT),
        ("/api/paas/v4/chat/completions", OPENAI_CHAT),
        ("https://api.openai.com/v1/chat/completions", OPENAI_CHAT),
        ("HTTPS://embeddings.example/v1/chat/completions/", OPENAI_CHAT),
        ("/responses", OPENAI_RESPONSES),
        ("/v1/responses?beta=true", OPENAI_RESPONSES),
        ("https://x.services.ai.azure.com/openai/v1/responses", OPENAI_RESPONSES),
        ("/v1/embeddings", OPENAI_EMBEDDINGS),
        ("/openai/deployments/ada/embeddings", OPENAI_EMBEDDINGS),
        ("/v1/completions", ENDPOINTS["openai.completions"]),
        ("/v1/fim/completions#stream", ENDPOINTS["mistral.fim"]),
        ("/openai/deployments/dalle/images/generations", ENDPOINTS["openai.images"]),
        ("/v1/images/edits", ENDPOINTS["openai.image_edits"]),
        ("/v1/images/variations", ENDPOINTS["openai.image_variations"]),
        ("/v1/audio/speech", ENDPOINTS["openai.speech"]),
        ("/v1/audio/transcriptions", ENDPOINTS["openai.transcriptions"]),
        ("/openai/deployments/whisper/audio/translations", ENDPOINTS["openai.translations"]),
        ("/v1/videos", ENDPOINTS["openai.videos"]),
        ("/v1/decisions", ENDPOINTS["openai.decisions"]),
        ("/v1/messages", ANTHROPIC_MESSAGES),
        ("/v1/messages?beta=true", ANTHROPIC_MESSAGES),
        ("https://api.anthropic.com/v1/messages", ANTHROPIC_MESSAGES),
        ("https://x.services.ai.azure.com/anthropic/v1/messages", ANTHROPIC_MESSAGES),
        ("/models/chat/completions?api-version=2024-05-01-preview", OPENAI_CHAT),
        ("/v1/responses/compact", OPENAI_COMPACTION),
        ("/v1/models/gemini-2.5-flash:generateContent", GEMINI_GENERATE),
        ("/v1beta/models/gemini-2.5-flash:generateContent", GEMINI_GENERATE),
        ("/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse", GEMINI_STREAM),
        (
            "/v1beta1/projects/p/locations/l/publishers/google/models/gemini-2.5-flash:generateContent",
            GEMINI_GENERATE,
        ),
        ("/v1beta1/publishers/google/models/gemini-2.5-flash:streamGenerateContent", GEMINI_STREAM),
        ("/v1beta/tunedModels/mine:generateContent", GEMINI_GENERATE),
        ("/v1/projects/p/locations/l/endpoints/123:streamGenerateContent", GEMINI_STREAM),
        ("/v1beta/models/gemini-embedding-001:embedContent", GEMINI_EMBEDDINGS),
        ("/v1beta/models/gemini-embedding-001:batchEmbedContents", GEMINI_EMBEDDINGS),
        ("/v1/projects/p/locations/l/publishers/google/models/text-embedding-005:predict", GEMINI_EMBEDDINGS),
        ("/v1/projects/p/locations/l/publishers/anthropic/models/claude@1:rawPredict", ANTHROPIC_MESSAGES),
        (
            "/v1/projects/p/locations/l/publishers/anthropic/models/claude@1:streamRawPredict",
            ANTHROPIC_MESSAGES,
        ),
        ("/v1beta1/projects/p/locations/l/endpoints/openapi/chat/completions", OPENAI_CHAT),
        ("/model/us.amazon.nova-lite-v1%3A0/converse", BEDROCK_CONVERSE),
        ("/model/amazon.nova-lite-v1:0/converse-stream", BEDROCK_CONVERSE_STREAM),
        ("/model/arn:aws:bedrock:us-east-1:1:inference-profile/us.anthropic.x/invoke", BEDROCK_INVOKE),
        ("/model/meta.llama3-8b-instruct-v1:0/invoke-with-response-stream", BEDROCK_INVOKE_STREAM),
        ("/v2/chat", COHERE_CHAT),
        ("/v1/chat", COHERE_CHAT_V1),
        ("/v1/generate", COHERE_CHAT_V1),
        ("/v1/embed", COHERE_EMBED),
        ("/v2/embed", COHERE_EMBED),
        ("/v2/rerank", COHERE_RERANK),
        ("/api/chat", OLLAMA),
        ("/api/generate", OLLAMA),
        ("/api/embed", OLLAMA_EMBED),
        ("/v1/multimodalembeddings", OPENAI_EMBEDDINGS),
    ],
)
def test_metered_endpoints_are_found(path: str, expected: Endpoint) -> None:
    """A metered endpoint is found below any host and prefix, with any query."""
    assert expected is endpoint_of("POST", path)
    assert expected is endpoint_of("post", path)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/models"),
        ("GET", "/v1/responses/resp_1?stream=true"),
        ("GET", "/v1/chat/completions"),
        ("HEAD", "/v1/images/generations"),
        ("DELETE", "/v1/vector_stores/vs_1"),
        ("POST", "/v1/moderations"),
        ("POST", "/v1/messages/count_tokens?beta=true"),
        ("POST", "/v1/responses/input_tokens"),
        ("POST", "/v1/responses/resp_1/cancel"),
        ("POST", "/v1/chat/completions/chatcmpl-1"),
        ("POST", "/v1/files"),
        ("POST", "/v1/uploads/upload_1/parts"),
        ("POST", "/v1/conversations"),
        ("POST", "/v1/conversations/conv_1/items"),
        ("POST", "/v1/threads/thread_1/messages"),
        ("POST", "/v1/messages/batches/msgbatch_1/cancel"),
        ("POST", "/v1/batches/batch_1/cancel"),
        ("POST", "/v1beta/models/gemini-2.5-flash:countTokens"),
        ("POST", "/model/anthropic.claude/count-tokens"),
        ("POST", "/v1/tokenize"),
    ],
)
def test_free_endpoints_are_free(method: str, path: str) -> None:
    """Reading, deleting, counting, cancelling and keeping cost nothing."""
    assert isinstance(endpoint_of(method, path), Free)


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/v1/complete", "states no usage"),
        ("/v1/audio/voices", "what a voice costs is not stated"),
        ("/v1/videos/video_1/remix", "how long a video"),
        ("/v1/batches", "what its requests may cost"),
        ("/v1/messages/batches", "what its requests may cost"),
        ("/v1/fine_tuning/jobs", "training is billed"),
        ("/v1/fine_tuning/jobs/ftjob_1/resume", "training is billed"),
        ("/v1/fine_tuning/alpha/graders/run", "a grader may run a model"),
        ("/v1/vector_stores", "billed by the day and gigabyte"),
        ("/v1/vector_stores/vs_1/files", "billed by the day and gigabyte"),
        ("/v1/vector_stores/vs_1/search", "outside of a response"),
        ("/v1/containers", "for as long as it is used"),
        ("/v1/threads/thread_1/runs", "how often a run asks its model"),
        ("/v1/threads/runs", "how often a run asks its model"),
        ("/v1/realtime/client_secrets", "what a realtime connection will cost"),
        ("/v1/realtime/sessions", "what a realtime connection will cost"),
        ("/v1/live/sessions", "what a realtime connection will cost"),
        ("/v1/sessions", "an agent that the provider runs"),
        ("/v1/agents/sessions", "an agent that the provider runs"),
        ("/v1/evals/eval_1/runs", "an eval runs models"),
        ("/model/amazon.nova-sonic-v1:0/invoke-with-bidirectional-stream", "decided by what is said"),
        ("/v1/publishers/meta/models/llama:rawPredict", "this vendor's format on Vertex is not known"),
        ("/v1beta/models/gemini-2.5-flash:batchGenerateContent", "what its requests may cost"),
        ("/v1/projects/p/locations/l/endpoints/1234:predict", "what this model on Vertex bills for"),
        ("/v2/rooms/1/messages", "this endpoint is not known, so that what it costs is not known"),
        ("/v1/something/new", "this endpoint is not known, so that what it costs is not known"),
        ("", "this endpoint is not known, so that what it costs is not known"),
    ],
)
def test_what_may_cost_is_unmetered_with_a_reason(path: str, reason: str) -> None:
    """What costs money and cannot be bounded, or is not known, says so and why."""
    found = endpoint_of("POST", path)

    assert isinstance(found, Unmetered)
    assert reason in found.reason


@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_reading_is_free_only_where_it_is_known(method: str) -> None:
    """A path that no rule has is not taken to be free, whatever the method."""
    assert isinstance(endpoint_of(method, "/v1/something/new"), Unmetered)
    assert isinstance(endpoint_of(method, "/v1/files/file_1"), Free)


def test_opening_a_realtime_connection_is_not_a_read() -> None:
    """A realtime connection is opened by GET, and costs."""
    assert isinstance(endpoint_of("GET", "wss://api.openai.com/v1/realtime?model=gpt-realtime"), Unmetered)


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
def test_other_methods_that_write_are_unmetered(method: str) -> None:
    """Only reading and deleting are free by their method."""
    assert isinstance(endpoint_of(method, "/v1/anything"), Unmetered)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/v1beta/models/gemini-2.5-flash:generateContent?alt=sse", "gemini-2.5-flash"),
        (
            "/v1/projects/p/locations/l/publishers/anthropic/models/claude@20250929:rawPredict",
            "claude@20250929",
        ),
        ("/model/us.amazon.nova-lite-v1:0/converse", "us.amazon.nova-lite-v1:0"),
        ("/model/us.amazon.nova-lite-v1%3A0/invoke-with-response-stream", "us.amazon.nova-lite-v1:0"),
        (
            "/model/arn:aws:bedrock:us-east-1:1:inference-profile/us.x/converse",
            "arn:aws:bedrock:us-east-1:1:inference-profile/us.x",
        ),
        ("https://bedrock-runtime.us-east-1.amazonaws.com/model/m/invoke", "m"),
        ("/openai/deployments/my-4o/chat/completions?api-version=2024-10-21", "my-4o"),
        ("/v1/chat/completions", None),
        ("/v1beta/models", None),
        ("", None),
    ],
)
def test_a_path_may_name_the_model(path: str, expected: str | None) -> None:
    """Google's and Bedrock's paths name the model, Azure's the deployment."""
    assert expected == model_in_path(path)


def test_the_model_in_a_path_is_replaced() -> None:
    """Another model is put where the path has one, quoted, and a path without any stays."""
    google = "/v1beta/models/gemini-2.5-pro:streamGenerateContent?alt=sse"

    assert "/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse" == path_with_model(
        google, "gemini-2.5-flash"
    )
    assert "/model/us.amazon.nova-lite-v1%3A0/converse" == path_with_model(
        "/model/m/converse", "us.amazon.nova-lite-v1:0"
    )
    assert "/v1/chat/completions" == path_with_model("/v1/chat/completions", "gpt-4o")
