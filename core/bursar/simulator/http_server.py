"""The simulator's HTTP server: a thread for each connection, keep-alive, chunked streams."""

from __future__ import annotations

import select
import socket
import struct
import sys
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Condition, Event, Thread
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

from bursar.simulator.errors import encode, error_body
from bursar.simulator.exchange import JSON_HEADERS, Break, Data, Head, Pause

if TYPE_CHECKING:
    from collections.abc import Generator

    from bursar.simulator.exchange import Step
    from bursar.simulator.provider import Provider

_BODY_MOST: Final = 64 * 1024 * 1024
_CLOSE_S: Final = 5.0


class HttpServer(ThreadingHTTPServer):
    """Serves one provider on 127.0.0.1; the kernel chooses the port where *port* is 0."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 1024

    def __init__(self, provider: Provider, port: int) -> None:
        self.provider = provider
        self.closing = Event()
        self._changed = Condition()
        self._connections: set[socket.socket] = set()
        super().__init__(("127.0.0.1", port), _Handler)
        self._thread = Thread(
            target=self.serve_forever, kwargs={"poll_interval": 0.05}, name="bursar-simulator", daemon=True
        )

    def start(self) -> None:
        """Begin to accept connections."""
        self._thread.start()

    def stop(self) -> None:
        """Stop accepting, cut the connections that are open, and wait for their threads."""
        self.shutdown()
        self._thread.join()
        self.closing.set()
        with self._changed:
            for connection in self._connections:
                _shut(connection)
            self._changed.wait_for(lambda: not self._connections, _CLOSE_S)
        self.server_close()

    def entered(self, connection: socket.socket) -> None:
        """Remember an open connection, or shut it at once while the server is closing."""
        with self._changed:
            self._connections.add(connection)
            if self.closing.is_set():
                _shut(connection)

    def left(self, connection: socket.socket) -> None:
        """Forget a connection."""
        with self._changed:
            self._connections.discard(connection)
            self._changed.notify_all()

    def handle_error(self, request: socket.socket | tuple[bytes, socket.socket], client_address: Any) -> None:  # noqa: ANN401
        """Show what went wrong, unless it is only a client that went away."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    """Reads requests off one connection and carries out the steps of their answers."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: HttpServer  # pyright: ignore[reportIncompatibleVariableOverride] - made by this server alone

    def setup(self) -> None:
        super().setup()
        self.server.entered(self.connection)

    def finish(self) -> None:
        try:
            super().finish()
        finally:
            self.server.left(self.connection)

    def log_message(self, format: str, *args: object) -> None:
        """Stay silent: a request line is nothing that anybody waits for."""

    def do_GET(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def do_DELETE(self) -> None:
        self._serve()

    def _serve(self) -> None:
        body = self._body()
        if body is None:
            return
        steps = self.server.provider.open(self.command, self.path, self.headers.items(), body)
        try:
            self._carry_out(steps)
        except OSError:
            self.close_connection = True
        finally:
            # Closing an exchange that has not ended is how it learns that the client went away.
            steps.close()

    def _body(self) -> bytes | None:
        length = self.headers.get("content-length", "0")
        if not length.isdecimal() or "transfer-encoding" in self.headers:
            self._refuse(HTTPStatus.LENGTH_REQUIRED, "a body needs a content-length")
        elif int(length) > _BODY_MOST:
            self._refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "the body is above 64 MiB")
        else:
            return self.rfile.read(int(length))
        return None

    def _refuse(self, status: HTTPStatus, message: str) -> None:
        body = encode(error_body("openai", status, message))
        self.close_connection = True
        self.connection.sendall(_head(Head(status, JSON_HEADERS, len(body))) + body)

    def _carry_out(self, steps: Generator[Step, None, None]) -> None:
        unsent = b""
        is_chunked = False
        for step in steps:
            match step:
                case Pause(seconds):
                    if unsent:
                        self.connection.sendall(unsent)
                        unsent = b""
                    if self._is_left(seconds):
                        self.close_connection = True
                        return
                case Head(length=length):
                    is_chunked = length is None
                    unsent = _head(step)
                case Data(data):
                    if is_chunked:
                        if self._is_left(0):
                            self.close_connection = True
                            return
                        data = b"%x\r\n%b\r\n" % (len(data), data)
                    self.connection.sendall(unsent + data)
                    unsent = b""
                case Break(kind):
                    if unsent:
                        self.connection.sendall(unsent)
                    self._break(kind)
                    return
        if is_chunked:
            self.connection.sendall(b"0\r\n\r\n")

    def _is_left(self, seconds: float) -> bool:
        """Wait *seconds* and tell whether the client has gone, or the simulator is closing, meanwhile."""
        until = monotonic() + seconds
        if not _readable(self.connection, seconds):
            return False
        try:
            if not self.connection.recv(1, socket.MSG_PEEK):
                return True
        except OSError:
            return True
        # The next request is waiting in the socket already, so readiness tells nothing more.
        return self.server.closing.wait(max(0.0, until - monotonic())) if seconds else False

    def _break(self, kind: str) -> None:
        self.close_connection = True
        if kind == "reset":
            # With no time to linger, closing sends a reset and not an orderly end.
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
        else:
            _shut(self.connection)


def _head(head: Head) -> bytes:
    reason = HTTPStatus(head.status).phrase if head.status in _KNOWN else "Overloaded"
    lines = [f"HTTP/1.1 {head.status} {reason}", *(f"{name}: {value}" for name, value in head.headers)]
    lines.append("transfer-encoding: chunked" if head.length is None else f"content-length: {head.length}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


_KNOWN: Final = frozenset(int(status) for status in HTTPStatus)


def _readable(connection: socket.socket, seconds: float) -> bool:
    if hasattr(select, "poll"):
        poll = select.poll()
        poll.register(connection, select.POLLIN)
        return bool(poll.poll(seconds * 1000))
    return bool(select.select([connection], [], [], seconds)[0])


def _shut(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        # The client was faster.
        return
