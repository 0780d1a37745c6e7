"""What a request asks for is read from its body."""

from __future__ import annotations

import base64
import sys
import time
import zlib
from typing import Any

import pytest

from bursar.wire import (
    ANTHROPIC_MESSAGES,
    ENDPOINTS,
    OPENAI_CHAT,
    OPENAI_EMBEDDINGS,
    OPENAI_RESPONSES,
    Endpoint,
    hides_reasoning,
)
from bursar.wire.media import audio_tokens_most, image_tokens_most, pdf_pages

_HELLO: list[dict[str, Any]] = [{"role": "user", "content": "hello"}]
_TOOL: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "look_up",
        "parameters": {"type": "object", "properties": {"key": {"type": "string"}}},
    },
}


def chat(**fields: object) -> dict[str, Any]:
    """Return a chat request with *fields*."""
    return {"model": "gpt-4o", "messages": _HELLO, **fields}


def message(**fields: object) -> dict[str, Any]:
    """Return an Anthropic request with *fields*."""
    return {"model": "claude-sonnet-4-5", "max_tokens": 100, "messages": _HELLO, **fields}


def response(**fields: object) -> dict[str, Any]:
    """Return a Responses request with *fields*."""
    return {"model": "gpt-4o", "input": "hello", **fields}


def said(name: str, text: str) -> dict[str, Any]:
    """Return a request to the endpoint *name* that says *text*."""
    fields: dict[str, Any] = {
        "input": text,
        "messages": [{"role": "user", "content": [{"text": text}] if name.startswith("aws.") else text}],
        "contents": [{"role": "user", "parts": [{"text": text}]}],
        "content": {"parts": [{"text": text}]},
        "texts": [text],
        "message": text,
        "query": text,
        "prompt": text,
    }
    keys = {
        "aws": ("messages",),
        "anthropic": ("messages",),
        "google.embed_content": ("content",),
        "google": ("contents",),
        "cohere.embed": ("texts",),
        "cohere.rerank": ("query",),
        "cohere.chat_v1": ("message",),
        "cohere": ("messages",),
        "ollama": ("input",),
        "openai.chat": ("messages",),
        "openai.completions": ("prompt",),
        "mistral.fim": ("prompt",),
        "openai.image": ("prompt",),
        "openai.trans": ("prompt",),
        "openai": ("input",),
    }
    wanted = next(keys[family] for family in keys if name.startswith(family))
    return {
        "model": "amazon.nova-lite-v1:0" if "aws" in name else "gpt-4o",
        **{key: fields[key] for key in wanted},
    }


def pdf(pages: int, *, packed: bool = False) -> str:
    """Return a document of *pages* pages, its objects in a compressed stream or not, in base64."""
    objects = b"<< /Type /Pages /Count %d >>\n" % pages + b"<< /Type /Page >>\n" * pages
    if packed:
        body = zlib.compress(objects)
        objects = b"<< /Type /ObjStm /Length %d >>\nstream\n" % len(body) + body + b"\nendstream"
    return base64.b64encode(b"%PDF-1.7\n" + objects).decode()


class TestHiddenPrompts:
    @pytest.mark.parametrize("asked", [{"safe_prompt": True}, {"prompt_mode": "reasoning"}])
    def test_prompts_of_the_providers_own(self, asked: dict[str, Any]) -> None:
        """What Mistral puts before a prompt where it is asked to is in the bound."""
        plain = OPENAI_CHAT.read_request(chat(model="mistral-large-latest"))
        body = chat(model="mistral-large-latest", **asked)

        assert OPENAI_CHAT.read_request(body).input_tokens_most == plain.input_tokens_most + 1_024


class TestOutputLimit:
    def test_chat_takes_the_smaller_of_two(self) -> None:
        """Where a chat request sets both limits, the smaller one holds."""
        assert 10 == OPENAI_CHAT.read_request(chat(max_tokens=10, max_completion_tokens=20)).output_limit
        assert 10 == OPENAI_CHAT.read_request(chat(max_tokens=20, max_completion_tokens=10)).output_limit

    @pytest.mark.parametrize("value", [None, "many", True, -1, float("nan"), float("inf")])
    def test_what_is_no_count_is_no_limit(self, value: object) -> None:
        """A limit that is no count is unknown, not zero."""
        assert OPENAI_CHAT.read_request(chat(max_tokens=value)).output_limit is None

    def test_each_format_has_its_own(self) -> None:
        """Responses and messages each have their own name for it; embeddings put out nothing."""
        assert 30 == OPENAI_RESPONSES.read_request(response(max_output_tokens=30)).output_limit
        assert 100 == ANTHROPIC_MESSAGES.read_request(message()).output_limit

        embed = OPENAI_EMBEDDINGS.read_request({"model": "text-embedding-3-small", "input": "hello"})
        assert (0, False) == (embed.output_limit, embed.generates)

    def test_choices_and_predictions_are_output(self) -> None:
        """Several choices and a predicted answer are billed as output."""
        ask = OPENAI_CHAT.read_request(chat(n=3, prediction={"type": "content", "content": "x" * 50}))

        assert 3 == ask.choices
        assert ask.extra_output_tokens >= 50


