"""Streams of guarded clients: what the caller sees, and what is booked however they end."""

# What an SDK returns depends on unpacked options, which its overloads do not follow.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownLambdaType=false

from __future__ import annotations

import asyncio
import gc
import gzip
import json
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import anthropic
import openai
import pytest

from bursar import Budget, guard
from bursar.dropped import dropped
from bursar.entry import Entry
from bursar.money import to_usd
from bursar.run import Run
from bursar.simulator import Answer, Fault, Rule
from bursar.store import Where
from bursar.stores.memory import MemoryStore

from .conftest import CHAT, MESSAGE, Stage, Start, http_library


def only_entry(stage: Stage) -> Entry:
    """The one entry of the ledger, with nothing left reserved."""
    entries = list(stage.entries())
    assert len(entries) == 1
    return entries[0]


def settled(client: Any) -> Decimal:
    """What was spent, once nothing is reserved any more."""
    assert Decimal(0) == client.bursar.reserved
    return client.bursar.spent


class TestWhole:
    def test_usage_is_asked_for_and_hidden(self, stage: Stage) -> None:
        """A caller who did not ask for usage gets the very events that he would get without a guard."""
        guarded = stage.guard(stage.openai)
        plain = [
            chunk.choices[0].delta.content
            for chunk in stage.openai.chat.completions.create(**CHAT, stream=True)
        ]
        chunks = list(guarded.chat.completions.create(**CHAT, stream=True))

        assert plain == [chunk.choices[0].delta.content for chunk in chunks]
        assert all(chunk.usage is None for chunk in chunks)
        assert stage.sim.requests[-1].body["stream_options"] == {"include_usage": True}
        assert settled(guarded) == stage.sim.bill.total / 2

    def test_usage_that_the_caller_asked_for_stays(self, stage: Stage) -> None:
        """A caller who asks for usage gets it."""
        guarded = stage.guard(stage.openai)
        *_, last = guarded.chat.completions.create(
            **CHAT, stream=True, stream_options={"include_usage": True}
        )

        assert last.usage.prompt_tokens > 0
        assert settled(guarded) == stage.sim.bill.total

    def test_raw_bytes_hide_usage_too(self, stage: Stage) -> None:
        """The bytes of a streaming response hold no usage that was not asked for, and end as usual."""
        guarded = stage.guard(stage.openai)
        with guarded.chat.completions.with_streaming_response.create(**CHAT, stream=True) as response:
            content = b"".join(response.iter_bytes())

        assert b'"usage": {' not in content
        assert b'"usage":{' not in content
        assert content.endswith(b"data: [DONE]\n\n")
        assert settled(guarded) == stage.sim.bill.total

    def test_stream_keeps_its_type(self, stage: Stage) -> None:
        """A stream is the SDK's own, with its response and its context manager."""
        guarded = stage.guard(stage.openai)
        with guarded.chat.completions.create(**CHAT, stream=True) as stream:
            first = next(stream)
            rest = list(stream)

        assert type(stream) is openai.Stream
        assert stream.response.status_code == 200
        assert first.choices[0].delta.role == "assistant"
        assert rest
        assert settled(guarded) == stage.sim.bill.total

    def test_async_stream(self, stage: Stage) -> None:
        """Async streams are settled by their usage."""
        guarded = stage.guard(stage.async_openai)

        async def main() -> None:
            stream = await guarded.chat.completions.create(**CHAT, stream=True)
            assert type(stream) is openai.AsyncStream
            assert [chunk async for chunk in stream]

        stage.run(main())

        assert settled(guarded) == stage.sim.bill.total

    def test_anthropic_streams(self, stage: Stage) -> None:
        """Anthropic's raw stream and its helper are settled by their usage."""
        guarded = stage.guard(stage.anthropic)
        assert list(guarded.messages.create(**MESSAGE, stream=True))
        with guarded.messages.stream(**MESSAGE) as stream:
            text = stream.get_final_text()

        assert text
        assert settled(guarded) == stage.sim.bill.total


