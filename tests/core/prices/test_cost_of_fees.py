"""What an accountant would write from one response: fees besides tokens."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from answers import chat, gemini, message, response

NO_TOKENS = {"input_tokens": 0, "output_tokens": 0}


class TestFees:
    def test_web_searches_of_responses(self) -> None:
        """Each search is a cent; opening a page is not one."""
        output = [
            {"type": "web_search_call", "action": {"type": "search"}},
            {"type": "web_search_call", "action": {"type": "open_page"}},
            {"type": "web_search_call", "action": {"type": "search"}},
        ]
        got = response("gpt-5.4", NO_TOKENS, output=output)

        assert (Decimal("0.02"), 2) == (got.usd, got.usage.other["web_searches"])

    def test_the_providers_own_count_of_searches_comes_first(self) -> None:
        """One call may search several times, which only `tool_usage` says."""
        got = response(
            "gpt-5.4",
            NO_TOKENS,
            output=[{"type": "web_search_call", "action": {"type": "search"}}],
            tool_usage={"web_search": {"num_requests": 3}},
        )

        assert Decimal("0.03") == got.usd

    @pytest.mark.parametrize(
        ("model", "usd"),
        [("gpt-4o", "0.025"), ("gpt-4.1-mini", "0.025"), ("gpt-5.4", "0.01"), ("o3", "0.01")],
    )
    def test_a_preview_of_web_search_is_dearer_without_reasoning(self, model: str, usd: str) -> None:
        """The older tool is $25 a thousand at models that do not reason."""
        got = response(
            model,
            NO_TOKENS,
            output=[{"type": "web_search_call", "action": {"type": "search"}}],
            tools=[{"type": "web_search_preview_2025_03_11"}],
        )

        assert (Decimal(usd), "priced") == (got.usd, got.source)

    def test_file_searches_and_containers(self) -> None:
        """A search of files is a quarter of a cent; a container three cents, however often code runs in it."""
        output = [
            {"type": "file_search_call"},
            {"type": "code_interpreter_call", "container_id": "c1"},
            {"type": "code_interpreter_call", "container_id": "c1"},
            {"type": "code_interpreter_call", "container_id": "c2"},
        ]

        assert Decimal("0.0625") == response("gpt-4.1", NO_TOKENS, output=output).usd

    def test_images_of_the_responses_tool(self) -> None:
        """The tool's tokens are of another model, and not in the usage."""
        got = response(
            "gpt-5.4",
            {"input_tokens": 100, "output_tokens": 10},
            output=[{"type": "image_generation_call", "status": "completed"}],
            tools=[{"type": "image_generation", "model": "gpt-image-1"}],
            tool_usage={
                "image_gen": {
                    "input_tokens": 50,
                    "input_tokens_details": {"image_tokens": 20, "text_tokens": 30},
                    "output_tokens": 1_056,
                    "total_tokens": 1_106,
                }
            },
        )

        # 100 at $2.50, 10 at $15; 30 at $5, 20 at $10, 1 056 at $40.
        assert (Decimal("0.04299"), "priced") == (got.usd, got.source)
        assert "gpt-image-1" in got.price

    def test_an_image_whose_tokens_are_not_stated_is_an_estimate(self) -> None:
        """What an image costs is not in older answers: the rest is known from below, and nothing is never a price."""
        drawn = [{"type": "image_generation_call"}]
        got = response("gpt-5.4", {"input_tokens": 100, "output_tokens": 0}, output=drawn)
        bare = response("gpt-5.4", NO_TOKENS, output=drawn)

        assert (Decimal("0.00025"), "estimated") == (got.usd, got.source)
        assert (None, "unknown") == (bare.usd, bare.source)

    def test_web_searches_of_anthropic(self) -> None:
        """Ten dollars a thousand, counted by the provider; fetching is free."""
        used: dict[str, Any] = {"web_search_requests": 2, "web_fetch_requests": 5}

        assert Decimal("0.02") == message({**NO_TOKENS, "server_tool_use": used}).usd

    @pytest.mark.parametrize(
        ("model", "queries", "usd"),
        [
            ("gemini-2.5-flash", 3, "0.035"),
            ("gemini-3-flash-preview", 3, "0.042"),
            ("gemini-2.5-flash", 0, "0"),
        ],
    )
    def test_grounding_of_gemini(self, model: str, queries: int, usd: str) -> None:
        """Up to Gemini 2.5 a grounded answer is billed once, from Gemini 3 on each query."""
        grounding: dict[str, Any] = {"webSearchQueries": [f"q{number}" for number in range(queries)]}
        got = gemini(
            {"promptTokenCount": 0, "candidatesTokenCount": 0}, model=model, groundingMetadata=grounding
        )

        assert Decimal(usd) == got.usd

    def test_a_search_model_searches_every_time(self) -> None:
        """OpenAI's search models say nothing of their search, which costs more than the answer."""
        got = chat("gpt-4o-search-preview-2025-03-11", {"prompt_tokens": 0, "completion_tokens": 0})

        assert (Decimal("0.025"), "priced") == (got.usd, got.source)

    def test_a_count_without_a_rate_makes_an_estimate(self) -> None:
        """The cost is then known from below."""
        grounding: dict[str, Any] = {"webSearchQueries": ["q"]}
        got = gemini({"promptTokenCount": 10}, model="gemini-2.5-flash-image", groundingMetadata=grounding)

        assert "estimated" == got.source