class TestInput:
    @pytest.mark.parametrize("name", sorted(set(ENDPOINTS) - {"openai.videos"}))
    def test_ascii_text_counts_its_length(self, name: str) -> None:
        """One more character of ASCII is one more token at most; videos have none, reranking bills searches."""
        bounds = [
            ENDPOINTS[name].read_request(said(name, text)).input_tokens_most
            for text in ("x" * 10, "x" * 10_010)
        ]

        assert (0 if name == "cohere.rerank" else 10_000) == bounds[1] - bounds[0]

    def test_other_text_counts_its_bytes(self) -> None:
        """A character outside of ASCII counts its UTF-8 bytes; a lone surrogate counts three."""
        plain, wide, broken = (
            OPENAI_RESPONSES.read_request(response(input=text)).input_tokens_most
            for text in ("", "日本🎉", "\ud800")
        )

        assert (10, 3) == (wide - plain, broken - plain)

    def test_tools_count_at_least_their_json(self) -> None:
        """A tool schema counts no less than its JSON text."""
        without = OPENAI_CHAT.read_request(chat()).input_tokens_most
        with_tool = OPENAI_CHAT.read_request(chat(tools=[_TOOL])).input_tokens_most

        assert with_tool - without >= len(str(_TOOL))

    def test_names_of_fields_that_are_not_known_count(self) -> None:
        """What is not known to be left out of the prompt is counted."""
        odd = [{"role": "user", "content": [{"type": "novelty", "surprise": {"inside": "y" * 500}}]}]

        assert OPENAI_CHAT.read_request(chat(messages=odd)).input_tokens_most > 500

    def test_an_image_counts_its_ceiling_and_not_its_bytes(self) -> None:
        """An image counts the model's ceiling, however large its data is."""
        url = "data:image/png;base64," + "A" * 5_000_000
        images = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}] * 2}]
        ask = OPENAI_CHAT.read_request(chat(messages=images, model="gpt-4o-mini"))

        assert 2 * 48_169 == ask.image_tokens_most
        assert ask.has_images
        assert ask.input_tokens_most < 2 * 48_169 + 200

    @pytest.mark.parametrize(
        ("model", "most"),
        [
            ("gpt-4o", 1_445),
            ("openai/gpt-4o-2024-08-06", 1_445),
            ("gpt-4o-mini", 48_169),
            ("ft:gpt-4o-mini-2024-07-18:org::x", 48_169),
            ("gpt-5", 1_190),
            ("gpt-5-mini", 2_489),
            ("gpt-5.4", 24_600),
            ("o3", 1_275),
            ("o4-mini", 2_642),
            ("claude-sonnet-4-5-20250929", 1_640),
            ("claude-3-5-haiku-latest", 1_640),
            ("claude-opus-4-20250514", 1_640),
            ("claude-opus-4-7", 4_860),
            ("claude-opus-4-10", 4_860),
            ("anthropic/claude-sonnet-5", 4_860),
            ("my-deployment", 48_169),
        ],
    )
    def test_image_ceilings_by_family(self, model: str, most: int) -> None:
        """Each family has its ceiling; a name that says nothing has the highest."""
        assert most == image_tokens_most(model)

    @pytest.mark.parametrize("packed", [False, True])
    def test_a_pdf_counts_its_pages(self, packed: bool) -> None:
        """The pages of a PDF are counted in the file, compressed or not."""
        source = {"type": "base64", "media_type": "application/pdf", "data": pdf(7, packed=packed)}
        asks = [
            ANTHROPIC_MESSAGES.read_request(message(messages=[{"role": "user", "content": content}]))
            for content in ([], [{"type": "document", "source": source}])
        ]

        assert () == asks[1].input_unseen
        assert 7 * (3_000 + 1_640) + 4 == asks[1].input_tokens_most - asks[0].input_tokens_most

    @pytest.mark.parametrize(
        "document", [b"", b"not a pdf", b"/Type /Page /Encrypt 5 0 R", b"/ObjStm stream\nxx"]
    )
    def test_a_pdf_that_cannot_be_read_has_no_pages(self, document: bytes) -> None:
        """What cannot be counted is unknown."""
        assert pdf_pages(document) is None

    def test_a_bomb_is_not_inflated(self) -> None:
        """A stream that inflates to more than any page tree is unknown, and does not fill the memory."""
        assert pdf_pages(b"/Type /ObjStm stream\n" + zlib.compress(b"/Type /Page " * 2_000_000)) is None

    def test_audio_counts_by_its_header_or_its_size(self) -> None:
        """Ten seconds of WAV are ten seconds; what has no header is taken for the longest it can be."""
        rate = 32_000
        header = b"RIFF" + bytes(4) + b"WAVEfmt " + bytes(12) + rate.to_bytes(4, "little") + bytes(12)
        wav = base64.b64encode(header + bytes(10 * rate)).decode()

        assert 11 * 32 == audio_tokens_most(wav)
        assert 320 * 32 == audio_tokens_most(wav[80:])

    def test_audio_is_counted_apart(self) -> None:
        """Audio in a prompt has a rate of its own, so that it is told apart."""
        part = {"type": "input_audio", "input_audio": {"data": "AAAA" * 1_000, "format": "mp3"}}
        ask = OPENAI_CHAT.read_request(
            chat(messages=[{"role": "user", "content": [part]}], modalities=["text", "audio"])
        )

        assert 4 * 32 == ask.audio_tokens_most
        assert ask.asks_audio_output

    def test_embeddings_count_texts_and_token_ids(self) -> None:
        """Texts count their bytes, token ids themselves."""
        model = "text-embedding-3-small"
        inputs: list[object] = ["hello", ["hello", "you"], [1, 2, 3], [[1, 2], [3]]]
        asks = [OPENAI_EMBEDDINGS.read_request({"model": model, "input": given}) for given in inputs]

        assert [9, 16, 7, 11] == [ask.input_tokens_most for ask in asks]

    @pytest.mark.parametrize("endpoint", [OPENAI_CHAT, ANTHROPIC_MESSAGES])
    def test_a_long_prompt_costs_no_more_to_read(self, endpoint: Endpoint) -> None:
        """Reading a megabyte of ASCII takes as long as reading a word, within a wide margin."""
        short, long = (
            {"model": "gpt-4o", "messages": [{"role": "user", "content": "x" * n}]} for n in (5, 10**6)
        )
        best: dict[int, int] = {}
        for size, body in ((0, short), (1, long)):
            for _ in range(200):
                start = time.perf_counter_ns()
                endpoint.read_request(body)
                best[size] = min(best.get(size, sys.maxsize), time.perf_counter_ns() - start)

        assert best[1] < 3 * best[0]


