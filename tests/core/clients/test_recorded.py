"""What real providers answered, through the SDKs that read it: a guarded client books what the recorded body costs."""

# What an SDK returns depends on options that its types do not follow.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

import functools
import gc
import importlib
import json
import warnings
from collections.abc import Callable, Iterator
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, ClassVar

import pytest

from bursar import guard
from bursar.dropped import dropped
from bursar.prices import cost_of
from bursar.store import Where
from bursar.stores.memory import MemoryStore
from bursar.wire import model_in_path
from bursar.wire.eventstream import encode_event

_CORPUS = Path(__file__).resolve().parents[4] / "shared" / "corpus"
pytestmark = [
    pytest.mark.skipif(not _CORPUS.is_dir(), reason="the corpus of recorded exchanges is not here"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

Row = dict[str, Any]


class _Recorded(BaseHTTPRequestHandler):
    """Answers every request with what was recorded."""

    protocol_version = "HTTP/1.1"
    answer: ClassVar[tuple[str, bytes]]

    def do_POST(self) -> None:
        """Answer."""
        self.rfile.read(int(self.headers.get("content-length") or 0))
        kind, content = type(self).answer
        self.send_response(200)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """Where the provider is that answers with what was recorded."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Recorded)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(autouse=True)
def connections_are_closed() -> Iterator[None]:
    """Leave no connection to the next test."""
    yield
    gc.collect()
    dropped.do_all()


def rows_of(provider: str) -> list[Row]:
    """Return what was recorded of *provider*."""
    if not _CORPUS.is_dir():
        return []
    rows = [row for row in _all() if row["provider"] == provider and row["status"] in {200, None}]
    # Google's SDK asks for events: a stream in one array of JSON is what others were sent.
    return [
        row
        for row in rows
        if not row["path"].endswith(":streamGenerateContent") or row["response_kind"] == "sse"
    ]


@functools.cache
def _all() -> list[Row]:
    return [json.loads(line) for line in (_CORPUS / "exchanges.jsonl").read_text().splitlines()]


def content_of(row: Row) -> tuple[str, bytes]:
    """Return the response of *row* as it was on the wire: its content type and its bytes."""
    response = row["response"]
    if row["response_kind"] == "json":
        return "application/json", json.dumps(response).encode()
    events: list[Row] = response["events"]
    if row["response_kind"] == "eventstream":
        content = b"".join(encode_event(event["event"], event["data"]) for event in events)
        return "application/vnd.amazon.eventstream", content
    lines = [
        (f"event: {event['event']}\n" if event.get("event") else "")
        + f"data: {json.dumps(event['data'])}\n\n"
        for event in events
        if not isinstance(event["data"], str)
    ]
    return "text/event-stream", "".join(lines).encode()


def _without(body: Row, *names: str) -> Row:
    return {name: value for name, value in body.items() if name not in names}


def _groq(address: str) -> Any:
    return pytest.importorskip("groq").Groq(api_key="k", base_url=address, max_retries=0)


def _ask_groq(client: Any, row: Row) -> Any:
    body = _without(row["request_body"], "model", "messages", "stream")
    known = {name: body[name] for name in ("temperature", "max_tokens") if name in body}
    return client.chat.completions.create(
        model=row["request_model"], messages=row["request_body"]["messages"], stream=row["stream"], **known
    )


def _mistral(address: str) -> Any:
    return pytest.importorskip("mistralai.client").Mistral(api_key="k", server_url=address)


def _ask_mistral(client: Any, row: Row) -> Any:
    body = row["request_body"]
    if row["path"].endswith("embeddings"):
        return client.embeddings.create(model=row["request_model"], inputs=body["input"])
    ask = client.chat.stream if row["stream"] else client.chat.complete
    return ask(model=row["request_model"], messages=[{"role": "user", "content": "hello"}])


def _cohere(address: str) -> Any:
    return pytest.importorskip("cohere").ClientV2(api_key="k", base_url=address)


def _ask_cohere(client: Any, row: Row) -> Any:
    if row["path"].endswith("embed"):
        return client.embed(
            model=row["request_model"], texts=["a"], input_type="search_query", embedding_types=["float"]
        )
    ask = client.chat_stream if row["stream"] else client.chat
    return ask(model=row["request_model"], messages=[{"role": "user", "content": "hello"}])


def _google(address: str) -> Any:
    genai: Any = pytest.importorskip("google.genai")
    return genai.Client(api_key="k", http_options=genai.types.HttpOptions(base_url=address))


def _ask_google(client: Any, row: Row) -> Any:
    model = row["path"].rpartition("/")[2].partition(":")[0]
    models = client.models
    ask = models.generate_content_stream if "streamGenerate" in row["path"] else models.generate_content
    return ask(model=model, contents="hello")


def _bedrock(address: str) -> Any:
    boto3: Any = pytest.importorskip("boto3")
    config = importlib.import_module("botocore.config").Config(retries={"total_max_attempts": 1})
    return boto3.client(
        "bedrock-runtime",
        region_name="us-east-1",
        endpoint_url=address,
        aws_access_key_id="k",
        aws_secret_access_key="k",
        config=config,
    )


def _ask_bedrock(client: Any, row: Row) -> Any:
    model = model_in_path(row["path"])
    if row["path"].endswith("/invoke"):
        return client.invoke_model(modelId=model, body=json.dumps(row["request_body"]))["body"].read()
    ask = client.converse_stream if row["path"].endswith("-stream") else client.converse
    answer = ask(modelId=model, messages=[{"role": "user", "content": [{"text": "hello"}]}])
    return answer.get("stream", answer)


SDKS: dict[str, tuple[Callable[[str], Any], Callable[[Any, Row], Any]]] = {
    "groq": (_groq, _ask_groq),
    "mistral": (_mistral, _ask_mistral),
    "cohere": (_cohere, _ask_cohere),
    "google": (_google, _ask_google),
    "aws": (_bedrock, _ask_bedrock),
}
_LEAST = {"groq": 7, "mistral": 28, "cohere": 28, "google": 150, "aws": 80}


@pytest.mark.parametrize("provider", SDKS)
def test_recorded_bodies(provider: str, address: str) -> None:
    """Whole and streamed, each is booked at what it costs by itself, however the SDK reads it."""
    make, ask = SDKS[provider]
    plain = make(address)
    unlike: list[str] = []
    count = 0
    for row in rows_of(provider):
        expected = cost_of(
            provider=provider, path=row["path"], request=row["request_body"], response=row["response"]
        )
        if expected.usd is None:
            continue
        _Recorded.answer = content_of(row)
        store = MemoryStore()
        client = guard(plain, store=store)
        count += 1
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                answer = ask(client, row)
                if row["stream"]:
                    list(answer)
        except Exception as error:  # noqa: BLE001 - an SDK may have become stricter since; it is booked before that
            failed = f" ({type(error).__name__})"
        else:
            failed = ""
        dropped.do_all()
        booked = [Decimal(entry.cost_nanousd or 0) / 10**9 for entry in store.entries(Where())]
        if booked != [expected.usd]:
            unlike.append(f"{row['id']} {row['path']}: {booked}, not {expected.usd}{failed}")

    assert unlike == []
    assert count >= _LEAST[provider]
