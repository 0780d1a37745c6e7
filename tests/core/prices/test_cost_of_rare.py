"""What an accountant would write from one response: kinds of usage that recorded exchanges hardly hold."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from answers import AT, chat, converse, gemini, message, response
from hypothesis import given
from hypothesis import strategies as st

from bursar import prices


class TestCacheWrites:
    def test_five_minutes_and_an_hour(self) -> None:
        """A write costs 1.25 times the input for five minutes, and twice for an hour."""
        usage: dict[str, Any] = {
            "input_tokens": 1_000,
            "cache_read_input_tokens": 1_000,
            "cache_creation_input_tokens": 3_000,
            "cache_creation": {"ephemeral_5m_input_tokens": 2_000, "ephemeral_1h_input_tokens": 1_000},
            "output_tokens": 100,
        }

        # $3, $0.30, $3.75, $6, $15 for a million.
        assert Decimal("0.0183") == message(usage).usd

    def test_on_bedrock(self) -> None:
        """Bedrock lists writes by their time to live."""
        usage: dict[str, Any] = {
            "inputTokens": 1_000,
            "cacheReadInputTokens": 1_000,
            "cacheWriteInputTokens": 3_000,
            "cacheDetails": [{"ttl": "1h", "inputTokens": 1_000}, {"ttl": "5m", "inputTokens": 2_000}],
            "outputTokens": 100,
        }

        assert Decimal("0.0183") == converse("global.anthropic.claude-sonnet-4-5-20250929-v1:0", usage).usd

    def test_details_alone_are_enough(self) -> None:
        """A write that only the details state is billed all the same."""
        usage: dict[str, Any] = {
            "input_tokens": 0,
            "output_tokens": 0,
            "cache_creation": {"ephemeral_1h_input_tokens": 1_000},
        }

        assert Decimal("0.006") == message(usage).usd

    def test_of_openai(self) -> None:
        """OpenAI's newer models write to their cache at a rate of their own."""
        usage: dict[str, Any] = {
            "input_tokens": 2_000,
            "input_tokens_details": {"cached_tokens": 500, "cache_write_tokens": 1_000},
            "output_tokens": 100,
        }
        got = response("gpt-5.6", usage)

        assert 1_000 == got.usage.cache_write_tokens
        assert "priced" == got.source