class TestUnseen:
    def test_earlier_turns_are_not_in_the_body(self) -> None:
        """What a response refers to is read again and billed, bounded by the window alone."""
        ask = OPENAI_RESPONSES.read_request(response(previous_response_id="resp_1"))

        assert ("previous_response_id",) == ask.input_unseen
        assert 128_000 == ask.input_ceiling(128_000)
        assert ask.input_ceiling(None) is None

    def test_a_plain_request_is_bounded_by_itself(self) -> None:
        """Where the body shows everything, its own bound is the ceiling."""
        ask = OPENAI_CHAT.read_request(chat())

        assert ask.input_tokens_most == ask.input_ceiling(128_000) == ask.input_ceiling(None)

    @pytest.mark.parametrize(
        ("part", "what"),
        [
            ({"type": "file", "file": {"file_id": "file_1"}}, "file"),
            ({"type": "document", "source": {"type": "url", "url": "https://x.example/a.pdf"}}, "document"),
            ({"type": "file", "file": {"file_data": "data:application/zip;base64,UEsDBA=="}}, "document"),
            ({"type": "video_url", "video_url": {"url": "https://x.example/a.mp4"}}, "video_url"),
        ],
    )
    def test_what_is_elsewhere_is_unseen(self, part: dict[str, Any], what: str) -> None:
        """Files by id or address, and formats that nothing bounds, are unseen."""
        body = chat(messages=[{"role": "user", "content": [part]}])

        assert (what,) == OPENAI_CHAT.read_request(body).input_unseen

    def test_server_tools_bring_input_in_rounds(self) -> None:
        """A tool that the provider runs brings what nobody saw, and one more round for each use."""
        limited = message(tools=[{"type": "web_search_20250305", "name": "web_search", "max_uses": 2}])
        ask = ANTHROPIC_MESSAGES.read_request(limited)

        assert {"web_search": 2} == ask.server_tools
        assert 3 * 200_000 == ask.input_ceiling(200_000)

    def test_anthropic_stops_after_ten_rounds(self) -> None:
        """Without a limit of its own, a request runs ten rounds after the first."""
        ask = ANTHROPIC_MESSAGES.read_request(
            message(tools=[{"type": "code_execution_20250825", "name": "code_execution"}])
        )

        assert {"code_interpreter": None} == ask.server_tools
        assert 11 == ask.input_rounds_most

    def test_openai_rounds_are_limited_by_max_tool_calls(self) -> None:
        """Only the request itself limits the rounds of a response; without that, nothing bounds them."""
        tools = [{"type": "web_search"}, {"type": "code_interpreter", "container": {"type": "auto"}}]
        limited, free = (
            OPENAI_RESPONSES.read_request(response(tools=tools, **extra))
            for extra in ({"max_tool_calls": 4}, {})
        )

        assert ({"web_search": 4, "code_interpreter": 4}, 5) == (
            limited.server_tools,
            limited.input_rounds_most,
        )
        assert {"web_search": None, "code_interpreter": None} == free.server_tools
        assert free.input_ceiling(128_000) is None

    def test_a_shell_is_where_it_runs(self) -> None:
        """A shell in the provider's container is a server tool, one on the client's machine is not."""
        hosted, local = (
            OPENAI_RESPONSES.read_request(response(tools=[{"type": "shell", "environment": {"type": kind}}]))
            for kind in ("container_auto", "local")
        )

        assert ({"code_interpreter": None}, {}) == (hosted.server_tools, local.server_tools)

    def test_azure_data_sources_are_unseen(self) -> None:
        """What Azure retrieves for a chat is not in its body."""
        ask = OPENAI_CHAT.read_request(chat(data_sources=[{"type": "azure_search"}]))

        assert (("data_sources",), None) == (ask.input_unseen, ask.input_ceiling(128_000))

    def test_a_search_of_tools_reads_the_body_again(self) -> None:
        """What a search of tools finds is in the body, so that each round is bounded by it."""
        ask = ANTHROPIC_MESSAGES.read_request(
            message(tools=[{"type": "tool_search_tool_bm25_20251119", "name": "tool_search_tool_bm25"}])
        )

        assert () == ask.input_unseen
        assert 11 * (2 * ask.input_tokens_most + 100) == ask.input_ceiling(200_000)

    def test_tools_of_the_client_are_no_server_tools(self) -> None:
        """Functions, and built-in tools that the client runs, cost tokens only."""
        tools = [_TOOL, {"type": "apply_patch"}, {"type": "local_shell"}]
        anthropic: list[dict[str, Any]] = [
            {"name": "a", "input_schema": {}},
            {"type": "bash_20250124", "name": "bash"},
        ]

        assert {} == OPENAI_RESPONSES.read_request(response(tools=tools)).server_tools
        assert {} == ANTHROPIC_MESSAGES.read_request(message(tools=anthropic)).server_tools

    def test_what_bills_another_model_has_no_bound(self) -> None:
        """An advisor and image generation run models of their own."""
        advisor = [{"type": "advisor_20260301", "name": "advisor", "model": "claude-opus-4-8"}]

        assert ANTHROPIC_MESSAGES.read_request(message(tools=advisor)).unbounded is not None
        assert (
            OPENAI_RESPONSES.read_request(response(tools=[{"type": "image_generation"}])).unbounded
            is not None
        )
        assert ("claude-sonnet-5",) == ANTHROPIC_MESSAGES.read_request(
            message(fallbacks=[{"model": "claude-sonnet-5"}])
        ).also_models


