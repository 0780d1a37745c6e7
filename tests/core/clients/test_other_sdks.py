"""The SDKs of Groq, Google, AWS, Mistral and Cohere through `guard()`: held to what the first two are held to."""

# What an SDK returns depends on options that its types do not follow.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownLambdaType=false

from __future__ import annotations

import asyncio
import gc
import importlib
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest

import bursar
from bursar import Budget, BudgetExceeded, UnmeteredEndpoint, guard
from bursar.dropped import dropped
from bursar.entry import Entry
from bursar.meter import Meter, plan_request
from bursar.payer import Payer
from bursar.scope import current_meter
from bursar.simulator import Fault, Simulator
from bursar.store import Where
from bursar.stores.memory import MemoryStore
from bursar.wire import OPENAI_CHAT

from ...integrations.adapter_contract import AdapterContract, Cast

# Any of them may be missing where the first two SDKs are tested with other versions.
boto3: Any = pytest.importorskip("boto3")
cohere: Any = pytest.importorskip("cohere")
groq: Any = pytest.importorskip("groq")
mistral: Any = pytest.importorskip("mistralai.client")
genai: Any = pytest.importorskip("google.genai")
types: Any = genai.types
Config: Any = pytest.importorskip("botocore.config").Config

MISTRAL, MISTRAL_CHEAPER = "mistral-large-latest", "mistral-small-latest"
COHERE, COHERE_CHEAPER = "command-a-03-2025", "command-r7b-12-2024"
GROQ, GROQ_CHEAPER = "llama-3.3-70b-versatile", "llama-3.1-8b-instant"
GEMINI, GEMINI_CHEAPER = "gemini-2.0-flash", "gemini-2.0-flash-lite"
CLAUDE, CLAUDE_CHEAPER = "anthropic.claude-sonnet-4-20250514-v1:0", "anthropic.claude-3-haiku-20240307-v1:0"
PRICES: Any = {
    GROQ: {"input": "0.59", "output": "0.79"},
    GROQ_CHEAPER: {"input": "0.05", "output": "0.08"},
}

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture
def sim() -> Iterator[Simulator]:
    """The provider; Groq's prices are told to it, as it is called at no address of Groq's."""
    with Simulator(output_tokens=20, prices=PRICES) as sim:
        yield sim


@pytest.fixture
def store() -> MemoryStore:
    """An empty store."""
    return MemoryStore()


@pytest.fixture(autouse=True)
def connections_are_closed() -> Iterator[None]:
    """Leave no connection to the next test."""
    yield
    gc.collect()
    dropped.do_all()


def _address(sim: Simulator) -> str:
    return sim.openai_base_url.removesuffix("/v1")


def groq_client(sim: Simulator, *, retries: int = 0) -> Any:
    """A real client of Groq's that calls the simulator."""
    return groq.Groq(api_key="k", base_url=_address(sim), max_retries=retries)


def google_client(sim: Simulator, *, retries: int = 0, **more: Any) -> Any:
    """A real client of Google's that calls the simulator."""
    again = types.HttpRetryOptions(attempts=retries + 1, initial_delay=0.001, max_delay=0.001)
    options = types.HttpOptions(base_url=_address(sim), retry_options=again, **more)
    return genai.Client(api_key="k", http_options=options)


def _over_httpx() -> dict[str, Any]:
    """Have Google's client await by `httpx`; left to itself, it does so by `aiohttp` where that is there."""
    package = importlib.import_module("google.genai._api_client").httpx
    return {"async_client_args": {"transport": package.AsyncHTTPTransport()}}


HTTP: Any = {"aiohttp": dict, "httpx": _over_httpx}


def bedrock_client(sim: Simulator, *, retries: int = 0) -> Any:
    """A real client of AWS's that calls the simulator."""
    return boto3.client(
        "bedrock-runtime",
        region_name="us-east-1",
        endpoint_url=_address(sim),
        aws_access_key_id="k",
        aws_secret_access_key="k",
        config=Config(retries={"total_max_attempts": retries + 1, "mode": "legacy"}),
    )


def mistral_client(sim: Simulator, *, retries: int = 0) -> Any:
    """A real client of Mistral's that calls the simulator."""
    utils = importlib.import_module("mistralai.client.utils")
    again = utils.RetryConfig("backoff", utils.BackoffStrategy(1, 1, 1.0, 2_000), False) if retries else None
    return mistral.Mistral(api_key="k", server_url=f"{_address(sim)}/mistral", retry_config=again)


