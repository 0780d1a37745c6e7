"""Many at once, and a clean end."""

from __future__ import annotations

import asyncio
import gc
import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, active_count
from typing import TYPE_CHECKING

import openai
import pytest

from bursar.simulator import Answer, Request, Simulator

if TYPE_CHECKING:
    from tests.core.simulator.conftest import Stage, Start


def meeting(parties: int) -> Callable[[Request], Answer]:
    """Return a scripted function that answers only once *parties* requests are there."""
    barrier = Barrier(parties)

    def answer(request: Request) -> Answer:
        barrier.wait(timeout=30)
        return Answer(text=request.messages[-1])

    return answer


def test_fifty_threads_are_in_flight_at_once(start: Start) -> None:
    """Fifty requests wait for one another inside the simulator, which only works if all are there."""
    stage = start(script={"gpt-4o": meeting(50)})
    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(stage.chat, map(str, range(50))))

    assert [str(n) for n in range(50)] == [answer.choices[0].message.content for answer in answers]
    assert stage.sim.most_in_flight == 50
    assert stage.sim.bill.calls == 50
    assert stage.sim.wait_idle()


def test_fifty_tasks_are_in_flight_at_once(start: Start) -> None:
    """The same from one event loop, streamed."""
    stage = start(script={"gpt-4o": meeting(50)})

    async def main() -> list[str]:
        async with openai.AsyncOpenAI(
            base_url=stage.sim.openai_base_url, api_key="x", max_retries=0
        ) as client:

            async def ask(number: int) -> str:
                stream = await client.chat.completions.create(
                    model="gpt-4o", messages=[{"role": "user", "content": str(number)}], stream=True
                )
                return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

            return await asyncio.gather(*(ask(number) for number in range(50)))

    assert [str(n) for n in range(50)] == asyncio.run(main())
    assert stage.sim.most_in_flight == 50


def test_bill_of_many_threads_adds_up(start: Start) -> None:
    """No request is lost or doubled on the bill."""
    stage = start()
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(stage.chat, ["hello"] * 200))
    records = stage.sim.requests

    assert stage.sim.bill.calls == 200
    assert stage.sim.bill.total_nanousd == 200 * records[0].cost_nanousd
    assert [record.index for record in records] == list(range(200))


def test_latency_comes_before_the_answer(start: Start) -> None:
    """A response waits for its latency; a stream, for each token."""
    stage = start(latency_s=0.1, token_latency_s=0.01, output_tokens=20)
    began = time.monotonic()
    stage.chat()
    whole = time.monotonic() - began
    list(stage.chat(stream=True))
    streamed = time.monotonic() - began - whole

    assert whole >= 0.1
    assert streamed >= 0.3


def test_close_does_not_wait_for_idle_connections() -> None:
    """A client that keeps its connection open does not hold up the end, and no thread is left."""
    threads = active_count()
    sim = Simulator().start()
    with openai.OpenAI(base_url=sim.openai_base_url, api_key="x") as client:
        client.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": "x"}])
        with socket.create_connection(("127.0.0.1", int(sim.url.rsplit(":", 1)[1]))):
            began = time.monotonic()
            sim.close()
            took = time.monotonic() - began

    assert took < 1
    until = time.monotonic() + 5
    while active_count() > threads and time.monotonic() < until:
        gc.collect()
    assert threads == active_count()


def test_close_ends_what_is_under_way() -> None:
    """A request in its latency is cut at the end, and is an aborted one."""
    sim = Simulator(latency_s=60).start()
    with (
        openai.OpenAI(base_url=sim.openai_base_url, api_key="x", max_retries=0) as client,
        ThreadPoolExecutor(1) as pool,
    ):
        asked = pool.submit(
            client.chat.completions.create, model="gpt-4o", messages=[{"role": "user", "content": "x"}]
        )
        while not sim.in_flight:
            time.sleep(0.005)
        began = time.monotonic()
        sim.close()
        took = time.monotonic() - began
        with pytest.raises(openai.APIConnectionError):
            asked.result()

    assert took < 2
    assert sim.requests[0].aborted


def test_simulator_can_start_again() -> None:
    """After a close it listens on a new port, with its bill as it was."""
    sim = Simulator()
    for calls in (1, 2):
        with sim, openai.OpenAI(base_url=sim.openai_base_url, api_key="x") as client:
            client.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": "x"}])

        assert sim.bill.calls == calls


def test_url_needs_a_running_simulator() -> None:
    """There is no address before the start, and the error says what to do."""
    with pytest.raises(RuntimeError, match="start"):
        _ = Simulator().openai_base_url


def test_three_hundred_small_requests_a_second(stage: Stage) -> None:
    """One keep-alive connection is served quickly enough for benchmarks."""
    import http.client

    body = b'{"model":"gpt-4o","messages":[{"role":"user","content":"hello"}]}'
    connection = http.client.HTTPConnection("127.0.0.1", int(stage.sim.url.rsplit(":", 1)[1]))
    best = 0.0
    for _ in range(3):
        began = time.perf_counter()
        for _ in range(100):
            connection.request("POST", "/v1/chat/completions", body)
            connection.getresponse().read()
        best = max(best, 100 / (time.perf_counter() - began))
    connection.close()

    assert best > 300
