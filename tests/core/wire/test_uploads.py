"""How long an audio file plays is known from its header, or bounded by its size."""

from __future__ import annotations

import io
import struct
import wave
from fractions import Fraction

import pytest

from bursar.wire.uploads import AudioLength, Upload, audio_length


def wav(frames: int, *, rate: int = 8_000, channels: int = 1) -> bytes:
    """Silence."""
    file = io.BytesIO()
    with wave.open(file, "wb") as written:
        written.setnchannels(channels)
        written.setsampwidth(2)
        written.setframerate(rate)
        written.writeframes(bytes(2 * channels * frames))
    return file.getvalue()


def flac(samples: int, *, rate: int = 44_100) -> bytes:
    """The head of a file, without its frames."""
    packed = rate << 44 | 1 << 41 | 15 << 36 | samples
    return b"fLaC" + bytes(4) + bytes(10) + struct.pack(">Q", packed) + bytes(16)


def length(content: bytes) -> AudioLength | None:
    """What is made of a whole file."""
    return audio_length(Upload(len(content), content[:65_536]))


@pytest.mark.parametrize(
    ("content", "seconds"),
    [
        (wav(8_000), Fraction(1)),
        (wav(8_001), Fraction(8_001, 8_000)),
        (wav(88_200, rate=44_100, channels=2), Fraction(2)),
        (flac(441_000), Fraction(10)),
    ],
)
def test_headers_say_how_long(content: bytes, seconds: Fraction) -> None:
    """WAV and FLAC are exact, rounded up to the second that is held."""
    assert AudioLength(-(-seconds.numerator // seconds.denominator), seconds) == length(content)


def test_a_header_cannot_claim_more_than_the_file_has() -> None:
    """A recorder that was cut off leaves the largest length there is: the file's own size holds."""
    content = bytearray(wav(8_000))
    content[40:44] = b"\xff\xff\xff\xff"

    assert AudioLength(1, Fraction(1)) == length(bytes(content))


def test_chunks_before_the_audio_are_passed_over() -> None:
    """A list of tags may stand before the audio, of odd length and padded."""
    content = wav(8_000)
    tags = b"LIST" + (5).to_bytes(4, "little") + b"abcde\0"

    assert AudioLength(1, Fraction(1)) == length(content[:12] + tags + content[12:])


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"x",
        b"ID3" + bytes(7_500),
        b"OggS" + bytes(7_496),
        b"RIFF",
        b"RIFF\0\0\0\0WAVE",
        b"fLaC",
        wav(9)[:30],
    ],
)
def test_what_does_not_say_is_bounded_by_its_size(content: bytes) -> None:
    """Six kilobits a second is the least that speech is encoded at."""
    assert AudioLength(-(-len(content) // 750)) == length(content)


def test_what_cannot_be_measured_has_no_length() -> None:
    """A stream of unknown size is not bounded."""
    assert audio_length(Upload(None, b"")) is None


def test_content_is_not_shown() -> None:
    """The file is the user's: only its size and a checksum are seen."""
    assert "secret" not in repr(Upload(6, b"secret"))
