"""Every way to make a call with a guarded client, and every way to make the client."""

# What an SDK returns depends on unpacked options, which its overloads do not follow.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownLambdaType=false

from __future__ import annotations

import copy
import json
import pickle
import warnings
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import anthropic
import openai
import pytest
from pydantic import BaseModel

from bursar import Budget, UnmeteredEndpoint, guard
from bursar.errors import BudgetExceeded

from .conftest import CHAT, MESSAGE, Stage, http_library

MESSAGES = CHAT["messages"]


class Answer(BaseModel):
    """What a model is asked to fill in."""

    text: str


def chat_stream_helper(client: Any) -> Any:
    """The helper that collects a stream."""
    with client.chat.completions.stream(model="gpt-4o", messages=MESSAGES) as stream:
        return stream.get_final_completion()


def chat_streaming_response(client: Any) -> Any:
    """A response that is read by hand."""
    with client.chat.completions.with_streaming_response.create(**CHAT) as response:
        return response.parse()


def responses_stream_helper(client: Any) -> Any:
    """The helper that collects a stream of Responses."""
    with client.responses.stream(model="gpt-4o", input="hello") as stream:
        return stream.get_final_response()


def messages_stream_helper(client: Any) -> Any:
    """The helper that collects a stream of messages."""
    with client.messages.stream(**MESSAGE) as stream:
        return stream.get_final_message()


def messages_streaming_response(client: Any) -> Any:
    """A message that is read by hand."""
    with client.messages.with_streaming_response.create(**MESSAGE) as response:
        return response.parse()


def run_tools(client: Any) -> Any:
    """The runner that calls tools by itself."""
    return client.beta.messages.tool_runner(**MESSAGE, tools=[]).until_done()


OPENAI_DOORS: dict[str, Callable[[Any], Any]] = {
    "create": lambda c: c.chat.completions.create(**CHAT),
    "stream": lambda c: list(c.chat.completions.create(**CHAT, stream=True)),
    "parse": lambda c: c.chat.completions.parse(**CHAT, response_format=Answer),
    "stream helper": chat_stream_helper,
    "raw": lambda c: c.chat.completions.with_raw_response.create(**CHAT).parse(),
    "raw stream": lambda c: list(c.chat.completions.with_raw_response.create(**CHAT, stream=True).parse()),
    "streaming response": chat_streaming_response,
    "beta parse": lambda c: c.beta.chat.completions.parse(**CHAT, response_format=Answer),
    "responses": lambda c: c.responses.create(model="gpt-4o", input="hello"),
    "responses stream": lambda c: list(c.responses.create(model="gpt-4o", input="hello", stream=True)),
    "responses parse": lambda c: c.responses.parse(model="gpt-4o", input="hello", text_format=Answer),
    "responses stream helper": responses_stream_helper,
    "responses raw": lambda c: c.responses.with_raw_response.create(model="gpt-4o", input="hello").parse(),
    "embeddings": lambda c: c.embeddings.create(model="text-embedding-3-small", input="hello"),
    "low level": lambda c: c.post("/chat/completions", cast_to=object, body=CHAT),
    "options": lambda c: c.with_options(timeout=9).chat.completions.create(**CHAT),
    "copy": lambda c: c.copy(max_retries=1).chat.completions.create(**CHAT),
    "extra body": lambda c: c.chat.completions.create(
        **CHAT, extra_body={"model": "gpt-4o-mini", "max_tokens": 7}
    ),
    "generator": lambda c: c.chat.completions.create(model="gpt-4o", messages=(m for m in MESSAGES)),
}
ANTHROPIC_DOORS: dict[str, Callable[[Any], Any]] = {
    "create": lambda c: c.messages.create(**MESSAGE),
    "raw stream": lambda c: list(c.messages.create(**MESSAGE, stream=True)),
    "stream helper": messages_stream_helper,
    "beta": lambda c: c.beta.messages.create(**MESSAGE),
    "beta stream": lambda c: list(c.beta.messages.create(**MESSAGE, stream=True)),
    "raw": lambda c: c.messages.with_raw_response.create(**MESSAGE).parse(),
    "streaming response": messages_streaming_response,
    "tool runner": run_tools,
    "options": lambda c: c.with_options(timeout=9).messages.create(**MESSAGE),
    "low level": lambda c: c.post("/v1/messages", cast_to=object, body=MESSAGE),
    "generator": lambda c: c.messages.create(**{**MESSAGE, "messages": (m for m in MESSAGES)}),
}
ALL_DOORS = [
    *(("openai", door) for door in OPENAI_DOORS),
    *(("anthropic", door) for door in ANTHROPIC_DOORS),
]


