"""However a call ends, it is booked once, at the truth or above it, and holds nothing after that."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import AsyncGenerator
from typing import Any

import pytest
from autogen_core import CancellationToken, FunctionCall
from autogen_core.models import (
    AssistantMessage,
    CreateResult,
    FunctionExecutionResult,
    FunctionExecutionResultMessage,
    SystemMessage,
    UserMessage,
)
from autogen_ext.models.anthropic import AnthropicChatCompletionClient
from autogen_ext.models.cache import ChatCompletionCache
from autogen_ext.models.openai import OpenAIChatCompletionClient
from autogen_ext.models.replay import ReplayChatCompletionClient
from pydantic import BaseModel

from bursar import Budget
from bursar.run import Run
from bursar.simulator import Answer, Fault, Simulator

from .conftest import ABLE, ASK, Scripted, Stage, run, said

pytestmark = pytest.mark.timeout(30)

RESEARCH = [SystemMessage(content="You are the researcher. " + "words " * 200), *ASK]
AGAIN = Fault.status(500, retry_after_s=0.001)


async def read(stream: AsyncGenerator[Any, None], leave_after: int | None = None) -> CreateResult | None:
    """Read a stream, or only so many pieces of it, and return its result."""
    result = None
    seen = 0
    async for piece in stream:
        seen += 1
        result = piece if isinstance(piece, CreateResult) else result
        if seen == leave_after:
            break
    return result


def only_run(stage: Stage, budget: Budget) -> Run:
    """Return the one run that was paid from *budget*."""
    (found,) = budget.runs
    return found


class Reply(BaseModel):
    """An answer by a schema."""

    text: str


# --- what the provider says ----------------------------------------------------------------------


@pytest.mark.parametrize("how", ["whole", "stream", "structured", "structured stream"])
def test_cached_and_reasoning_tokens(how: str) -> None:
    """Scenario 15: what AutoGen drops of a usage is read below it, and priced, however the answer comes."""
    text = '{"text": "x"}' if "structured" in how else "x"
    with Simulator(script={"researcher": Answer(text=text, cached_tokens=64, reasoning_tokens=12)}) as sim:
        stage = Stage(sim)
        budget = stage.budget()
        client = stage.guarded(stage.openai(), budget)
        ask: Any = RESEARCH
        more: Any = {"json_output": Reply} if "structured" in how else {}
        if "stream" in how:
            run(read(client.create_stream(ask, **more)), stage)
        else:
            run(client.create(ask, **more), stage)
        (entry,) = stage.entries()

        assert (64, 12) == (entry.usage.cache_read_tokens, entry.usage.reasoning_tokens)
        assert sim.bill.total == budget.spent
        assert "priced" == entry.source


def test_without_the_client_of_the_sdk(wire: Stage) -> None:
    """Scenario 15: where the SDK's client is nowhere to be seen, AutoGen's figures are priced in full."""

    class Hidden(OpenAIChatCompletionClient):
        """Keeps its client under another name."""

        def __init__(self, **options: Any) -> None:
            super().__init__(**options)
            self._hidden: Any = self._client
            self._client: Any = None

        async def create(self, *args: Any, **more: Any) -> CreateResult:
            self._client = self._hidden
            try:
                return await super().create(*args, **more)
            finally:
                self._client = None

        async def close(self) -> None:
            await self._hidden.close()

    wire.sim.script("researcher", Answer(text="x", cached_tokens=64))
    plain = Hidden(model="gpt-4o-2024-08-06", base_url=wire.sim.openai_base_url, api_key="x")
    wire.clients.append(plain)
    budget = wire.budget()
    ask: Any = RESEARCH
    run(wire.guarded(plain, budget).create(ask), wire)
    (entry,) = wire.entries()

    assert 0 == entry.usage.cache_read_tokens
    assert budget.spent > wire.sim.bill.total


def test_retries(wire: Stage) -> None:
    """Scenario 12: a 500 and then an answer are two requests of one call, which is paid once."""
    wire.sim.fail_next(AGAIN)
    budget = wire.budget()
    run(wire.guarded(wire.openai(max_retries=2), budget).create(ASK), wire)

    assert ["error", "ok"] == [status for _, status in wire.rows()]
    assert 1 == only_run(wire, budget).calls
    assert wire.sim.bill.total == budget.spent


@pytest.mark.parametrize("stream", [False, True])
def test_errors(wire: Stage, stream: bool) -> None:
    """Scenario 12: an error that stays costs nothing and holds nothing."""
    wire.sim.fail_next(AGAIN, AGAIN, AGAIN)
    budget = wire.budget()
    client = wire.guarded(wire.openai(max_retries=2), budget)
    with pytest.raises(Exception, match="500"):
        run(read(client.create_stream(ASK)) if stream else client.create(ASK), wire)

    assert ["error"] * 3 == [status for _, status in wire.rows()]
    assert 0 == budget.spent == only_run(wire, budget).reserved


def test_what_autogen_refuses_itself(wire: Stage) -> None:
    """A call that AutoGen's client rejects before it sends anything is given back whole."""
    budget = wire.budget()
    client = wire.guarded(wire.openai(), budget)
    with pytest.raises(ValueError, match="invalid"):
        run(client.create(ASK, extra_create_args={"no_such_thing": 1}), wire)

    assert ["released"] == [status for _, status in wire.rows()]
    assert 0 == wire.sim.arrived == budget.spent