class TestTiers:
    @pytest.mark.parametrize(
        ("tier", "usd"), [("default", "0.003"), ("flex", "0.0015"), ("priority", "0.006"), ("auto", "0.003")]
    )
    def test_the_tier_that_served_is_billed(self, tier: str, usd: str) -> None:
        """OpenAI says which tier served, whichever was asked for."""
        usage: dict[str, Any] = {"input_tokens": 600, "output_tokens": 100}

        assert Decimal(usd) == response("gpt-5.4", usage, service_tier=tier).usd
        assert (
            Decimal(usd)
            == chat("gpt-5.4", {"prompt_tokens": 600, "completion_tokens": 100}, service_tier=tier).usd
        )

    def test_a_batch_is_told_by_the_caller_or_by_the_provider(self) -> None:
        """A line of a batch's results is half the price; Anthropic says so, OpenAI does not."""
        usage: dict[str, Any] = {"input_tokens": 1_000, "output_tokens": 100}

        assert Decimal("0.00225") == message(usage, tier="batch").usd
        assert Decimal("0.00225") == message({**usage, "service_tier": "batch"}).usd

    def test_fast_mode_has_rates_of_its_own(self) -> None:
        """Anthropic says in the usage which speed served."""
        usage: dict[str, Any] = {"input_tokens": 1_000, "output_tokens": 100}
        costs = [
            message({**usage, "speed": speed}, model="claude-opus-4-8").usd for speed in ("standard", "fast")
        ]

        assert [Decimal("0.0075"), Decimal("0.015")] == costs

    def test_a_place_has_rates_of_its_own(self) -> None:
        """Inference in the US alone is a tenth dearer."""
        usage: dict[str, Any] = {"input_tokens": 1_000, "output_tokens": 100}
        costs = [
            message({**usage, **more}, model="claude-opus-4-6").usd
            for more in (
                {},
                {"inference_geo": "us"},
                {"inference_geo": "global"},
                {"inference_geo": "not_available"},
            )
        ]

        assert [Decimal("0.0075"), Decimal("0.00825"), Decimal("0.0075"), Decimal("0.0075")] == costs

    def test_tiers_of_bedrock(self) -> None:
        """Bedrock's flex is half of standard, its priority 75 % more."""
        usage: dict[str, Any] = {"inputTokens": 100_000, "outputTokens": 10_000}
        costs = [
            converse("openai.gpt-oss-120b-1:0", usage, serviceTier={"type": tier}).usd
            for tier in ("default", "flex", "priority")
        ]

        assert [Decimal("0.021"), Decimal("0.0105"), Decimal("0.03675")] == costs

    def test_tiers_of_gemini(self) -> None:
        """Gemini's flex is half of standard; of priority only the range is known, so that its cost is an estimate."""
        usage: dict[str, Any] = {
            "promptTokenCount": 1_000,
            "candidatesTokenCount": 100,
            "totalTokenCount": 1_100,
        }
        flex, priority = (gemini({**usage, "serviceTier": tier}) for tier in ("flex", "priority"))
        vertex = gemini({**usage, "trafficType": "ON_DEMAND_FLEX"})

        assert (Decimal("0.000275"), "priced") == (flex.usd, flex.source)
        assert (Decimal("0.0011"), "estimated") == (priority.usd, priority.source)
        assert flex.usd == vertex.usd

    def test_a_dearer_tier_without_rates_is_an_estimate(self) -> None:
        """What is known of it is the standard rate, which is too low."""
        got = chat(
            "mistral-large-latest",
            {"prompt_tokens": 1, "completion_tokens": 1},
            provider="mistral",
            service_tier="priority",
        )

        assert "estimated" == got.source


class TestThresholds:
    @pytest.mark.parametrize(("tokens", "usd"), [(200_000, "0.6"), (200_001, "1.200006")])
    def test_a_long_prompt_reprices_all_of_it(self, tokens: int, usd: str) -> None:
        """Above Anthropic's threshold every token is dearer, and cached ones count towards it."""
        whole = message({"input_tokens": tokens, "output_tokens": 0})
        cached = message({"input_tokens": 1, "cache_read_input_tokens": tokens - 1, "output_tokens": 0})

        assert Decimal(usd) == whole.usd
        assert cached.usd is not None
        assert (tokens > 200_000) is (cached.usd > Decimal("0.1"))

    @pytest.mark.parametrize(("tokens", "usd"), [(200_000, "0.2501"), (200_001, "0.5001525")])
    def test_of_gemini(self, tokens: int, usd: str) -> None:
        """Gemini's thinking is output at the rates of the band, too."""
        usage: dict[str, Any] = {
            "promptTokenCount": tokens,
            "candidatesTokenCount": 4,
            "thoughtsTokenCount": 6,
        }

        assert Decimal(usd) == gemini(usage, model="gemini-2.5-pro").usd

    @pytest.mark.parametrize(("tokens", "usd"), [(272_000, "0.68"), (272_001, "1.360005")])
    def test_of_openai(self, tokens: int, usd: str) -> None:
        """OpenAI's threshold is another."""
        assert Decimal(usd) == response("gpt-5.4", {"input_tokens": tokens, "output_tokens": 0}).usd