def go(kind: str, door: str, client: Any) -> Any:
    """Go through a door."""
    doors = OPENAI_DOORS if kind == "openai" else ANTHROPIC_DOORS
    return doors[door](client)


class TestDoors:
    @pytest.mark.parametrize(("kind", "door"), ALL_DOORS)
    def test_call_is_paid_as_billed(self, stage: Stage, kind: str, door: str) -> None:
        """Whatever helper makes a call, it costs what the provider bills, once."""
        client = stage.guard(getattr(stage, kind))
        go(kind, door, client)

        assert stage.sim.arrived == 1
        assert client.bursar.spent == stage.sim.bill.total
        assert Decimal(0) == client.bursar.reserved
        assert [entry.status for entry in stage.entries()] == ["ok"]

    @pytest.mark.parametrize(("kind", "door"), ALL_DOORS)
    def test_broke_budget_sends_nothing(self, stage: Stage, kind: str, door: str) -> None:
        """Whatever helper makes a call, nothing is sent that no budget is left for."""
        client = stage.guard(getattr(stage, kind), "$0.000000001")
        with pytest.raises(BudgetExceeded) as caught:
            go(kind, door, client)

        assert stage.sim.arrived == 0
        assert caught.value.agent == "writer"
        assert [entry.status for entry in stage.entries()] == ["refused"]

    def test_async_doors(self, stage: Stage) -> None:
        """Async clients pay through all their doors."""
        ours, theirs = stage.guard(stage.async_openai), stage.guard(stage.async_anthropic, label="editor")

        async def main() -> None:
            await ours.chat.completions.create(**CHAT)
            await ours.chat.completions.parse(**CHAT, response_format=Answer)
            async with ours.chat.completions.stream(model="gpt-4o", messages=MESSAGES) as stream:
                await stream.get_final_completion()
            async with ours.chat.completions.with_streaming_response.create(**CHAT) as response:
                await response.parse()
            (await ours.chat.completions.with_raw_response.create(**CHAT)).parse()
            await ours.responses.create(model="gpt-4o", input="hello")
            async with ours.responses.stream(model="gpt-4o", input="hello") as stream:
                await stream.get_final_response()
            await ours.embeddings.create(model="text-embedding-3-small", input="hello")
            await theirs.messages.create(**MESSAGE)
            async with theirs.messages.stream(**MESSAGE) as stream:
                await stream.get_final_message()
            await theirs.beta.messages.create(**MESSAGE)
            await theirs.with_options(timeout=9).messages.create(**MESSAGE)

        stage.run(main())

        assert stage.sim.arrived == 12
        assert ours.bursar.spent + theirs.bursar.spent == stage.sim.bill.total
        assert {entry.status for entry in stage.entries()} == {"ok"}

    def test_extra_body_is_what_counts(self, stage: Stage) -> None:
        """A limit and a model that come in `extra_body` are those that are reserved for."""
        client = stage.guard(stage.openai, "$0.0001")
        client.chat.completions.create(
            **CHAT, max_tokens=9_000, extra_body={"max_tokens": 5, "model": "gpt-4o-mini"}
        )

        assert stage.sim.requests[0].body["max_tokens"] == 5
        assert stage.entries()[0].model.startswith("gpt-4o-mini")

    def test_pydantic_message_is_counted(self, stage: Stage) -> None:
        """An SDK's message object that is sent back weighs as much as its text."""
        client = stage.guard(stage.openai)
        message = client.chat.completions.create(**CHAT).choices[0].message
        message.content = "word " * 2_000
        client.chat.completions.create(model="gpt-4o", messages=[*MESSAGES, message], max_tokens=5)
        second = stage.entries()[1]

        assert second.bound_nanousd >= (second.cost_nanousd or 0) > 2_000 * 2_500

    def test_json_by_hand_is_read(self, stage: Stage) -> None:
        """A body that is not an object yet is refused, or read, but never sent unpaid."""
        client = stage.guard(stage.openai, "$0.000000001")
        warnings.simplefilter("ignore", DeprecationWarning)  # The SDK would have it as `content`.
        with pytest.raises((BudgetExceeded, UnmeteredEndpoint)):
            client.post("/chat/completions", cast_to=object, body=b'{"model":"gpt-4o","messages":[]}')

        assert stage.sim.arrived == 0