def cohere_client(sim: Simulator, *, retries: int = 0) -> Any:
    """A real client of Cohere's that calls the simulator."""
    return _Cohere(api_key="k", base_url=_address(sim), retries=retries)


class _Cohere(cohere.ClientV2):
    """A client as a user may write it: its calls are made with the retries that it was given."""

    def __init__(self, *, retries: int, **options: Any) -> None:
        super().__init__(**options)
        self.options = {"max_retries": retries}


def _ask_mistral(client: Any, text: str = "hello", limit: int | None = 50) -> Any:
    messages = [{"role": "user", "content": text}]
    return client.chat.complete(model=MISTRAL, messages=messages, max_tokens=limit)


def _stream_mistral(client: Any, text: str = "hello") -> Any:
    return client.chat.stream(model=MISTRAL, messages=[{"role": "user", "content": text}], max_tokens=50)


def _ask_cohere(client: Any, text: str = "hello", limit: int | None = 50) -> Any:
    options: Any = {} if limit is None else {"max_tokens": limit}
    messages = [{"role": "user", "content": text}]
    return client.chat(model=COHERE, messages=messages, request_options=client.options, **options)


def _stream_cohere(client: Any, text: str = "hello") -> Any:
    messages = [{"role": "user", "content": text}]
    return client.chat_stream(model=COHERE, messages=messages, max_tokens=50, request_options=client.options)


def _ask_groq(client: Any, text: str = "hello", limit: int | None = 50) -> Any:
    options: Any = {} if limit is None else {"max_tokens": limit}
    return client.chat.completions.create(model=GROQ, messages=[{"role": "user", "content": text}], **options)


def _stream_groq(client: Any, text: str = "hello") -> Any:
    return client.chat.completions.create(
        model=GROQ, messages=[{"role": "user", "content": text}], max_tokens=50, stream=True
    )


def _ask_google(client: Any, text: str = "hello", limit: int | None = 50) -> Any:
    config = types.GenerateContentConfig(max_output_tokens=limit)
    return client.models.generate_content(model=GEMINI, contents=text, config=config)


def _stream_google(client: Any, text: str = "hello") -> Any:
    config = types.GenerateContentConfig(max_output_tokens=50)
    return client.models.generate_content_stream(model=GEMINI, contents=text, config=config)


def _converse(text: str, limit: int | None = 50) -> dict[str, Any]:
    params: dict[str, Any] = {"modelId": CLAUDE, "messages": [{"role": "user", "content": [{"text": text}]}]}
    return params if limit is None else {**params, "inferenceConfig": {"maxTokens": limit}}


def _ask_bedrock(client: Any, text: str = "hello", limit: int | None = 50) -> Any:
    return client.converse(**_converse(text, limit))


def _stream_bedrock(client: Any, text: str = "hello") -> Any:
    return client.converse_stream(**_converse(text))["stream"]


def _invocation(limit: int = 50) -> dict[str, Any]:
    body = {
        "anthropic_version": "bedrock-2023-05-31",
        "max_tokens": limit,
        "messages": [{"role": "user", "content": "hello"}],
    }
    return {"modelId": CLAUDE, "body": json.dumps(body)}


KINDS: Any = {
    "groq": (groq_client, _ask_groq, _stream_groq, GROQ, GROQ_CHEAPER),
    "google": (google_client, _ask_google, _stream_google, GEMINI, GEMINI_CHEAPER),
    "bedrock": (bedrock_client, _ask_bedrock, _stream_bedrock, CLAUDE, CLAUDE_CHEAPER),
    "mistral": (mistral_client, _ask_mistral, _stream_mistral, MISTRAL, MISTRAL_CHEAPER),
    "cohere": (cohere_client, _ask_cohere, _stream_cohere, COHERE, COHERE_CHEAPER),
}


class SdkCast(Cast):
    """A client of one of these SDKs, guarded anew for each agent."""

    def __init__(self, kind: str, sim: Simulator) -> None:
        make, self._ask, self._stream, self.model, self.cheaper_model = KINDS[kind]
        self._plain = make(sim, retries=3)

    def ask(self, agent: str, text: str) -> Any:
        """See `Cast.ask`."""
        return self._ask(guard(self._plain, agent=agent), text)

    def stream(self, agent: str, text: str, *, leave_after: int | None = None) -> None:
        """See `Cast.stream`."""
        parts = iter(self._stream(guard(self._plain, agent=agent), text))
        for index, _ in enumerate(parts, start=1):
            if index == leave_after:
                break
        close = getattr(parts, "close", None)
        if close is not None:
            close()

    def ask_nested(self, agents: list[str], text: str) -> Any:
        """See `Cast.ask_nested`."""
        outer, inner = agents
        return self._ask(guard(guard(self._plain, agent=outer), agent=inner), text)

    def close(self) -> None:
        """Leave the connections to the garbage collector."""


