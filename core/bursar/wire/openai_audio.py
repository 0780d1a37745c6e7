"""OpenAI's audio: text to speech, speech to text."""

from __future__ import annotations

import math
import re
from fractions import Fraction
from typing import TYPE_CHECKING, Final

from bursar.prices.lookup import resolve_alias
from bursar.tokens import count_tokens
from bursar.usage import Usage
from bursar.wire.ask import Ask
from bursar.wire.endpoint import Endpoint
from bursar.wire.fields import MOST_COUNT, Json, is_mapping, number_at, object_at, text_at
from bursar.wire.receipt import Receipt
from bursar.wire.uploads import Upload, asks_stream, audio_length, uploads_at
from bursar.wire.weigh import text_tokens_most

if TYPE_CHECKING:
    from collections.abc import Iterable

_BASE: Final = 64
_SPOKEN_TOKENS_PER_S: Final = 21
"""Price page: $12 for a million tokens is about $0.015 a minute, which is 1 250 tokens."""
_SECONDS_PER_CHARACTER_MOST: Final = 1
"""Speech has 10 to 20 characters a second; a number or a sign may be read as a word or two."""
_PCM_BYTES_PER_S: Final = 48_000
"""Guide "Text to speech": 24 kHz, 16 bits, one channel."""
_HEARD_TOKENS_PER_S: Final = 10
_HEARD_TOKENS_PER_S_OTHERS: Final = 32
"""OpenAI counts 10 tokens for a second of audio; of the others known, Google counts most."""