def drop_unread(stream: Any) -> None:
    """Let go of a stream that was never looked at."""


def break_off(stream: Any) -> None:
    """Leave the loop after two events."""
    for index, _ in enumerate(stream):
        if index == 1:
            break


def raise_inside(stream: Any) -> None:
    """Raise in the loop."""

    def look() -> None:
        for _ in stream:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        look()


def close_early(stream: Any) -> None:
    """Close it after one event."""
    next(iter(stream))
    stream.close()


def leave_block(stream: Any) -> None:
    """Leave its `with` after one event."""
    with stream:
        next(iter(stream))


LEAVES = [drop_unread, break_off, raise_inside, close_early, leave_block]


class TestLeft:
    @pytest.mark.parametrize("leave", LEAVES)
    @pytest.mark.parametrize("kind", ["openai", "anthropic"])
    def test_left_stream_is_paid_once(self, start: Start, kind: str, leave: Callable[[Any], None]) -> None:
        """A stream that the caller leaves is booked once at what was seen, and gives its connection back."""
        stage = start(output_tokens=400, token_latency_s=0.001)
        guarded = stage.guard(getattr(stage, kind))
        make = guarded.chat.completions.create if kind == "openai" else guarded.messages.create
        gc.disable()
        try:
            leave(make(**(CHAT if kind == "openai" else MESSAGE), stream=True))
            spent = settled(guarded)
        finally:
            gc.enable()
        entry = only_entry(stage)

        assert entry.status == "aborted"
        assert stage.sim.wait_idle(5)
        assert stage.sim.requests[0].aborted
        assert spent > 0
        assert entry.source == ("bound" if leave is drop_unread else "estimated")
        assert list(getattr(stage, kind)._client._transport._pool.connections) == []

    def test_dropped_in_a_cycle_is_collected(self, start: Start) -> None:
        """A dropped stream that is part of a cycle is settled when the collector finds it."""
        stage = start(output_tokens=400, token_latency_s=0.001)
        guarded = stage.guard(stage.openai)
        stream = guarded.chat.completions.with_raw_response.create(**CHAT, stream=True).parse()
        next(stream)
        holder = [stream]
        holder.append(holder)
        del stream, holder
        gc.collect()

        assert settled(guarded) > 0
        assert stage.sim.wait_idle(5)

    @pytest.mark.parametrize(
        "figure",
        [
            lambda run: run.spent,
            lambda run: Decimal("0.01") - run.remaining,
            lambda run: run.report().total,
            lambda run: run.budget.spent,
            lambda run: Decimal("0.01") - run.budget.remaining,
            lambda run: run.budget.report().total,
        ],
        ids=["spent", "remaining", "report", "budget spent", "budget remaining", "budget report"],
    )
    def test_every_figure_counts_what_was_just_dropped(
        self, start: Start, figure: Callable[[Run], Decimal]
    ) -> None:
        """Whoever asks what was spent is not told of a dropped stream that it is still in flight."""
        stage = start(output_tokens=400, token_latency_s=0.001)
        client = guard(stage.openai)
        with Budget("$0.01", store=MemoryStore()).run("doc") as run:
            stream = client.chat.completions.create(**CHAT, stream=True)
            # The thread that books what was dropped does not get its turn before the question.
            with dropped._lock:  # pyright: ignore[reportPrivateUsage]
                del stream
                told = figure(run)
            (entry,) = run.store.entries(Where())

        assert told == to_usd(entry.cost_nanousd or 0) > 0

    def test_async_break_and_drop(self, start: Start) -> None:
        """Async streams that are left settle at once, and their connections are closed by their loop."""
        stage = start(output_tokens=400, token_latency_s=0.001)
        guarded = stage.guard(stage.async_openai)

        async def main() -> None:
            async for _ in await guarded.chat.completions.create(**CHAT, stream=True):
                break
            await guarded.chat.completions.create(**CHAT, stream=True)
            for _ in range(100):
                await asyncio.sleep(0.01)
                if not stage.sim.in_flight:
                    break
            assert settled(guarded) > 0

        stage.run(main())

        assert [entry.status for entry in stage.entries()] == ["aborted", "aborted"]
        assert stage.sim.in_flight == 0

    def test_async_cancelled(self, start: Start) -> None:
        """A task that is cancelled in its stream pays what it saw; one that waits for headers pays the bound."""
        stage = start(output_tokens=400, token_latency_s=0.002)
        guarded = stage.guard(stage.async_anthropic)

        async def read(seen: asyncio.Event) -> None:
            async for _ in await guarded.messages.create(**MESSAGE, stream=True):
                seen.set()

        async def main() -> None:
            seen = asyncio.Event()
            task = asyncio.create_task(read(seen))
            await seen.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert settled(guarded) > 0

        stage.run(main())

        assert only_entry(stage).status == "aborted"
        assert only_entry(stage).source == "estimated"

    def test_loop_ends_before_stream(self, start: Start) -> None:
        """A stream that outlives its event loop is settled all the same."""
        stage = start(output_tokens=400, token_latency_s=0.001)
        guarded = stage.guard(stage.async_openai)
        kept: list[Any] = []

        async def main() -> None:
            stream = await guarded.chat.completions.create(**CHAT, stream=True)
            await anext(aiter(stream))
            kept.append(stream)

        stage.run(main())
        kept.clear()
        gc.collect()

        assert settled(guarded) > 0
        assert only_entry(stage).status == "aborted"