class _Contract(AdapterContract):
    kind: str

    @pytest.fixture
    def sim(self) -> Iterator[Simulator]:
        """The provider."""
        with Simulator(output_tokens=20, prices=PRICES) as sim:
            yield sim

    @pytest.fixture
    def cast(self, sim: Simulator) -> Cast:
        """Clients of this SDK."""
        return SdkCast(self.kind, sim)


class TestGroq(_Contract):
    """The contract."""

    kind = "groq"


class TestGoogle(_Contract):
    """The contract."""

    kind = "google"


class TestBedrock(_Contract):
    """The contract."""

    kind = "bedrock"


class TestMistral(_Contract):
    """The contract."""

    kind = "mistral"


class TestCohere(_Contract):
    """The contract."""

    kind = "cohere"


def _entries(store: MemoryStore) -> list[Entry]:
    return list(store.entries(Where()))


@pytest.mark.parametrize("kind", KINDS)
def test_hard_cap(kind: str, sim: Simulator, store: MemoryStore) -> None:
    """Of fifty calls at the same time, every other one a stream, exactly ten are sent."""
    make, ask, stream, *_ = KINDS[kind]
    client = guard(make(sim), Budget(calls=10, store=store))

    def one(index: int) -> Any:
        try:
            return list(stream(client)) if index % 2 else ask(client)
        except BudgetExceeded as exceeded:
            return exceeded

    with ThreadPoolExecutor(20) as pool:
        results = list(pool.map(one, range(50)))

    assert sum(isinstance(result, BudgetExceeded) for result in results) == 40
    assert sim.wait_idle()
    assert sim.arrived == 10
    assert client.bursar.reserved == 0
    assert client.bursar.spent == sim.bill.total


PLACES: Any = [
    ("groq", lambda client: client, "request"),
    ("google", lambda client: client.models, "generate_content"),
    ("google", lambda client: client._api_client, "_request"),
    ("bedrock", lambda client: client, "converse"),
    ("bedrock", lambda client: client, "_make_api_call"),
    ("mistral", lambda client: client.chat, "complete"),
    ("mistral", lambda client: client.sdk_configuration.client, "send"),
    ("cohere", lambda client: client, "chat"),
    ("cohere", lambda client: client._client_wrapper.httpx_client, "request"),
    ("cohere", lambda client: client._client_wrapper.httpx_client.httpx_client, "send"),
]


@pytest.mark.parametrize("place", PLACES, ids=[f"{kind} {name}" for kind, _, name in PLACES])
def test_a_client_that_was_instrumented_before(
    place: Any, sim: Simulator, store: MemoryStore, caplog: pytest.LogCaptureFixture
) -> None:
    """A function in place of one of its methods calls the client that it was put on: the twin has the method."""
    kind, part_of, name = place
    make, ask, *_ = KINDS[kind]
    plain = make(sim)
    setattr(part_of(plain), name, partial(getattr(part_of(plain), name)))

    client = guard(plain, Budget(calls=1, store=store))
    ask(client)
    with pytest.raises(BudgetExceeded):
        ask(client)

    assert sim.arrived == 1
    # What was put on the HTTP client that it was given is not said: it may be shared with others.
    assert name == "send" or f"{name} on this" in caplog.text


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("end", ["drop", "never read"])
def test_streams_that_are_left(kind: str, end: str, sim: Simulator, store: MemoryStore) -> None:
    """A stream that is dropped is paid once, and nothing stays held."""
    make, _, stream, *_ = KINDS[kind]
    client = guard(make(sim), Budget(5, store=store))
    parts = stream(client)
    if end == "drop":
        reading = iter(parts)
        next(reading)
        del reading
    del parts
    gc.collect()
    dropped.do_all()

    assert client.bursar.reserved == 0
    # Google's and Cohere's send nothing before they are read.
    assert len(_entries(store)) == (0 if kind in {"google", "cohere"} and end == "never read" else 1)
    for entry in _entries(store):
        assert entry.status in {"aborted", "ok"}
        assert 0 < (entry.cost_nanousd or 0) <= entry.bound_nanousd