@pytest.mark.parametrize("stream", [False, True])
def test_server_without_usage(wire: Stage, stream: bool) -> None:
    """Scenario 14: where the server states no usage, an estimate is booked and marked; never nothing."""
    wire.sim.fail_next(Fault.no_usage())
    budget = wire.budget()
    client = wire.guarded(wire.openai(max_tokens=50), budget)
    run(read(client.create_stream(ASK)) if stream else client.create(ASK), wire)
    (entry,) = wire.entries()

    assert ("ok", "estimated") == (entry.status, entry.source)
    assert budget.spent >= wire.sim.bill.total > 0
    assert 0 == only_run(wire, budget).reserved


def test_half_a_usage_is_unknown(stage: Stage) -> None:
    """An answer in words whose usage has no output is estimated."""
    budget = stage.budget()
    run(stage.guarded(Scripted(said("many words here", tokens=(10, 0))), budget).create(ASK))
    (entry,) = stage.entries()

    assert "estimated" == entry.source
    assert entry.usage.output_tokens > 0


# --- answers that do not come to their end -----------------------------------------------------------


def test_cancelled(wire: Stage) -> None:
    """Scenario 13: a call that is cancelled while it is out is booked at its bound."""
    budget = wire.budget()
    wire.sim.fail_next(Fault.stall(5))
    client = wire.guarded(wire.openai(max_tokens=50), budget)

    async def cancel() -> None:
        task = asyncio.create_task(client.create(ASK))
        while not wire.sim.in_flight:
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(cancel(), wire)
    (entry,) = wire.entries()

    assert ("aborted", "bound") == (entry.status, entry.source)
    assert 0 == only_run(wire, budget).reserved
    assert entry.cost_nanousd == entry.bound_nanousd > 0


def test_cancelled_by_its_token(wire: Stage) -> None:
    """A token that is cancelled ends a call that is out, and one that waits for its budget."""
    budget = wire.budget(calls=2)
    wire.sim.fail_next(Fault.stall(5))
    client = wire.guarded(wire.openai(max_tokens=50), budget)

    async def cancel() -> None:
        token = CancellationToken()
        out = asyncio.create_task(client.create(ASK, cancellation_token=token))
        while not wire.sim.in_flight:
            await asyncio.sleep(0.01)
        token.cancel()
        with pytest.raises(asyncio.CancelledError):
            await out

    run(cancel(), wire)

    assert ["aborted"] == [status for _, status in wire.rows()]
    assert 0 == only_run(wire, budget).reserved


def test_token_ends_the_wait(stage: Stage) -> None:
    """A call that waits for others to give back what they hold is ended by its token, and its task goes on."""
    budget = stage.budget("$0.0006", min_output_tokens=1)
    client = stage.guarded(Scripted("x", delay_s=0.3), budget)
    capped: Any = {"extra_create_args": {"max_tokens": 40}}

    async def wait() -> bool:
        token = CancellationToken()
        first = asyncio.create_task(client.create(ASK, **capped))
        await asyncio.sleep(0.05)

        async def second() -> bool:
            with pytest.raises(asyncio.CancelledError):
                await client.create(ASK, cancellation_token=token, **capped)
            await asyncio.sleep(0)
            return asyncio.current_task().cancelling() == 0  # type: ignore[union-attr]

        waiting = asyncio.create_task(second())
        await asyncio.sleep(0.05)
        assert not waiting.done()
        token.cancel()
        is_well = await asyncio.wait_for(waiting, 0.2)
        await first
        return is_well

    assert run(wait())
    assert ["ok"] == [status for _, status in stage.rows()]