class TestModalities:
    def test_images_out_of_gemini(self) -> None:
        """An image is 1 290 tokens at a rate of its own, the text around it is text."""
        usage: dict[str, Any] = {
            "promptTokenCount": 100,
            "candidatesTokenCount": 1_300,
            "candidatesTokensDetails": [{"modality": "IMAGE", "tokenCount": 1_290}],
        }

        # 100 at $0.30, 10 at $2.50, 1 290 at $30.
        assert Decimal("0.038755") == gemini(usage, model="gemini-2.5-flash-image").usd

    def test_audio_into_gemini_cached_and_not(self) -> None:
        """Audio is dearer than text, from the cache too."""
        usage: dict[str, Any] = {
            "promptTokenCount": 1_000,
            "promptTokensDetails": [
                {"modality": "TEXT", "tokenCount": 400},
                {"modality": "AUDIO", "tokenCount": 600},
            ],
            "cachedContentTokenCount": 500,
            "cacheTokensDetails": [
                {"modality": "AUDIO", "tokenCount": 300},
                {"modality": "TEXT", "tokenCount": 200},
            ],
            "candidatesTokenCount": 0,
        }

        # 200 text at $0.30, 200 cached at $0.03; 300 audio at $1, 300 cached at $0.10.
        assert Decimal("0.000396") == gemini(usage).usd

    def test_what_tools_read_is_input_besides_the_prompt(self) -> None:
        """Pages that Gemini's tools fetch are billed as input."""
        usage: dict[str, Any] = {
            "promptTokenCount": 32,
            "toolUsePromptTokenCount": 4_610,
            "candidatesTokenCount": 25,
            "thoughtsTokenCount": 37,
            "totalTokenCount": 4_704,
        }

        assert (4_642, 62) == (gemini(usage).usage.input_tokens, gemini(usage).usage.output_tokens)


class TestTime:
    @pytest.mark.parametrize(("hour", "usd"), [(7, "0.3"), (12, "0.15")])
    def test_hours_of_the_day(self, hour: int, usd: str) -> None:
        """DeepSeek is dearer at some hours, in UTC, wherever the caller's clock is."""
        body: dict[str, Any] = {
            "model": "deepseek-v4-flash",
            "usage": {"prompt_tokens": 1_000_000, "completion_tokens": 0},
        }
        instant = datetime(2026, 11, 23, hour, tzinfo=UTC)
        moments = (instant, instant.astimezone(timezone(timedelta(hours=9))), instant.replace(tzinfo=None))
        costs = [
            prices.cost_of(provider="deepseek", path="/chat/completions", response=body, at=at).usd
            for at in moments
        ]

        assert [Decimal(usd)] * 3 == costs

    def test_night_and_day_differ(self) -> None:
        """A date is its midnight, which is off-peak."""
        body: dict[str, Any] = {
            "model": "deepseek-v4-flash",
            "usage": {"prompt_tokens": 1_000_000, "completion_tokens": 0},
        }
        peak, midnight = (
            prices.cost_of(provider="deepseek", path="/chat/completions", response=body, at=at).usd
            for at in (datetime(2026, 11, 23, 7, tzinfo=UTC), date(2026, 11, 23))
        )

        assert peak is not None
        assert midnight is not None
        assert 2 * midnight == peak


class TestStated:
    @pytest.mark.parametrize(
        ("provider", "usage", "usd"),
        [
            ("openrouter", {"cost": 0.00014}, "0.00014"),
            (
                "openrouter",
                {"cost": 0.0001, "is_byok": True, "cost_details": {"upstream_inference_cost": 0.002}},
                "0.0021",
            ),
            ("x-ai", {"cost_in_usd_ticks": 9_243_500}, "0.00092435"),
            ("perplexity", {"cost": {"total_cost": 0.00612}}, "0.00612"),
        ],
    )
    def test_the_providers_own_figure_is_booked(self, provider: str, usage: dict[str, Any], usd: str) -> None:
        """A stated cost beats a computed one, for a model that nobody has a price of, too."""
        got = chat(
            "anyone/anything", {"prompt_tokens": 10, "completion_tokens": 1, **usage}, provider=provider
        )

        assert (Decimal(usd), "stated") == (got.usd, got.source)


