"""Completions, images, audio and videos by real SDK clients: what the ledger says is what the simulator billed."""

# What an SDK returns depends on unpacked options, which its overloads do not follow.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownLambdaType=false

from __future__ import annotations

import inspect
import io
import wave
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import openai
import pytest

from bursar import Budget, BudgetExceeded, UnmeteredEndpoint, guard, prices
from bursar.entry import Entry
from bursar.money import to_usd
from bursar.simulator import Fault
from bursar.stores.memory import MemoryStore

from .conftest import Stage, Start

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def wav(seconds: float, *, rate: int = 8_000) -> bytes:
    """Silence, in a file that says how long it is."""
    file = io.BytesIO()
    with wave.open(file, "wb") as written:
        written.setnchannels(1)
        written.setsampwidth(2)
        written.setframerate(rate)
        written.writeframes(bytes(2 * int(rate * seconds)))
    return file.getvalue()


Door = Callable[[Any], Any]

_DOORS: dict[str, Door] = {
    "completions": lambda c: c.completions.create(
        model="gpt-3.5-turbo-instruct", prompt="hello", max_tokens=9
    ),
    "completions of several": lambda c: c.completions.create(
        model="davinci-002", prompt=["a", "b b"], n=2, best_of=3, max_tokens=5
    ),
    "completions of tokens": lambda c: c.completions.create(model="babbage-002", prompt=[[1, 2], [3]]),
    "completions streamed": lambda c: c.completions.create(
        model="gpt-3.5-turbo-instruct", prompt="hello", max_tokens=9, stream=True
    ),
    "image": lambda c: c.images.generate(model="gpt-image-1.5", prompt="a cat"),
    "images": lambda c: c.images.generate(
        model="gpt-image-1", prompt="a cat", n=3, quality="high", size="1536x1024"
    ),
    "image streamed": lambda c: c.images.generate(
        model="gpt-image-1.5", prompt="a cat", stream=True, partial_images=3, quality="high"
    ),
    "images streamed": lambda c: c.images.generate(model="gpt-image-1.5", prompt="a cat", stream=True, n=3),
    "image by the piece": lambda c: c.images.generate(model="dall-e-3", prompt="a cat"),
    "images by the piece": lambda c: c.images.generate(
        model="dall-e-2", prompt="a cat", n=4, size="256x256", response_format="b64_json"
    ),
    "image in hd": lambda c: c.images.generate(
        model="dall-e-3", prompt="a cat", quality="hd", size="1792x1024"
    ),
    "edit": lambda c: c.images.edit(
        model="gpt-image-1.5",
        prompt="a hat",
        image=[("a.png", b"x"), ("b.png", b"y")],
        mask=("m.png", b"z"),
        input_fidelity="high",
    ),
    "edit streamed": lambda c: c.images.edit(
        model="gpt-image-1", prompt="a hat", image=("a.png", b"x"), stream=True, partial_images=1
    ),
    "variations": lambda c: c.images.create_variation(image=("a.png", b"x"), n=2, size="512x512"),
    "speech": lambda c: c.audio.speech.create(model="tts-1-hd", input="hello there", voice="alloy"),
    "speech in events": lambda c: c.audio.speech.create(
        model="gpt-4o-mini-tts", input="hello there", voice="alloy", stream_format="sse"
    ),
    "transcription": lambda c: c.audio.transcriptions.create(model="whisper-1", file=("a.wav", wav(2.5))),
    "transcription, long form": lambda c: c.audio.transcriptions.create(
        model="whisper-1", file=("a.wav", wav(1)), response_format="verbose_json"
    ),
    "transcription of unknown length": lambda c: c.audio.transcriptions.create(
        model="whisper-1", file=("a.ogg", b"x" * 50_000)
    ),
    "subtitles": lambda c: c.audio.transcriptions.create(
        model="whisper-1", file=io.BytesIO(wav(61.2)), response_format="srt"
    ),
    "transcription in tokens": lambda c: c.audio.transcriptions.create(
        model="gpt-4o-transcribe", file=("a.wav", wav(9.9)), prompt="names: Ann, Bob"
    ),
    "transcription streamed": lambda c: c.audio.transcriptions.create(
        model="gpt-4o-mini-transcribe", file=("a.wav", wav(3)), stream=True
    ),
    "translation": lambda c: c.audio.translations.create(model="whisper-1", file=("a.wav", wav(7.01))),
    "video": lambda c: c.videos.create(prompt="a cat"),
    "video of size": lambda c: c.videos.create(
        prompt="a cat", model="sora-2-pro", seconds="12", size="1024x1792"
    ),
    "video from an image": lambda c: c.videos.create(
        prompt="a cat", model="sora-2", seconds="8", size="1280x720", input_reference=("a.png", b"x")
    ),
    "decisions": lambda c: c.post(
        "/decisions",
        cast_to=object,
        body={
            "model": "gpt-6-luna",
            "input": "The parcel came on Monday.",
            "questions": [{"type": "predicate", "question": "Did it come?"}] * 3,
        },
    ),
}
EXACT = {
    # The oldest versions have no videos.
    name: door
    for name, door in _DOORS.items()
    if hasattr(openai.OpenAI, "videos") or not name.startswith("video")
}
ESTIMATED = {"subtitles", "translation"}
"""What states no usage, so that the file's own length is booked."""


