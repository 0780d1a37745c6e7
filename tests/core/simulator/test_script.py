"""Scripted agents get their own answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import openai
import pytest
from openai.types.chat import ChatCompletion

from bursar.simulator import Answer, Request, Rule, Simulator

if TYPE_CHECKING:
    from tests.core.simulator.conftest import Start


def says(answer: ChatCompletion) -> str | None:
    """Return the text of a chat completion."""
    return answer.choices[0].message.content


def as_role(name: str) -> list[dict[str, str]]:
    """Return messages whose system prompt names a role."""
    return [{"role": "system", "content": f"You are the {name}."}, {"role": "user", "content": "go"}]


def test_agent_is_found_by_prompt_header_model_or_user(start: Start) -> None:
    """An agent's name is looked for in the system prompt, the header, the model and the user."""
    stage = start(script={"Writer": "written", "gpt-4o-mini": "small"})

    assert says(stage.chat(messages=as_role("writer"))) == "written"
    assert says(stage.chat(extra_headers={"x-agent": "Writer"})) == "written"
    assert says(stage.chat(user="Writer")) == "written"
    assert says(stage.chat(model="gpt-4o-mini")) == "small"
    assert [r.agent for r in stage.sim.requests] == ["Writer", "Writer", "Writer", "gpt-4o-mini"]


def test_agent_is_a_whole_word(start: Start) -> None:
    """The agent "researcher-1" is not "researcher-10"."""
    stage = start(script={"researcher-1": "one", "researcher-10": "ten"})

    assert says(stage.chat(messages=as_role("researcher-10"))) == "ten"


def test_name_in_another_message_is_no_match(start: Start) -> None:
    """Who is only spoken of is not who speaks."""
    stage = start(script={"planner": "planned"})

    assert says(stage.chat("the planner said so")) != "planned"


def test_answers_come_in_order_and_the_last_repeats(start: Start) -> None:
    """A sequence is given one by one."""
    stage = start(script={"gpt-4o": [Answer(text="first"), Answer(text="second")]})

    assert [says(stage.chat()) for _ in range(3)] == ["first", "second", "second"]


def test_function_sees_the_request(start: Start) -> None:
    """A function gets what the simulator understood, and decides."""

    def answer(request: Request) -> Answer:
        return Answer(
            text=f"{request.endpoint} {request.model} {request.output_limit} {request.messages[-1]}"
        )

    stage = start(script={"gpt-4o": answer})

    assert says(stage.chat("echo", max_tokens=50)) == "chat gpt-4o 50 echo"


def test_criteria_of_a_rule_hold_together(start: Start) -> None:
    """Model, system, message, header and condition must all fit."""
    stage = start()
    stage.sim.script(
        "critic",
        "criticised",
        model="gpt-4o",
        system="critic",
        message="draft",
        header=("x-role", "critic"),
        when=lambda request: request.stream is False,
    )
    fits: dict[str, Any] = {
        "messages": [{"role": "system", "content": "a critic"}, {"role": "user", "content": "draft"}],
        "extra_headers": {"x-role": "critic"},
    }

    assert says(stage.chat(**fits)) == "criticised"
    assert says(stage.chat(**fits | {"model": "gpt-4o-mini"})) != "criticised"
    assert says(stage.chat(**fits | {"extra_headers": {"x-role": "other"}})) != "criticised"
    assert says(stage.chat(**fits | {"messages": fits["messages"][1:]})) != "criticised"


def test_first_rule_that_fits_answers(start: Start) -> None:
    """Rules are tried in the order given."""
    rules = [Rule(agent="a", answers="A", message="x"), Rule(agent="b", answers="B", message="y")]
    stage = start(script=rules)

    assert says(stage.chat("x and y")) == "A"
    assert says(stage.chat("y")) == "B"


def test_text_is_cut_or_padded_to_its_tokens(start: Start) -> None:
    """With *output_tokens* the text on the wire is as long as the usage says."""
    stage = start(
        script={
            "gpt-4o": [Answer(text="one two three", output_tokens=2), Answer(text="one", output_tokens=3)]
        }
    )

    assert [says(stage.chat()) for _ in range(2)] == ["one two", "one word word"]


def test_served_model_is_named_and_billed(start: Start) -> None:
    """An answer may come from another model than the one asked for."""
    stage = start(script={"gpt-4o": Answer(model="gpt-4o-mini")})

    assert stage.chat().model == "gpt-4o-mini"
    assert list(stage.sim.bill.by_model) == ["gpt-4o-mini"]
    assert stage.sim.requests[0].model == "gpt-4o"


def test_failing_function_is_raised_at_the_end() -> None:
    """A scripted function that raises is a 500 to the client, once, and raises where the simulator ends."""

    def broken(request: Request) -> Answer:
        raise ZeroDivisionError(request.model)

    sim = Simulator(script={"gpt-4o": broken}).start()
    with (
        openai.OpenAI(base_url=sim.openai_base_url, api_key="x") as client,
        pytest.raises(openai.InternalServerError),
    ):
        client.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": "x"}])
    with pytest.raises(RuntimeError, match="script") as ended, sim:
        pass

    assert sim.arrived == 1
    assert isinstance(ended.value.__cause__, ZeroDivisionError)


@pytest.mark.parametrize(
    ("make", "says_why"),
    [
        (lambda: Answer(output_tokens=-1), "output_tokens"),
        (lambda: Answer(cache_write_1h_tokens=5), "cache_write_1h_tokens"),
        (lambda: Answer(input_tokens=5, cached_tokens=6), "input_tokens"),
        (lambda: Rule(agent="a", answers=[]), "no answers"),
        (lambda: Rule(agent="a", answers="x", header=("Authorization", "y")), "key"),
        (lambda: Simulator(tokens_per_event=0), "tokens_per_event"),
        (lambda: Simulator(prices={"acme": {"input": 1}}), "output"),
    ],
)
def test_mistakes_fail_where_they_are_written(make: Callable[[], object], says_why: str) -> None:
    """A script that makes no sense is refused before anything runs."""
    with pytest.raises(ValueError, match=says_why):
        make()
