"""What requests to Google, Bedrock and Cohere ask for, and how they are changed in copies."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from bursar.wire import (
    BEDROCK_CONVERSE,
    BEDROCK_CONVERSE_STREAM,
    BEDROCK_INVOKE,
    BEDROCK_INVOKE_STREAM,
    COHERE_CHAT,
    COHERE_RERANK,
    GEMINI_EMBEDDINGS,
    GEMINI_GENERATE,
    GEMINI_STREAM,
    Ask,
)
from bursar.wire.eventstream import decode_events, encode_event

TEXT = [{"role": "user", "content": [{"text": "hello"}]}]
PNG = base64.b64encode(b"\x89PNG").decode()


def gemini(**fields: Any) -> Ask:
    """Return what a Gemini request with *fields* asks for."""
    body = {"model": "gemini-2.5-flash", "contents": [{"parts": [{"text": "hello"}]}], **fields}
    return GEMINI_GENERATE.read_request(body)


def converse(**fields: Any) -> Ask:
    """Return what a Converse request with *fields* asks for."""
    return BEDROCK_CONVERSE.read_request({"modelId": "amazon.nova-lite-v1:0", "messages": TEXT, **fields})


class TestGemini:
    @pytest.mark.parametrize(
        "config",
        [
            {"generationConfig": {"maxOutputTokens": 100, "candidateCount": 2}},
            {"generation_config": {"max_output_tokens": 100, "candidate_count": 2}},
        ],
    )
    def test_both_spellings_are_read(self, config: dict[str, Any]) -> None:
        """Google takes camelCase and snake_case."""
        ask = gemini(**config)

        assert (100, 2) == (ask.output_limit, ask.choices)

    def test_the_path_says_whether_it_streams(self) -> None:
        """The body does not; nor does it name the model."""
        assert (False, True) == (
            GEMINI_GENERATE.read_request({}).stream,
            GEMINI_STREAM.read_request({}).stream,
        )
        assert GEMINI_GENERATE.is_model_in_path
        assert "gemini-2.5-pro" == GEMINI_GENERATE.read_request({"model": "models/gemini-2.5-pro"}).model

    def test_media_count_at_their_ceilings(self) -> None:
        """A picture is counted as one, a film is not in the body, nor is a file that is only named."""
        picture = gemini(contents=[{"parts": [{"inlineData": {"mimeType": "image/png", "data": PNG}}]}])
        film = gemini(contents=[{"parts": [{"inline_data": {"mime_type": "video/mp4", "data": "x"}}]}])
        file = gemini(contents={"parts": [{"fileData": {"fileUri": "gs://x"}}]})

        assert picture.image_tokens_most == 24 * 258
        assert [("video",), ("file",)] == [film.input_unseen, file.input_unseen]

    def test_tools_of_googles_are_seen(self) -> None:
        """Before Gemini 3 a search is billed once a request, since then each query is."""
        tools: list[dict[str, Any]] = [
            {"googleSearch": {}},
            {"functionDeclarations": [{"name": "f"}]},
            {"url_context": {}},
        ]
        newer = GEMINI_GENERATE.read_request({"model": "gemini-3-flash-preview", "tools": tools})

        assert {"web_search": 1, "url_context": None} == gemini(tools=tools).server_tools
        assert {"web_search": None, "url_context": None} == newer.server_tools
        assert {} == gemini(tools=tools[1:2]).server_tools

    def test_cached_content_and_tiers(self) -> None:
        """What is cached is not in the body; a tier is named in three ways."""
        assert ("cached content",) == gemini(cachedContent="cachedContents/x").input_unseen
        assert ["flex", "priority", None] == [
            gemini(serviceTier=tier).tier for tier in ("flex", "SERVICE_TIER_PRIORITY", "standard")
        ]

    def test_a_limit_is_lowered_with_the_thinking_in_it(self) -> None:
        """Thinking counts towards the limit, so that its budget must leave room for an answer."""
        body = {"generationConfig": {"maxOutputTokens": 500, "thinkingConfig": {"thinkingBudget": 400}}}
        lowered = GEMINI_GENERATE.with_output_limit(body, 100, model="m", host="h")

        assert {
            "generationConfig": {"maxOutputTokens": 100, "thinkingConfig": {"thinkingBudget": 50}}
        } == lowered
        assert {"generationConfig": {"maxOutputTokens": 9}} == GEMINI_GENERATE.with_output_limit(
            {}, 9, model="m", host="h"
        )
        assert GEMINI_GENERATE.with_output_limit({}, 0, model="m", host="h") is None
        assert 400 == body["generationConfig"]["thinkingConfig"]["thinkingBudget"]  # type: ignore[index]

    def test_json_is_not_stopped_gracefully(self) -> None:
        """A caller would try to read text as JSON, and Google has no refusals."""
        body = {"generationConfig": {"responseMimeType": "application/json"}}

        assert GEMINI_GENERATE.stop_response(body, "stop") is None

    def test_embeddings_of_every_shape(self) -> None:
        """One content, several, and instances of Vertex AI are counted; another prediction has no bound."""
        bodies: list[dict[str, Any]] = [
            {"content": {"parts": [{"text": "x" * 100}]}},
            {"requests": [{"model": "models/m", "content": {"parts": [{"text": "x" * 100}]}}]},
            {"instances": [{"content": "x" * 100}]},
        ]
        asks = [GEMINI_EMBEDDINGS.read_request(body) for body in bodies]

        assert all(100 <= ask.input_tokens_most < 150 and not ask.generates for ask in asks)
        assert GEMINI_EMBEDDINGS.read_request({"instances": [{"prompt": "a cat"}]}).unbounded is not None


class TestConverse:
    def test_limit_cache_and_tier(self) -> None:
        """A mark in any content asks for a cache write, the longest counts."""
        ask = converse(
            inferenceConfig={"maxTokens": 100},
            system=[{"text": "s"}, {"cachePoint": {"type": "default"}}],
            toolConfig={
                "tools": [{"toolSpec": {"name": "f"}}, {"cachePoint": {"type": "default", "ttl": "1h"}}]
            },
            serviceTier={"type": "flex"},
        )

        assert (100, "1h", "flex") == (ask.output_limit, ask.cache_write, ask.tier)
        assert "amazon.nova-lite-v1:0" == ask.model

    def test_pictures_and_documents(self) -> None:
        """A picture counts at its ceiling, a text in its bytes, twice where it is cited; a Word file is not seen."""
        picture = converse(messages=[{"role": "user", "content": [{"image": {"source": {"bytes": b"x"}}}]}])
        texts = [
            converse(
                messages=[
                    {
                        "role": "user",
                        "content": [{"document": {"format": "txt", "source": {"bytes": b"x" * 900}, **more}}],
                    }
                ]
            ).input_tokens_most
            for more in ({}, {"citations": {"enabled": True}})
        ]
        word = converse(
            messages=[
                {"role": "user", "content": [{"document": {"format": "docx", "source": {"bytes": b"PK"}}}]}
            ]
        )

        assert picture.has_images
        assert 900 <= texts[0] < 1_200
        assert texts[1] >= texts[0] + 900
        assert ("document",) == word.input_unseen

    def test_a_limit_is_lowered_unless_thinking_needs_more(self) -> None:
        """A thinking budget at or above the limit leaves no token for the answer."""
        thinking = {"additionalModelRequestFields": {"thinking": {"type": "enabled", "budget_tokens": 1_024}}}

        assert {"inferenceConfig": {"maxTokens": 100, "topP": 1}} == BEDROCK_CONVERSE.with_output_limit(
            {"inferenceConfig": {"maxTokens": 500, "topP": 1}}, 100, model="m", host="h"
        )
        assert BEDROCK_CONVERSE.with_output_limit(thinking, 1_024, model="m", host="h") is None

    def test_the_model_goes_where_it_was(self) -> None:
        """Under boto3's name or under ours."""
        assert {"modelId": "n"} == BEDROCK_CONVERSE.with_model({"modelId": "m"}, "n")
        assert {"model": "n"} == BEDROCK_CONVERSE.with_model({}, "n")

    def test_latency_optimized_inference_has_no_bound(self) -> None:
        """Its rates are not known."""
        assert converse(performanceConfig={"latency": "optimized"}).unbounded is not None

    def test_events_are_framed_as_amazon_frames_them(self) -> None:
        """Two checksums around headers and JSON; what is cut off is left."""
        events = BEDROCK_CONVERSE_STREAM.stop_events({}, "stop")
        assert events is not None
        content = BEDROCK_CONVERSE_STREAM.encode_events(events)

        assert events == [{name: data} for name, data in decode_events(content)]
        assert events[:-1] == [{name: data} for name, data in decode_events(content[:-1])]
        # 99 bytes in all, of which 75 are headers (20, 33 and 22), 8 are JSON and 16 are lengths and checksums.
        assert "000000630000004b" == encode_event("chunk", {"a": 1})[:8].hex()