@pytest.mark.parametrize("kind", KINDS)
def test_lowered_limit(kind: str, sim: Simulator, store: MemoryStore) -> None:
    """An output limit that no longer fits is lowered on the wire."""
    make, ask, *_ = KINDS[kind]
    limits = {"groq": "$0.0012", "google": "$0.0004", "bedrock": "$0.012"}
    limit = {**limits, "mistral": "$0.004", "cohere": "$0.01"}[kind]
    ask(guard(make(sim), Budget(limit, store=store)), limit=4000)
    body = sim.requests[-1].body
    asked = body.get("max_tokens") or body.get("generationConfig", {}).get("maxOutputTokens")
    asked = asked or body.get("inferenceConfig", {}).get("maxTokens")

    assert 256 <= asked < 4000


@pytest.mark.parametrize("kind", KINDS)
def test_without_a_limit(kind: str, sim: Simulator, store: MemoryStore) -> None:
    """A request that names no limit is bounded by the most that the model can answer."""
    make, ask, *_ = KINDS[kind]
    client = guard(make(sim), Budget(500, store=store))
    ask(client, limit=None)

    assert client.bursar.spent == sim.bill.total
    assert _entries(store)[0].bound_nanousd > _entries(store)[0].cost_nanousd * 10  # type: ignore[operator]


@pytest.mark.parametrize("kind", KINDS)
def test_graceful_stop(kind: str, sim: Simulator, store: MemoryStore) -> None:
    """With `on_exceed="stop"` the answer says why there is none."""
    make, ask, *_ = KINDS[kind]
    client = guard(make(sim), Budget("$0.000000001", on_exceed="stop", store=store))

    assert "Stopped by the budget" in str(ask(client))
    assert sim.arrived == 0


@pytest.mark.parametrize("kind", KINDS)
def test_the_users_own_client_is_not_changed(kind: str, sim: Simulator, store: MemoryStore) -> None:
    """The guarded client is of the same type; the one that it was made from goes on as before."""
    make, ask, *_ = KINDS[kind]
    plain = make(sim)
    plain_class = type(plain)
    client = guard(plain, Budget(calls=0, store=store))

    assert isinstance(client, plain_class)
    assert type(client).__name__ == plain_class.__name__
    with pytest.raises(BudgetExceeded):
        ask(client)
    ask(plain)
    del client
    gc.collect()
    ask(plain)
    assert sim.arrived == 2
    assert type(plain) is plain_class


@pytest.mark.parametrize("kind", KINDS)
def test_below_another_meter(kind: str, sim: Simulator, store: MemoryStore) -> None:
    """Below an adapter's meter nothing counts twice."""
    make, ask, *_ = KINDS[kind]
    payer = Payer(Budget(5, store=store), agent="outer", workflow=None, made_in=None, outer=None, store=None)
    body: Any = {"model": "gpt-4o", "messages": [], "max_tokens": 50}
    meter = Meter(plan_request(OPENAI_CHAT, body, payer.booking(), provider="openai"))
    meter.reserve()
    token = current_meter.set(meter)
    try:
        ask(guard(make(sim)))
    finally:
        current_meter.reset(token)
    assert meter.observed is not None
    assert meter.observed.usage is not None
    meter.settle(meter.observed)

    assert [entry.subject.agent.name for entry in _entries(store)] == ["outer"]


@pytest.mark.parametrize("http", HTTP)
@pytest.mark.parametrize("end", ["read", "left", "dropped"])
def test_google_async_streams(end: str, http: str, sim: Simulator, store: MemoryStore) -> None:
    """By whichever package a stream is awaited, it is paid once, and by what was seen of it."""
    client = guard(google_client(sim, **HTTP[http]()), Budget(5, store=store))

    async def main() -> None:
        stream: Any = await client.aio.models.generate_content_stream(
            model=GEMINI, contents="hello", config=types.GenerateContentConfig(max_output_tokens=50)
        )
        async for _ in stream:
            if end != "read":
                break
        if end == "left":
            await stream.aclose()

    asyncio.run(main())
    gc.collect()
    dropped.do_all()
    (entry,) = _entries(store)

    assert client.bursar.reserved == 0
    assert entry.status == ("ok" if end == "read" else "aborted")
    if end == "read":
        assert entry.source == "priced"
        assert sim.wait_idle()
        assert client.bursar.spent == sim.bill.total
    else:
        assert 0 < (entry.cost_nanousd or 0) <= entry.bound_nanousd
        assert entry.source == "estimated"


