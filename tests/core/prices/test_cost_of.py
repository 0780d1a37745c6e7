"""What an accountant would write from one response: those that break naive billing, and shapes that nobody reads."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest

from bursar import prices

AT = datetime(2026, 11, 23, 2, tzinfo=UTC)
CHAT = "/v1/chat/completions"
RESPONSES = "/v1/responses"
MESSAGES = "/v1/messages"
GEMINI = "/v1beta/models/gemini-2.5-flash:generateContent"
ANSWER = [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "ok"}}]


def chat(model: str, usage: dict[str, Any], *, provider: str = "openai", **fields: Any) -> prices.Cost:
    """Return the cost of a chat completion of *model* that used *usage*."""
    response: dict[str, Any] = {
        "object": "chat.completion",
        "model": model,
        "choices": ANSWER,
        "usage": usage,
        **fields,
    }
    return prices.cost_of(provider=provider, path=CHAT, response=response, at=AT)


def response(model: str, usage: dict[str, Any], *, provider: str = "openai", **fields: Any) -> prices.Cost:
    """Return the cost of a Responses answer of *model* that used *usage*."""
    body: dict[str, Any] = {
        "object": "response",
        "status": "completed",
        "model": model,
        "output": [],
        "usage": usage,
        **fields,
    }
    return prices.cost_of(provider=provider, path=RESPONSES, response=body, at=AT)


def message(usage: dict[str, Any], *, model: str = "claude-sonnet-4-5", **fields: Any) -> prices.Cost:
    """Return the cost of an Anthropic message of *model* that used *usage*."""
    body: dict[str, Any] = {
        "type": "message",
        "model": model,
        "content": [],
        "stop_reason": "end_turn",
        "usage": usage,
    }
    return prices.cost_of(provider="anthropic", path=MESSAGES, response=body, at=AT, **fields)


def gemini(
    usage: dict[str, Any], *, path: str = GEMINI, provider: str = "google", **fields: Any
) -> prices.Cost:
    """Return the cost of a Gemini answer that used *usage*."""
    candidate = {"content": {"parts": [{"text": "ok"}], "role": "model"}, "finishReason": "STOP", **fields}
    body: dict[str, Any] = {"candidates": [candidate], "usageMetadata": usage}
    return prices.cost_of(provider=provider, path=path, response=body, at=AT)


class TestBreakers:
    def test_iterations_of_a_compaction_are_billed(self) -> None:
        """Where iterations hold more than the top of the usage, they are what is billed."""
        got = message(
            {
                "input_tokens": 162,
                "output_tokens": 33,
                "iterations": [
                    {"type": "compaction", "input_tokens": 99_033, "output_tokens": 100},
                    {"type": "message", "input_tokens": 162, "output_tokens": 33},
                ],
            },
            model="claude-opus-4-6",
        )

        assert Decimal("0.4993") == got.usd
        assert (99_195, 133, "priced") == (got.usage.input_tokens, got.usage.output_tokens, got.source)

    def test_an_advisor_is_billed_as_its_own_model(self) -> None:
        """An iteration that names another model has that one's rates; both rows are named."""
        got = message(
            {
                "input_tokens": 1_000,
                "output_tokens": 100,
                "iterations": [
                    {"type": "message", "input_tokens": 1_000, "output_tokens": 100},
                    {
                        "type": "advisor_message",
                        "model": "claude-opus-4-8",
                        "input_tokens": 2_000,
                        "output_tokens": 200,
                    },
                ],
            }
        )

        # Sonnet 4.5 is $3 and $15, Opus 4.8 $5 and $25.
        assert Decimal("0.0195") == got.usd
        assert "claude-sonnet-4-5" in got.price
        assert "claude-opus-4-8" in got.price

    def test_more_cached_than_prompt_is_flagged(self) -> None:
        """Azure-hosted Grok states 161 cached of 10 prompt tokens: nothing is dropped or raised, and it is said."""
        got = chat(
            "grok-3-mini",
            {"prompt_tokens": 10, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": 161}},
            provider="azure",
        )
        alone = chat("grok-3-mini", {"prompt_tokens": 10, "completion_tokens": 5}, provider="azure")

        assert got.usd is not None
        assert alone.usd is not None
        assert got.usd > alone.usd
        assert ("estimated", "priced") == (got.source, alone.source)
        assert 161 == got.usage.cache_read_tokens

    def test_a_stream_without_usage_is_counted(self) -> None:
        """What was sent and what was seen is counted with the model's own tokenizer, and marked as an estimate."""
        pytest.importorskip("bpe_openai")
        texts = ["Hello", " there", "!"]
        events: list[Any] = [
            {
                "event": None,
                "data": {
                    "model": "gpt-4o",
                    "object": "chat.completion.chunk",
                    "choices": [{"index": 0, "delta": {"content": text}, "finish_reason": None}],
                },
            }
            for text in texts
        ]
        events.append({"event": None, "data": "[DONE]"})
        request = {"model": "gpt-4o", "stream": True, "messages": [{"role": "user", "content": "Say hello."}]}
        got = prices.cost_of(provider="openai", path=CHAT, request=request, response=events, at=AT)

        assert ("estimated", 3) == (got.source, got.usage.output_tokens)
        assert Decimal("0.0000025") * got.usage.input_tokens + Decimal("0.00003") == got.usd
        assert 10 == got.usage.input_tokens

    def test_a_stream_of_an_unknown_tokenizer_is_not_made_small(self) -> None:
        """Where no tokenizer is at hand, bytes are counted, of which there are never fewer than tokens."""
        events = [
            {
                "candidates": [{"content": {"parts": [{"text": "x" * 400}]}}],
                "modelVersion": "gemini-2.5-flash",
            }
        ]
        request = {"contents": [{"parts": [{"text": "y" * 400}]}]}
        got = prices.cost_of(provider="google", path=GEMINI, request=request, response=events, at=AT)

        assert ("estimated", 400) == (got.source, got.usage.output_tokens)
        assert 400 <= got.usage.input_tokens < 500

    @pytest.mark.parametrize(
        "request_body", [None, {}, {"model": "gpt-4o"}, {"model": "gpt-4o", "stream": True}]
    )
    def test_without_usage_and_prompt_a_cost_is_unknown(self, request_body: dict[str, Any] | None) -> None:
        """Nothing to count is unknown, never zero."""
        body: dict[str, Any] = {"model": "gpt-4o", "choices": ANSWER}
        got = prices.cost_of(provider="openai", path=CHAT, request=request_body, response=body, at=AT)

        assert (None, "unknown") == (got.usd, got.source)

    def test_hidden_thinking_is_billed(self) -> None:
        """Gemini's compatible format leaves thinking out of the completion: 109 in all, of 35 and 12."""
        got = chat(
            "gemini-2.5-flash",
            {"prompt_tokens": 35, "completion_tokens": 12, "total_tokens": 109},
            provider="google",
        )

        assert (74, Decimal("0.0001955")) == (got.usage.output_tokens, got.usd)

    def test_details_that_do_not_sum_bill_the_whole(self) -> None:
        """Details below the count are parts of it, and what they leave out is billed as text."""
        got = gemini(
            {
                "promptTokenCount": 1_000,
                "candidatesTokenCount": 10,
                "totalTokenCount": 1_010,
                "promptTokensDetails": [
                    {"modality": "TEXT", "tokenCount": 900},
                    {"modality": "AUDIO", "tokenCount": 39},
                ],
            }
        )

        # 961 of text at $0.30, 39 of audio at $1, 10 of output at $2.50.
        assert Decimal("0.0003523") == got.usd

    def test_audio_is_not_text(self) -> None:
        """An audio model's audio has its own rates, which genai-prices lacks."""
        usage: dict[str, Any] = {
            "prompt_tokens": 60,
            "completion_tokens": 14,
            "prompt_tokens_details": {"audio_tokens": 44, "cached_tokens": 0},
            "completion_tokens_details": {"audio_tokens": 10},
        }
        got = chat("gpt-4o-audio-preview-2025-06-03", usage)

        # 16 at $2.50, 44 at $40, 4 at $10, 10 at $80.
        assert (Decimal("0.00264"), "priced") == (got.usd, got.source)

    @pytest.mark.parametrize(
        ("model", "at", "usd"),
        [
            ("gpt-4o-audio-preview", date(2024, 12, 16), "0.0001"),
            ("gpt-4o-audio-preview", date(2024, 12, 17), "0.00004"),
            ("gpt-4o-audio-preview-2024-10-01", date(2026, 1, 1), "0.0001"),
            ("gpt-4o-mini-audio-preview", date(2026, 1, 1), "0.00001"),
        ],
    )
    def test_an_audio_token_costs_what_it_did_that_day(self, model: str, at: date, usd: str) -> None:
        """The rates of audio have their days; the first snapshot kept its own."""
        body: dict[str, Any] = {
            "model": model,
            "usage": {
                "prompt_tokens": 1,
                "completion_tokens": 0,
                "prompt_tokens_details": {"audio_tokens": 1},
            },
        }
        got = prices.cost_of(provider="openai", path=CHAT, response=body, at=at)

        assert Decimal(usd) == got.usd

    @pytest.mark.parametrize(
        "prefix", ["/v1", "/v1beta", "/v1beta1/projects/p/locations/l/publishers/google"]
    )
    def test_every_version_of_the_path_is_read(self, prefix: str) -> None:
        """google-genai with a custom address calls /v1, the Gemini API /v1beta, Vertex AI /v1beta1."""
        usage: dict[str, Any] = {
            "promptTokenCount": 1_000,
            "candidatesTokenCount": 100,
            "totalTokenCount": 1_100,
        }

        assert (
            Decimal("0.00055") == gemini(usage, path=f"{prefix}/models/gemini-2.5-flash:generateContent").usd
        )