class TestRates:
    @pytest.mark.parametrize(
        ("mark", "expected"),
        [({"type": "ephemeral"}, "5m"), ({"type": "ephemeral", "ttl": "1h"}, "1h"), (None, None)],
    )
    def test_cache_marks_are_found_anywhere(self, mark: dict[str, str] | None, expected: str | None) -> None:
        """A cache mark counts on the request, its system, its tools, and any block of its messages."""
        block = {"type": "text", "text": "x", "cache_control": mark}
        nested = {"type": "tool_result", "tool_use_id": "t", "content": [block]}
        bodies = [
            message(cache_control=mark),
            message(system=[block]),
            message(tools=[{"name": "a", "input_schema": {}, "cache_control": mark}]),
            message(messages=[{"role": "user", "content": [nested]}]),
        ]

        assert [expected] * 4 == [ANTHROPIC_MESSAGES.read_request(body).cache_write for body in bodies]

    def test_the_longest_cache_time_holds(self) -> None:
        """Of several marks, the dearest counts."""
        blocks = [
            {"type": "text", "text": "x", "cache_control": {"type": "ephemeral", "ttl": t}}
            for t in ("1h", "5m")
        ]

        assert "1h" == ANTHROPIC_MESSAGES.read_request(message(system=blocks)).cache_write

    @pytest.mark.parametrize(
        ("fields", "tier"),
        [
            ({"service_tier": "priority"}, "priority"),
            ({"service_tier": "flex"}, "flex"),
            ({"service_tier": "auto"}, None),
            ({"service_tier": "default"}, None),
            ({}, None),
        ],
    )
    def test_tiers_with_rates_of_their_own(self, fields: dict[str, str], tier: str | None) -> None:
        """Only a tier with other rates is told."""
        assert tier == OPENAI_CHAT.read_request(chat(**fields)).tier
        assert tier == OPENAI_RESPONSES.read_request(response(**fields)).tier

    def test_fast_mode_is_a_tier(self) -> None:
        """Anthropic's fast mode has rates of its own."""
        assert "fast" == ANTHROPIC_MESSAGES.read_request(message(speed="fast")).tier


