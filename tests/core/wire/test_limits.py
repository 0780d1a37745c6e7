"""Requests are changed in copies: another model, a lower limit, usage asked for."""

from __future__ import annotations

from typing import Any

import pytest

from bursar.wire import ANTHROPIC_MESSAGES, OPENAI_CHAT, OPENAI_EMBEDDINGS, OPENAI_RESPONSES


@pytest.mark.parametrize(
    ("body", "model", "host", "expected"),
    [
        ({"max_tokens": 500}, "gpt-4o", "api.openai.com", {"max_tokens": 100}),
        ({"max_tokens": 50}, "gpt-4o", "api.openai.com", {"max_tokens": 50}),
        ({"max_completion_tokens": 500}, "gpt-4o", "x.example", {"max_completion_tokens": 100}),
        (
            {"max_tokens": 500, "max_completion_tokens": 90},
            "gpt-4o",
            "x.example",
            {"max_tokens": 100, "max_completion_tokens": 90},
        ),
        ({}, "gpt-4o", "api.openai.com", {"max_completion_tokens": 100}),
        ({"max_tokens": None}, "gpt-4o", "x.example", {"max_tokens": 100}),
        ({}, "mistral-large-latest", "api.mistral.ai", {"max_tokens": 100}),
        ({}, "gpt-4o", "x.openai.azure.com", {"max_tokens": 100}),
        ({}, "gpt-5-mini", "x.openai.azure.com", {"max_completion_tokens": 100}),
        ({}, "o3-mini", "x.openai.azure.com", {"max_completion_tokens": 100}),
        ({}, "gpt-10", "x.example", {"max_completion_tokens": 100}),
        ({}, "gpt-oss-120b", "x.example", {"max_tokens": 100}),
    ],
)
def test_chat_limit_goes_where_the_provider_takes_it(
    body: dict[str, Any], model: str, host: str, expected: dict[str, int]
) -> None:
    """A limit is lowered where the caller put it, else put where host and model take it."""
    before = dict(body)

    assert expected == OPENAI_CHAT.with_output_limit(body, 100, model=model, host=host)
    assert before == body


def test_responses_limit_is_lowered() -> None:
    """Responses have one name for it, and a least value."""
    limits = [
        OPENAI_RESPONSES.with_output_limit(body, tokens, model="gpt-4o", host="api.openai.com")
        for body, tokens in (
            ({}, 100),
            ({"max_output_tokens": 50}, 100),
            ({"max_output_tokens": 500}, 100),
            ({}, 15),
        )
    ]

    assert [{"max_output_tokens": 100}, {"max_output_tokens": 50}, {"max_output_tokens": 100}, None] == limits


@pytest.mark.parametrize(
    ("budget", "tokens", "expected"),
    [
        (8_000, 10_000, (10_000, 8_000)),
        (8_000, 4_000, (4_000, 3_744)),
        (8_000, 1_100, (1_100, 1_024)),
        (8_000, 1_025, (1_025, 1_024)),
        (1_024, 2_000, (2_000, 1_024)),
    ],
)
def test_thinking_stays_below_the_limit(budget: int, tokens: int, expected: tuple[int, int]) -> None:
    """A thinking budget is lowered with the limit, and never to the limit or above."""
    thinking = {"type": "enabled", "budget_tokens": budget}
    body = {"max_tokens": 16_000, "thinking": thinking}
    changed = ANTHROPIC_MESSAGES.with_output_limit(body, tokens, model="claude-sonnet-4-5", host="")

    assert changed is not None
    assert {"max_tokens": expected[0], "thinking": {**thinking, "budget_tokens": expected[1]}} == changed
    assert {"type": "enabled", "budget_tokens": budget} == thinking


@pytest.mark.parametrize("tokens", [1, 256, 1_024])
def test_thinking_that_cannot_be_lowered_is_refused(tokens: int) -> None:
    """Below 1 024 tokens there is no thinking on a budget, so that no limit can be set."""
    body = {"max_tokens": 16_000, "thinking": {"type": "enabled", "budget_tokens": 2_000}}

    assert ANTHROPIC_MESSAGES.with_output_limit(body, tokens, model="claude-sonnet-4-5", host="") is None


def test_thinking_without_a_budget_needs_no_room() -> None:
    """Adaptive thinking has no budget of its own."""
    body = {"max_tokens": 16_000, "thinking": {"type": "adaptive"}}

    assert {**body, "max_tokens": 300} == ANTHROPIC_MESSAGES.with_output_limit(body, 300, model="m", host="")


def test_embeddings_have_nothing_to_limit() -> None:
    """Embeddings are sent as they are, in a copy."""
    body = {"model": "text-embedding-3-small", "input": "x"}
    changed = OPENAI_EMBEDDINGS.with_output_limit(
        body, 1, model="text-embedding-3-small", host="api.openai.com"
    )

    assert body == changed
    assert body is not changed


def test_another_model_is_asked_in_a_copy() -> None:
    """The caller's own body keeps its model; a reasoning model gets the limit under the name that it takes."""
    body: dict[str, Any] = {"model": "gpt-4o", "max_tokens": 50, "messages": []}

    assert {**body, "model": "gpt-4o-mini"} == OPENAI_CHAT.with_model(body, "gpt-4o-mini")
    assert {"model": "o4-mini", "messages": [], "max_completion_tokens": 50} == OPENAI_CHAT.with_model(
        body, "o4-mini"
    )
    assert {"model": "gpt-4o", "max_tokens": 50, "messages": []} == body


@pytest.mark.parametrize(
    ("body", "expected", "added"),
    [
        ({"stream": True}, {"stream": True, "stream_options": {"include_usage": True}}, True),
        (
            {"stream": True, "stream_options": {"include_obfuscation": False}},
            {"stream": True, "stream_options": {"include_obfuscation": False, "include_usage": True}},
            True,
        ),
        (
            {"stream": True, "stream_options": {"include_usage": True}},
            {"stream": True, "stream_options": {"include_usage": True}},
            False,
        ),
        (
            {"stream": True, "stream_options": None},
            {"stream": True, "stream_options": {"include_usage": True}},
            True,
        ),
        ({"stream": False}, {"stream": False}, False),
    ],
)
def test_usage_is_asked_for_once(body: dict[str, Any], expected: dict[str, Any], *, added: bool) -> None:
    """A stream is asked for its usage where the caller did not ask, and only then."""
    before = repr(body)

    assert (expected, added) == OPENAI_CHAT.with_stream_usage(body)
    assert before == repr(body)


def test_other_streams_state_their_usage_anyway() -> None:
    """Responses and messages need not be asked."""
    body = {"stream": True}

    assert (body, False) == OPENAI_RESPONSES.with_stream_usage(body)
    assert (body, False) == ANTHROPIC_MESSAGES.with_stream_usage(body)
