"""Files that a request carries beside its fields, as far as their size says what the request may cost."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING, Final

from bursar.wire.fields import is_array

if TYPE_CHECKING:
    from bursar.wire.fields import Json

HEAD_BYTES: Final = 65_536
"""How much of a file is looked at."""

_BYTES_PER_S_LEAST: Final = 750
"""6 kbit/s, the lowest bitrate that Opus takes (RFC 6716, section 2.1.1); MP3 and AAC begin at 8."""


@dataclass(frozen=True, slots=True)
class Upload:
    """
    A file beside the fields of a request.

    Attributes:
        size: In bytes; None where the file is a stream that cannot be measured.

        head: Its first 64 KiB; not shown, as it is the user's.

        mark: A checksum of these, so that a repeated request is known by its files too.
    """

    size: int | None
    head: bytes = field(repr=False)
    mark: int = field(init=False)

    def __post_init__(self) -> None:
        """Work out what tells one file from another of the same size."""
        object.__setattr__(self, "mark", zlib.crc32(self.head))


@dataclass(frozen=True, slots=True)
class AudioLength:
    """
    How long an audio file is.

    Attributes:
        seconds_most: Never less than the file plays, but for silence that Opus leaves out.

        seconds: Exactly, where the file's header says so; else None.
    """

    seconds_most: int
    seconds: Fraction | None = None


def uploads_at(body: Json, key: str) -> list[Upload]:
    """Return the files under *key* of a body that `clients.bodies` put together."""
    value = body.get(key)
    items = value if is_array(value) else (value,)
    return [item for item in items if isinstance(item, Upload)]


def asks_stream(body: Json) -> bool:
    """Whether a form or a JSON body asks for a stream of events; a form has texts only."""
    return body.get("stream") is True or body.get("stream") == "true"


def audio_length(upload: Upload) -> AudioLength | None:
    """
    Return how long *upload* plays, or None where its size is not known.

    WAV and FLAC say so in their headers.  Of other formats only the size is known, and the lowest bitrate that
    speech is encoded at.
    """
    if upload.size is None:
        return None
    seconds = _wav_seconds(upload) or _flac_seconds(upload)
    if seconds is None:
        return AudioLength(-(-upload.size // _BYTES_PER_S_LEAST))
    return AudioLength(-(-seconds.numerator // seconds.denominator), seconds)


def _wav_seconds(upload: Upload) -> Fraction | None:
    head, size = upload.head, upload.size or 0
    if head[:4] != b"RIFF" or head[8:12] != b"WAVE":
        return None
    at, rate = 12, 0
    while at + 8 <= len(head):
        name, length = head[at : at + 4], int.from_bytes(head[at + 4 : at + 8], "little")
        if name == b"fmt " and at + 20 <= len(head):
            rate = int.from_bytes(head[at + 16 : at + 20], "little")
        elif name == b"data":
            # A recorder that was cut off, or a pipe, leaves a length that is not true.
            return Fraction(min(length, size - at - 8), rate) if rate else None
        at += 8 + length + length % 2
    return None


def _flac_seconds(upload: Upload) -> Fraction | None:
    head = upload.head
    if head[:4] != b"fLaC" or len(head) < 26:
        return None
    # After 4 bytes of mark, 4 of block header and 10 of block and frame sizes: 20 bits rate, 8 bits of channels and
    # depth, 36 bits samples (RFC 9639, section 8.2).
    (packed,) = struct.unpack(">Q", head[18:26])
    rate, samples = packed >> 44, packed & ((1 << 36) - 1)
    return Fraction(samples, rate) if rate and samples else None
