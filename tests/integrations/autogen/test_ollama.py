"""AutoGen's client of Ollama, against a server of a few lines: the simulator does not speak its format."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from autogen_core.models import CreateResult
from autogen_ext.models.ollama import OllamaChatCompletionClient

from bursar import UnknownPrice, prices

from .conftest import ASK, Stage, run

pytestmark = pytest.mark.timeout(30)


class Ollama(ThreadingHTTPServer):
    """Answers every chat with four words."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.bodies: list[Any] = []
        self.status = 200


class _Handler(BaseHTTPRequestHandler):
    def answers(self) -> Ollama:
        """Return the server that this is a request to."""
        assert isinstance(self.server, Ollama)
        return self.server

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.answers().bodies.append(body)
        if self.answers().status != 200:
            self.send_error(self.answers().status)
            return
        head = {"model": body["model"], "created_at": "2026-01-01T00:00:00Z"}
        counts = {"done": True, "done_reason": "stop", "prompt_eval_count": 26, "eval_count": 4}
        words = ["a ", "b ", "c ", "d"] if body["stream"] else ["a b c d"]
        lines: list[dict[str, Any]] = [
            {**head, "message": {"role": "assistant", "content": word}, "done": False} for word in words
        ]
        lines[-1] |= counts
        content = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
        self.send_response(200)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[Ollama]:
    """A server of Ollama's format."""
    with Ollama() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


async def ask(client: Any, *, stream: bool) -> CreateResult:
    """Make one call, and close the client's connections."""
    try:
        if not stream:
            return await client.create(ASK)
        (*_, result) = [piece async for piece in client.create_stream(ASK)]
        return result
    finally:
        await client.client._client._client.aclose()  # AutoGen closes nothing


@pytest.fixture
def plain(server: Ollama) -> OllamaChatCompletionClient:
    """AutoGen's client for that server."""
    return OllamaChatCompletionClient(model="llama3.2", host=f"http://127.0.0.1:{server.server_port}")


@pytest.mark.parametrize("stream", [False, True])
def test_priced(stage: Stage, server: Ollama, plain: Any, stream: bool) -> None:
    """With a declared price a call costs what its counts come to; nothing is added to a stream that nobody knows."""
    prices.add("llama3.2", provider="ollama", input="$1", output="$2", per=1_000_000, context=8_000)
    budget = stage.budget()
    result = run(ask(stage.guarded(plain, budget), stream=stream))
    (entry,) = stage.entries()

    assert "a b c d" == result.content
    assert ("ok", "priced", "ollama") == (entry.status, entry.source, entry.subject.provider)
    assert 26 * 1_000 + 4 * 2_000 == entry.cost_nanousd
    assert "stream_options" not in server.bodies[0]


def test_lowered_limit(stage: Stage, server: Ollama, plain: Any) -> None:
    """A lowered limit goes where Ollama keeps it, beside what is there."""
    prices.add("llama3.2", provider="ollama", input="$1", output="$2", per=1_000_000, context=8_000)
    plain._create_args["options"] = {"temperature": 0.5}
    run(ask(stage.guarded(plain, stage.budget("$0.002")), stream=False))

    assert 256 <= server.bodies[0]["options"]["num_predict"] < 1_000
    assert 0.5 == server.bodies[0]["options"]["temperature"]


def test_error(stage: Stage, server: Ollama, plain: Any) -> None:
    """An error of the server is not paid."""
    prices.add("llama3.2", provider="ollama", input="$1", output="$2", per=1_000_000, context=8_000)
    server.status = 404
    budget = stage.budget()
    with pytest.raises(Exception, match="404"):
        run(ask(stage.guarded(plain, budget), stream=False))

    assert ["error"] == [status for _, status in stage.rows()]
    assert 0 == budget.spent


def test_without_a_price(stage: Stage, server: Ollama) -> None:
    """A model of one's own has no price until one is declared; nothing is sent."""
    plain = OllamaChatCompletionClient(model="llama3.3", host=f"http://127.0.0.1:{server.server_port}")
    with pytest.raises(UnknownPrice, match=r"prices\.add"):
        run(ask(stage.guarded(plain, stage.budget()), stream=False))

    assert [] == server.bodies