class TestOtherSellers:
    def test_compound_systems_are_billed_by_their_models(self) -> None:
        """Groq's compound systems say which models ran."""
        breakdown: dict[str, Any] = {
            "models": [
                {
                    "model": "openai/gpt-oss-120b",
                    "usage": {"prompt_tokens": 1_000, "completion_tokens": 100, "total_tokens": 1_100},
                },
                {
                    "model": "llama-3.3-70b-versatile",
                    "usage": {"prompt_tokens": 1_000, "completion_tokens": 100, "total_tokens": 1_100},
                },
            ]
        }
        got = chat(
            "groq/compound",
            {"prompt_tokens": 2_000, "completion_tokens": 200},
            provider="groq",
            usage_breakdown=breakdown,
        )

        # $0.15 and $0.60, $0.59 and $0.79.
        assert (Decimal("0.000879"), 2_200) == (got.usd, got.usage.total_tokens)

    @pytest.mark.parametrize(
        ("provider", "path"),
        [
            ("azure", "/openai/deployments/my-deployment/chat/completions"),
            ("azure", "/models/chat/completions"),
            ("azure", "/somewhere/odd"),
        ],
    )
    def test_the_model_that_served_is_billed(self, provider: str, path: str) -> None:
        """A deployment has any name; the response has the model's, on whatever path."""
        body: dict[str, Any] = {
            "object": "chat.completion",
            "model": "gpt-4o-2024-08-06",
            "choices": [],
            "usage": {"prompt_tokens": 1_000, "completion_tokens": 100},
        }
        got = prices.cost_of(provider=provider, path=path, response=body, at=AT)

        assert (Decimal("0.0035"), "gpt-4o-2024-08-06") == (got.usd, got.model)

    def test_what_is_free_elsewhere_may_be_billed(self) -> None:
        """Mistral's conversations have the path of OpenAI's, which only keep; the usage tells them apart."""
        usage = {"prompt_tokens": 100, "completion_tokens": 10, "connector_tokens": 50, "total_tokens": 160}
        body: dict[str, Any] = {"object": "conversation.response", "outputs": [], "usage": usage}
        got, kept = (
            prices.cost_of(
                provider="mistral",
                path="/v1/conversations",
                request={"model": "mistral-medium-latest"},
                response=answer,
                at=AT,
            )
            for answer in (body, {"id": "conv_1", "object": "conversation"})
        )

        assert (150, 10, "priced") == (got.usage.input_tokens, got.usage.output_tokens, got.source)
        assert (Decimal(0), "none") == (kept.usd, kept.source)

    def test_a_model_of_ones_own(self) -> None:
        """Ollama counts what it ran; it costs what was declared, and is unknown, not free, until then."""
        events: list[dict[str, Any]] = [
            {"model": "qwen9-mine", "message": {"role": "assistant", "content": "hi"}, "done": False},
            {"model": "qwen9-mine", "done": True, "prompt_eval_count": 100, "eval_count": 10},
        ]
        with prices.temporary():
            before = prices.cost_of(provider="ollama", path="/api/chat", response=events, at=AT)
            prices.free("qwen9-mine")
            after = prices.cost_of(provider="ollama", path="/api/chat", response=events, at=AT)

        assert (None, "unknown") == (before.usd, before.source)
        assert (Decimal(0), "priced", 110) == (after.usd, after.source, after.usage.total_tokens)

    def test_reranking_by_tokens(self) -> None:
        """Voyage reranks on Cohere's path, and bills tokens."""
        body: dict[str, Any] = {
            "object": "list",
            "data": [],
            "model": "rerank-2",
            "usage": {"total_tokens": 1_000},
        }
        got = prices.cost_of(provider="voyageai", path="/v1/rerank", response=body, at=AT)

        assert 1_000 == got.usage.input_tokens

    def test_reasoning_apart_from_the_completion(self) -> None:
        """Grok counts reasoning outside of the completion, in the total."""
        usage: dict[str, Any] = {
            "prompt_tokens": 100,
            "completion_tokens": 10,
            "total_tokens": 310,
            "completion_tokens_details": {"reasoning_tokens": 200},
        }
        got = chat("grok-4", usage, provider="x-ai")

        assert (210, Decimal("0.00345")) == (got.usage.output_tokens, got.usd)

    def test_models_of_others_on_vertex(self) -> None:
        """Anthropic's models on Vertex AI answer in Anthropic's format, below Google's path."""
        path = "/v1/projects/p/locations/global/publishers/anthropic/models/claude-sonnet-4-5@20250929:rawPredict"
        body: dict[str, Any] = {
            "type": "message",
            "model": "claude-sonnet-4-5-20250929",
            "stop_reason": "end_turn",
            "content": [],
            "usage": {"input_tokens": 1_000, "output_tokens": 100},
        }
        got = prices.cost_of(provider="google-vertex", path=path, response=body, at=AT)

        assert Decimal("0.0045") == got.usd


