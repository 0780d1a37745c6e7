"""Anthropic messages, as the real SDK sees them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import anthropic
import pytest

from bursar.simulator import Answer, ToolCall

if TYPE_CHECKING:
    from tests.core.simulator.conftest import Stage, Start

WEATHER: dict[str, Any] = {
    "name": "weather",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}


def error_type(error: anthropic.APIStatusError) -> object:
    """Return the type that the provider gives an error."""
    body: Any = error.body
    return body["error"]["type"]


def test_answer_is_a_text_with_its_usage(stage: Stage) -> None:
    """Without a script a request gets a short text and its usage."""
    answer = stage.message()

    assert answer.content[0].text == "This is a simulated answer."
    assert answer.stop_reason == "end_turn"
    assert (answer.usage.input_tokens, answer.usage.output_tokens) == (8, 6)
    assert answer.usage.service_tier == "standard"


def test_limit_cuts_the_answer(start: Start) -> None:
    """A talkative model stops at `max_tokens`, and says so."""
    answer = start(talkative=True).message(max_tokens=33)

    assert answer.stop_reason == "max_tokens"
    assert answer.usage.output_tokens == 33


def test_cache_tokens_are_stated_apart_from_the_input(start: Start) -> None:
    """Anthropic's `input_tokens` leaves out what was read from or written to a cache."""
    answer = Answer(input_tokens=1000, cached_tokens=600, cache_write_tokens=300, cache_write_1h_tokens=100)
    stage = start(script={"claude-sonnet-4-6": answer})
    usage = stage.message().usage
    with stage.anthropic.messages.stream(
        model="claude-sonnet-4-6", max_tokens=100, messages=[{"role": "user", "content": "hello"}]
    ) as stream:
        streamed = stream.get_final_message().usage

    assert (usage.input_tokens, usage.cache_read_input_tokens) == (100, 600)
    assert usage.cache_creation_input_tokens == 300
    assert usage.cache_creation.ephemeral_5m_input_tokens == 200
    assert usage.cache_creation.ephemeral_1h_input_tokens == 100
    assert streamed == usage


def test_stream_states_input_first_and_output_last(stage: Stage) -> None:
    """The events come in Anthropic's order, with the output's count only at the end."""
    events = list(stage.message(stream=True))
    kinds = [event.type for event in events]

    assert kinds[0] == "message_start"
    assert kinds[1] == "content_block_start"
    assert set(kinds[2:-3]) <= {"content_block_delta", "ping"}
    assert kinds[-3:] == ["content_block_stop", "message_delta", "message_stop"]
    assert events[0].message.usage.input_tokens == 8
    assert events[0].message.usage.output_tokens == 1
    assert events[-2].usage.output_tokens == 6


@pytest.mark.parametrize("stream", [False, True])
def test_scripted_tools_are_called(start: Start, stream: bool) -> None:
    """A scripted call arrives whole after its text, streamed or not."""
    call = ToolCall(name="weather", arguments={"city": "Oslo"})
    stage = start(script={"claude-sonnet-4-6": Answer(text="Let me see.", tool_calls=(call,))})
    options: dict[str, Any] = {
        "model": "claude-sonnet-4-6",
        "max_tokens": 100,
        "messages": [{"role": "user", "content": "?"}],
        "tools": [WEATHER],
    }
    if stream:
        with stage.anthropic.messages.stream(**options) as events:
            answer = events.get_final_message()
    else:
        answer = stage.anthropic.messages.create(**options)

    assert answer.stop_reason == "tool_use"
    assert [block.type for block in answer.content] == ["text", "tool_use"]
    assert answer.content[1].input == {"city": "Oslo"}


def test_tools_bring_a_system_prompt_of_their_own(stage: Stage) -> None:
    """Anthropic adds 346 tokens to a request with tools, besides the tools."""
    assert stage.message(tools=[WEATHER]).usage.input_tokens > stage.message().usage.input_tokens + 346


@pytest.mark.parametrize("stream", [False, True])
def test_thinking_is_a_block_and_part_of_the_output(start: Start, stream: bool) -> None:
    """With thinking enabled it comes as a block, and its tokens are output."""
    stage = start(script={"claude-sonnet-4-6": Answer(text="42", reasoning_tokens=500)})
    options: dict[str, Any] = {
        "model": "claude-sonnet-4-6",
        "max_tokens": 3000,
        "messages": [{"role": "user", "content": "?"}],
        "thinking": {"type": "enabled", "budget_tokens": 1024},
    }
    if stream:
        with stage.anthropic.messages.stream(**options) as events:
            answer = events.get_final_message()
    else:
        answer = stage.anthropic.messages.create(**options)

    assert [block.type for block in answer.content] == ["thinking", "text"]
    assert answer.usage.output_tokens == 501


def test_beta_messages_work(stage: Stage) -> None:
    """The beta client, with its `?beta=true`, gets the same answer."""
    answer = stage.anthropic.beta.messages.create(
        model="claude-sonnet-4-6", max_tokens=100, messages=[{"role": "user", "content": "hello"}]
    )

    assert answer.content[0].text == "This is a simulated answer."
    assert stage.sim.requests[0].path == "/v1/messages"


def test_count_tokens_is_free(stage: Stage) -> None:
    """Counting agrees with the bill and is not on it."""
    counted = stage.anthropic.messages.count_tokens(
        model="claude-sonnet-4-6", messages=[{"role": "user", "content": "hello"}]
    )

    assert stage.sim.bill.calls == 0
    assert stage.message().usage.input_tokens == counted.input_tokens


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"messages": []}, "at least one message"),
        ({"messages": [{"role": "robot", "content": "x"}]}, "robot"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"thinking": {"type": "enabled", "budget_tokens": 1024}}, "budget_tokens"),
    ],
)
def test_bad_bodies_are_refused_as_anthropic_does(stage: Stage, options: dict[str, Any], says: str) -> None:
    """A bad body is a 400 in Anthropic's shape, and is not billed."""
    with pytest.raises(anthropic.BadRequestError, match=says) as refused:
        stage.message(**options)

    assert error_type(refused.value) == "invalid_request_error"
    assert stage.sim.bill.calls == 0


def test_unknown_model_and_path_are_not_found(stage: Stage) -> None:
    """A model without a price and an endpoint that is not simulated are 404 in Anthropic's shape."""
    with pytest.raises(anthropic.NotFoundError) as no_model:
        stage.message(model="claude-99")
    with pytest.raises(anthropic.NotFoundError) as no_path:
        stage.anthropic.messages.batches.list()

    assert error_type(no_model.value) == "not_found_error"
    assert error_type(no_path.value) == "not_found_error"


def test_async_client_works(stage: Stage) -> None:
    """The async client gets whole and streamed answers."""

    async def main() -> tuple[Any, Any]:
        async with anthropic.AsyncAnthropic(base_url=stage.sim.anthropic_base_url, api_key="x") as client:
            asked: dict[str, Any] = {"model": "claude-sonnet-4-6", "max_tokens": 100}
            asked["messages"] = [{"role": "user", "content": "hello"}]
            create: Any = client.messages.create
            whole = await create(**asked)
            async with client.messages.stream(**asked) as stream:
                return whole, await stream.get_final_message()

    whole, streamed = asyncio.run(main())

    assert whole.content[0].text == streamed.content[0].text
    assert whole.usage == streamed.usage
