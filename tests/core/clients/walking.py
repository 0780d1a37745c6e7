"""Calls every public method of an SDK's resources, and notes which requests each sends."""

# The arguments are made up from annotations, so that nothing here has a type.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownParameterType=false

from __future__ import annotations

import functools
import importlib
import inspect
import pkgutil
import re
import threading
import types
import typing
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

_ATTEMPTS = 6
_FILE = ("a.txt", b"x")
_SPECIAL: dict[str, dict[str, Any]] = {
    "Responses.stream": {"input": "x", "model": "model-1"},
    "Uploads.upload_file_chunked": {"file": b"x", "filename": "a", "bytes": 1, "mime_type": "text/plain"},
    "Files.upload": {"path": "/workspace/a"},
    "Files.prepare": {"files": {"/workspace/a": __file__}},
    "Files.prepare_directory": {
        "root": __file__.rpartition("/")[0],
        "destination": "/workspace",
        "include": ["walking.py"],
    },
}
"""What cannot be made up, by class and method."""


@dataclass(frozen=True)
class Sent:
    """One request that arrived; a connection that asks to become a WebSocket counts as one."""

    method: str
    path: str
    is_socket: bool


@dataclass
class Recorder:
    """A server that answers nothing but an error, and notes what it was asked."""

    port: int
    sent: list[Sent] = field(default_factory=list[Sent])


@contextmanager
def recording() -> Generator[Recorder]:
    """Listen on 127.0.0.1."""

    class Handler(BaseHTTPRequestHandler):
        def _note(self) -> None:
            is_socket = self.headers.get("upgrade", "").lower() == "websocket"
            recorder.sent.append(Sent(self.command, self.path.partition("?")[0], is_socket))
            self.rfile.read(int(self.headers.get("content-length") or 0))
            self.send_response(418)
            self.send_header("content-length", "2")
            self.send_header("connection", "close")
            self.end_headers()
            self.wfile.write(b"{}")
            self.close_connection = True

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = _note

        def log_message(self, format: str, *args: object) -> None:
            """Stay silent."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    recorder = Recorder(server.server_address[1])
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield recorder
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def resource_classes(sdk: str) -> list[type]:
    """Return every class of an SDK that groups endpoints, sync or async, wherever it stands."""
    root = importlib.import_module(f"{sdk}.resources")
    found: dict[type, None] = {}
    for info in pkgutil.walk_packages(root.__path__, f"{root.__name__}."):
        module = importlib.import_module(info.name)
        for value in list(vars(module).values()):
            if isinstance(value, type) and value.__module__.startswith(f"{sdk}.resources"):
                bases = {base.__name__ for base in value.__mro__[1:]}
                if bases & {"SyncAPIResource", "AsyncAPIResource"}:
                    found[value] = None
    return list(found)


def resources(client: Any) -> dict[type, Any]:
    """Return every resource that can be reached from a client, by its class."""
    found: dict[type, Any] = {}
    todo = [client]
    while todo:
        one = todo.pop()
        for name in dir(type(one)):
            made_on_use = isinstance(
                inspect.getattr_static(type(one), name), functools.cached_property | property
            )
            if not made_on_use or name.startswith(("_", "with_")):
                continue
            value = getattr(one, name, None)
            if hasattr(value, "_client") and hasattr(value, "_post") and type(value) not in found:
                found[type(value)] = value
                todo.append(value)
    return found


def is_async(resource: type) -> bool:
    """Whether a resource's methods are to be awaited."""
    return any(base.__name__ == "AsyncAPIResource" for base in resource.__mro__)


def methods(resource: type) -> list[str]:
    """Return the public methods that a resource's own classes define."""
    return [
        name
        for name in dir(resource)
        if not name.startswith(("_", "with_"))
        and isinstance(inspect.getattr_static(resource, name), types.FunctionType)
    ]


async def call(resource: Any, name: str) -> BaseException | None:
    """Call one method with made-up arguments, follow what it returns until it has sent something; return its error."""
    method = getattr(resource, name)
    arguments = _arguments(method, f"{type(resource).__name__.removeprefix('Async')}.{name}")
    error: BaseException | None = None
    for _ in range(_ATTEMPTS):
        try:
            await _follow(method(**arguments))
        except Exception as raised:  # noqa: BLE001 (the server refuses everything; the caller looks at what arrived)
            error = raised
            if not _mend(arguments, raised):
                break
        else:
            return None
    return error


async def _follow(returned: Any) -> None:
    """Await, enter and iterate whatever a method returned, as far as its first request."""
    if hasattr(returned, "__await__") and not hasattr(returned, "__aenter__"):
        returned = await returned
    elif hasattr(returned, "__aenter__"):
        async with returned:
            pass
    elif hasattr(returned, "__enter__"):
        with returned:
            pass
    if hasattr(returned, "__aiter__"):
        async for _ in returned:
            break
    elif hasattr(returned, "__next__"):
        next(returned, None)


def _mend(arguments: dict[str, Any], error: BaseException) -> bool:
    """Change *arguments* to what an error asks for, and tell whether anything was changed."""
    text = str(error)
    if file := re.search(r"Expected entry at `(\w+)", text):
        changed = arguments.get(file[1]) != _FILE
        arguments[file[1]] = _FILE
        return changed
    if missing := re.search(r"Expected either \(([^)]*)\)", text):
        names = re.findall(r"'(\w+)'", missing[1])
        new = [name for name in names if name not in arguments]
        arguments.update({name: f"{name}-1" for name in new})
        return bool(new)
    return False


def _arguments(method: Any, name: str) -> dict[str, Any]:
    try:
        hints = typing.get_type_hints(method)
    except NameError:
        hints = {}
    parameters = inspect.signature(method).parameters.values()
    needed = [
        one
        for one in parameters
        if one.default is inspect.Parameter.empty
        and one.kind not in {inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL}
    ]
    made_up = {one.name: _plausible(one.name, hints.get(one.name, one.annotation)) for one in needed}
    special = _SPECIAL.get(name, {})
    known = {one.name for one in parameters}
    return {**made_up, **{key: value for key, value in special.items() if key in known}}


def _plausible(name: str, annotation: Any) -> Any:  # noqa: PLR0911 (a table, written as a list of cases)
    origin, inner = typing.get_origin(annotation), typing.get_args(annotation)
    if (name.endswith("file") and annotation is not str) or name in {"image", "archive"}:
        return _FILE
    if origin is typing.Literal:
        return inner[0]
    if origin in {typing.Union, types.UnionType}:
        return _plausible(name, inner[0])
    if origin is list or any(word in str(annotation)[:40] for word in ("Iterable", "Sequence")):
        return []
    plain: dict[Any, Any] = {int: 1, float: 1.0, bool: False}
    if annotation in plain:
        return plain[annotation]
    if origin is dict or (isinstance(annotation, type) and issubclass(annotation, dict)):
        return {}
    return f"{name}-1"