class TestNothingIsBilled:
    @pytest.mark.parametrize(
        ("path", "body"),
        [
            ("/v1/moderations", {"results": []}),
            ("/v1/messages/count_tokens", {"input_tokens": 10}),
            ("/v1/chat/completions", {"error": {"message": "no", "type": "invalid_request_error"}}),
            (
                "/v1beta/models/gemini-2.5-flash:generateContent",
                {"error": {"code": 429, "status": "RESOURCE_EXHAUSTED"}},
            ),
        ],
    )
    def test_free_endpoints_and_errors(self, path: str, body: dict[str, Any]) -> None:
        """A free endpoint and an error cost nothing, and that is known."""
        got = prices.cost_of(provider="openai", path=path, response=body, at=AT)

        assert (Decimal(0), "none") == (got.usd, got.source)


_KEYS = (
    st.sampled_from(
        ["model", "usage", "usageMetadata", "candidates", "output", "response", "events", "data", "event"]
    )
    | st.sampled_from(
        [
            "error",
            "prompt_tokens",
            "input_tokens",
            "output_tokens",
            "completion_tokens",
            "total_tokens",
            "promptTokenCount",
            "inputTokens",
            "meta",
        ]
    )
    | st.sampled_from(
        ["billed_units", "metadata", "iterations", "cost", "choices", "tools", "tool_usage", "chunk", "bytes"]
    )
    | st.sampled_from(["usage_breakdown", "models", "results", "image_gen", "type", "delta", "message"])
)
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(_KEYS | st.text(max_size=4), inner, max_size=5)
    ),
    max_leaves=25,
)
_PATHS = (
    "/v1/chat/completions",
    "/v1/responses",
    "/v1/messages",
    "/v1/embeddings",
    "/v1beta/models/gemini-2.5-flash:streamGenerateContent",
    "/v1beta/models/gemini-embedding-001:embedContent",
    "/model/amazon.nova-lite-v1:0/converse",
    "/model/meta.llama3-8b-instruct-v1:0/invoke",
    "/v2/chat",
    "/v1/chat",
    "/v2/embed",
    "/v2/rerank",
    "/api/chat",
    "/odd",
    "",
)


@given(
    response=st.dictionaries(_KEYS, _JSON, max_size=6) | st.lists(_JSON, max_size=4),
    request_body=st.none() | st.dictionaries(_KEYS, _JSON, max_size=4),
)
@pytest.mark.parametrize("path", _PATHS)
def test_no_response_raises(path: str, response: Any, request_body: Any) -> None:
    """Whatever was recorded, its cost is an amount of at least nothing, or unknown, and never an error."""
    before = repr(response)
    got = prices.cost_of(provider="openai", path=path, request=request_body, response=response, at=AT)

    assert before == repr(response)
    assert got.usd is None or got.usd >= 0
    assert (got.usd is None) is (got.source == "unknown")