def test_google_async_and_chats(sim: Simulator, store: MemoryStore) -> None:
    """Whatever helper of Google's makes a call, it is paid: async, streams, chats, embeddings; counting is free."""
    client = guard(google_client(sim), Budget(5, store=store))
    config = types.GenerateContentConfig(max_output_tokens=50)

    async def main() -> None:
        await client.aio.models.generate_content(model=GEMINI, contents="hello", config=config)
        stream = await client.aio.models.generate_content_stream(
            model=GEMINI, contents="hello", config=config
        )
        assert [part async for part in stream]

    asyncio.run(main())
    chat = client.chats.create(model=GEMINI, config=config)
    chat.send_message("hello")
    assert list(chat.send_message_stream("hello"))
    client.models.embed_content(model="gemini-embedding-001", contents=["a", "b"])
    client.models.count_tokens(model=GEMINI, contents="hello")
    alone = guard(google_client(sim).aio, Budget(5, store=store))
    asyncio.run(alone.models.generate_content(model=GEMINI, contents="hello", config=config))

    assert [entry.subject.operation for entry in _entries(store)] == [
        "google.generate_content",
        "google.stream_generate_content",
        "google.generate_content",
        "google.stream_generate_content",
        "google.embed_content",
        "google.generate_content",
    ]
    assert sim.wait_idle()
    assert client.bursar.spent + alone.bursar.spent == sim.bill.total


def test_google_async_cap(sim: Simulator, store: MemoryStore) -> None:
    """The cap holds for tasks."""
    client = guard(google_client(sim), Budget(calls=3, store=store))

    async def main() -> list[Any]:
        calls = [client.aio.models.generate_content(model=GEMINI, contents="hello") for _ in range(10)]
        return await asyncio.gather(*calls, return_exceptions=True)

    results = asyncio.run(main())

    assert sum(isinstance(result, BudgetExceeded) for result in results) == 7
    assert sim.arrived == 3


@pytest.mark.parametrize("name", ["live", "interactions"])
def test_google_beside_the_choke_point(name: str, sim: Simulator) -> None:
    """What has a client of its own is refused, with the reason."""
    client = guard(google_client(sim), 5)
    if not hasattr(type(client.aio).__mro__[1], name):
        pytest.skip("this version has no such thing")
    with pytest.raises(UnmeteredEndpoint, match="not guarded"):
        getattr(client.aio, name)


def test_bedrock_invocations(sim: Simulator, store: MemoryStore) -> None:
    """A model's own format is paid, whole and streamed; its body can be read as ever."""
    client = guard(bedrock_client(sim), Budget(5, store=store))
    answer = json.loads(client.invoke_model(**_invocation())["body"].read())
    events = list(client.invoke_model_with_response_stream(**_invocation())["body"])

    assert answer["usage"]["output_tokens"] == 20
    assert events
    assert [entry.subject.operation for entry in _entries(store)] == ["aws.invoke", "aws.invoke_stream"]
    assert sim.wait_idle()
    assert client.bursar.spent == sim.bill.total


def test_bedrock_invocation_is_lowered(sim: Simulator, store: MemoryStore) -> None:
    """The output limit within a model's own format is lowered too."""
    client = guard(bedrock_client(sim), Budget("$0.012", store=store))
    client.invoke_model(**_invocation(4000))

    assert 256 <= sim.requests[-1].body["max_tokens"] < 4000


def test_bedrock_parameters_that_are_wrong(sim: Simulator, store: MemoryStore) -> None:
    """What boto3 itself refuses was never sent."""
    client = guard(bedrock_client(sim), Budget(5, store=store))
    with pytest.raises(Exception, match="messages"):
        client.converse(modelId=CLAUDE, messages="hello")

    assert sim.arrived == 0
    assert client.bursar.reserved == 0
    assert client.bursar.spent == 0


def test_bedrock_operations_that_are_not_metered(sim: Simulator, store: MemoryStore) -> None:
    """An operation that cannot be bounded is refused under a budget in dollars."""
    client = guard(bedrock_client(sim), Budget(5, store=store))
    with pytest.raises(UnmeteredEndpoint, match="ApplyGuardrail"):
        client.apply_guardrail(
            guardrailIdentifier="g", guardrailVersion="1", source="INPUT", content=[{"text": {"text": "x"}}]
        )
    assert sim.arrived == 0