def read(answer: Any) -> Any:
    """Read an answer to its end, if it comes in pieces."""
    if hasattr(answer, "__next__") or (hasattr(answer, "__iter__") and hasattr(answer, "response")):
        return list(answer)
    return answer


async def aread(answer: Any) -> Any:
    """Do as `read` does, in a task."""
    answer = await answer
    return [one async for one in answer] if hasattr(answer, "__anext__") else answer


def only(stage: Stage) -> Entry:
    """The one line of the ledger."""
    [entry] = stage.entries()
    return entry


@pytest.mark.parametrize("door", EXACT)
class TestLedgerEqualsBill:
    def test_sync(self, stage: Stage, door: str) -> None:
        """The entry is what was billed, known as it should be, and within what was held for it."""
        client = stage.guard(stage.openai, 100)
        read(EXACT[door](client))

        entry = only(stage)
        assert stage.sim.bill.total_nanousd == entry.cost_nanousd
        assert stage.sim.bill.calls == 1
        assert ("estimated" if door in ESTIMATED else "priced") == entry.source
        assert 0 < (entry.cost_nanousd or 0) <= entry.bound_nanousd
        assert entry.overage_nanousd == 0
        assert to_usd(stage.sim.bill.total_nanousd) == client.bursar.spent
        assert client.bursar.reserved == 0

    def test_async(self, stage: Stage, door: str) -> None:
        """The same by a client that awaits."""
        client = stage.guard(stage.async_openai, 100)
        stage.run(aread(EXACT[door](client)))

        assert stage.sim.bill.total_nanousd == only(stage).cost_nanousd

    def test_refused(self, stage: Stage, door: str) -> None:
        """What does not fit is not sent."""
        client = stage.guard(stage.openai, "$0.000000001")
        with pytest.raises(BudgetExceeded):
            EXACT[door](client)

        assert stage.sim.arrived == 0
        assert client.bursar.spent == client.bursar.reserved == 0

    def test_retried(self, start: Start, door: str) -> None:
        """A failed attempt costs nothing, and the retry is another entry of the same call."""
        stage = start(max_retries=1)
        stage.sim.fail_next(Fault.status(500, retry_after_s=0.001))
        read(EXACT[door](stage.guard(stage.openai, 100)))

        assert [("error", 1), ("ok", 2)] == [(one.status, one.attempt) for one in stage.entries()]
        assert stage.sim.bill.total_nanousd == sum(one.cost_nanousd or 0 for one in stage.entries())

    def test_unlimited(self, stage: Stage, door: str) -> None:
        """Without a budget the same cost is entered."""
        read(EXACT[door](guard(stage.openai, label="writer", store=stage.store)))

        assert stage.sim.bill.total_nanousd == only(stage).cost_nanousd

    def test_raw(self, stage: Stage, door: str) -> None:
        """By `with_raw_response`, which a framework may use, it is the same."""
        if door.endswith("streamed") or door == "decisions":
            pytest.skip("a raw stream is read by whoever asked for it, and a plain post has no raw form")
        client = stage.guard(stage.openai, 100)
        EXACT[door](_Raw(client))

        assert stage.sim.bill.total_nanousd == only(stage).cost_nanousd


