"""What an accountant would write from one response: shapes that hardly anybody reads."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from bursar import prices

AT = datetime(2026, 11, 23, 2, tzinfo=UTC)


def bedrock(model: str, body: dict[str, Any], *, verb: str = "invoke", **fields: Any) -> prices.Cost:
    """Return the cost of a call of Bedrock."""
    return prices.cost_of(provider="aws", path=f"/model/{model}/{verb}", response=body, at=AT, **fields)


class TestShapesNobodyReads:
    @pytest.mark.parametrize(
        ("model", "body", "usd"),
        [
            (
                "amazon.nova-lite-v1:0",
                {
                    "output": {},
                    "stopReason": "end_turn",
                    "usage": {"inputTokens": 1_000, "outputTokens": 100, "cacheReadInputTokenCount": 200},
                },
                "0.000087",
            ),
            (
                "amazon.titan-text-express-v1",
                {
                    "inputTextTokenCount": 1_000,
                    "results": [{"tokenCount": 100, "outputText": "x", "completionReason": "FINISH"}],
                },
                "0.00026",
            ),
            (
                "meta.llama3-8b-instruct-v1:0",
                {
                    "generation": "x",
                    "prompt_token_count": 1_000,
                    "generation_token_count": 100,
                    "stop_reason": "stop",
                },
                "0.00036",
            ),
            ("amazon.titan-embed-text-v2:0", {"embedding": [0.1], "inputTextTokenCount": 1_000}, "0.00002"),
            (
                "mistral.mistral-7b-instruct-v0:2",
                {
                    "outputs": [{"text": "x", "stop_reason": "stop"}],
                    "ResponseMetadata": {
                        "HTTPHeaders": {
                            "x-amzn-bedrock-input-token-count": "1000",
                            "x-amzn-bedrock-output-token-count": "100",
                        }
                    },
                },
                "0.00017",
            ),
            (
                "anthropic.claude-3-haiku-20240307-v1:0",
                {
                    "type": "message",
                    "role": "assistant",
                    "content": [],
                    "stop_reason": "end_turn",
                    "usage": {"input_tokens": 1_000, "output_tokens": 100},
                },
                "0.000375",
            ),
        ],
    )
    def test_bedrock_invoke_of_each_vendor(self, model: str, body: dict[str, Any], usd: str) -> None:
        """Each vendor behind Bedrock's invoke has a shape of its own; some counts are in headers alone."""
        got = bedrock(model, body)

        assert (Decimal(usd), "priced", model) == (got.usd, got.source, got.model)

    @pytest.mark.parametrize(
        ("model", "events", "usd"),
        [
            (
                "meta.llama3-8b-instruct-v1:0",
                [
                    {
                        "generation": "a",
                        "prompt_token_count": 1_000,
                        "generation_token_count": 1,
                        "stop_reason": None,
                    },
                    {
                        "generation": "",
                        "prompt_token_count": None,
                        "generation_token_count": 100,
                        "stop_reason": "stop",
                    },
                ],
                "0.00036",
            ),
            (
                "amazon.titan-text-express-v1",
                [
                    {
                        "outputText": "x",
                        "index": 0,
                        "totalOutputTextTokenCount": 100,
                        "completionReason": "FINISH",
                        "inputTextTokenCount": 1_000,
                    }
                ],
                "0.00026",
            ),
            (
                "mistral.mistral-7b-instruct-v0:2",
                [
                    {"outputs": [{"text": "x", "stop_reason": None}]},
                    {
                        "outputs": [{"text": "", "stop_reason": "stop"}],
                        "amazon-bedrock-invocationMetrics": {
                            "inputTokenCount": 1_000,
                            "outputTokenCount": 100,
                        },
                    },
                ],
                "0.00017",
            ),
            (
                "amazon.nova-lite-v1:0",
                [
                    {"messageStart": {"role": "assistant"}},
                    {"contentBlockDelta": {"delta": {"text": "x"}, "contentBlockIndex": 0}},
                    {"messageStop": {"stopReason": "end_turn"}},
                    {"metadata": {"usage": {"inputTokens": 1_000, "outputTokens": 100}}},
                ],
                "0.000084",
            ),
            (
                "anthropic.claude-3-haiku-20240307-v1:0",
                [
                    {
                        "type": "message_start",
                        "message": {
                            "model": "claude-3-haiku-20240307",
                            "usage": {"input_tokens": 1_000, "output_tokens": 1},
                        },
                    },
                    {
                        "type": "message_delta",
                        "delta": {"stop_reason": "end_turn"},
                        "usage": {"output_tokens": 100},
                    },
                    {
                        "type": "message_stop",
                        "amazon-bedrock-invocationMetrics": {
                            "inputTokenCount": 1_000,
                            "outputTokenCount": 100,
                        },
                    },
                ],
                "0.000375",
            ),
        ],
    )
    def test_bedrock_invoke_streams(self, model: str, events: list[dict[str, Any]], usd: str) -> None:
        """The same in chunks, decoded or not, as the wire and as boto3 have them."""
        path = f"/model/{model}/invoke-with-response-stream"
        packed = [json.dumps(event).encode() for event in events]
        forms: list[list[Any]] = [
            events,
            [{"event": "chunk", "data": event} for event in events],
            [{"event": "chunk", "data": {"bytes": base64.b64encode(one).decode()}} for one in packed],
            [{"chunk": {"bytes": one}} for one in packed],
        ]
        costs = [prices.cost_of(provider="aws", path=path, response=form, at=AT) for form in forms]

        assert [Decimal(usd)] * 4 == [one.usd for one in costs]

    def test_converse_streams_as_the_wire_and_as_boto3_have_them(self) -> None:
        """A name apart from its data, or the data within its name, is the same."""
        usage: dict[str, Any] = {"inputTokens": 1_000, "outputTokens": 100, "totalTokens": 1_100}
        wire = [
            {"event": "messageStop", "data": {"stopReason": "end_turn"}},
            {"event": "metadata", "data": {"usage": usage}},
        ]
        boto3 = [{"messageStop": {"stopReason": "end_turn"}}, {"metadata": {"usage": usage, "metrics": {}}}]
        path = "/model/amazon.nova-lite-v1:0/converse-stream"
        costs = [
            prices.cost_of(provider="aws", path=path, response=form, at=AT).usd for form in (wire, boto3)
        ]

        assert [Decimal("0.000084")] * 2 == costs

    @pytest.mark.parametrize(
        ("path", "request_body", "body", "usd"),
        [
            (
                "/v1/chat",
                {"model": "command-a-03-2025"},
                {
                    "text": "x",
                    "generation_id": "g",
                    "finish_reason": "COMPLETE",
                    "meta": {
                        "billed_units": {"input_tokens": 100, "output_tokens": 10},
                        "tokens": {"input_tokens": 700, "output_tokens": 12},
                    },
                },
                "0.00035",
            ),
            (
                "/v2/chat",
                {"model": "command-a-03-2025"},
                {
                    "message": {},
                    "finish_reason": "COMPLETE",
                    "usage": {"billed_units": {"input_tokens": 100.0, "output_tokens": 10}},
                },
                "0.00035",
            ),
            (
                "/v1/embed",
                {"model": "embed-v4.0"},
                {"embeddings": {}, "meta": {"billed_units": {"input_tokens": 1_000}}},
                "0.00012",
            ),
        ],
    )
    def test_cohere_bills_its_billed_units(
        self, path: str, request_body: dict[str, Any], body: dict[str, Any], usd: str
    ) -> None:
        """Cohere bills fewer tokens than its models read, and says which."""
        got = prices.cost_of(provider="cohere", path=path, request=request_body, response=body, at=AT)

        assert (Decimal(usd), "priced") == (got.usd, got.source)

    @pytest.mark.parametrize(
        "events",
        [
            [
                {"event_type": "text-generation", "text": "x"},
                {
                    "event_type": "stream-end",
                    "is_finished": True,
                    "finish_reason": "COMPLETE",
                    "response": {
                        "text": "x",
                        "meta": {"billed_units": {"input_tokens": 100, "output_tokens": 10}},
                    },
                },
            ],
            [
                {"type": "content-delta", "delta": {"message": {"content": {"text": "x"}}}},
                {
                    "type": "message-end",
                    "delta": {
                        "finish_reason": "COMPLETE",
                        "usage": {"billed_units": {"input_tokens": 100, "output_tokens": 10}},
                    },
                },
            ],
        ],
    )
    def test_cohere_streams_state_it_at_their_end(self, events: list[dict[str, Any]]) -> None:
        """The last event has the usage, of the first version and the second."""
        path = "/v1/chat" if "event_type" in events[0] else "/v2/chat"
        got = prices.cost_of(
            provider="cohere", path=path, request={"model": "command-a-03-2025"}, response=events, at=AT
        )

        assert Decimal("0.00035") == got.usd

    @pytest.mark.parametrize(
        ("path", "body"),
        [
            (
                "/v1beta/models/gemini-embedding-001:embedContent",
                {"embedding": {}, "usageMetadata": {"promptTokenCount": 1_000}},
            ),
            (
                "/v1beta/models/gemini-embedding-001:batchEmbedContents",
                {"embeddings": [{"values": [0.1]}], "usageMetadata": {"promptTokenCount": 1_000}},
            ),
            (
                "/v1/projects/p/locations/l/publishers/google/models/gemini-embedding-001:predict",
                {
                    "predictions": [
                        {"embeddings": {"statistics": {"token_count": 600}}},
                        {"embeddings": {"statistics": {"token_count": 400}}},
                    ]
                },
            ),
        ],
    )
    def test_gemini_embeddings(self, path: str, body: dict[str, Any]) -> None:
        """Embeddings of the Gemini API and of Vertex AI."""
        got = prices.cost_of(provider="google", path=path, response=body, at=AT)

        assert (Decimal("0.00015"), "priced") == (got.usd, got.source)

    def test_gemini_embeddings_without_usage_are_estimated(self) -> None:
        """The older API states no usage; what was sent is counted, never as nothing."""
        got = prices.cost_of(
            provider="google",
            path="/v1beta/models/gemini-embedding-001:embedContent",
            request={"content": {"parts": [{"text": "x" * 1_000}]}},
            response={"embedding": {"values": []}},
            at=AT,
        )

        assert "estimated" == got.source
        assert 1_000 <= got.usage.input_tokens < 1_100

    def test_responses_of_deepseek(self) -> None:
        """DeepSeek speaks OpenAI's Responses, too, and names its cache otherwise in chats."""
        model = "deepseek-v4-flash"
        chat = {"prompt_tokens": 1_000, "prompt_cache_hit_tokens": 600, "completion_tokens": 100}
        cached: dict[str, Any] = {"input_tokens_details": {"cached_tokens": 600}}
        bodies: dict[str, dict[str, Any]] = {
            "/v1/responses": {
                "model": model,
                "usage": {"input_tokens": 1_000, "output_tokens": 100, **cached},
            },
            "/chat/completions": {"model": model, "usage": chat},
        }
        costs = [
            prices.cost_of(provider="deepseek", path=path, response=body, at=AT)
            for path, body in bodies.items()
        ]

        # At its dearer hours: 400 at $0.30, 600 at $0.006, 100 at $1.20.
        assert [(Decimal("0.0002436"), "priced")] * 2 == [(one.usd, one.source) for one in costs]
