"""Responses, embeddings, moderations and models, as the real SDK sees them."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import openai
import pytest
from pydantic import BaseModel

from bursar.simulator import Answer, ToolCall

if TYPE_CHECKING:
    from tests.core.simulator.conftest import Stage, Start


def test_response_has_text_and_usage(stage: Stage) -> None:
    """A response carries its text and the usage with its details."""
    answer = stage.openai.responses.create(model="gpt-4o", instructions="Be terse.", input="hello")

    assert answer.output_text == "This is a simulated answer."
    assert answer.status == "completed"
    assert answer.usage.total_tokens == answer.usage.input_tokens + answer.usage.output_tokens
    assert answer.usage.input_tokens_details.cached_tokens == 0


def test_stream_is_the_whole_sequence_of_typed_events(stage: Stage) -> None:
    """Every event of a text answer comes, in order, numbered without a gap."""
    events = list(stage.openai.responses.create(model="gpt-4o", input="hello", stream=True))
    kinds = [event.type for event in events]

    assert kinds[:4] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
    ]
    assert set(kinds[4:-4]) == {"response.output_text.delta"}
    assert kinds[-4:] == [
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ]
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert events[-1].response.usage.output_tokens == 6


def test_limit_makes_a_response_incomplete(start: Start) -> None:
    """An answer that reaches its limit is incomplete, and says why, streamed or not."""
    stage = start(talkative=True)
    whole = stage.openai.responses.create(model="gpt-4o", input="hello", max_output_tokens=20)
    *_, last = stage.openai.responses.create(model="gpt-4o", input="hello", max_output_tokens=20, stream=True)

    assert whole.status == "incomplete"
    assert whole.incomplete_details.reason == "max_output_tokens"
    assert whole.usage.output_tokens == 20
    assert last.type == "response.incomplete"
    assert last.response.usage.output_tokens == 20


@pytest.mark.parametrize("stream", [False, True])
def test_reasoning_and_tools_are_items_of_their_own(start: Start, stream: bool) -> None:
    """Reasoning comes first as an item without text, and each call is an item."""
    call = ToolCall(name="weather", arguments={"city": "Oslo"})
    stage = start(script={"gpt-5": Answer(tool_calls=(call,), reasoning_tokens=50)})
    if stream:
        with stage.openai.responses.stream(model="gpt-5", input="?") as events:
            answer = events.get_final_response()
    else:
        answer = stage.openai.responses.create(model="gpt-5", input="?")

    assert [item.type for item in answer.output] == ["reasoning", "function_call"]
    assert json.loads(answer.output[1].arguments) == {"city": "Oslo"}
    assert answer.usage.output_tokens_details.reasoning_tokens == 50
    assert answer.usage.output_tokens > 50


class Verdict(BaseModel):
    """A structured answer."""

    approved: bool
    reasons: list[str]


def test_parse_gets_an_object_of_its_schema(stage: Stage) -> None:
    """`.parse()` validates the answer to a JSON schema."""
    answer = stage.openai.responses.parse(model="gpt-4o", input="ok?", text_format=Verdict)

    assert answer.output_parsed.approved is True


def test_earlier_turns_are_billed_again(stage: Stage) -> None:
    """`previous_response_id` stands for tokens that are input once more."""
    first = stage.openai.responses.create(model="gpt-4o", input="hello")
    second = stage.openai.responses.create(model="gpt-4o", input="hello", previous_response_id=first.id)

    assert second.usage.input_tokens == first.usage.input_tokens + first.usage.total_tokens


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"max_output_tokens": 15}, ">= 16"),
        ({"previous_response_id": "resp_unheard"}, "not found"),
        ({"input": [{"type": "smell"}]}, "smell"),
        ({"background": True}, "background"),
    ],
)
def test_bad_bodies_are_refused(stage: Stage, options: dict[str, Any], says: str) -> None:
    """What OpenAI refuses, or nobody simulates, is a 400."""
    with pytest.raises(openai.BadRequestError, match=says):
        stage.openai.responses.create(**{"model": "gpt-4o", "input": "hello"} | options)

    assert stage.sim.bill.calls == 0


def test_async_stream_works(stage: Stage) -> None:
    """The async stream helper reaches the final response."""

    async def main() -> int:
        async with (
            openai.AsyncOpenAI(base_url=stage.sim.openai_base_url, api_key="x") as client,
            client.responses.stream(model="gpt-4o", input="hello") as stream,
        ):
            usage = (await stream.get_final_response()).usage
            return usage.output_tokens if usage else 0

    assert asyncio.run(main()) == 6


def test_embeddings_are_vectors_of_length_one(stage: Stage) -> None:
    """Each text has a vector of its own and of length one, the same in both encodings."""
    in_base64 = stage.openai.embeddings.create(model="text-embedding-3-small", input=["a", "b"])
    in_floats = stage.openai.embeddings.create(
        model="text-embedding-3-small", input=["a", "b"], encoding_format="float"
    )
    vector = in_base64.data[0].embedding

    assert len(vector) == 1536
    assert sum(x * x for x in vector) == pytest.approx(1, abs=1e-5)
    assert vector == pytest.approx(in_floats.data[0].embedding, abs=1e-6)
    assert vector != in_base64.data[1].embedding
    assert in_base64.usage.prompt_tokens == 2


def test_embeddings_take_tokens_and_dimensions(stage: Stage) -> None:
    """Tokens count as they are, and a vector can be shorter."""
    answer = stage.openai.embeddings.create(
        model="text-embedding-3-large", input=[[1, 2, 3], [4, 5]], dimensions=256
    )

    assert answer.usage.prompt_tokens == 5
    assert [len(item.embedding) for item in answer.data] == [256, 256]


def test_moderations_are_free(stage: Stage) -> None:
    """A moderation flags nothing and is not billed."""
    answer = stage.openai.moderations.create(input=["hello", "world"])

    assert [result.flagged for result in answer.results] == [False, False]
    assert stage.sim.bill.calls == 0


def test_models_are_listed(start: Start) -> None:
    """The models with a price are listed, the user's own first."""
    stage = start(prices={"acme-7b": {"input": 1, "output": 2}})
    names = [model.id for model in stage.openai.models.list()]

    assert names[0] == "acme-7b"
    assert "gpt-4o" in names
    assert stage.openai.models.retrieve("gpt-4o").id == "gpt-4o"
    assert "claude-sonnet-4-6" in [model.id for model in stage.anthropic.models.list()]
