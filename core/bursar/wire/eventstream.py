"""Amazon's binary framing of events (`application/vnd.amazon.eventstream`)."""

from __future__ import annotations

import json
import struct
import zlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bursar.wire.fields import Json

_HEAD = struct.Struct(">II")
_STRING = 7


def encode_event(name: str, data: Json) -> bytes:
    """Return one event: lengths, their checksum, headers, the JSON of *data*, the checksum of it all."""
    headers = b"".join(
        _header(key, value)
        for key, value in (
            (":event-type", name),
            (":content-type", "application/json"),
            (":message-type", "event"),
        )
    )
    payload = json.dumps(dict(data)).encode()
    head = _HEAD.pack(16 + len(headers) + len(payload), len(headers))
    whole = head + struct.pack(">I", zlib.crc32(head)) + headers + payload
    return whole + struct.pack(">I", zlib.crc32(whole))


def decode_events(content: bytes) -> Iterator[tuple[str, dict[str, object]]]:
    """Yield the name and the data of each whole event in *content*; what is cut off or damaged at its end is left."""
    start = 0
    while start + 16 <= len(content):
        total, headers = _HEAD.unpack_from(content, start)
        if total < 16 + headers or start + total > len(content):
            return
        first = start + 12
        name = _names(content[first : first + headers]).get(":event-type", "")
        try:
            data = json.loads(content[first + headers : start + total - 4] or b"{}")
        except ValueError:
            return
        if isinstance(data, dict):
            yield name, data
        start += total


def _header(key: str, value: str) -> bytes:
    return (
        bytes([len(key)]) + key.encode() + bytes([_STRING]) + struct.pack(">H", len(value)) + value.encode()
    )


def _names(block: bytes) -> dict[str, str]:
    """Return the headers that are texts, which all that are needed are, up to the first that is not."""
    found: dict[str, str] = {}
    at = 0
    while at < len(block):
        key_end = at + 1 + block[at]
        if key_end + 3 > len(block) or block[key_end] != _STRING:
            break
        size = int.from_bytes(block[key_end + 1 : key_end + 3], "big")
        found[block[at + 1 : key_end].decode()] = block[key_end + 3 : key_end + 3 + size].decode()
        at = key_end + 3 + size
    return found