class _Raw:
    """Goes to the same method by `with_raw_response`."""

    def __init__(self, resource: Any) -> None:
        self._resource = resource

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._resource, name)
        if inspect.ismethod(value):
            return getattr(self._resource.with_raw_response, name)
        return _Raw(value)


class TestImages:
    def test_stream_left_early_is_paid_in_full(self, stage: Stage) -> None:
        """An image is drawn to its end whether or not somebody waits, so that its bound is booked."""
        client = stage.guard(stage.openai)
        with client.images.generate(
            model="gpt-image-1.5", prompt="a cat", stream=True, partial_images=3
        ) as stream:
            next(iter(stream))

        entry = only(stage)
        assert ("aborted", "bound") == (entry.status, entry.source)
        assert entry.bound_nanousd == entry.cost_nanousd
        assert stage.sim.wait_idle()
        assert stage.sim.bill.total_nanousd <= (entry.cost_nanousd or 0)

    def test_stream_left_before_its_last_image_is_paid_in_full(self, stage: Stage) -> None:
        """The usage of the first of three images is not that of all."""
        client = stage.guard(stage.openai)
        with client.images.generate(model="gpt-image-1.5", prompt="a cat", stream=True, n=3) as stream:
            assert "image_generation.completed" == next(iter(stream)).type

        entry = only(stage)
        assert ("aborted", entry.bound_nanousd) == (entry.status, entry.cost_nanousd)
        assert stage.sim.wait_idle()
        assert 0 < stage.sim.bill.total_nanousd <= entry.bound_nanousd

    @pytest.mark.parametrize("fault", [Fault.cut(after_events=1), Fault.error_event(after_events=1)])
    def test_a_stream_that_breaks_is_paid_in_full(self, stage: Stage, fault: Fault) -> None:
        """Nobody says what an image was billed that never came: its bound."""
        stage.sim.fail_next(fault)
        stream = stage.guard(stage.openai).images.generate(
            model="gpt-image-1.5", prompt="a cat", stream=True, partial_images=2
        )
        with pytest.raises(Exception):  # noqa: B017, PT011 (of the SDK's or of its HTTP package)
            list(stream)

        entry = only(stage)
        assert ("aborted", "bound") == (entry.status, entry.source)
        assert stage.sim.bill.total_nanousd <= (entry.cost_nanousd or 0)

    def test_deployments_are_what_they_stand_for(self, start: Start) -> None:
        """An alias has the bound of its model, and not that of a model nobody knows."""
        stage = start(deployments={"draw": "gpt-image-1.5"})
        with (
            prices.temporary(),
            openai.AzureOpenAI(
                azure_endpoint=stage.sim.azure_endpoint, api_key="k", api_version="2025-04-01-preview"
            ) as azure,
        ):
            prices.alias("draw", "gpt-image-1.5")
            stage.guard(azure).images.generate(model="draw", prompt="a cat")

        entry = only(stage)
        assert stage.sim.bill.total_nanousd == entry.cost_nanousd
        assert entry.bound_nanousd < 1_000_000_000

    def test_tokens_that_are_not_stated_are_booked_at_the_bound(self, stage: Stage) -> None:
        """A model that bills tokens and states none is unknown, never free."""
        stage.sim.fail_next(Fault.no_usage())
        stage.guard(stage.openai).images.generate(model="gpt-image-1.5", prompt="a cat")

        entry = only(stage)
        assert ("bound", entry.bound_nanousd) == (entry.source, entry.cost_nanousd)

    def test_ladder_is_taken(self, stage: Stage) -> None:
        """A cheaper model draws where the dearer one does not fit."""
        budget = Budget("$0.10", store=stage.store, downgrade={"gpt-image-1.5": "gpt-image-1-mini"})
        guard(stage.openai, budget, label="writer").images.edit(
            model="gpt-image-1.5", prompt="a hat", image=("a.png", b"x"), quality="high"
        )

        assert "gpt-image-1-mini" == stage.sim.requests[0].body["model"]
        assert stage.sim.bill.total_nanousd == only(stage).cost_nanousd

    @pytest.mark.parametrize(
        ("options", "why"),
        [
            ({}, "names no model"),
            ({"model": "gpt-image-2.5-flare", "output_format": "gif"}, "GIF"),
            ({"model": "gpt-image-2.5-flare", "output_format": "svg"}, "SVG"),
            ({"model": "dall-e-3", "size": "640x480"}, "no rate"),
        ],
    )
    def test_what_cannot_be_bounded_is_refused(self, stage: Stage, options: dict[str, Any], why: str) -> None:
        """A request that does not say enough is not sent, and the error says why."""
        with pytest.raises(UnmeteredEndpoint, match=why):
            stage.guard(stage.openai).images.generate(prompt="a cat", **options)

        assert stage.sim.arrived == 0

    def test_hard_cap_holds_across_threads(self, stage: Stage) -> None:
        """Of thirty images at once, as many as the budget pays for are drawn."""
        client = stage.guard(stage.openai, "$0.20", wait_s=0)

        def draw(_: int) -> bool:
            try:
                client.images.generate(model="dall-e-3", prompt="a cat")
            except BudgetExceeded:
                return False
            return True

        with ThreadPoolExecutor(10) as pool:
            assert sum(pool.map(draw, range(30))) == 5
        assert to_usd(stage.sim.bill.total_nanousd) == client.bursar.spent