class TestBroken:
    @pytest.mark.parametrize("kind", ["openai", "anthropic"])
    @pytest.mark.parametrize(
        "fault", [Fault.cut(after_events=3, bill="generated"), Fault.error_event(after_events=3)]
    )
    def test_stream_cut_by_the_server(self, start: Start, kind: str, fault: Fault) -> None:
        """A stream that the server cuts or ends with an error is paid for what was seen."""
        stage = start(output_tokens=80)
        stage.sim.fail_next(fault)
        guarded = stage.guard(getattr(stage, kind))
        make = guarded.chat.completions.create if kind == "openai" else guarded.messages.create
        library = http_library(openai if kind == "openai" else anthropic)
        with pytest.raises((openai.APIError, anthropic.APIError, library.RemoteProtocolError)):
            list(make(**(CHAT if kind == "openai" else MESSAGE), stream=True))

        assert only_entry(stage).status == "aborted"
        assert settled(guarded) >= stage.sim.bill.total

    def test_stalled_stream_times_out(self, start: Start) -> None:
        """A stream that stalls until the client gives up is paid for what was seen."""
        stage = start(output_tokens=80)
        stage.sim.fail_next(Fault.stall(5, after_events=3))
        guarded = stage.guard(stage.openai).with_options(timeout=0.2)
        with pytest.raises((openai.APITimeoutError, http_library(openai).ReadTimeout)):
            list(guarded.chat.completions.create(**CHAT, stream=True))

        assert only_entry(stage).status == "aborted"
        assert settled(guarded) > 0

    def test_usage_missing_at_the_end(self, start: Start) -> None:
        """A whole stream without usage is counted, and marked as estimated."""
        stage = start(output_tokens=80)
        stage.sim.fail_next(Fault.no_usage())
        guarded = stage.guard(stage.openai)
        list(guarded.chat.completions.create(**CHAT, stream=True))

        assert (only_entry(stage).status, only_entry(stage).source) == ("ok", "estimated")
        assert settled(guarded) == stage.sim.bill.total


THINKING = {"type": "enabled", "budget_tokens": 1024}
REASONERS: dict[str, tuple[str, dict[str, Any]]] = {
    "chat": ("chat", {"model": "o3", "max_completion_tokens": 2_000}),
    "chat without a limit": ("chat", {"model": "gpt-5-mini"}),
    "chat of another maker": ("chat", {"model": "gpt-4o", "max_tokens": 2_000, "reasoning_effort": "high"}),
    "responses": ("responses", {"model": "gpt-5", "max_output_tokens": 2_000}),
    "messages": ("messages", {"model": "claude-sonnet-4-6", "max_tokens": 2_000, "thinking": THINKING}),
    "messages by default": ("messages", {"model": "claude-opus-5", "max_tokens": 2_000}),
}


