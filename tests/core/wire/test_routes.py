"""Every path finds its endpoint, or the reason why it has none."""

from __future__ import annotations

import pytest

from bursar.wire import (
    ANTHROPIC_MESSAGES,
    ENDPOINTS,
    OPENAI_CHAT,
    OPENAI_EMBEDDINGS,
    OPENAI_RESPONSES,
    Endpoint,
    Free,
    Unmetered,
    endpoint_of,
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
        ("/model/anthropic.claude/invoke", "Bedrock is not metered yet"),
        ("/v1/projects/x/publishers/anthropic/models/claude:rawPredict", "Vertex is not metered yet"),
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