def test_mistral_async_and_parts(sim: Simulator, store: MemoryStore) -> None:
    """Whatever part of Mistral's client makes a call, it is paid: async, streams, embeddings."""
    client = guard(mistral_client(sim), Budget(5, store=store))
    messages: Any = [{"role": "user", "content": "hello"}]

    async def main() -> None:
        await client.chat.complete_async(model=MISTRAL, messages=messages, max_tokens=50)
        stream = await client.chat.stream_async(model=MISTRAL, messages=messages, max_tokens=50)
        assert [event async for event in stream]
        await client.sdk_configuration.async_client.aclose()

    asyncio.run(main())
    client.embeddings.create(model="mistral-embed", inputs=["a", "b"])
    client.fim.complete(model="codestral-latest", prompt="def f(", suffix="return 1", max_tokens=50)
    assert list(client.fim.stream(model="codestral-latest", prompt="def f(", suffix="1", max_tokens=50))

    assert [(entry.subject.operation, entry.source) for entry in _entries(store)] == [
        ("openai.chat", "priced"),
        ("openai.chat", "priced"),
        ("openai.embeddings", "priced"),
        ("mistral.fim", "priced"),
        ("mistral.fim", "priced"),
    ]
    assert sim.wait_idle()
    assert client.bursar.spent == sim.bill.total


def test_mistral_async_cap(sim: Simulator, store: MemoryStore) -> None:
    """The cap holds for tasks."""
    client = guard(mistral_client(sim), Budget(calls=3, store=store))

    async def main() -> list[Any]:
        messages: Any = [{"role": "user", "content": "hello"}]
        calls = [client.chat.complete_async(model=MISTRAL, messages=messages) for _ in range(10)]
        results = await asyncio.gather(*calls, return_exceptions=True)
        await client.sdk_configuration.async_client.aclose()
        return results

    results = asyncio.run(main())

    assert sum(isinstance(result, BudgetExceeded) for result in results) == 7
    assert sim.arrived == 3


MISTRAL_KEEPS: Any = {
    "conversation": lambda client: client.beta.conversations.start(inputs="hello", model=MISTRAL),
    "agent": lambda client: client.agents.complete(
        agent_id="a", messages=[{"role": "user", "content": "hello"}]
    ),
    "moderation": lambda client: client.classifiers.moderate(model="m", inputs=["hello"]),
    "ocr": lambda client: client.ocr.process(
        model="mistral-ocr-latest", document={"type": "document_url", "document_url": "https://example.org/a"}
    ),
}


@pytest.mark.parametrize("what", MISTRAL_KEEPS)
def test_mistral_without_a_bound(what: str, sim: Simulator, store: MemoryStore) -> None:
    """What Mistral keeps or counts by itself is refused under a budget in dollars, though OpenAI's is free."""
    client = guard(mistral_client(sim), Budget(5, store=store))
    with pytest.raises(UnmeteredEndpoint, match="not metered"):
        MISTRAL_KEEPS[what](client)

    assert sim.arrived == 0


def test_mistral_realtime(sim: Simulator) -> None:
    """A connection that nothing here sees is refused, on a part that is made when it is first asked for."""
    audio = guard(mistral_client(sim), 5).audio
    if not hasattr(type(audio).__mro__[2], "realtime"):
        pytest.skip("this version has no such thing")
    with pytest.raises(UnmeteredEndpoint, match="not guarded"):
        _ = audio.realtime