class TestSpeech:
    @pytest.mark.parametrize("kind", ["mp3", "wav", "pcm"])
    def test_audio_arrives_as_it_was_sent(self, stage: Stage, kind: str) -> None:
        """The bytes of the answer are not touched, read whole or in pieces."""
        asked: dict[str, Any] = {
            "model": "tts-1",
            "input": "hello there",
            "voice": "alloy",
            "response_format": kind,
        }
        plain = stage.openai.audio.speech.create(**asked).content
        client = stage.guard(stage.openai)
        whole = client.audio.speech.create(**asked).content
        with client.audio.speech.with_streaming_response.create(**asked) as response:
            pieces = b"".join(response.iter_bytes())

        assert plain == whole == pieces
        assert [True, True] == [one.cost_nanousd == 165_000 for one in stage.entries()]

    @pytest.mark.parametrize("kind", ["wav", "pcm"])
    def test_tokens_are_estimated_by_what_plays(self, stage: Stage, kind: str) -> None:
        """Where a model bills tokens and states none, what the audio's length says is booked, marked so."""
        stage.guard(stage.openai).audio.speech.create(
            model="gpt-4o-mini-tts", input="hello there " * 40, voice="alloy", response_format=kind
        )

        entry = only(stage)
        assert entry.source == "estimated"
        assert (
            stage.sim.bill.total_nanousd <= (entry.cost_nanousd or 0) <= stage.sim.bill.total_nanousd * 1.02
        )

    def test_formats_that_do_not_say_are_booked_at_the_bound(self, stage: Stage) -> None:
        """The length of an mp3 is not known from its size."""
        stage.guard(stage.openai).audio.speech.create(
            model="gpt-4o-mini-tts", input="hello there", voice="alloy"
        )

        entry = only(stage)
        assert ("bound", entry.bound_nanousd) == (entry.source, entry.cost_nanousd)
        assert stage.sim.bill.total_nanousd <= entry.bound_nanousd

    def test_characters_are_paid_though_the_audio_is_cut(self, stage: Stage) -> None:
        """Text that was sent is billed, whatever comes back of it."""
        stage.sim.fail_next(Fault.cut())
        client = stage.guard(stage.openai)
        with (
            pytest.raises(Exception, match="closed"),
            client.audio.speech.with_streaming_response.create(
                model="tts-1", input="hello there", voice="alloy"
            ) as response,
        ):
            list(response.iter_bytes())

        assert stage.sim.bill.total_nanousd == only(stage).cost_nanousd == 165_000
        assert only(stage).status == "aborted"