UNMETERED: dict[str, Callable[[Stage, Any, Any], Any]] = {
    "images without a model": lambda _, ours, __: ours.images.generate(prompt="a cat"),
    "vector stores": lambda _, ours, __: ours.vector_stores.create(name="a"),
    "realtime": lambda _, ours, __: ours.realtime.client_secrets.create(),
    "batches": lambda _, ours, __: ours.batches.create(
        input_file_id="f", endpoint="/v1/chat/completions", completion_window="24h"
    ),
    "message batches": lambda _, __, theirs: theirs.messages.batches.create(requests=[]),
    "unknown": lambda _, ours, __: ours.post("/brand/new", cast_to=object, body={}),
}


class TestUnmetered:
    @pytest.mark.parametrize("door", UNMETERED)
    def test_refused_with_a_reason(self, stage: Stage, door: str) -> None:
        """An endpoint that costs money and is not metered is not called under a money budget."""
        ours, theirs = stage.guard(stage.openai), stage.guard(stage.anthropic)
        with pytest.raises(UnmeteredEndpoint, match=r"not metered|not known|not sent"):
            UNMETERED[door](stage, ours, theirs)

        assert stage.sim.arrived == 0

    def test_free_endpoints_pass(self, stage: Stage) -> None:
        """What costs nothing is not held up, and not entered."""
        client = stage.guard(stage.openai, "$0.000000001")
        client.moderations.create(input="hello")
        client.models.list()

        assert stage.sim.arrived == 2
        assert stage.entries() == []

    def test_websockets_are_shut(self, stage: Stage) -> None:
        """A connection that no budget could be kept on is not opened, and the original client's still is."""
        client = stage.guard(stage.openai)
        with pytest.raises(UnmeteredEndpoint):
            client.realtime.connect(model="gpt-realtime")

        assert stage.openai.realtime.connect(model="gpt-realtime") is not None


SDK: Any = anthropic  # Its clients for clouds are not among the names that it declares.
CLOUDS: dict[str, tuple[Callable[[], Any], str]] = {
    "bedrock": (
        lambda: SDK.AnthropicBedrock(aws_access_key="a", aws_secret_key="b", aws_region="us-east-1"),
        "aws",
    ),
    "vertex": (
        lambda: SDK.AnthropicVertex(region="us-east5", project_id="p", access_token="t"),
        "google",
    ),
    "azure": (
        lambda: openai.AzureOpenAI(azure_endpoint="https://x.invalid", api_key="k", api_version="2024-10-21"),
        "azure",
    ),
    "token": (lambda: anthropic.Anthropic(auth_token="t"), "anthropic"),
}


class Branded(openai.OpenAI):
    """A user's own client, whose constructor takes other arguments."""

    def __init__(self, tenant: str, url: str) -> None:
        super().__init__(api_key="sk-planted", base_url=url, max_retries=0)
        self.tenant = tenant


