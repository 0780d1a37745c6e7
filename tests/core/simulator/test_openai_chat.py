"""Chat completions, as the real SDK sees them."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import openai
import pytest
from pydantic import BaseModel

from bursar.simulator import Answer, ToolCall
from bursar.simulator.tokens import is_exact

if TYPE_CHECKING:
    from tests.core.simulator.conftest import Stage, Start

WEATHER: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


def test_answer_is_a_text_with_its_usage(stage: Stage) -> None:
    """Without a script a request gets a short text, and usage that adds up."""
    answer = stage.chat()

    assert answer.choices[0].message.content
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens
    assert answer.model == "gpt-4o"


@pytest.mark.skipif(not is_exact(), reason="needs the tokenizer extra")
def test_prompt_is_counted_by_the_rule_of_openai(stage: Stage) -> None:
    """3 tokens a message, its role and content, 1 more with a name, and 3 for the answer."""
    messages = [
        {"role": "system", "content": "You are terse."},
        {"role": "user", "name": "ada", "content": "hello world"},
    ]
    usage = stage.chat(messages=messages).usage

    # 3 + (3 + 1 + 4) + (3 + 1 + 2 + 1 + 1); "You are terse." is four tokens, "ada" is one.
    assert 3 + 8 + 8 == usage.prompt_tokens


def test_tools_and_schemas_are_part_of_the_prompt(stage: Stage) -> None:
    """A tool costs its JSON, and so does an answer's schema."""
    plain = stage.chat().usage.prompt_tokens
    with_tool = stage.chat(tools=[WEATHER]).usage.prompt_tokens
    schema = {"name": "x", "schema": WEATHER["function"]["parameters"]}
    with_schema = stage.chat(response_format={"type": "json_schema", "json_schema": schema})

    assert plain + 15 < with_tool < plain + len(json.dumps(WEATHER))
    assert plain + 15 < with_schema.usage.prompt_tokens < plain + len(json.dumps(schema))


@pytest.mark.parametrize("limit", ["max_tokens", "max_completion_tokens"])
def test_limit_cuts_the_answer(start: Start, limit: str) -> None:
    """An answer stops at the request's own limit, and says so."""
    stage = start(output_tokens=500)
    answer = stage.chat(**{limit: 20})

    assert answer.usage.completion_tokens == 20
    assert answer.choices[0].finish_reason == "length"
    assert answer.choices[0].message.content == " word" * 20


def test_talkative_model_says_all_it_may(start: Start) -> None:
    """A talkative model reaches the limit exactly, for each choice, and else its ceiling."""
    stage = start(talkative=True, ceilings={"gpt-4o": 300})

    assert stage.chat(max_tokens=7, n=3).usage.completion_tokens == 21
    assert stage.chat().usage.completion_tokens == 300
    assert stage.chat(max_completion_tokens=10_000).usage.completion_tokens == 300


def test_talkative_model_without_a_limit_reaches_the_published_ceiling(start: Start) -> None:
    """gpt-4o says no more than 16,384 tokens."""
    assert start(talkative=True).chat().usage.completion_tokens == 16_384


def test_usage_comes_in_a_stream_only_where_it_is_asked_for(stage: Stage) -> None:
    """With `include_usage` the last chunk has it and the others say null; without, none has it."""
    asked = list(stage.chat(stream=True, stream_options={"include_usage": True}))
    plain = list(stage.chat(stream=True))

    assert [chunk.usage for chunk in asked[:-1]] == [None] * (len(asked) - 1)
    assert asked[-1].choices == []
    assert asked[-1].usage.completion_tokens == 6
    assert all("usage" in chunk.model_fields_set for chunk in asked)
    assert not any("usage" in chunk.model_fields_set for chunk in plain)


def test_stream_joins_to_the_same_answer(stage: Stage) -> None:
    """Streamed or not, a request has the same text, finish and bill."""
    whole = stage.chat().choices[0]
    chunks = list(stage.chat(stream=True))

    assert whole.message.content == "".join(c.choices[0].delta.content or "" for c in chunks)
    assert chunks[-1].choices[0].finish_reason == whole.finish_reason
    assert stage.sim.requests[0].cost_nanousd == stage.sim.requests[1].cost_nanousd


def test_every_choice_is_streamed_and_billed(start: Start) -> None:
    """With `n=3` three choices come interleaved, and all are billed."""
    stage = start(output_tokens=10, tokens_per_event=3)
    chunks = list(stage.chat(stream=True, n=3, stream_options={"include_usage": True}))
    texts = {index: "" for index in range(3)}
    for chunk in chunks:
        for choice in chunk.choices:
            texts[choice.index] += choice.delta.content or ""

    assert texts == dict.fromkeys(range(3), " word" * 10)
    assert chunks[-1].usage.completion_tokens == 30


def test_sdk_stream_helper_accepts_the_chunks(stage: Stage) -> None:
    """`.stream()` accumulates the chunks to a whole completion."""
    with stage.openai.chat.completions.stream(
        model="gpt-4o",
        messages=[{"role": "user", "content": "hello"}],
        stream_options={"include_usage": True},
    ) as stream:
        final = stream.get_final_completion()

    assert final.usage.completion_tokens == 6
    assert final.choices[0].message.content == "This is a simulated answer."