@pytest.mark.parametrize(
    ("model", "hides"),
    [
        *((name, True) for name in ("o3", "o4-mini-2025-04-16", "gpt-5", "gpt-5.1-chat-latest", "openai/o1")),
        *(
            (name, True)
            for name in ("gpt-10", "ft:o4-mini:acme", "models/gemini-2.5-pro", "x-ai/grok-4-fast")
        ),
        *(
            (name, True)
            for name in ("claude-opus-5", "us.anthropic.claude-fable-5-1-v1:0", "claude-mythos-preview")
        ),
        *(
            (name, False)
            for name in ("gpt-4o", "gpt-4.1", "gpt-5-chat-latest", "gpt-oss-120b", "chatgpt-4o-latest")
        ),
        *(
            (name, False)
            for name in ("gemini-2.0-flash", "grok-3", "grok-4-fast-non-reasoning", "llama-3.3-70b")
        ),
        *((name, False) for name in ("claude-opus-4-7", "claude-3-7-sonnet-latest", "deepseek-chat", "")),
    ],
)
def test_models_that_reason_unseen(model: str, hides: bool) -> None:
    """What a model's name says about output that is billed and not shown."""
    assert hides is hides_reasoning(model)


@pytest.mark.parametrize(
    ("endpoint", "fields", "asked"),
    [
        (OPENAI_CHAT, {}, None),
        (OPENAI_CHAT, {"reasoning_effort": "low"}, True),
        (OPENAI_CHAT, {"reasoning_effort": "none"}, False),
        (OPENAI_CHAT, {"reasoning": {"enabled": False}}, False),
        (OPENAI_RESPONSES, {"reasoning": {"effort": "high"}}, True),
        (OPENAI_RESPONSES, {"reasoning": {"summary": "auto"}}, None),
        (OPENAI_RESPONSES, {"reasoning": {"effort": "none"}}, False),
        (OPENAI_RESPONSES, {"reasoning": 5}, None),
        (ANTHROPIC_MESSAGES, {"thinking": {"type": "enabled", "budget_tokens": 1024}}, True),
        (ANTHROPIC_MESSAGES, {"thinking": {"type": "adaptive"}}, True),
        (ANTHROPIC_MESSAGES, {"thinking": {"type": "disabled"}}, False),
        (ANTHROPIC_MESSAGES, {"thinking": None}, None),
    ],
)
def test_reasoning_asked_for(endpoint: Endpoint, fields: dict[str, Any], asked: bool | None) -> None:
    """A request asks for reasoning, turns it off, or says nothing of it."""
    assert asked is endpoint.read_request({"model": "m", **fields}).reasoning
