"""What a response used, and what the provider says that it cost."""

from __future__ import annotations

from typing import Any

import pytest

from bursar.usage import Usage
from bursar.wire import OPENAI_CHAT, OPENAI_EMBEDDINGS, OPENAI_RESPONSES


def chat(usage: dict[str, Any] | None, **fields: object) -> dict[str, Any]:
    """Return a chat completion with *usage*."""
    return {"model": "gpt-4o", "choices": [{"index": 0, "finish_reason": "stop"}], "usage": usage, **fields}


class TestChat:
    def test_details_are_parts_of_their_totals(self) -> None:
        """Cached, reasoning and audio tokens are read, inside of input and output."""
        receipt = OPENAI_CHAT.read_response(
            chat(
                {
                    "prompt_tokens": 100,
                    "completion_tokens": 50,
                    "total_tokens": 150,
                    "prompt_tokens_details": {
                        "cached_tokens": 60,
                        "audio_tokens": 7,
                        "cache_write_tokens": 9,
                    },
                    "completion_tokens_details": {"reasoning_tokens": 30, "audio_tokens": 11},
                },
                service_tier="flex",
            )
        )
        expected = Usage(
            input_tokens=100,
            cache_read_tokens=60,
            cache_write_tokens=9,
            output_tokens=50,
            reasoning_tokens=30,
            other={"input_audio_tokens": 7, "output_audio_tokens": 11},
        )

        assert expected == receipt.usage
        assert ("gpt-4o", "flex", True, None) == (
            receipt.model,
            receipt.tier,
            receipt.finished,
            receipt.stated_nanousd,
        )

    @pytest.mark.parametrize(
        "changed",
        [
            {"choices": []},
            {"choices": None},
            {"choices": [{"finish_reason": None}, {"finish_reason": "stop"}]},
            {"choices": ["stop"]},
            {"model": "", "model_id": "ibm/granite"},
            {"model": "gpt-4o-search-preview"},
            {"service_tier": "priority"},
            {"service_tier": "default"},
            {"usage": {"prompt_tokens": 1, "total_tokens": 9}},
            {"usage": {"prompt_tokens": True, "completion_tokens": -1}},
            {"usage": {"prompt_tokens": 1, "completion_tokens": 2, "cost": 0.5}},
            {
                "usage_breakdown": {
                    "models": [{"model": "m", "usage": {"prompt_tokens": 1, "completion_tokens": 2}}]
                }
            },
        ],
    )
    def test_a_whole_answer_is_read_as_an_event_is(self, changed: dict[str, Any]) -> None:
        """What is usual is read at once; odd or not, an answer says the same in whatever way it comes."""
        body = {**chat({"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}), **changed}

        assert OPENAI_CHAT.read_events((body,)) == OPENAI_CHAT.read_response(body)

    def test_missing_usage_is_unknown(self) -> None:
        """A response without usage has none: not zero."""
        receipt = OPENAI_CHAT.read_response(chat(None))

        assert receipt.usage is None
        assert receipt.finished

    @pytest.mark.parametrize(
        "usage", [{}, {"cost": 0.5}, {"prompt_tokens": 5}, {"completion_tokens": 5}, {"prompt_tokens": "5"}]
    )
    def test_half_a_usage_is_unknown(self, usage: dict[str, Any]) -> None:
        """A usage that leaves out input or output does not make it zero; a stated cost stays."""
        receipt = OPENAI_CHAT.read_response(chat(usage))

        assert receipt.usage is None
        assert (500_000_000 if "cost" in usage else None) == receipt.stated_nanousd

    def test_hidden_output_is_in_the_total(self) -> None:
        """Where a dialect leaves reasoning out of the completion, the total tells."""
        xai = {
            "prompt_tokens": 32,
            "completion_tokens": 9,
            "total_tokens": 141,
            "completion_tokens_details": {"reasoning_tokens": 100},
        }
        gemini = {"prompt_tokens": 35, "completion_tokens": 12, "total_tokens": 109}
        usages = [OPENAI_CHAT.read_response(chat(usage)).usage for usage in (xai, gemini)]

        assert [109, 74] == [usage.output_tokens for usage in usages if usage is not None]

    def test_more_cached_than_sent_is_read_as_it_is(self) -> None:
        """Azure's Grok says that more was cached than sent: nothing raises, nothing is lost."""
        usage = OPENAI_CHAT.read_response(
            chat(
                {"prompt_tokens": 10, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": 161}}
            )
        ).usage

        assert Usage(input_tokens=10, cache_read_tokens=161, output_tokens=5) == usage

    def test_a_cache_of_deepseek_is_read(self) -> None:
        """DeepSeek names its cache otherwise."""
        usage = OPENAI_CHAT.read_response(
            chat({"prompt_tokens": 100, "completion_tokens": 1, "prompt_cache_hit_tokens": 64})
        ).usage

        assert Usage(input_tokens=100, cache_read_tokens=64, output_tokens=1) == usage

    def test_a_stream_ends_with_its_usage(self) -> None:
        """The usage of a stream comes last, after the finish reason, in an event without choices."""
        events: list[dict[str, Any]] = [
            {
                "model": "gpt-4o-2024-08-06",
                "choices": [{"index": 0, "delta": {"content": "hi"}}],
                "usage": None,
            },
            {"model": "gpt-4o-2024-08-06", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
            {
                "model": "gpt-4o-2024-08-06",
                "choices": [],
                "usage": {"prompt_tokens": 9, "completion_tokens": 1},
            },
        ]
        receipt, cut = OPENAI_CHAT.read_events(events), OPENAI_CHAT.read_events(events[:1])

        assert Usage(input_tokens=9, output_tokens=1) == receipt.usage
        assert (True, "gpt-4o-2024-08-06") == (receipt.finished, receipt.model)
        assert (None, False) == (cut.usage, cut.finished)

    def test_groq_streams_its_usage_in_a_place_of_its_own(self) -> None:
        """Groq's usage of a stream is below `x_groq`."""
        event: dict[str, Any] = {
            "choices": [],
            "x_groq": {"usage": {"prompt_tokens": 9, "completion_tokens": 1}},
        }

        assert Usage(input_tokens=9, output_tokens=1) == OPENAI_CHAT.read_events([event]).usage

    def test_a_search_model_searches_once(self) -> None:
        """A search model's fee is due for each answer, though the usage does not say it."""
        receipt = OPENAI_CHAT.read_response(
            chat({"prompt_tokens": 9, "completion_tokens": 1}, model="gpt-4o-search-preview")
        )

        assert {"web_search": 1} == receipt.server_tools
        assert receipt.usage is not None
        assert {"web_searches": 1} == receipt.usage.other

    def test_output_seen_is_all_of_it(self) -> None:
        """Contents, refusals, reasoning and tool calls of every choice are seen, copies once."""
        events: list[dict[str, Any]] = [
            {"choices": [{"index": 0, "delta": {"role": "assistant", "content": "one "}}]},
            {"choices": [{"index": 1, "delta": {"content": "two "}}]},
            {"choices": [{"index": 0, "delta": {"reasoning": "r ", "reasoning_content": "r "}}]},
            {"choices": [{"index": 0, "delta": {"refusal": "no "}}]},
            {
                "choices": [
                    {
                        "index": 0,
                        "delta": {"tool_calls": [{"id": "c", "function": {"name": "f ", "arguments": "{}"}}]},
                    }
                ]
            },
            {"choices": [], "usage": None},
        ]

        assert "one two r no f {}" == OPENAI_CHAT.output_seen(events)

    @pytest.mark.parametrize(
        ("usage", "stated"),
        [
            ({"cost": 1.5e-05}, 15_000),
            ({"cost": 0.00019325, "is_byok": False}, 193_250),
            ({"cost": 0}, 0),
            ({"cost": 0.1234567891}, 123_456_790),
            ({"cost": 0.001, "is_byok": True, "cost_details": {"upstream_inference_cost": 0.02}}, 21_000_000),
            ({"cost": 0.001, "is_byok": True, "cost_details": {"upstream_inference_cost": None}}, None),
            ({"cost_in_usd_ticks": 9_143_500}, 914_350),
            ({"cost_in_usd_ticks": 11}, 2),
            ({"cost": {"input_tokens_cost": 0.001, "request_cost": 0.005, "total_cost": 0.0061}}, 6_100_000),
            ({"cost": -1}, None),
            ({"cost": True}, None),
            ({"cost": float("nan")}, None),
            ({"cost": "free"}, None),
            ({}, None),
        ],
    )
    def test_stated_costs(self, usage: dict[str, Any], stated: int | None) -> None:
        """OpenRouter, xAI and Perplexity state a cost; it is read exactly, rounded up, or not at all."""
        base = {"prompt_tokens": 1, "completion_tokens": 1}

        assert stated == OPENAI_CHAT.read_response(chat({**base, **usage})).stated_nanousd


class TestEmbeddings:
    def test_only_input_is_billed(self) -> None:
        """Embeddings use input alone."""
        receipt = OPENAI_EMBEDDINGS.read_response(
            {"model": "text-embedding-3-small", "data": [], "usage": {"prompt_tokens": 5, "total_tokens": 5}}
        )

        assert (Usage(input_tokens=5), True) == (receipt.usage, receipt.finished)
        assert OPENAI_EMBEDDINGS.read_response({"data": []}).usage is None

    def test_a_total_alone_is_the_input(self) -> None:
        """Some providers state a total and nothing else."""
        assert Usage(input_tokens=5) == OPENAI_EMBEDDINGS.read_response({"usage": {"total_tokens": 5}}).usage


class TestResponses:
    RESPONSE: dict[str, Any] = {  # noqa: RUF012
        "model": "gpt-5",
        "status": "completed",
        "service_tier": "priority",
        "output": [
            {"type": "web_search_call", "action": {"type": "search", "query": "x"}},
            {"type": "web_search_call", "action": {"type": "open_page"}},
            {"type": "code_interpreter_call", "container_id": "c1"},
            {"type": "code_interpreter_call", "container_id": "c1"},
            {"type": "file_search_call"},
            {"type": "message"},
        ],
        "usage": {
            "input_tokens": 100,
            "input_tokens_details": {"cached_tokens": 60, "cache_write_tokens": 5},
            "output_tokens": 50,
            "output_tokens_details": {"reasoning_tokens": 30},
        },
    }

    def test_usage_and_tools_are_read(self) -> None:
        """Details are read; of the tools, the searches, the containers and the file searches are counted."""
        receipt = OPENAI_RESPONSES.read_response(self.RESPONSE)
        expected = Usage(
            input_tokens=100,
            cache_read_tokens=60,
            cache_write_tokens=5,
            output_tokens=50,
            reasoning_tokens=30,
            other={"web_searches": 1, "storage_searches": 1, "code_executions": 1},
        )

        assert expected == receipt.usage
        assert {"web_search": 1, "code_interpreter": 1, "file_search": 1} == receipt.server_tools
        assert ("priority", True) == (receipt.tier, receipt.finished)

    @pytest.mark.parametrize("end", ["response.completed", "response.incomplete", "response.failed"])
    def test_a_stream_tells_at_its_end(self, end: str) -> None:
        """The last event holds the response; before it, the model is known and the usage is not."""
        begun = {
            "type": "response.created",
            "response": {**self.RESPONSE, "status": "in_progress", "usage": None},
        }
        ended = {"type": end, "response": {**self.RESPONSE, "status": end.removeprefix("response.")}}
        whole, cut = OPENAI_RESPONSES.read_events([begun, ended]), OPENAI_RESPONSES.read_events([begun])

        assert OPENAI_RESPONSES.read_response(self.RESPONSE).usage == whole.usage
        assert whole.finished
        assert (None, False, "gpt-5") == (cut.usage, cut.finished, cut.model)

    def test_a_shell_of_the_provider_is_a_container(self) -> None:
        """A shell in a container is billed as one container; a shell of the client's costs nothing."""
        hosted = {"type": "shell_call", "environment": {"type": "container_reference", "container_id": "c1"}}
        local = {"type": "shell_call", "environment": {"type": "local"}}
        receipt = OPENAI_RESPONSES.read_response({**self.RESPONSE, "output": [hosted, hosted, local]})

        assert {"code_interpreter": 1} == receipt.server_tools

    @pytest.mark.parametrize("usage", [{}, {"input_tokens": 5}, {"output_tokens": 5}])
    def test_half_a_usage_is_unknown(self, usage: dict[str, int]) -> None:
        """A usage that leaves out input or output does not make it zero."""
        assert OPENAI_RESPONSES.read_response({**self.RESPONSE, "usage": usage}).usage is None

    def test_a_background_response_is_not_finished(self) -> None:
        """A response that is still queued states nothing."""
        receipt = OPENAI_RESPONSES.read_response(
            {"model": "gpt-5", "status": "queued", "usage": None, "output": []}
        )

        assert (None, False) == (receipt.usage, receipt.finished)

    def test_tools_of_a_cut_stream_are_counted(self) -> None:
        """Where the end is missing, the items that came whole tell which tools ran."""
        events = [{"type": "response.output_item.done", "item": item} for item in self.RESPONSE["output"]]

        assert {"web_search": 1, "code_interpreter": 1, "file_search": 1} == OPENAI_RESPONSES.read_events(
            events
        ).server_tools

    def test_output_seen_is_all_deltas(self) -> None:
        """Text, refusals, shown reasoning and arguments are seen."""
        events: list[dict[str, Any]] = [
            {"type": "response.output_item.added", "item": {"type": "function_call", "name": "f "}},
            {"type": "response.function_call_arguments.delta", "delta": "{} "},
            {"type": "response.reasoning_summary_text.delta", "delta": "why "},
            {"type": "response.output_text.delta", "delta": "text"},
            {"type": "response.output_text.done", "text": "text"},
            {"type": "response.audio.delta", "delta": "AAAA"},
        ]

        assert "f {} why text" == OPENAI_RESPONSES.output_seen(events)
