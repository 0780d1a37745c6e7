"""What no budget is left for is not sent; and what AutoGen makes of that."""

# Teams keep to themselves whether they run.
# pyright: reportPrivateUsage=false

from __future__ import annotations

import asyncio
import pickle
from collections.abc import Sequence
from typing import Any

import pytest
from autogen_agentchat.agents import AssistantAgent
from autogen_agentchat.conditions import MaxMessageTermination
from autogen_agentchat.messages import ModelClientStreamingChunkEvent, ToolCallExecutionEvent
from autogen_agentchat.teams import (
    DiGraphBuilder,
    GraphFlow,
    MagenticOneGroupChat,
    RoundRobinGroupChat,
    SelectorGroupChat,
)
from autogen_agentchat.tools import AgentTool
from autogen_core import Image, SingleThreadedAgentRuntime
from autogen_core.models import CreateResult, SystemMessage, UserMessage
from autogen_ext.models.anthropic import AnthropicChatCompletionClient
from PIL import Image as Picture
from pydantic import BaseModel

from bursar import BudgetExceeded, UnknownPrice, prices
from bursar.simulator import Answer
from bursar_autogen import TeamBudgetExceeded, run_team

from .conftest import ABLE, ASK, Scripted, Stage, calls, run

pytestmark = pytest.mark.timeout(30)

TOOL: Any = {"name": "look", "description": "look", "parameters": {"type": "object", "properties": {}}}


class Reply(BaseModel):
    """An answer by a schema."""

    text: str


def test_room_for_three_of_ten(wire: Stage) -> None:
    """Scenario 8: of ten calls at once the three that there is room for are sent, and nothing stays held."""
    budget = wire.budget(calls=3)
    client = wire.guarded(wire.openai(), budget)

    async def ten() -> list[Any]:
        return await asyncio.gather(*(client.create(ASK) for _ in range(10)), return_exceptions=True)

    results = run(ten(), wire)

    assert 7 == [isinstance(result, BudgetExceeded) for result in results].count(True)
    assert 3 == wire.sim.arrived
    assert 0 == budget.runs[0].reserved


def test_room_in_dollars_for_three_of_ten(wire: Stage) -> None:
    """Scenario 8: the same of a limit in dollars, ten teams at once: the bill never passes it."""
    wire.sim.script("all", Answer(output_tokens=50))
    budget = wire.budget("$0.003", wait_s=0, min_output_tokens=50)
    client = wire.guarded(wire.openai(max_tokens=50), budget)

    async def ten() -> list[Any]:
        async with budget.run("job"):
            teams = [RoundRobinGroupChat([AssistantAgent("a", client)], max_turns=1) for _ in range(10)]
            return await asyncio.gather(*(team.run(task="go") for team in teams), return_exceptions=True)

    results = run(ten(), wire)

    assert 0 < [isinstance(result, Exception) for result in results].count(True) < 10
    assert wire.sim.bill.total == budget.spent <= (budget.limit or 0)


def test_exhausted(wire: Stage) -> None:
    """Scenario 9: nothing more is sent; an agent raises what it is, a team makes a RuntimeError of its text."""
    budget = wire.budget(calls=1)
    client = wire.guarded(wire.openai(), budget)

    async def spent() -> Any:
        async with budget.run("job") as job:
            await client.create(ASK)
            with pytest.raises(BudgetExceeded) as raised:
                await AssistantAgent("a", client).run(task="go")
            with pytest.raises(RuntimeError, match=r"^BudgetExceeded:"):
                await RoundRobinGroupChat([AssistantAgent("b", client)], max_turns=1).run(task="go")
            return raised.value, job

    raised, job = run(spent(), wire)

    assert "a" == raised.agent
    assert 1 == wire.sim.arrived
    assert ["a", "b"] == [refusal.agent for refusal in job.refusals]
    with pytest.raises(BudgetExceeded):
        job.raise_if_refused()