def open_stream(client: Any, door: str, options: dict[str, Any]) -> Any:
    """A stream of one of the three endpoints."""
    if door == "responses":
        return client.responses.create(input="hello", stream=True, **options)
    messages = CHAT["messages"]
    resource = client.chat.completions if door == "chat" else client.messages
    return resource.create(messages=messages, stream=True, **options)


class TestReasoning:
    """A model that reasons unseen may be billed for more than was seen of its answer."""

    @pytest.mark.parametrize("name", REASONERS)
    @pytest.mark.parametrize("is_left", [True, False])
    def test_cut_answer_is_booked_at_the_bound(self, start: Start, name: str, is_left: bool) -> None:
        """Cut by the server or left by the caller, it is booked at the most that it can have cost, and marked so."""
        door, options = REASONERS[name]
        answer = Answer(output_tokens=1_500, reasoning_tokens=1_400)
        stage = start(
            script=[Rule(agent="any", when=lambda request: bool(request.model), answers=answer)],
            bill_aborted="all",
            token_latency_s=0.002 if is_left else 0,
        )
        if not is_left:
            stage.sim.fail_next(Fault.cut(after_events=3))
        kind = "anthropic" if door == "messages" else "openai"
        guarded = stage.guard(getattr(stage, kind))
        library = http_library(openai if kind == "openai" else anthropic)
        stream = open_stream(guarded, door, options)
        if is_left:
            next(iter(stream))
            stream.close()
        else:
            with pytest.raises((openai.APIError, anthropic.APIError, library.RemoteProtocolError)):
                list(stream)

        entry = only_entry(stage)
        assert ("aborted", "bound", entry.bound_nanousd) == (entry.status, entry.source, entry.cost_nanousd)
        assert stage.sim.wait_idle()
        assert settled(guarded) >= stage.sim.bill.total > 0

    def test_usage_missing_at_the_end(self, start: Start) -> None:
        """A whole stream that states no usage is booked at its bound: its reasoning was not in it."""
        stage = start(
            script=[
                Rule(
                    agent="any",
                    when=lambda request: bool(request.model),
                    answers=Answer(output_tokens=1_500, reasoning_tokens=1_400),
                )
            ]
        )
        stage.sim.fail_next(Fault.no_usage())
        guarded = stage.guard(stage.openai)
        list(open_stream(guarded, *REASONERS["chat"]))

        assert ("ok", "bound") == (only_entry(stage).status, only_entry(stage).source)
        assert settled(guarded) >= stage.sim.bill.total

    def test_stated_usage_is_what_counts(self, start: Start) -> None:
        """A stream that came to its end is booked at its stated usage, with its reasoning."""
        stage = start(
            script=[
                Rule(
                    agent="any",
                    when=lambda request: bool(request.model),
                    answers=Answer(output_tokens=1_500, reasoning_tokens=1_400),
                )
            ]
        )
        guarded = stage.guard(stage.openai)
        list(open_stream(guarded, *REASONERS["chat"]))

        assert ("ok", "priced", 1_400) == (
            only_entry(stage).status,
            only_entry(stage).source,
            only_entry(stage).usage.reasoning_tokens,
        )
        assert settled(guarded) == stage.sim.bill.total

    @pytest.mark.parametrize(
        ("door", "options"),
        [
            ("chat", {"model": "gpt-4o", "max_tokens": 2_000}),
            ("chat", {"model": "gpt-5.1", "max_completion_tokens": 2_000, "reasoning_effort": "none"}),
            ("messages", {"model": "claude-sonnet-4-6", "max_tokens": 2_000}),
            ("messages", {"model": "claude-opus-5", "max_tokens": 2_000, "thinking": {"type": "disabled"}}),
        ],
    )
    def test_without_reasoning_what_was_seen_counts(
        self, start: Start, door: str, options: dict[str, Any]
    ) -> None:
        """A cut answer of a model that does not reason is paid for what was seen of it."""
        stage = start(output_tokens=80)
        stage.sim.fail_next(Fault.cut(after_events=5, bill="generated"))
        guarded = stage.guard(stage.openai if door == "chat" else stage.anthropic)
        library = http_library(openai if door == "chat" else anthropic)
        with pytest.raises((openai.APIError, anthropic.APIError, library.RemoteProtocolError)):
            list(open_stream(guarded, door, options))

        entry = only_entry(stage)
        assert ("aborted", "estimated") == (entry.status, entry.source)
        assert entry.bound_nanousd > (entry.cost_nanousd or 0)
        assert settled(guarded) >= stage.sim.bill.total


