"""`on_exceed="stop"`: a real answer of the SDK that says why, through every door."""

# What an SDK returns depends on unpacked options, which its overloads do not follow.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownLambdaType=false

from __future__ import annotations

from typing import Any

import openai
import pytest
from anthropic.resources.messages import Messages
from openai.types.chat import ChatCompletion, ParsedChatCompletion
from openai.types.responses import ParsedResponse, Response

from bursar import BudgetExceeded
from bursar.simulator import Fault

from .conftest import CHAT, MESSAGE, Stage, Start
from .test_doors import ANTHROPIC_DOORS, OPENAI_DOORS, Answer, go

TEXT_DOORS = [
    *(("openai", door) for door in OPENAI_DOORS if door not in ("embeddings", "low level")),
    *(("anthropic", door) for door in ANTHROPIC_DOORS if door != "low level"),
]


@pytest.fixture
def stopping(stage: Stage) -> tuple[Any, Any]:
    """Guarded clients with nothing left, which are to stop gracefully."""
    return tuple(
        stage.guard(plain, "$0.000000001", on_exceed="stop", label=label)
        for plain, label in ((stage.openai, "writer"), (stage.anthropic, "editor"))
    )


def text_of(answer: Any) -> str:
    """All that an answer of any kind says."""
    if isinstance(answer, list):
        return "".join(str(event) for event in answer)
    return str(answer)


class TestStop:
    @pytest.mark.parametrize(("kind", "door"), TEXT_DOORS)
    def test_every_door_answers(self, stage: Stage, stopping: tuple[Any, Any], kind: str, door: str) -> None:
        """Whatever helper asked, it gets an answer of its own kind that says why, and nothing is sent."""
        answer = go(kind, door, stopping[0 if kind == "openai" else 1])

        assert "Stopped by the budget" in text_of(answer)
        assert stage.sim.arrived == 0
        assert [entry.status for entry in stage.entries()] == ["refused"]

    def test_chat_completion(self, stopping: tuple[Any, Any]) -> None:
        """A chat completion ends as usual and used nothing."""
        answer = stopping[0].chat.completions.create(**CHAT)

        assert type(answer) is ChatCompletion
        assert answer.choices[0].finish_reason == "stop"
        assert answer.usage is not None
        assert answer.usage.total_tokens == 0

    def test_parse_is_graceful(self, stopping: tuple[Any, Any]) -> None:
        """Where an object of a schema was asked for, there is none, and no error."""
        chat = stopping[0].chat.completions.parse(**CHAT, response_format=Answer)
        response = stopping[0].responses.parse(model="gpt-4o", input="hello", text_format=Answer)

        assert isinstance(chat, ParsedChatCompletion)
        assert chat.choices[0].message.parsed is None
        assert chat.choices[0].message.refusal
        assert isinstance(response, ParsedResponse)
        assert response.output_parsed is None

    @pytest.mark.skipif(not hasattr(Messages, "parse"), reason="this anthropic cannot parse")
    def test_anthropic_parse_is_graceful(self, stopping: tuple[Any, Any]) -> None:
        """Where an object of a schema was asked for, the message has none and says why in its details."""
        answer = stopping[1].messages.parse(**MESSAGE, output_format=Answer)

        assert answer.parsed_output is None
        assert answer.stop_reason == "refusal"
        assert "Stopped by the budget" in str(answer.stop_details)

    def test_response(self, stopping: tuple[Any, Any]) -> None:
        """A Response is complete and used nothing."""
        answer = stopping[0].responses.create(model="gpt-4o", input="hello")

        assert type(answer) is Response
        assert answer.status == "completed"
        assert answer.usage is not None
        assert answer.usage.total_tokens == 0

    def test_message(self, stopping: tuple[Any, Any]) -> None:
        """A message ends its turn and used nothing."""
        answer = stopping[1].messages.create(**MESSAGE)

        assert answer.stop_reason == "end_turn"
        assert answer.usage.input_tokens == answer.usage.output_tokens == 0

    def test_stream_keeps_its_type(self, stopping: tuple[Any, Any]) -> None:
        """A stream is the SDK's own, and its context manager works."""
        with stopping[0].chat.completions.create(**CHAT, stream=True) as stream:
            *_, last = stream

        assert type(stream) is openai.Stream
        assert last.choices[0].finish_reason == "stop"

    def test_async_doors(self, stage: Stage) -> None:
        """Async clients get the same answers."""
        ours = stage.guard(stage.async_openai, "$0.000000001", on_exceed="stop")
        theirs = stage.guard(stage.async_anthropic, "$0.000000001", on_exceed="stop", label="editor")

        async def main() -> list[Any]:
            async with theirs.messages.stream(**MESSAGE) as stream:
                final = await stream.get_final_message()
            return [
                final,
                await ours.chat.completions.create(**CHAT),
                await ours.chat.completions.parse(**CHAT, response_format=Answer),
                [chunk async for chunk in await ours.chat.completions.create(**CHAT, stream=True)],
                await ours.responses.create(model="gpt-4o", input="hello"),
                await theirs.messages.create(**MESSAGE),
            ]

        answers = stage.run(main())

        assert all("Stopped by the budget" in text_of(answer) for answer in answers)
        assert stage.sim.arrived == 0

    def test_embeddings_raise(self, stopping: tuple[Any, Any]) -> None:
        """An embedding that says why would be a made-up vector: it is refused instead."""
        with pytest.raises(BudgetExceeded):
            stopping[0].embeddings.create(model="text-embedding-3-small", input="hello")

    def test_attempts_stop_gracefully(self, start: Start) -> None:
        """A retry cascade that is capped ends in an answer too."""
        stage = start(max_retries=5, faults=[Fault.status(500, retry_after_s=0.001)] * 5)
        client = stage.guard(stage.openai, attempts=2, on_exceed="stop")
        answer = client.chat.completions.create(**CHAT)

        assert "Stopped by the budget" in text_of(answer)
        assert stage.sim.arrived == 2
        assert client.bursar.reserved == 0