class TestClients:
    def test_type_is_kept(self, stage: Stage) -> None:
        """A guarded client is of the class that it was made from, by `isinstance` and by name."""
        client = stage.guard(stage.openai)

        assert isinstance(client, openai.OpenAI)
        assert type(client).__name__ == "OpenAI"
        assert type(client).__module__ == openai.OpenAI.__module__

    def test_original_is_untouched(self, stage: Stage) -> None:
        """The client that was guarded goes on without a budget, also where its resources were in use before."""
        chat = stage.openai.chat
        client = stage.guard(stage.openai, "$0.000000001")
        chat.completions.create(**CHAT)
        stage.openai.chat.completions.create(**CHAT)
        with pytest.raises(BudgetExceeded):
            client.chat.completions.create(**CHAT)

        assert stage.sim.arrived == 2
        assert stage.entries()[0].status == "refused"
        assert client.chat is not chat

    def test_users_subclass(self, stage: Stage) -> None:
        """A subclass with a constructor of its own is guarded, and keeps what it holds."""
        with Branded("acme", stage.sim.openai_base_url) as plain:
            client = stage.guard(plain)
            client.chat.completions.create(**CHAT)

        assert client.tenant == "acme"
        assert client.bursar.spent == stage.sim.bill.total
        assert isinstance(client, Branded)

    def test_guard_of_a_guard(self, stage: Stage) -> None:
        """A guarded client that is guarded again pays from both budgets."""
        outer = stage.guard(stage.openai, 1, label="team")
        inner = stage.guard(outer, 2, label="member")
        inner.with_options(timeout=9).chat.completions.create(**CHAT)

        assert stage.sim.bill.total == inner.bursar.spent
        assert stage.sim.bill.total == outer.bursar.spent
        assert len(stage.entries()) == 1

    def test_client_made_before_or_after_the_run(self, stage: Stage) -> None:
        """A client pays from the run around the call, whenever it was made."""
        before = guard(stage.openai, label="before")
        with Budget(5, store=stage.store).run("job") as run:
            after = guard(stage.openai, label="after")
            before.chat.completions.create(**CHAT)
            after.chat.completions.create(**CHAT)

        assert run.spent == stage.sim.bill.total
        assert set(run.report().by_agent) == {"before", "after"}

    def test_clients_of_one_run_tell_what_each_of_them_spent(self, stage: Stage) -> None:
        """Where two clients share the account of a run, each one's `.bursar` is of its own calls."""
        with Budget("$1", store=stage.store).run() as run:
            planner, writer = (guard(stage.openai, label=name) for name in ("planner", "writer"))
            planner.chat.completions.create(**CHAT)
            writer.chat.completions.create(**CHAT)
            writer.chat.completions.create(**CHAT)

        assert (1, 2) == (planner.bursar.calls, writer.bursar.calls)
        assert planner.bursar.spent * 2 == writer.bursar.spent == run.spent / 3 * 2
        assert ["writer"] == list(writer.bursar.report().by_agent)
        assert Decimal(1) - run.spent == writer.bursar.remaining

    def test_azure(self, stage: Stage) -> None:
        """An Azure client is guarded, its copies too."""
        with openai.AzureOpenAI(
            azure_endpoint=stage.sim.azure_endpoint,
            api_key="planted",
            api_version="2024-10-21",
            max_retries=0,
        ) as azure:
            client = stage.guard(azure)
            client.chat.completions.create(**CHAT)
            client.with_options(timeout=9).chat.completions.create(**CHAT)

        assert client.bursar.spent == stage.sim.bill.total
        assert {entry.subject.provider for entry in stage.entries()} == {"azure"}

    @pytest.mark.parametrize("kind", CLOUDS)
    def test_clients_of_clouds(self, stage: Stage, kind: str) -> None:
        """Clients of other clouds are guarded with all they were given, copies too, and know who bills."""
        make, provider = CLOUDS[kind]
        try:
            plain = make()
        except (ImportError, openai.OpenAIError, anthropic.AnthropicError) as error:
            pytest.skip(f"needs more than the SDK alone: {type(error).__name__}")
        client = stage.guard(plain, "$0.000000001").with_options(timeout=9)
        door = "openai" if isinstance(plain, openai.OpenAI) else "anthropic"
        with pytest.raises(BudgetExceeded):
            go(door, "create", client)
        plain.close()

        assert isinstance(client, type(plain))
        assert [entry.subject.provider for entry in stage.entries()] == [provider]

    def test_given_http_client(self, stage: Stage) -> None:
        """A client over the user's own HTTP client is guarded, and shares it."""
        library = http_library(openai)
        with library.Client(
            transport=stage.sim.transport("httpx" if library.__name__ == "httpx" else "httpx2")
        ) as http_client:
            plain = openai.OpenAI(
                api_key="sk-planted", base_url="http://127.0.0.1:9/v1", http_client=http_client
            )
            client = stage.guard(plain)
            client.chat.completions.create(**CHAT)
            list(client.chat.completions.create(**CHAT, stream=True))

        assert client.bursar.spent == stage.sim.bill.total

    def test_credentials_survive_copies(self, stage: Stage) -> None:
        """A client without a static key keeps what it signs in with, guarded and copied."""
        with openai.OpenAI(api_key=lambda: "sk-fresh", base_url=stage.sim.openai_base_url) as plain:
            client = stage.guard(plain)
            client.with_options(timeout=9).chat.completions.create(**CHAT)

        assert stage.sim.arrived == 1

    @pytest.mark.parametrize("thing", [openai.OpenAI, openai, "gpt-4o", object(), None])
    def test_what_is_no_client(self, thing: object) -> None:
        """What cannot be guarded is refused by name."""
        with pytest.raises(TypeError, match=r"guard\(\) takes"):
            guard(thing)