def chat_events(text: str, *, newline: str = "\n") -> bytes:
    """A chat completion's stream with usage at its end."""
    head = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "gpt-4o-2024-08-06"}
    choice = {"index": 0, "delta": {"role": "assistant", "content": text}, "finish_reason": None}
    end = {"index": 0, "delta": {}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100}
    events = [
        {**head, "choices": [choice]},
        {**head, "choices": [end]},
        {**head, "choices": [], "usage": usage},
    ]
    blank = newline * 2
    return (
        "".join(f"data: {json.dumps(event)}{blank}" for event in events).encode()
        + f"data: [DONE]{blank}".encode()
    )


def serving(content: bytes, piece: int, **headers: str) -> Any:
    """An OpenAI client whose server answers *content* in pieces of that many bytes."""
    library = http_library(openai)

    class Pieces(library.SyncByteStream):
        def __iter__(self) -> Iterator[bytes]:
            return (content[at : at + piece] for at in range(0, len(content), piece))

    def answer(request: Any) -> Any:
        return library.Response(
            200, headers={"content-type": "text/event-stream", **headers}, stream=Pieces()
        )

    http_client = library.Client(transport=library.MockTransport(answer))
    return openai.OpenAI(api_key="sk-planted", base_url="http://127.0.0.1:9/v1", http_client=http_client)


NOT_TAKEN = {
    "message": "Unknown parameter: 'stream_options'.",
    "type": "invalid_request_error",
    "param": "stream_options",
    "code": "unknown_parameter",
}


class Refusing:
    """A server that speaks OpenAI's format, knows no `stream_options`, and keeps the bodies that it is sent."""

    def __init__(self) -> None:
        self.bodies: list[dict[str, Any]] = []
        self.library = http_library(openai)

    def answer(self, request: Any) -> Any:
        """Refuse what has `stream_options`, and answer the rest without usage."""
        self.bodies.append(json.loads(request.content))
        if "stream_options" in self.bodies[-1]:
            return self.library.Response(400, json={"error": NOT_TAKEN})
        content = b"".join(
            event + b"\n\n" for event in chat_events("hello").split(b"\n\n") if b'"usage"' not in event
        )
        pieces: Any = (content,)
        stream: Any = type("Pieces", (self.library.SyncByteStream, self.library.AsyncByteStream), {})()
        type(stream).__iter__ = lambda _: iter(pieces)

        async def apieces(_: Any) -> Any:
            for piece in pieces:
                yield piece

        type(stream).__aiter__ = apieces
        return self.library.Response(200, headers={"content-type": "text/event-stream"}, stream=stream)

    def client(self, host: str, *, is_async: bool = False) -> Any:
        """An OpenAI client of this server under a name of its own."""
        transport = self.library.MockTransport(self.answer)
        http = (self.library.AsyncClient if is_async else self.library.Client)(transport=transport)
        kind = openai.AsyncOpenAI if is_async else openai.OpenAI
        return kind(api_key="sk-planted", base_url=f"http://{host}/v1", http_client=http, max_retries=0)