class TestTranscription:
    def test_another_file_of_the_same_size_is_no_repeat(self, stage: Stage) -> None:
        """A repeated request is known by its file, and not by the file's size."""
        client = stage.guard(stage.openai)
        for content in (b"a" * 4_000, b"b" * 4_000, b"a" * 4_000):
            client.audio.transcriptions.create(model="whisper-1", file=("a.ogg", content))

        assert [False, False, True] == [one.subject.is_repeat for one in stage.entries()]

    def test_a_file_that_cannot_be_measured_is_refused(self, stage: Stage) -> None:
        """A stream that can be read once only has no length beforehand."""

        class Pipe(io.BytesIO):
            def seekable(self) -> bool:
                return False

        with pytest.raises(UnmeteredEndpoint, match="size of its audio file"):
            stage.guard(stage.openai).audio.transcriptions.create(
                model="whisper-1", file=("a.wav", Pipe(wav(1)))
            )
        assert stage.sim.arrived == 0

    def test_a_file_is_sent_whole(self, stage: Stage) -> None:
        """A file that was read before is sent, and measured, from its beginning."""
        file = io.BytesIO(wav(2))
        file.seek(400)
        stage.guard(stage.openai).audio.transcriptions.create(model="whisper-1", file=file)

        assert [{"bytes": len(wav(2)), "seconds": 2.0}] == stage.sim.requests[0].body["file"]

    def test_length_comes_from_the_file_where_the_answer_has_none(self, stage: Stage) -> None:
        """An older server states no usage: then the header of the file does."""
        stage.sim.fail_next(Fault.no_usage())
        stage.guard(stage.openai).audio.transcriptions.create(model="whisper-1", file=("a.wav", wav(4.4)))

        entry = only(stage)
        assert (stage.sim.bill.total_nanousd, "estimated") == (entry.cost_nanousd, entry.source)

    def test_ladder_is_taken(self, stage: Stage) -> None:
        """A cheaper model listens where the dearer one does not fit; the file goes with it."""
        budget = Budget("$0.10", store=stage.store, downgrade={"gpt-4o-transcribe": "gpt-4o-mini-transcribe"})
        guard(stage.openai, budget, label="writer").audio.transcriptions.create(
            model="gpt-4o-transcribe", file=("a.wav", wav(5))
        )

        assert "gpt-4o-mini-transcribe" == stage.sim.requests[0].body["model"]
        assert stage.sim.bill.total_nanousd == only(stage).cost_nanousd


class TestUnmetered:
    def test_without_a_limit_it_is_entered_as_unknown(self, stage: Stage) -> None:
        """What is not metered goes through where nothing limits it, and its cost is unknown, not zero."""
        client = guard(stage.openai, label="writer", store=stage.store)
        with pytest.raises(Exception, match="Unknown request URL"):
            client.vector_stores.create(name="a")
        client.realtime.connect(model="gpt-realtime")

        failed, opened = stage.entries()
        assert ("error", 0) == (failed.status, failed.cost_nanousd)
        assert ("ok", None, "unknown") == (opened.status, opened.cost_nanousd, opened.source)
        assert ("realtime.connect", "gpt-realtime") == (opened.subject.operation, opened.subject.model)

    def test_a_budget_of_calls_does_not_refuse_it(self, stage: Stage) -> None:
        """Only dollars and tokens cannot be kept: a number of calls can."""
        client = guard(stage.openai, Budget(calls=1, store=MemoryStore()), label="writer")
        client.realtime.connect(model="gpt-realtime")
        with pytest.raises(BudgetExceeded):
            client.realtime.connect(model="gpt-realtime")
