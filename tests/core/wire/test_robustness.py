"""Others write what is read here: no body raises, and none is changed."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bursar.wire import ENDPOINTS, fingerprint

_KEYS = (
    st.sampled_from(
        ["model", "messages", "input", "content", "type", "role", "text", "tools", "source", "data"]
    )
    | st.sampled_from(
        ["usage", "choices", "delta", "message", "response", "output", "iterations", "image_url"]
    )
    | st.sampled_from(
        ["stream", "n", "max_tokens", "thinking", "cost", "cost_details", "is_byok", "file", "item"]
    )
    | st.sampled_from(
        [
            "contents",
            "parts",
            "inlineData",
            "mimeType",
            "generationConfig",
            "candidates",
            "usageMetadata",
            "modality",
        ]
    )
    | st.sampled_from(
        ["promptTokensDetails", "tokenCount", "groundingMetadata", "webSearchQueries", "predictions"]
    )
    | st.sampled_from(
        ["toolConfig", "cachePoint", "toolResult", "inferenceConfig", "metadata", "cacheDetails", "ttl"]
    )
    | st.sampled_from(
        ["inputText", "prompt", "results", "chunk", "bytes", "ResponseMetadata", "HTTPHeaders", "meta"]
    )
    | st.sampled_from(
        ["texts", "documents", "query", "billed_units", "event_type", "image", "document", "images"]
    )
)
_TYPES = st.sampled_from(
    [
        "image",
        "file",
        "document",
        "input_audio",
        "input_file",
        "message_start",
        "message_delta",
        "text",
        "base64",
        "image/png",
        "AUDIO",
        "1h",
    ]
)
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | _TYPES,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(_KEYS | st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=25,
)


@given(body=st.dictionaries(_KEYS, _JSON, max_size=8))
@pytest.mark.parametrize("name", sorted(ENDPOINTS))
def test_no_body_raises(name: str, body: dict[str, Any]) -> None:
    """Whatever is sent or answered, reading it raises nothing and leaves it as it was."""
    endpoint, before = ENDPOINTS[name], repr(body)
    ask = endpoint.read_request(body)
    endpoint.count_input_tokens(body)
    endpoint.read_response(body)
    endpoint.read_events([body, body])
    endpoint.output_seen([body])
    endpoint.with_output_limit(body, 100, model=ask.model, host="api.openai.com")
    endpoint.with_stream_usage(body)
    fingerprint("agent", body)

    assert before == repr(body)
    assert ask.input_tokens_most >= ask.image_tokens_most + ask.audio_tokens_most
