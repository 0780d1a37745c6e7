"""What an Anthropic message used."""

from __future__ import annotations

from typing import Any

import pytest

from bursar.usage import Usage
from bursar.wire import ANTHROPIC_MESSAGES, Part


def message(usage: dict[str, Any], **fields: object) -> dict[str, Any]:
    """Return an Anthropic message with *usage*."""
    return {"model": "claude-sonnet-4-5", "stop_reason": "end_turn", "usage": usage, **fields}


def test_input_has_the_cache_in_it() -> None:
    """Anthropic keeps cached input apart; it is added, and the hour's share told."""
    receipt = ANTHROPIC_MESSAGES.read_response(
        message(
            {
                "input_tokens": 10,
                "cache_read_input_tokens": 200,
                "cache_creation_input_tokens": 3000,
                "cache_creation": {"ephemeral_5m_input_tokens": 1000, "ephemeral_1h_input_tokens": 2000},
                "output_tokens": 50,
                "output_tokens_details": {"thinking_tokens": 20},
                "server_tool_use": {"web_search_requests": 2, "web_fetch_requests": 1},
                "service_tier": "batch",
            }
        )
    )
    expected = Usage(
        input_tokens=3_210,
        cache_read_tokens=200,
        cache_write_tokens=3_000,
        cache_write_1h_tokens=2_000,
        output_tokens=50,
        reasoning_tokens=20,
        other={"web_searches": 2},
    )

    assert expected == receipt.usage
    assert {"web_search": 2, "web_fetch": 1} == receipt.server_tools
    assert ("batch", True, ()) == (receipt.tier, receipt.finished, receipt.parts)


def test_counts_of_a_stream_are_cumulative() -> None:
    """Later counts replace earlier ones, field by field; a missing one stays."""
    start = message(
        {
            "input_tokens": 10,
            "cache_read_input_tokens": 5,
            "cache_creation": {"ephemeral_1h_input_tokens": 7},
            "cache_creation_input_tokens": 7,
            "output_tokens": 1,
        },
        stop_reason=None,
    )
    events: list[dict[str, Any]] = [
        {"type": "message_start", "message": start},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 30}},
        {"type": "message_delta", "delta": {}, "usage": {"output_tokens": 40, "input_tokens": None}},
        {"type": "message_stop"},
    ]
    whole, cut = ANTHROPIC_MESSAGES.read_events(events), ANTHROPIC_MESSAGES.read_events(events[:1])
    cached: dict[str, Any] = {"cache_read_tokens": 5, "cache_write_tokens": 7, "cache_write_1h_tokens": 7}

    assert Usage(input_tokens=22, output_tokens=40, **cached) == whole.usage
    assert Usage(input_tokens=22, output_tokens=1, **cached) == cut.usage
    assert ("claude-sonnet-4-5", True, False) == (whole.model, whole.finished, cut.finished)


def test_iterations_are_billed_in_parts() -> None:
    """A compaction and an advisor are only in the iterations, the advisor at its own model's rates."""
    receipt = ANTHROPIC_MESSAGES.read_response(
        message(
            {
                "input_tokens": 162,
                "output_tokens": 98,
                "iterations": [
                    {"type": "compaction", "input_tokens": 99_033, "output_tokens": 500},
                    {"type": "message", "input_tokens": 162, "output_tokens": 98},
                    {
                        "type": "advisor_message",
                        "model": "claude-opus-4-8",
                        "input_tokens": 800,
                        "output_tokens": 60,
                    },
                ],
            }
        )
    )
    expected = (
        Part(model=None, usage=Usage(input_tokens=99_033, output_tokens=500)),
        Part(model=None, usage=Usage(input_tokens=162, output_tokens=98)),
        Part(model="claude-opus-4-8", usage=Usage(input_tokens=800, output_tokens=60)),
    )

    assert expected == receipt.parts
    assert Usage(input_tokens=99_995, output_tokens=658) == receipt.usage


def test_iterations_that_say_the_same_are_no_parts() -> None:
    """One iteration that repeats the top adds nothing, and ones that say less than the top are not believed."""
    usage: dict[str, Any] = {"input_tokens": 54, "output_tokens": 14}
    same = message({**usage, "iterations": [{"type": "message", **usage}]})
    less = message({**usage, "iterations": [{"type": "message", "input_tokens": 1, "output_tokens": 1}] * 2})

    assert [(), ()] == [ANTHROPIC_MESSAGES.read_response(body).parts for body in (same, less)]
    assert Usage(**usage) == ANTHROPIC_MESSAGES.read_response(less).usage


def test_searches_stay_when_there_are_parts() -> None:
    """Searches are counted for the whole call, and are not lost among its parts."""
    one = {"type": "message", "input_tokens": 5, "output_tokens": 5}
    receipt = ANTHROPIC_MESSAGES.read_response(
        message(
            {
                "input_tokens": 10,
                "output_tokens": 10,
                "iterations": [one, one],
                "server_tool_use": {"web_search_requests": 3},
            }
        )
    )

    assert 3 == sum(part.usage.other.get("web_searches", 0) for part in receipt.parts)


def test_fast_mode_is_the_tier() -> None:
    """Fast mode has rates of its own, whatever the service tier."""
    body = message({"input_tokens": 1, "output_tokens": 1, "speed": "fast", "service_tier": "standard"})

    assert "fast" == ANTHROPIC_MESSAGES.read_response(body).tier


def test_output_seen_is_all_deltas() -> None:
    """Text, thinking, names and arguments of tools are seen, signatures not."""
    events: list[dict[str, Any]] = [
        {"type": "content_block_start", "content_block": {"type": "thinking", "thinking": ""}},
        {"type": "content_block_delta", "delta": {"type": "thinking_delta", "thinking": "hm "}},
        {"type": "content_block_delta", "delta": {"type": "signature_delta", "signature": "AAAA"}},
        {"type": "content_block_start", "content_block": {"type": "tool_use", "name": "f ", "input": {}}},
        {"type": "content_block_delta", "delta": {"type": "input_json_delta", "partial_json": "{} "}},
        {"type": "content_block_delta", "delta": {"type": "text_delta", "text": "text"}},
    ]

    assert "hm f {} text" == ANTHROPIC_MESSAGES.output_seen(events)


@pytest.mark.parametrize("usage", [{}, {"input_tokens": 5}, {"output_tokens": 5}])
def test_half_a_usage_is_unknown(usage: dict[str, int]) -> None:
    """A usage that leaves out input or output does not make it zero."""
    assert ANTHROPIC_MESSAGES.read_response(message(usage)).usage is None