class TestServersOfOthers:
    def test_a_server_without_stream_options_still_answers(self, stage: Stage) -> None:
        """What only bursar asked for is left out where a server refuses it, and not asked of it again."""
        server = Refusing()
        guarded = stage.guard(server.client("sync.test"), attempts=9)
        texts = [
            "".join(chunk.choices[0].delta.content or "" for chunk in guarded.chat.completions.create(**made))
            for made in [{**CHAT, "stream": True}] * 2
        ]

        assert ["hello", "hello"] == texts
        assert [True, False, False] == ["stream_options" in body for body in server.bodies]
        assert [("error", "none", 1), ("ok", "estimated", 2), ("ok", "estimated", 1)] == [
            (entry.status, entry.source, entry.attempt) for entry in stage.entries()
        ]
        assert 2 == guarded.bursar.calls

    def test_an_async_client_does_the_same(self, stage: Stage) -> None:
        """A client that awaits leaves it out too."""
        server = Refusing()
        guarded = stage.guard(server.client("async.test", is_async=True))

        async def main() -> None:
            stream = await guarded.chat.completions.create(**CHAT, stream=True)
            assert "hello" == "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

        stage.run(main())

        assert [True, False] == ["stream_options" in body for body in server.bodies]

    def test_what_the_caller_asked_for_is_the_callers_error(self, stage: Stage) -> None:
        """A caller who asks for usage himself is told that the server does not take it."""
        server = Refusing()
        guarded = stage.guard(server.client("own.test"))
        with pytest.raises(openai.BadRequestError, match="stream_options"):
            guarded.chat.completions.create(**CHAT, stream=True, stream_options={"include_usage": True})

        assert 1 == len(server.bodies)
        assert Decimal(0) == settled(guarded)

    def test_work_in_the_background_goes_on_unheard(self, stage: Stage) -> None:
        """A stream of a background response that is left is booked at its bound: the provider works on."""
        begun = {"id": "r", "object": "response", "status": "in_progress", "model": "gpt-4o", "output": []}
        events = [
            {"type": "response.created", "response": begun, "sequence_number": 0},
            {"type": "response.output_text.delta", "delta": "he", "item_id": "i", "sequence_number": 1},
        ]
        content = "".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in events)
        guarded = stage.guard(serving(content.encode(), 1_000))
        options: dict[str, Any] = {"model": "gpt-4o", "input": "hi", "max_output_tokens": 500}
        stream = guarded.responses.create(**options, background=True, stream=True)
        next(iter(stream))
        stream.close()

        assert ("aborted", "bound") == (only_entry(stage).status, only_entry(stage).source)


class TestWire:
    @pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
    @pytest.mark.parametrize("piece", [1, 3, 7, 1_000_000])
    @pytest.mark.parametrize("zipped", [False, True])
    def test_pieces_and_encodings(self, stage: Stage, newline: str, piece: int, zipped: bool) -> None:
        """However the bytes come, the text is whole, the usage is hidden and the cost is exact."""
        content = chat_events("héllo", newline=newline)
        headers = {"content-encoding": "gzip"} if zipped else {}
        client = serving(gzip.compress(content) if zipped else content, piece, **headers)
        guarded = stage.guard(client)
        chunks = list(guarded.chat.completions.create(**CHAT, stream=True))
        client.close()

        assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "héllo"
        assert len(chunks) == 2
        assert settled(guarded) == Decimal("0.0035")

    def test_huge_event(self, stage: Stage) -> None:
        """An event of ten megabytes in small pieces takes about as long to read as it would without a guard."""
        client = serving(chat_events("x" * 10_000_000), 4096)
        guarded = stage.guard(client)
        chunks = list(guarded.chat.completions.create(**CHAT, stream=True))
        client.close()

        assert len(chunks[0].choices[0].delta.content) == 10_000_000
        assert settled(guarded) == Decimal("0.0035")

    def test_words_in_the_text_are_not_usage(self, stage: Stage) -> None:
        """A text that quotes a usage event is shown."""
        text = '{"choices": [], "usage": {"prompt_tokens": 1}}'
        client = serving(chat_events(text), 10)
        guarded = stage.guard(client)
        first, *_ = guarded.chat.completions.create(**CHAT, stream=True)
        client.close()

        assert first.choices[0].delta.content == text