@pytest.mark.parametrize("how", ["closed", "dropped", "cancelled"])
def test_left_stream(how: str) -> None:
    """Scenario 13: a stream that is closed, dropped or cancelled is paid for what was seen of it, once, and marked."""
    with Simulator(output_tokens=200, token_latency_s=0.002) as sim:
        stage = Stage(sim)
        budget = stage.budget()
        client = stage.guarded(stage.openai(max_tokens=400), budget)

        async def leave() -> None:
            stream = client.create_stream(ASK)
            if how == "cancelled":
                task = asyncio.create_task(read(stream))
                await asyncio.sleep(0.15)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
                return
            await anext(stream)
            await anext(stream)
            if how == "closed":
                await stream.aclose()
            del stream
            gc.collect()
            await asyncio.sleep(0.05)

        run(leave(), stage)
        (entry,) = stage.entries()

        assert ("aborted", "estimated") == (entry.status, entry.source)
        assert 0 == only_run(stage, budget).reserved
        assert 0 < (entry.cost_nanousd or 0) < entry.bound_nanousd


def test_stream_dropped_with_its_loop(stage: Stage) -> None:
    """A stream whose loop was closed without a word is settled all the same."""
    budget = stage.budget()
    client = stage.guarded(Scripted("one two three four"), budget)
    loop = asyncio.new_event_loop()
    stream = client.create_stream(ASK)
    loop.run_until_complete(anext(stream))
    loop.close()
    del stream
    gc.collect()
    (entry,) = stage.entries()

    assert "aborted" == entry.status
    assert 0 == only_run(stage, budget).reserved


def test_stream_that_is_never_read(stage: Stage) -> None:
    """A stream that nobody asks for a piece holds nothing."""
    client = stage.guarded(Scripted("x"), stage.budget())
    client.create_stream(ASK)
    gc.collect()

    assert [] == stage.entries()


def test_cut_stream(wire: Stage) -> None:
    """Scenario 13: a stream that breaks off is paid for what was seen, and the error reaches the caller."""
    wire.sim.fail_next(Fault.cut(after_events=3))
    budget = wire.budget()
    client = wire.guarded(wire.openai(max_tokens=50), budget)
    with pytest.raises(Exception, match=r"peer closed|incomplete|[Cc]onnection"):
        run(read(client.create_stream(ASK)), wire)
    (entry,) = wire.entries()

    assert "aborted" == entry.status
    assert entry.source in {"estimated", "bound"}
    assert 0 == only_run(wire, budget).reserved


def test_left_stream_of_a_call_with_tools(stage: Stage) -> None:
    """What a stream says in calls of tools is not shown: left early, it is booked at its bound."""
    budget = stage.budget()

    async def leave() -> None:
        stream = stage.guarded(Scripted("one two three"), budget).create_stream(ASK, tools=[TOOL])
        await anext(stream)
        await stream.aclose()

    run(leave())
    (entry,) = stage.entries()

    assert ("aborted", "bound") == (entry.status, entry.source)


TOOL: Any = {"name": "look", "description": "look", "parameters": {"type": "object", "properties": {}}}


def test_inner_stream_is_read_to_its_end(stage: Stage) -> None:
    """A caller that leaves at the result leaves nothing undone: the cache below has kept it."""
    plain = Scripted("one two")
    client = stage.guarded(ChatCompletionCache(plain), stage.budget(), model="gpt-4o")

    async def twice() -> None:
        for _ in range(2):
            stream = client.create_stream(ASK)
            async for piece in stream:
                if isinstance(piece, CreateResult):
                    break
            await stream.aclose()

    run(twice())

    assert 1 == len(plain.sent)
    assert ["ok", "released"] == [status for _, status in stage.rows()]


# --- caches ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("order", ["guard(cache)", "cache(guard)"])
def test_cache(wire: Stage, order: str, stream: bool) -> None:
    """Scenario 16: what a cache answers costs nothing, whichever of the two is outside."""
    budget = wire.budget()
    plain = wire.openai()
    client: Any = (
        wire.guarded(ChatCompletionCache(plain), budget)
        if order == "guard(cache)"
        else ChatCompletionCache(wire.guarded(plain, budget))
    )

    async def twice() -> list[Any]:
        return [await (read(client.create_stream(ASK)) if stream else client.create(ASK)) for _ in range(2)]

    results = run(twice(), wire)

    assert [20, 20] == [result.usage.completion_tokens for result in results]
    assert results[1].cached

    assert 1 == wire.sim.arrived == only_run(wire, budget).calls
    assert wire.sim.bill.total == budget.spent > 0


def test_left_stream_of_a_cache(wire: Stage) -> None:
    """A cached stream that is left early costs nothing either."""
    budget = wire.budget()
    client = wire.guarded(ChatCompletionCache(wire.openai()), budget)

    async def twice() -> None:
        await read(client.create_stream(ASK))
        stream = client.create_stream(ASK)
        await read(stream, leave_after=1)
        await stream.aclose()

    run(twice(), wire)

    assert ["ok", "released"] == [status for _, status in wire.rows()]
    assert wire.sim.bill.total == budget.spent