@pytest.mark.skipif(
    not hasattr(anthropic.Anthropic, "with_middleware"), reason="this anthropic has no middleware"
)
class TestMiddleware:
    def test_middleware_stays_and_each_send_is_paid(self, stage: Stage) -> None:
        """A middleware is kept; one that sends twice pays twice, and one that answers itself pays nothing."""
        guarded = stage.guard(stage.anthropic)

        def twice(request: Any, call_next: Any) -> Any:
            call_next(request)
            return call_next(request)

        guarded.with_middleware(twice).messages.create(**MESSAGE)
        assert stage.sim.arrived == 2
        assert guarded.bursar.spent == stage.sim.bill.total

        answer = guarded.with_middleware(lambda _, __: "cached").messages.create(**MESSAGE)

        assert answer == "cached"
        assert stage.sim.arrived == 2
        assert guarded.bursar.spent == stage.sim.bill.total
        assert Decimal(0) == guarded.bursar.reserved

    def test_middleware_of_the_original(self, stage: Stage) -> None:
        """A middleware that the client had before it was guarded sees the guarded calls, and they are paid."""
        seen: list[Any] = []

        def note(request: Any, call_next: Any) -> Any:
            seen.append(request)
            return call_next(request)

        guarded = stage.guard(stage.anthropic.with_middleware(note))
        guarded.messages.create(**MESSAGE)

        assert len(seen) == 1
        assert guarded.bursar.spent == stage.sim.bill.total


def test_an_answer_that_was_read_here_is_its_readers_to_change(stage: Stage) -> None:
    """What the SDK takes from us in place of reading the answer again is handed out once, and equals what was sent."""
    raw = stage.guard(stage.openai).chat.completions.with_raw_response.create(**CHAT)
    response = raw.http_response
    first = response.json()
    sent = copy.deepcopy(first)
    first.clear()

    assert sent == response.json() == json.loads(response.content)
    assert response.json(parse_int=str)["usage"]["total_tokens"] == str(sent["usage"]["total_tokens"])
    assert sent == pickle.loads(pickle.dumps(response)).json()  # noqa: S301 (our own)
    assert raw.parse().usage.total_tokens == sent["usage"]["total_tokens"]