def test_cohere_both_versions(sim: Simulator, store: MemoryStore) -> None:
    """Both versions of Cohere's chat are paid, whole and streamed, sync and async, and embeddings of both."""
    address = _address(sim)
    budget = Budget(5, store=store)
    old = guard(cohere.Client(api_key="k", base_url=address), budget)
    new = guard(cohere.AsyncClientV2(api_key="k", base_url=address), budget)
    old.chat(model=COHERE, message="hello", preamble="be short", max_tokens=50)
    assert list(old.chat_stream(model=COHERE, message="hello", max_tokens=50))
    old.embed(model="embed-v4.0", texts=["a", "b"], input_type="search_document", embedding_types=["float"])
    messages: Any = [{"role": "user", "content": "hello"}]

    async def main() -> None:
        await new.chat(model=COHERE, messages=messages, max_tokens=50)
        stream = new.chat_stream(model=COHERE, messages=messages, max_tokens=50)
        assert [event async for event in stream]
        await new.embed(
            model="embed-v4.0", texts=["a"], input_type="search_document", embedding_types=["float"]
        )
        await new._client_wrapper.httpx_client.httpx_client.aclose()

    asyncio.run(main())

    assert [(entry.subject.operation, entry.source) for entry in _entries(store)] == [
        ("cohere.chat_v1", "priced"),
        ("cohere.chat_v1", "priced"),
        ("cohere.embed", "priced"),
        ("cohere.chat", "priced"),
        ("cohere.chat", "priced"),
        ("cohere.embed", "priced"),
    ]
    assert sim.wait_idle()
    assert old.bursar.spent == new.bursar.spent == sim.bill.total


def test_an_async_question(sim: Simulator, store: MemoryStore) -> None:
    """A client that awaits may ask a function that does; one that blocks may not."""

    async def ask(exceeded: BudgetExceeded) -> Any:
        await asyncio.sleep(0)
        return "$1" if exceeded else False

    budget = Budget("$0.000001", on_exceed=ask, store=store)
    with pytest.raises(TypeError, match="async function"):
        guard(cohere.ClientV2(api_key="k", base_url=_address(sim)), budget)
    client = guard(cohere.AsyncClientV2(api_key="k", base_url=_address(sim)), budget)

    async def main() -> None:
        await client.chat(model=COHERE, messages=[{"role": "user", "content": "hello"}], max_tokens=50)
        await client._client_wrapper.httpx_client.httpx_client.aclose()

    asyncio.run(main())

    assert sim.arrived == 1


def test_cohere_long_lists(sim: Simulator, store: MemoryStore) -> None:
    """What the SDK sends from threads of its own, for a long list, is paid by the run around it."""
    client = guard(cohere.Client(api_key="k", base_url=_address(sim)))
    texts = [f"text {index}" for index in range(200)]
    ask: Any = {"model": "embed-v4.0", "input_type": "search_document", "embedding_types": ["float"]}
    with Budget(calls=3, store=store).run("index") as run, bursar.agent("indexer"):
        client.embed(texts=texts, **ask)
        with pytest.raises(BudgetExceeded):
            client.embed(texts=texts, **ask)

    assert sim.arrived == 3
    assert {entry.subject.run_id for entry in _entries(store)} == {run.id}
    assert {entry.subject.agent.name for entry in _entries(store)} == {"indexer"}


def test_cohere_keeps_its_checks(sim: Simulator, store: MemoryStore) -> None:
    """What the SDK wraps its methods in, by hand, is there still, and pays from the guarded client."""
    client = guard(cohere.Client(api_key="k", base_url=_address(sim)), Budget(calls=0, store=store))
    with pytest.raises(ValueError, match="chat_stream"):
        client.chat(message="hello", stream=True)
    with pytest.raises(BudgetExceeded):
        client.chat(model=COHERE, message="hello")

    assert sim.arrived == 0


def test_cohere_elsewhere() -> None:
    """A client of Cohere's models on another host is not taken for one of Cohere's own."""
    client = object.__new__(importlib.import_module("cohere.aws_client").AwsClient)
    with pytest.raises(TypeError, match="bedrock-runtime"):
        guard(client, 5)


@pytest.mark.parametrize("kind", KINDS)
def test_a_users_own_class(kind: str, sim: Simulator, store: MemoryStore) -> None:
    """A client of a class that the user derived from the SDK's is guarded as well."""
    make, ask, *_ = KINDS[kind]
    plain = make(sim)
    if kind != "bedrock":
        plain.__class__ = type("Own", (type(plain),), {})
    client = guard(plain, Budget(5, store=store))
    ask(client)

    assert client.bursar.spent == sim.bill.total > 0


@pytest.mark.parametrize("kind", KINDS)
def test_errors(kind: str, sim: Simulator, store: MemoryStore) -> None:
    """A refusal of the provider's costs nothing."""
    make, ask, *_ = KINDS[kind]
    sim.fail_next(Fault.status(400))
    client = guard(make(sim), Budget(5, store=store))
    with pytest.raises(Exception, match="400"):
        ask(client)

    assert [(entry.status, entry.cost_nanousd) for entry in _entries(store)] == [("error", 0)]
    assert client.bursar.reserved == 0