def test_tokens_keep_nothing_of_a_call(stage: Stage) -> None:
    """A token that lives on holds no call that has ended, nor what it said."""
    plain = Scripted("x")
    client = stage.guarded(plain, stage.budget())
    token = CancellationToken()
    prompt = UserMessage(content="long " * 100, source="user")
    gone = weakref.ref(prompt)
    run(client.create([prompt], cancellation_token=token))
    plain.sent.clear()
    del prompt
    gc.collect()

    assert gone() is None


def test_replayed_answers_cost(stage: Stage) -> None:
    """Scenario 16: a replay calls its texts cached; they are paid all the same, and free only from a real cache."""
    budget = stage.budget()

    async def all_of_them() -> None:
        plain = ReplayChatCompletionClient(["one two"] * 3, model_info=ABLE)
        await stage.guarded(plain, budget, model="gpt-4o").create(ASK)
        cached = stage.guarded(ChatCompletionCache(plain), budget, model="gpt-4o")
        await cached.create(ASK)
        await cached.create(ASK)
        await read(stage.guarded(plain, budget, model="gpt-4o").create_stream(ASK))

    run(all_of_them())

    assert ["ok", "ok", "released", "ok"] == [status for _, status in stage.rows()]


# --- one inside the other -----------------------------------------------------------------------------


def test_budgeted_twice(wire: Stage) -> None:
    """A budgeted client around another is paid once, by the outer one."""
    inner, outer = wire.budget(name="inner"), wire.budget(name="outer")
    client = wire.guarded(wire.guarded(wire.openai(), inner), outer)
    run(client.create(ASK), wire)

    assert 1 == len(wire.entries())
    assert wire.sim.bill.total == outer.spent
    assert 0 == inner.spent


def test_unwatched_outside_of_a_call(wire: Stage) -> None:
    """The wrapped client itself stays what it was: what it is asked directly is nobody's."""
    plain = wire.openai()
    wire.guarded(plain, wire.budget())

    async def direct() -> None:
        async with wire.budget().run("job"):
            await plain.create(ASK)

    run(direct(), wire)

    assert 1 == wire.sim.arrived
    assert [] == wire.entries()


# --- other providers -----------------------------------------------------------------------------------


def anthropic_client(wire: Stage) -> AnthropicChatCompletionClient:
    """Return AutoGen's own client of Anthropic, against the simulator."""
    client = AnthropicChatCompletionClient(
        model="claude-sonnet-4-5",
        base_url=wire.sim.anthropic_base_url,
        api_key="x",
        model_info=ABLE,
        max_tokens=100,
    )
    wire.clients.append(client)
    return client


@pytest.mark.parametrize("stream", [False, True])
def test_anthropic(wire: Stage, stream: bool) -> None:
    """AutoGen's client of Anthropic is watched like that of OpenAI: exact, and no argument is added to its streams."""
    budget = wire.budget()
    client = wire.guarded(anthropic_client(wire), budget)
    run(read(client.create_stream(ASK)) if stream else client.create(ASK), wire)
    (entry,) = wire.entries()

    assert ("ok", "priced", "anthropic") == (entry.status, entry.source, entry.subject.provider)
    assert wire.sim.bill.total == budget.spent
    assert "stream_options" not in wire.sim.requests[0].body


def test_anthropic_sends_its_tools_again(wire: Stage) -> None:
    """With the results of tools and no tools AutoGen's client sends those of the call before: they are weighed too."""
    plain = anthropic_client(wire)
    client = wire.guarded(plain, wire.budget())
    tool: Any = {**TOOL, "description": "long " * 2_000}
    history: Any = [
        *ASK,
        AssistantMessage(content=[FunctionCall(id="1", name="look", arguments="{}")], source="a"),
        FunctionExecutionResultMessage(
            content=[FunctionExecutionResult(content="x", name="look", call_id="1", is_error=False)]
        ),
    ]

    async def both() -> None:
        await client.create(ASK, tools=[tool])
        await client.create(history)

    run(both(), wire)
    first, second = wire.entries()

    assert "tools" in wire.sim.requests[1].body
    assert second.bound_nanousd > first.bound_nanousd // 2
    assert 0 == second.overage_nanousd


def test_copied_client_is_watched(wire: Stage) -> None:
    """A copy of AutoGen's client makes another client of the SDK: it is watched at the next call."""
    plain = wire.openai(max_retries=2)
    budget = wire.budget()
    client = wire.guarded(plain, budget)
    plain.__setstate__(plain.__getstate__())
    wire.sim.fail_next(AGAIN)
    run(client.create(ASK), wire)

    assert ["error", "ok"] == [status for _, status in wire.rows()]
