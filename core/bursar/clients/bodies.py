"""What a request will send: its fields, and the files beside them."""

# A file is whatever the SDK takes for one.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from bursar.clients.answer import parse_json
from bursar.wire.uploads import HEAD_BYTES, Upload

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


def body_of(options: Any) -> Mapping[str, Any]:
    """
    Return the body that will be sent, also where the caller wrote the JSON himself; empty where it cannot be read.

    The files of a multipart body stand beside its fields, each key with a list of `Upload`.
    """
    data: Any = options.json_data
    uploads = _uploads(options) if getattr(options, "files", None) else {}
    if isinstance(data, dict):
        return {**data, **uploads}
    content = data if isinstance(data, bytes) else getattr(options, "content", None)
    body = parse_json(content) if isinstance(content, bytes | str) else None
    return uploads if body is None else body


def with_body(options: Any, body: Mapping[str, Any]) -> Any:
    """Return *options* that send *body*; files stay as they are."""
    files = {key for key, _ in _files(options)}
    changed = options.model_copy()
    changed.json_data = {key: value for key, value in body.items() if key not in files}
    if getattr(changed, "content", None) is not None:
        changed.content = None
    return changed


def file_content(file: Any) -> bytes | None:
    """Return all that *file* holds, as it was handed to the SDK, or None where it can be read only once."""
    content = file[1] if isinstance(file, tuple) else file
    if isinstance(content, bytes | bytearray):
        return bytes(content)
    if isinstance(content, os.PathLike):
        with open(content, "rb") as opened:
            return opened.read()
    return _look(content, -1)[1] if _is_seekable(content) else None


def files_of(options: Any) -> list[tuple[str, Any]]:
    """Return the files of *options* by key, as they were handed to the SDK."""
    return list(_files(options))


def _uploads(options: Any) -> dict[str, list[Upload]]:
    found: dict[str, list[Upload]] = {}
    for key, file in _files(options):
        found.setdefault(key, []).append(_upload(file))
    return found


def _files(options: Any) -> Iterable[tuple[str, Any]]:
    files: Any = getattr(options, "files", None) or ()
    for key, file in files.items() if isinstance(files, dict) else files:
        yield str(key).removesuffix("[]"), file


def _upload(file: Any) -> Upload:
    content = file[1] if isinstance(file, tuple) else file
    if isinstance(content, str):
        content = content.encode()
    if isinstance(content, bytes | bytearray):
        return Upload(len(content), bytes(content[:HEAD_BYTES]))
    if isinstance(content, os.PathLike):
        with open(content, "rb") as opened:
            return Upload(os.fstat(opened.fileno()).st_size, opened.read(HEAD_BYTES))
    if not _is_seekable(content):
        return Upload(None, b"")
    size, head = _look(content, HEAD_BYTES)
    return Upload(size, head)


def _is_seekable(content: Any) -> bool:
    return callable(seekable := getattr(content, "seekable", None)) and bool(seekable())


def _look(content: Any, size: int) -> tuple[int, bytes]:
    """Return the bytes of a file and the first *size* of them, and leave it where it was."""
    at = content.tell()
    # Wherever it stands, the HTTP packages send a file from its beginning.
    content.seek(0)
    head = content.read(size)
    end = content.seek(0, os.SEEK_END)
    content.seek(at)
    return end, head.encode() if isinstance(head, str) else head