@pytest.mark.parametrize("stream", [False, True])
def test_scripted_tools_are_called(start: Start, stream: bool) -> None:
    """A scripted call arrives whole, streamed or not."""
    stage = start(
        script={"gpt-4o": Answer(tool_calls=(ToolCall(name="weather", arguments={"city": "Oslo"}),))}
    )
    options: dict[str, Any] = {
        "model": "gpt-4o",
        "messages": [{"role": "user", "content": "?"}],
        "tools": [WEATHER],
    }
    if stream:
        with stage.openai.chat.completions.stream(**options) as events:
            choice = events.get_final_completion().choices[0]
    else:
        choice = stage.openai.chat.completions.create(**options).choices[0]

    assert choice.finish_reason == "tool_calls"
    assert choice.message.tool_calls[0].function.name == "weather"
    assert json.loads(choice.message.tool_calls[0].function.arguments) == {"city": "Oslo"}


def test_forced_tool_is_called_without_a_script(stage: Stage) -> None:
    """Where the request insists on a tool, it is called with arguments that its schema accepts."""
    choice = {"type": "function", "function": {"name": "weather"}}
    call = stage.chat(tools=[WEATHER], tool_choice=choice).choices[0].message.tool_calls[0]

    assert list(json.loads(call.function.arguments)) == ["city"]


class Plan(BaseModel):
    """A structured answer."""

    title: str
    steps: list[str]
    score: float | None


def test_parse_gets_an_object_of_its_schema(stage: Stage) -> None:
    """`.parse()` validates the answer to a JSON schema."""
    answer = stage.openai.chat.completions.parse(
        model="gpt-4o", messages=[{"role": "user", "content": "plan"}], response_format=Plan
    )

    assert isinstance(answer.choices[0].message.parsed, Plan)


def test_usage_details_are_on_the_wire(start: Start) -> None:
    """Cached and reasoning tokens are stated as parts of their totals."""
    stage = start(
        script={"gpt-5": Answer(input_tokens=900, cached_tokens=512, output_tokens=80, reasoning_tokens=64)}
    )
    answer = stage.chat(model="gpt-5", service_tier="flex")

    assert (answer.usage.prompt_tokens, answer.usage.prompt_tokens_details.cached_tokens) == (900, 512)
    assert answer.usage.completion_tokens == 80
    assert answer.usage.completion_tokens_details.reasoning_tokens == 64
    assert answer.choices[0].message.content == " word" * 16
    assert answer.service_tier == "flex"


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"messages": []}, "messages"),
        ({"messages": "hello"}, "messages"),
        ({"messages": [{"content": "hello"}]}, "role"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": "many"}, "max_tokens"),
        ({"max_tokens": 5, "max_completion_tokens": 5}, "same time"),
        ({"max_tokens": 5, "model": "gpt-5"}, "max_completion_tokens"),
        ({"n": 129}, "'n'"),
        ({"stream_options": {"include_usage": True}}, "stream_options"),
        ({"response_format": "json"}, "response_format"),
        ({"messages": [{"role": "user", "content": [{"type": "smell"}]}]}, "smell"),
    ],
)
def test_bad_bodies_are_refused_as_openai_does(stage: Stage, options: dict[str, Any], says: str) -> None:
    """A bad body is a 400 in OpenAI's shape, and is not billed."""
    with pytest.raises(openai.BadRequestError, match=says) as refused:
        stage.chat(**options)

    assert refused.value.type == "invalid_request_error"
    assert stage.sim.bill.calls == 0


def test_unknown_model_is_not_found(stage: Stage) -> None:
    """A model without a price does not exist."""
    with pytest.raises(openai.NotFoundError) as refused:
        stage.chat(model="gpt-99")

    assert refused.value.code == "model_not_found"
    assert stage.sim.requests[0].status == 404


def test_unknown_path_is_not_found(stage: Stage) -> None:
    """An endpoint that is not simulated is a 404 in OpenAI's shape."""
    with pytest.raises(openai.NotFoundError) as refused:
        stage.openai.vector_stores.create(name="a")

    assert refused.value.code == "unknown_url"


def test_azure_names_deployments(start: Start) -> None:
    """Azure's paths work, and a deployment stands for its model."""
    stage = start(deployments={"prod": "gpt-4o-mini"})
    with openai.AzureOpenAI(
        azure_endpoint=stage.sim.azure_endpoint, api_key="x", api_version="2024-10-21"
    ) as azure:
        answer = azure.chat.completions.create(model="prod", messages=[{"role": "user", "content": "hello"}])
    with openai.OpenAI(base_url=f"{stage.sim.url}/openai/v1", api_key="x") as newer:
        newer.responses.create(model="prod", input="hello")

    assert answer.model == "gpt-4o-mini"
    assert [r.path for r in stage.sim.requests] == [
        "/openai/deployments/prod/chat/completions",
        "/openai/v1/responses",
    ]
    assert list(stage.sim.bill.by_model) == ["gpt-4o-mini"]


def test_async_client_works(stage: Stage) -> None:
    """The async client gets whole and streamed answers."""

    async def main() -> tuple[Any, list[Any]]:
        async with openai.AsyncOpenAI(base_url=stage.sim.openai_base_url, api_key="x") as client:
            asked: dict[str, Any] = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hello"}]}
            create: Any = client.chat.completions.create
            whole = await create(**asked)
            stream = await create(**asked, stream=True)
            return whole, [chunk async for chunk in stream]

    whole, chunks = asyncio.run(main())

    assert whole.choices[0].message.content == "".join(c.choices[0].delta.content or "" for c in chunks)
