"""The SDKs' own retries: each is an attempt of its own, seen, paid and capped."""

# What an SDK returns depends on unpacked options, which its overloads do not follow.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownLambdaType=false

from __future__ import annotations

import asyncio
from typing import Any

import anthropic
import openai
import pytest

from bursar import BudgetExceeded
from bursar.simulator import Fault

from .conftest import CHAT, MESSAGE, Stage, Start, http_library

AGAIN = Fault.status(500, retry_after_s=0.001)
KINDS = ["openai", "anthropic", "async_openai", "async_anthropic"]


def call(stage: Stage, kind: str, client: Any, **options: Any) -> Any:
    """Make one call with a client of any kind."""
    if kind.endswith("openai"):
        made = client.chat.completions.create(**CHAT, **options)
    else:
        made = client.messages.create(**MESSAGE, **options)
    return stage.run(made) if kind.startswith("async") else made


class TestAttempts:
    @pytest.mark.parametrize("kind", KINDS)
    def test_each_attempt_is_entered(self, start: Start, kind: str) -> None:
        """Two errors and an answer are one call of three attempts, and cost what the answer did."""
        stage = start(max_retries=5, faults=[AGAIN, AGAIN])
        client = stage.guard(getattr(stage, kind))
        call(stage, kind, client)
        lines = [(entry.attempt, entry.status, entry.cost_nanousd == 0) for entry in stage.entries()]

        assert [(1, "error", True), (2, "error", True), (3, "ok", False)] == lines
        assert [entry.reason for entry in stage.entries()] == ["status 500", "status 500", ""]
        assert len({entry.subject.call_id for entry in stage.entries()}) == 1
        assert client.bursar.spent == stage.sim.bill.total
        assert client.bursar.calls == 1

    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize("stream", [False, True])
    def test_attempts_stop_the_cascade(self, start: Start, kind: str, stream: bool) -> None:
        """A limit on attempts comes out of the SDK's retry loop as it is, and nothing more is sent."""
        stage = start(max_retries=5, faults=[AGAIN] * 5)
        client = stage.guard(getattr(stage, kind), attempts=2)
        with pytest.raises(BudgetExceeded) as caught:
            call(stage, kind, client, stream=stream)

        assert caught.value.details.unit == "attempts"
        assert stage.sim.arrived == 2
        assert client.bursar.reserved == 0
        assert client.bursar.spent == 0

    @pytest.mark.parametrize("kind", KINDS)
    def test_no_retries(self, start: Start, kind: str) -> None:
        """Without retries an error is the SDK's own, and costs nothing."""
        stage = start(faults=[AGAIN])
        client = stage.guard(getattr(stage, kind))
        with pytest.raises((openai.InternalServerError, anthropic.InternalServerError)):
            call(stage, kind, client)

        assert client.bursar.spent == client.bursar.reserved == 0
        assert [entry.status for entry in stage.entries()] == ["error"]

    @pytest.mark.parametrize("kind", KINDS)
    def test_refused_connection_is_not_billed(self, stage: Stage, kind: str) -> None:
        """What never reached a server costs nothing."""
        client = stage.guard(getattr(stage, kind)).with_options(
            base_url="http://127.0.0.1:9/v1", max_retries=0
        )
        with pytest.raises((openai.APIConnectionError, anthropic.APIConnectionError)):
            call(stage, kind, client)

        assert client.bursar.spent == client.bursar.reserved == 0

    @pytest.mark.parametrize("kind", KINDS)
    def test_read_timeout_is_billed_at_the_bound(self, start: Start, kind: str) -> None:
        """A request that was sent and got no answer in time may have been billed."""
        stage = start(latency_s=2)
        client = stage.guard(getattr(stage, kind)).with_options(timeout=0.15)
        with pytest.raises((openai.APITimeoutError, anthropic.APITimeoutError)):
            call(stage, kind, client)
        entry = stage.entries()[0]

        assert (entry.status, entry.source) == ("aborted", "bound")
        assert entry.cost_nanousd == entry.bound_nanousd > 0

    @pytest.mark.parametrize("kind", ["openai", "anthropic"])
    def test_timeout_and_retry(self, start: Start, kind: str) -> None:
        """A timeout that is retried is booked at its bound, with its name, beside the answer's cost."""
        stage = start(max_retries=1)
        stage.sim.fail_next(Fault.stall(2))
        client = stage.guard(getattr(stage, kind)).with_options(timeout=0.15)
        call(stage, kind, client)
        first, second = stage.entries()

        assert (first.attempt, first.source, first.reason) == (1, "bound", "ReadTimeout")
        assert (second.attempt, second.status) == (2, "ok")

    def test_cancelled_before_the_answer(self, start: Start) -> None:
        """A task that is cancelled while it waits for an answer pays the bound, and holds nothing."""
        stage = start(latency_s=2)
        client = stage.guard(stage.async_openai)

        async def main() -> None:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(client.chat.completions.create(**CHAT), 0.15)

        stage.run(main())

        assert [(entry.status, entry.source) for entry in stage.entries()] == [("aborted", "bound")]
        assert client.bursar.reserved == 0

    def test_repeated_request_is_marked(self, stage: Stage) -> None:
        """The same request of the same agent in a run is marked as a repeat."""
        client = stage.guard(stage.openai)
        call(stage, "openai", client)
        call(stage, "openai", client)
        call(stage, "openai", client, temperature=0.5)

        assert [entry.subject.is_repeat for entry in stage.entries()] == [False, True, False]


@pytest.mark.skipif(
    http_library(openai).__name__ == "httpx", reason="this openai takes no aiohttp for httpx2"
)
def test_aiohttp_transport(stage: Stage) -> None:
    """A client over aiohttp is paid for like any other, streams too."""
    pytest.importorskip("httpx_aiohttp")

    async def main() -> None:
        async with openai.DefaultAioHttpClient() as http_client:
            plain = openai.AsyncOpenAI(
                api_key="sk", base_url=stage.sim.openai_base_url, http_client=http_client
            )
            client = stage.guard(plain)
            await client.chat.completions.create(**CHAT)
            assert [chunk async for chunk in await client.chat.completions.create(**CHAT, stream=True)]
            assert client.bursar.spent == stage.sim.bill.total

    stage.run(main())

    assert stage.sim.arrived == 2