class TestInvoke:
    @pytest.mark.parametrize(
        ("model", "body", "limited"),
        [
            (
                "anthropic.claude-3-haiku-20240307-v1:0",
                {"anthropic_version": "x", "max_tokens": 500, "messages": []},
                {"max_tokens": 100},
            ),
            (
                "amazon.nova-lite-v1:0",
                {"messages": TEXT, "inferenceConfig": {"max_new_tokens": 500}},
                {"inferenceConfig": {"max_new_tokens": 100}},
            ),
            ("meta.llama3-8b-instruct-v1:0", {"prompt": "hello", "max_gen_len": 500}, {"max_gen_len": 100}),
            (
                "amazon.titan-text-express-v1",
                {"inputText": "hello", "textGenerationConfig": {"maxTokenCount": 500}},
                {"textGenerationConfig": {"maxTokenCount": 100}},
            ),
            ("mistral.mistral-7b-instruct-v0:2", {"prompt": "hello", "max_tokens": 500}, {"max_tokens": 100}),
            ("ai21.jamba-1-5-mini-v1:0", {"messages": [], "max_tokens": 500}, {"max_tokens": 100}),
            ("ai21.j2-mid-v1", {"prompt": "hello", "maxTokens": 500}, {"maxTokens": 100}),
            ("cohere.command-r-v1:0", {"message": "hello", "max_tokens": 500}, {"max_tokens": 100}),
        ],
    )
    def test_each_vendor_has_its_own_limit(
        self, model: str, body: dict[str, Any], limited: dict[str, Any]
    ) -> None:
        """A limit is read, and lowered, under the vendor's own name, and nothing else is changed."""
        ask = BEDROCK_INVOKE.read_request({"model": model, **body})

        assert (500, model, False) == (ask.output_limit, ask.model, ask.stream)
        assert {**body, **limited} == BEDROCK_INVOKE.with_output_limit(body, 100, model=model, host="h")
        assert BEDROCK_INVOKE_STREAM.read_request({"model": model, **body}).stream

    @pytest.mark.parametrize(
        ("model", "key"),
        [
            ("meta.llama3-8b-instruct-v1:0", "max_gen_len"),
            ("anthropic.claude-v2", "max_tokens_to_sample"),
            ("ai21.j2-mid-v1", "maxTokens"),
        ],
    )
    def test_a_limit_is_put_where_there_was_none(self, model: str, key: str) -> None:
        """The vendor is known by the model's name."""
        body = {"prompt": "hello"}

        assert {**body, key: 100} == BEDROCK_INVOKE.with_output_limit(body, 100, model=model, host="h")

    def test_what_is_not_billed_by_the_token_has_no_bound(self) -> None:
        """Pictures are billed each."""
        body = {"model": "amazon.titan-image-generator-v2:0", "taskType": "TEXT_IMAGE"}

        assert BEDROCK_INVOKE.read_request(body).unbounded is not None

    def test_embeddings_generate_nothing(self) -> None:
        """A vector is no output."""
        ask = BEDROCK_INVOKE.read_request({"model": "amazon.titan-embed-text-v2:0", "inputText": "hello"})

        assert (False, 0) == (ask.generates, ask.output_limit)


class TestCohere:
    def test_a_limit_is_lowered_with_the_thinking_in_it(self) -> None:
        """A budget for thinking is part of the limit."""
        body = {"max_tokens": 500, "thinking": {"type": "enabled", "token_budget": 400}}

        assert {
            "max_tokens": 100,
            "thinking": {"type": "enabled", "token_budget": 50},
        } == COHERE_CHAT.with_output_limit(body, 100, model="m", host="h")

    @pytest.mark.parametrize(
        ("documents", "searches"), [(["x"] * 100, 1), (["x"] * 101, 2), (["x" * 5_000] * 10, 3), ([], 1)]
    )
    def test_reranking_is_by_the_hundred_documents(self, documents: list[str], searches: int) -> None:
        """A long document counts as several."""
        ask = COHERE_RERANK.read_request({"model": "rerank-v3.5", "query": "q", "documents": documents})

        assert {"rerank_searches": searches} == ask.server_tools
