"""The same answers without sockets."""

from __future__ import annotations

import asyncio
import importlib
from importlib.metadata import version
from typing import Any, Literal

import openai
import pytest

from bursar.simulator import Fault, Simulator

# openai 3 speaks httpx2, openai 2 speaks httpx.
LIBRARY: Literal["httpx2", "httpx"] = "httpx2" if int(version("openai").split(".")[0]) >= 3 else "httpx"
HTTP: Any = importlib.import_module(LIBRARY)
ASK: dict[str, Any] = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hello"}]}


def client_of(sim: Simulator) -> openai.OpenAI:
    """Return a client that talks to *sim* in this process."""
    http = HTTP.Client(transport=sim.transport(LIBRARY))
    return openai.OpenAI(base_url="http://simulator/v1", api_key="x", http_client=http, max_retries=0)


def test_answers_and_bill_are_the_same_as_over_http() -> None:
    """Whole and streamed answers come from the same code."""
    sim = Simulator()
    with client_of(sim) as client:
        create: Any = client.chat.completions.create
        whole = create(**ASK)
        chunks = list(create(**ASK, stream=True))
    with sim, openai.OpenAI(base_url=sim.openai_base_url, api_key="x") as client:
        create = client.chat.completions.create
        over_http = create(**ASK)

    assert whole.choices == over_http.choices
    assert whole.choices[0].message.content == "".join(c.choices[0].delta.content or "" for c in chunks)
    assert {record.cost_nanousd for record in sim.requests} == {80_000}


def test_async_transport_answers() -> None:
    """The async client gets whole and streamed answers, with latency."""
    sim = Simulator(latency_s=0.01, token_latency_s=0.001)

    async def main() -> tuple[Any, list[Any]]:
        http = HTTP.AsyncClient(transport=sim.async_transport(LIBRARY))
        async with openai.AsyncOpenAI(
            base_url="http://simulator/v1", api_key="x", http_client=http
        ) as client:
            create: Any = client.chat.completions.create
            whole = await create(**ASK)
            stream = await create(**ASK, stream=True)
            return whole, [chunk async for chunk in stream]

    whole, chunks = asyncio.run(main())

    assert whole.choices[0].message.content == "".join(c.choices[0].delta.content or "" for c in chunks)
    assert sim.in_flight == 0


def test_dropped_stream_is_billed_for_what_was_generated() -> None:
    """Closing the stream is noticed at once, exactly."""
    sim = Simulator(output_tokens=1000)
    with client_of(sim) as client:
        stream = client.chat.completions.create(**ASK, stream=True)
        for _ in range(3):
            next(stream)
        stream.close()

    assert sim.requests[0].aborted
    assert sim.requests[0].usage is not None
    assert sim.requests[0].usage.output_tokens == 8


def test_cancelled_request_is_billed_in_full() -> None:
    """A task that is cancelled while it waits has an answer generated that nobody reads."""
    sim = Simulator(latency_s=60)

    async def main() -> None:
        http = HTTP.AsyncClient(transport=sim.async_transport(LIBRARY))
        async with openai.AsyncOpenAI(
            base_url="http://simulator/v1", api_key="x", http_client=http
        ) as client:
            create: Any = client.chat.completions.create
            await asyncio.wait_for(create(**ASK), timeout=0.05)

    with pytest.raises(asyncio.TimeoutError):
        asyncio.run(main())

    assert sim.requests[0].aborted
    assert sim.requests[0].billed == "all"
    assert sim.in_flight == 0


@pytest.mark.parametrize("fault", [Fault.reset(), Fault.cut()])
def test_broken_connections_are_the_librarys_own_errors(fault: Fault) -> None:
    """A reset and a cut raise what a socket would."""
    sim = Simulator(faults=[fault])
    with client_of(sim) as client, pytest.raises((openai.APIConnectionError, HTTP.RemoteProtocolError)):
        client.chat.completions.create(**ASK)

    assert sim.in_flight == 0


def test_library_that_is_missing_is_named() -> None:
    """A library that is not installed fails with its name."""
    with pytest.raises(ImportError, match="httpx9"):
        Simulator().transport("httpx9")  # pyright: ignore[reportArgumentType]