def test_run_team_raises_what_was_raised(stage: Stage) -> None:
    """Scenario 9: `run_team` raises the refusal itself, with the messages so far, also from inside a nested team."""
    client = stage.guarded(Scripted("one", "two"))

    async def twice() -> list[TeamBudgetExceeded]:
        raised: list[TeamBudgetExceeded] = []
        for is_nested in (False, True):
            agents: Any = [AssistantAgent("a", client), AssistantAgent("b", client)]
            team = RoundRobinGroupChat(agents, termination_condition=MaxMessageTermination(10))
            team = RoundRobinGroupChat([team], max_turns=1) if is_nested else team
            with pytest.raises(TeamBudgetExceeded) as caught:
                await run_team(team, "go", stage.budget(calls=1))
            raised.append(caught.value)
        return raised

    raised: list[TeamBudgetExceeded] = run(twice())
    flat, nested = raised

    assert ("b", "calls") == (flat.agent, flat.details.unit)
    assert ["go", "one"] == [message.to_text() for message in flat.messages]
    assert "b" == nested.agent
    copied: Any = pickle.loads(pickle.dumps(flat))  # noqa: S301 (our own)
    assert [m.to_text() for m in flat.messages] == [m.to_text() for m in copied.messages]
    assert (flat.details, str(flat)) == (copied.details, str(copied))


def test_run_team_raises_the_first_selection(stage: Stage) -> None:
    """What a manager raises before the first turn keeps its type in AutoGen, and gets its messages here."""
    client = stage.guarded(Scripted("a"))
    team = SelectorGroupChat([AssistantAgent("a", client), AssistantAgent("b", client)], client)
    with pytest.raises(TeamBudgetExceeded) as caught:
        run(run_team(team, "go", stage.budget(calls=0)))

    assert "SelectorGroupChatManager" == caught.value.agent


def test_run_team_returns_and_lets_other_errors_be(stage: Stage) -> None:
    """`run_team` returns what the team does, in a run of the team's name; another error stays what it is."""
    budget = stage.budget()
    client = stage.guarded(Scripted("one two", ValueError("broken")), budget)
    agents: Any = [AssistantAgent("a", client, model_client_stream=True)]
    result = run(run_team(RoundRobinGroupChat(agents, max_turns=1, name="crew"), "go", budget))
    with pytest.raises(RuntimeError, match="broken"):
        run(run_team(RoundRobinGroupChat(agents, max_turns=1, name="crew"), "go", budget))

    assert "one two" == result.messages[-1].to_text()
    assert not any(isinstance(message, ModelClientStreamingChunkEvent) for message in result.messages)
    assert ["crew", "crew"] == [each.workflow for each in budget.runs]


def test_agent_tool_over_its_own_limit(wire: Stage) -> None:
    """Scenario 11: an inner agent over its allotment sends nothing; AutoGen tells the outer one as a tool's error."""
    wire.sim.script("never", Answer(text="x"))
    budget = wire.budget(agents={"inner": "$0.000001", "boss": "50%"})
    inner = AssistantAgent("inner", wire.guarded(wire.openai(), budget), description="x")
    boss = AssistantAgent(
        "boss",
        wire.guarded(Scripted(calls("inner"), "I go on"), budget),
        tools=[AgentTool(inner)],
        reflect_on_tool_use=True,
    )

    async def go() -> Any:
        async with budget.run("job") as job:
            return await RoundRobinGroupChat([boss], max_turns=1).run(task="go"), job

    result, job = run(go(), wire)
    (told,) = [message for message in result.messages if isinstance(message, ToolCallExecutionEvent)]

    assert 0 == wire.sim.arrived
    assert told.content[0].is_error
    assert "inner" in told.content[0].content
    assert "I go on" == result.messages[-1].to_text()
    assert ["inner"] == [refusal.agent for refusal in job.refusals]


def test_refusals_are_exceptions() -> None:
    """Scenario 20: what is raised is an Exception; anything below that hangs a team."""
    assert issubclass(TeamBudgetExceeded, BudgetExceeded)
    assert issubclass(BudgetExceeded, Exception)


@pytest.mark.parametrize("kind", ["round robin", "selector", "magentic", "graph", "nested", "tool"])
@pytest.mark.parametrize("allowed", range(4))
def test_no_refusal_hangs_a_team(stage: Stage, kind: str, allowed: int) -> None:
    """Scenarios 20 and 21: wherever a team of any kind is refused, it ends, and leaves no task behind."""
    client = stage.guarded(Scripted("a"), None)
    worker, other = AssistantAgent("a", client), AssistantAgent("b", client)
    team: Any
    if kind == "round robin":
        team = RoundRobinGroupChat([worker, other], max_turns=6)
    elif kind == "selector":
        team = SelectorGroupChat([worker, other], client, max_turns=6, allow_repeated_speaker=True)
    elif kind == "magentic":
        team = MagenticOneGroupChat([worker], client)
    elif kind == "graph":
        third = AssistantAgent("c", client)
        builder = DiGraphBuilder()
        for node in (worker, other, third):
            builder.add_node(node)
        builder.add_edge(worker, other).add_edge(worker, third)
        team = GraphFlow([worker, other, third], graph=builder.build())
    elif kind == "nested":
        team = RoundRobinGroupChat([RoundRobinGroupChat([worker], max_turns=1), other], max_turns=2)
    else:
        boss = AssistantAgent("boss", stage.guarded(Scripted(calls("a"))), tools=[AgentTool(worker)])
        team = RoundRobinGroupChat([boss], max_turns=4)

    async def go() -> tuple[Any, int]:
        before = asyncio.all_tasks()
        async with stage.budget(calls=allowed).run("job") as job:
            try:
                await team.run(task="go")
            except Exception:  # noqa: BLE001 (which one is not the point here)
                assert job.refusals or kind == "magentic"
        await asyncio.sleep(0)
        return job, len(asyncio.all_tasks() - before)

    job, left = run(go(), most_s=10)

    assert 0 == left
    assert not team._is_running
    assert allowed >= job.calls
    assert 0 == job.reserved