class OpenAISpeech(Endpoint):
    """
    `POST /audio/speech`.

    Older models bill characters, which the request has, so that their cost is exact.  Newer ones bill tokens of text
    and of audio and state them only in a stream of events (`stream_format="sse"`); otherwise the tokens of audio are
    measured on the audio that came, where its format says how long it plays (wav, pcm), and the entry is an estimate.
    Of other formats the bound is booked.
    """

    name = "openai.speech"
    is_billed_whole = True

    def read_request(self, body: Json) -> Ask:
        """See `Endpoint.read_request`; audio counts a second for every character, ten times what speech takes."""
        text = text_at(body, "input") or ""
        seconds = _SECONDS_PER_CHARACTER_MOST * len(text) + 1
        return Ask(
            model=text_at(body, "model") or "",
            stream=text_at(body, "stream_format") == "sse",
            input_tokens_most=_BASE + text_tokens_most(text + (text_at(body, "instructions") or "")),
            output_limit=seconds * _SPOKEN_TOKENS_PER_S,
            pieces={"input_characters": len(text)},
            modalities=("audio",),
        )

    def with_model(self, body: Json, model: str) -> dict[str, object]:
        """See `Endpoint.with_model`."""
        return {**body, "model": model}

    def with_output_limit(
        self, body: Json, tokens: int, *, model: str, host: str
    ) -> dict[str, object] | None:
        """Return None: speech cannot be cut short."""
        del body, tokens, model, host
        return None

    def read_content(self, content: bytes, content_type: str) -> Receipt | None:
        """See `Endpoint.read_content`; what is neither events nor JSON is the audio itself."""
        if "event-stream" in content_type or "json" in content_type:
            return super().read_content(content, content_type)
        seconds = _played_seconds(content, content_type)
        if seconds is None:
            return Receipt(finished=True)
        tokens = -(-seconds.numerator * _SPOKEN_TOKENS_PER_S // seconds.denominator)
        return Receipt(usage=Usage(output_tokens=tokens), is_estimate=True, finished=True)

    def read_response(self, body: Json) -> Receipt:
        """See `Endpoint.read_response`."""
        return self.read_events((body,))

    def read_events(self, events: Iterable[Json]) -> Receipt:
        """See `Endpoint.read_events`; the usage comes with the last, `speech.audio.done`."""
        for event in events:
            usage = object_at(event, "usage")
            if "input_tokens" in usage and "output_tokens" in usage:
                into, out = number_at(usage, "input_tokens"), number_at(usage, "output_tokens")
                spoken = {"output_audio_tokens": out} if out else {}
                return Receipt(usage=Usage(input_tokens=into, output_tokens=out, other=spoken), finished=True)
        return Receipt()

    def completed(self, request: Json, receipt: Receipt) -> Receipt:
        """See `Endpoint.completed`; characters are those of the text that was sent."""
        text = text_at(request, "input") or ""
        if not _bills_tokens(text_at(request, "model") or ""):
            return receipt._replace(usage=Usage(other={"input_characters": len(text)}), is_estimate=False)
        if receipt.usage is None or not receipt.is_estimate:
            return receipt
        asked = text + (text_at(request, "instructions") or "")
        counted = count_tokens("gpt-4o", asked)
        tokens = text_tokens_most(asked) if counted is None else counted
        return receipt._replace(usage=receipt.usage._replace(input_tokens=tokens))


class OpenAITranscription(Endpoint):
    """
    `POST /audio/transcriptions` and `/audio/translations`.

    Some models bill the seconds of the audio, others its tokens; the usage of an answer says which.  Formats without a
    usage (text, srt, vtt, and translations) are billed by the length of the file where its header has it (WAV, FLAC),
    and otherwise at the bound, which is the file's size at the lowest bitrate that speech is encoded at.
    """

    is_billed_whole = True

    def __init__(self, name: str) -> None:
        """Make one of the two."""
        self.name = name

    def read_request(self, body: Json) -> Ask:
        """See `Endpoint.read_request`."""
        model = text_at(body, "model") or ""
        upload = _audio_in(body)
        length = None if upload is None else audio_length(upload)
        seconds = 0 if length is None else length.seconds_most
        per_s = _HEARD_TOKENS_PER_S if _bills_tokens(model) else _HEARD_TOKENS_PER_S_OTHERS
        heard = (seconds + 1) * per_s
        return Ask(
            model=model,
            stream=asks_stream(body),
            input_tokens_most=_BASE + text_tokens_most(text_at(body, "prompt") or "") + heard,
            audio_tokens_most=heard,
            pieces={"input_audio_seconds": seconds},
            unbounded=None
            if length is not None
            else "the size of its audio file is not known before it is sent",
        )

    def with_model(self, body: Json, model: str) -> dict[str, object]:
        """See `Endpoint.with_model`."""
        return {**body, "model": model}

    def with_output_limit(
        self, body: Json, tokens: int, *, model: str, host: str
    ) -> dict[str, object] | None:
        """Return None: there is no limit to lower."""
        del body, tokens, model, host
        return None

    def read_content(self, content: bytes, content_type: str) -> Receipt | None:
        """See `Endpoint.read_content`; plain text and subtitles state nothing."""
        if "json" in content_type or "event-stream" in content_type:
            return super().read_content(content, content_type)
        return Receipt(finished=True)

    def read_response(self, body: Json) -> Receipt:
        """See `Endpoint.read_response`; before there was a usage, only the verbose format had the length."""
        usage = body.get("usage")
        if is_mapping(usage):
            return Receipt(usage=_read_usage(usage), finished=True)
        seconds = _seconds(body.get("duration"))
        return Receipt(usage=None if seconds is None else _heard(seconds), finished=True)

    def read_events(self, events: Iterable[Json]) -> Receipt:
        """See `Endpoint.read_events`; the usage comes with the last, `transcript.text.done`."""
        for event in events:
            if is_mapping(usage := event.get("usage")):
                return Receipt(usage=_read_usage(usage), finished=True)
        return Receipt()

    def completed(self, request: Json, receipt: Receipt) -> Receipt:
        """See `Endpoint.completed`; the length of the file, for models that bill it and did not say so."""
        if receipt.usage is not None or _bills_tokens(text_at(request, "model") or ""):
            return receipt
        upload = _audio_in(request)
        length = None if upload is None else audio_length(upload)
        if length is None or length.seconds is None:
            return receipt
        return receipt._replace(usage=_heard(length.seconds_most), is_estimate=True)


def _audio_in(body: Json) -> Upload | None:
    return next(iter(uploads_at(body, "file")), None)


def _bills_tokens(model: str) -> bool:
    """
    Whether *model*, or what it stands for, is billed by the token: what is built on gpt-4o.

    `gpt-transcribe` has a price per hour.
    """
    return re.match(r"(?:.*/)?gpt-4o", resolve_alias(None, model)[1]) is not None


def _read_usage(usage: Json) -> Usage | None:
    seconds = _seconds(usage.get("seconds"))
    if seconds is not None:
        return _heard(seconds)
    if "input_tokens" not in usage or "output_tokens" not in usage:
        return None
    heard = number_at(object_at(usage, "input_token_details"), "audio_tokens")
    return Usage(
        input_tokens=number_at(usage, "input_tokens"),
        output_tokens=number_at(usage, "output_tokens"),
        other={"input_audio_tokens": heard} if heard else {},
    )


def _heard(seconds: int) -> Usage:
    return Usage(other={"input_audio_seconds": seconds})


def _seconds(value: object) -> int | None:
    """Return a number of seconds, rounded up; as a text it is what older servers send."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        seconds = float(value)
    except (ValueError, OverflowError):
        return None
    return math.ceil(seconds) if 0 <= seconds <= MOST_COUNT else None


def _played_seconds(content: bytes, content_type: str) -> Fraction | None:
    """Return how long an answer plays, or None where its format does not say."""
    if content[:4] == b"RIFF":
        length = audio_length(Upload(len(content), content[:4_096]))
        return None if length is None else length.seconds
    return Fraction(len(content), _PCM_BYTES_PER_S) if "pcm" in content_type else None