def test_overage_is_recorded(wire: Stage) -> None:
    """Scenario 23: what is billed above the bound is booked in full, and the next call is refused."""
    wire.sim.script("dear", Answer(output_tokens=20, input_tokens=900_000), message="hello")
    budget = wire.budget("$1")
    client = wire.guarded(wire.openai(max_tokens=50), budget)

    async def two() -> None:
        async with budget.run("job"):
            await client.create(ASK)
            with pytest.raises(BudgetExceeded):
                await client.create(ASK)

    run(two(), wire)
    first, second = wire.entries()

    assert first.overage_nanousd > 0
    assert wire.sim.bill.total == budget.spent > (budget.limit or 0)
    assert "refused" == second.status


def test_count_tokens_does_not_matter(wire: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Scenario 18: a tokenizer that cannot be downloaded is in nobody's way."""
    plain = wire.openai()

    def offline(*_: Any, **__: Any) -> int:
        raise ConnectionError("no network")

    monkeypatch.setattr(plain, "count_tokens", offline)
    client = wire.guarded(plain, wire.budget())
    run(client.create(ASK), wire)
    with pytest.raises(ConnectionError):
        client.count_tokens(ASK)

    assert ["ok"] == [status for _, status in wire.rows()]


def test_model_that_nobody_knows(stage: Stage) -> None:
    """A client that does not say what it asks is refused under a budget in dollars, with the remedy; not sent."""
    plain = Scripted("x")
    client = stage.guarded(plain, stage.budget(), model="acme-7b")
    with pytest.raises(UnknownPrice, match="acme-7b"):
        run(client.create(ASK))

    assert [] == plain.sent


# --- stop ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("says", ["client", "budget"])
@pytest.mark.parametrize("stream", [False, True])
def test_stop(stage: Stage, says: str, stream: bool) -> None:
    """With "stop" a refused call answers why, at no cost, of the type that was asked for."""
    budget = stage.budget(calls=0, on_exceed="stop" if says == "budget" else "raise")
    client = stage.guarded(Scripted("x"), budget, on_exceed="stop" if says == "client" else None)

    async def ask() -> list[Any]:
        if stream:
            return [piece async for piece in client.create_stream(ASK)]
        return [await client.create(ASK)]

    *words, result = run(ask())

    assert isinstance(result, CreateResult)
    assert str(result.content).startswith("[Stopped by the budget: ")
    assert (0, 0, False) == (result.usage.prompt_tokens, result.usage.completion_tokens, result.cached)
    assert words == ([result.content] if stream else [])
    assert ["refused"] == [status for _, status in stage.rows()]


def test_client_s_word_is_before_the_budget_s(stage: Stage) -> None:
    """A client that raises does so whatever its budget says."""
    client = stage.guarded(Scripted("x"), stage.budget(calls=0, on_exceed="stop"), on_exceed="raise")
    with pytest.raises(BudgetExceeded):
        run(client.create(ASK))


def test_stop_in_the_midst_of_retries(wire: Stage) -> None:
    """With "stop" a call whose next attempt does not fit is answered too."""
    from bursar.simulator import Fault

    wire.sim.fail_next(Fault.status(500, retry_after_s=0.001))
    client = wire.guarded(wire.openai(max_retries=2), wire.budget(attempts=1), on_exceed="stop")
    result = run(client.create(ASK), wire)

    assert "[Stopped by the budget" in result.content
    assert ["error", "refused"] == [status for _, status in wire.rows()]


def test_team_stays_usable_after_a_stop(stage: Stage) -> None:
    """A team whose members are answered runs on, stops by its condition, and again when there is money."""
    budget = stage.budget(calls=1)
    client = stage.guarded(Scripted("one", "two", "three"), budget, on_exceed="stop")
    agents: Any = [AssistantAgent("a", client), AssistantAgent("b", client)]

    async def go() -> list[Any]:
        async with budget.run("job"):
            team = RoundRobinGroupChat(agents, max_turns=2)
            first = await team.run(task="go")
            budget.set_account_limits(*raised_calls(budget, 3))
            return [first, await team.run(task="more")]

    first, second = run(go())

    assert "[Stopped by the budget" in first.messages[-1].to_text()
    assert ["two", "three"] == [message.to_text() for message in second.messages[1:]]


def raised_calls(budget: Any, most: int) -> tuple[str, Any]:
    """Return the account of the budget's newest run, and its limits with *most* calls."""
    job = budget.runs[0]
    account = budget.own_account(job, budget.store.now())
    return account.key, account.limits._replace(calls=most)


# --- downgrade ---------------------------------------------------------------------------------------


def test_downgrade_to_another_client(wire: Stage) -> None:
    """Scenario 17: the models on the wire are the large one, then the small one, and then nothing."""
    wire.sim.script("both", Answer(output_tokens=50), when=lambda _: True)
    budget = wire.budget("$0.0025", min_output_tokens=50)
    small = wire.openai("gpt-4o-mini-2024-07-18", max_tokens=50)
    client = wire.guarded(wire.openai(max_tokens=50), budget, fallback=small)

    async def until_refused() -> None:
        async with budget.run("job"):
            for _ in range(100):
                await client.create(ASK)

    with pytest.raises(BudgetExceeded):
        run(until_refused(), wire)
    models = [request.model for request in wire.sim.requests]

    assert ["gpt-4o-2024-08-06", "gpt-4o-mini-2024-07-18"] == list(dict.fromkeys(models))
    assert models == sorted(models)
    assert wire.sim.bill.total == budget.spent <= (budget.limit or 0)


NEEDS: list[tuple[str, dict[str, Any], Sequence[Any]]] = [
    ("function_calling", {"tools": [TOOL]}, ASK),
    ("json_output", {"json_output": True}, ASK),
    ("structured_output", {"json_output": Reply}, ASK),
    ("vision", {}, [UserMessage(content=["look", Image(Picture.new("RGB", (4, 4)))], source="user")]),
    (
        "multiple_system_messages",
        {},
        [SystemMessage(content="a"), *ASK, SystemMessage(content="b")],
    ),
]


@pytest.mark.parametrize(("able", "more", "messages"), NEEDS, ids=[need[0] for need in NEEDS])
@pytest.mark.parametrize("can", [True, False])
def test_downgrade_only_to_what_can_do_it(
    stage: Stage,
    able: str,
    more: dict[str, Any],
    messages: Sequence[Any],
    can: bool,
) -> None:
    """Scenario 17: a call is never sent to a model that cannot do what it needs."""
    # Too little for the large model as it is asked, and enough for the small one; a picture is dearer.
    budget = stage.budget("$0.01" if able == "vision" else "$0.0023", min_output_tokens=50)
    large, small = Scripted("x"), Small(info={**ABLE, able: can})
    client = stage.guarded(large, budget, fallback=small)
    capped: Any = {"extra_create_args": {"max_tokens": 900}}
    run(client.create(messages, **more, **capped))

    assert ([0, 1] if can else [1, 0]) == [len(large.sent), len(small.sent)]


class Small(Scripted):
    """A client that says which model it asks."""

    def __init__(self, *script: Any, info: Any = None) -> None:
        super().__init__(*script, info=info)
        self._create_args = {"model": "gpt-4o-mini"}


def test_downgrade_across_providers(wire: Stage) -> None:
    """A stand-in of another provider is priced as that one's."""
    plain = AnthropicChatCompletionClient(
        model="claude-haiku-4-5",
        base_url=wire.sim.anthropic_base_url,
        api_key="x",
        model_info=ABLE,
        max_tokens=50,
    )
    wire.clients.append(plain)
    budget = wire.budget(1, downgrade={"gpt-4o-2024-08-06": "claude-haiku-4-5"}, downgrade_at=0.5)
    client = wire.guarded(wire.openai(max_tokens=50), budget, fallback=[plain])

    async def go() -> None:
        async with budget.run("job") as job:
            job.record("0.60")
            await client.create(ASK)

    run(go(), wire)
    entry = wire.entries()[-1]

    assert ["claude-haiku-4-5"] == [request.model for request in wire.sim.requests]
    assert "priced" == entry.source
    assert wire.sim.bill.total == budget.spent - budget.runs[0].spent.__class__("0.60")


def test_downgrade_by_name(wire: Stage) -> None:
    """Without another client the same one is asked for the smaller model, if AutoGen knows that this can do it."""
    budget = wire.budget(1, downgrade={"gpt-4o-2024-08-06": ["acme-7b", "gpt-4o-mini"]}, downgrade_at=0.5)
    client = wire.guarded(wire.openai(max_tokens=50), budget)

    async def go() -> None:
        async with budget.run("job") as job:
            job.record("0.60")
            await client.create(ASK, tools=[TOOL])

    run(go(), wire)

    assert ["gpt-4o-mini"] == [request.model for request in wire.sim.requests]


@pytest.mark.parametrize("stream", [False, True])
def test_lowered_limit(wire: Stage, stream: bool) -> None:
    """What is affordable goes to the client as an argument of the call, beside those of the caller."""
    budget = wire.budget("$0.004")
    client = wire.guarded(wire.openai(), budget)
    more: Any = {"extra_create_args": {"temperature": 0.5}}

    async def go() -> None:
        if stream:
            async for _ in client.create_stream(ASK, **more):
                pass
        else:
            await client.create(ASK, **more)

    run(go(), wire)
    (request,) = wire.sim.requests

    assert 256 <= (request.body.get("max_tokens") or request.body["max_completion_tokens"]) < 400
    assert 0.5 == request.body["temperature"]
    assert wire.sim.bill.total <= (budget.limit or 0)


def test_unlimited_requests_are_sent_unchanged(wire: Stage) -> None:
    """A request that the budget does not bind goes out as AutoGen wrote it."""
    client = wire.guarded(wire.openai(), wire.budget())
    run(client.create(ASK), wire)

    assert {"messages", "model", "stream"} >= set(wire.sim.requests[0].body)


def test_free_models(stage: Stage) -> None:
    """A model that was declared free is called under any budget, and costs nothing."""
    prices.add("local-llama", free=True)
    budget = stage.budget()
    run(stage.guarded(Scripted("x"), budget, model="local-llama", provider="ollama").create(ASK))

    assert 0 == budget.spent
    assert ["ok"] == [status for _, status in stage.rows()]


def test_shared_runtime_that_ends_at_an_error(stage: Stage) -> None:
    """In a runtime that an error ends, a refusal of one team would hang the rest; answered, it does not."""
    spent = stage.guarded(Scripted("x"), stage.budget(calls=0), on_exceed="stop")
    client = stage.guarded(Scripted("x", delay_s=0.05), stage.budget())

    async def both() -> list[Any]:
        runtime = SingleThreadedAgentRuntime(ignore_unhandled_exceptions=False)
        runtime.start()
        teams = [
            RoundRobinGroupChat([AssistantAgent("a", each)], max_turns=2, runtime=runtime)
            for each in (spent, client)
        ]
        results = await asyncio.gather(*(team.run(task="go") for team in teams))
        await runtime.stop_when_idle()
        return results

    first, second = run(both(), most_s=10)

    assert "[Stopped by the budget" in first.messages[-1].to_text()
    assert ["go", "x", "x"] == [message.to_text() for message in second.messages]


def test_answer_that_asks_for_json_is_text_all_the_same(stage: Stage) -> None:
    """Stopped, a call for JSON is answered in words: made-up data would be worse."""
    client = stage.guarded(Scripted("x"), stage.budget(calls=0), on_exceed="stop")
    result = run(client.create(ASK, json_output=Reply))

    assert str(result.content).startswith("[Stopped by the budget: ")


def test_usage_is_asked_for_as_the_caller_wants(wire: Stage) -> None:
    """Options of a stream that the caller or the client has stay beside the usage."""
    client = wire.guarded(wire.openai(stream_options={"include_obfuscation": False}), wire.budget())

    async def both() -> None:
        for more in ({}, {"extra_create_args": {"stream_options": {"include_usage": True, "x": 1}}}):
            arguments: Any = more
            async for _ in client.create_stream(ASK, **arguments):
                pass

    run(both(), wire)

    assert [
        {"include_obfuscation": False, "include_usage": True},
        {"include_usage": True, "x": 1},
    ] == [request.body["stream_options"] for request in wire.sim.requests]
