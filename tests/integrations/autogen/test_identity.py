"""Who a call is booked to: the agent, team and run, as AutoGen itself would name them."""

# Agents of one's own are called by a runtime, with whatever it has.
# pyright: reportPrivateUsage=false

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import pytest
from autogen_agentchat.agents import (
    ApprovalResponse,
    AssistantAgent,
    BaseChatAgent,
    CodeExecutorAgent,
    SocietyOfMindAgent,
)
from autogen_agentchat.base import Response
from autogen_agentchat.messages import BaseChatMessage, TextMessage
from autogen_agentchat.teams import (
    DiGraphBuilder,
    GraphFlow,
    MagenticOneGroupChat,
    RoundRobinGroupChat,
    SelectorGroupChat,
    Swarm,
)
from autogen_agentchat.tools import AgentTool, TeamTool
from autogen_core import (
    AgentId,
    CancellationToken,
    MessageContext,
    RoutedAgent,
    SingleThreadedAgentRuntime,
    TopicId,
    TypeSubscription,
    message_handler,
)
from autogen_core.code_executor import CodeBlock, CodeExecutor, CodeResult

import bursar
from bursar import UnknownAgent
from bursar.entry import Agent
from bursar_autogen import BudgetedChatCompletionClient
from bursar_autogen.identity import Asker, Handled, agent_of
from bursar_autogen.teams import watch_teams

from .conftest import ASK, Scripted, Stage, agents_of, calls, run, source_of, team_of

pytestmark = pytest.mark.timeout(30)

UUID = "8a0f4b8e-6c51-4c0e-9a3b-0d2f6f3f1c11"
MEMBER = Handled("writer", UUID, f"writer_{UUID}/{UUID}")
CORE = Handled("router", None, "router/user-123")


class Case(NamedTuple):
    """What is known of a call, and who it is booked to: name, path, and how that was told."""

    asker: Asker
    bound: str | None
    block: str | None
    agent: tuple[str, str, str]


CASES = {
    "nothing": Case(Asker(None, None), None, None, ("unattributed", "unattributed", "autogen:unattributed")),
    "block": Case(Asker(None, None), None, "me", ("me", "me", "autogen:block")),
    "frame": Case(Asker("writer", None), None, "me", ("writer", "writer", "autogen:frame")),
    "bound": Case(Asker("writer", None), "x", "me", ("x", "writer/x", "autogen:bound")),
    "runtime": Case(
        Asker(None, MEMBER), None, "me", ("writer", "writer", f"autogen:runtime:{MEMBER.agent_id}")
    ),
    "both": Case(
        Asker("writer", MEMBER), None, None, ("writer", "writer", f"autogen:frame:{MEMBER.agent_id}")
    ),
    "tool": Case(
        Asker("helper", MEMBER), None, None, ("helper", "writer/helper", f"autogen:frame:{MEMBER.agent_id}")
    ),
    "all": Case(
        Asker("helper", MEMBER), "x", "me", ("x", "writer/helper/x", f"autogen:bound:{MEMBER.agent_id}")
    ),
    "core": Case(Asker(None, CORE), None, None, ("router", "router", "autogen:runtime:router/user-123")),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_order(case: Case) -> None:
    """A bound name, then the stack, then the runtime, then a block; and how it was told is kept."""
    name, path, told = case.agent
    if case.block is None:
        found = agent_of(case.asker, bound=case.bound)
    else:
        with bursar.agent(case.block):
            found = agent_of(case.asker, bound=case.bound)

    assert Agent(name=name, path=path, framework=told) == found


@pytest.mark.parametrize(
    ("agent_id", "expected"),
    [
        (AgentId(f"writer_{UUID}", UUID), ("writer", UUID)),
        (AgentId(f"two_words_{UUID}", UUID), ("two_words", UUID)),
        (AgentId("router", "user-123"), ("router", None)),
        (AgentId("router_default", "default"), ("router_default", None)),
        (AgentId(f"writer_{UUID}", "default"), (f"writer_{UUID}", None)),
    ],
    ids=str,
)
def test_id_of_the_runtime(agent_id: AgentId, expected: tuple[str, str | None]) -> None:
    """The id of a team is taken off the type of an agent only where it is the key too."""
    from autogen_core import MessageHandlerContext

    from bursar_autogen.identity import handled

    with MessageHandlerContext.populate_context(agent_id):
        found = handled()

    assert found is not None
    assert expected == (found.name, found.team_id)
    assert str(agent_id) == found.agent_id


def test_autogen_still_has_no_id_for_a_run_of_a_team() -> None:
    """`run_stream` is wrapped because nothing tells one run of a team from the next; if something does, use that."""
    from autogen_agentchat.base import TaskResult

    assert {"messages", "stop_reason"} == set(TaskResult.model_fields)
    assert set(MessageContext.__dataclass_fields__) == {
        "sender",
        "topic_id",
        "is_rpc",
        "cancellation_token",
        "message_id",
    }
    before = RoundRobinGroupChat.run_stream
    watch_teams()
    assert RoundRobinGroupChat.run_stream is before


# --- teams -----------------------------------------------------------------------------------------


def test_round_robin(wire: Stage) -> None:
    """Scenario 1: with a shared client each is booked to itself, with usage; only the stream asks for it."""
    client = wire.guarded(wire.openai(), wire.budget())
    team = RoundRobinGroupChat(
        [AssistantAgent("a", client), AssistantAgent("b", client, model_client_stream=True)], max_turns=2
    )
    run(team.run(task="go"), wire)
    found = wire.entries()

    assert ["a", "b"] == agents_of(found)
    assert all(entry.usage.input_tokens and entry.usage.output_tokens for entry in found)
    assert [None, {"include_usage": True}] == [
        request.body.get("stream_options") for request in wire.sim.requests
    ]
    assert {team._team_id} == {team_of(entry) for entry in found}
    assert {"RoundRobinGroupChat"} == {entry.subject.workflow for entry in found}


def test_selector(stage: Stage) -> None:
    """Scenario 2: the selector's own calls are booked to its manager; all rows together are all that was used."""
    plain = Scripted("a", "one", "b", "two", "a", "three")
    client = stage.guarded(plain, stage.budget())
    team = SelectorGroupChat(
        [AssistantAgent("a", client), AssistantAgent("b", client)],
        client,
        max_turns=3,
        allow_repeated_speaker=True,
    )
    result = run(team.run(task="go"))
    found = stage.entries()
    told = sum(m.models_usage.prompt_tokens for m in result.messages if m.models_usage is not None)

    assert {"SelectorGroupChatManager", "a", "b"} == set(agents_of(found))
    assert 3 == agents_of(found).count("SelectorGroupChatManager")
    assert plain.total_usage().prompt_tokens == sum(entry.usage.input_tokens for entry in found) > told


def test_streaming_selector(stage: Stage) -> None:
    """A selector that streams is booked like one that does not."""
    client = stage.guarded(Scripted("a", "one"), stage.budget())
    agents: Any = [AssistantAgent("a", client), AssistantAgent("b", client)]
    team = SelectorGroupChat(agents, client, max_turns=1, model_client_streaming=True)
    run(team.run(task="go"))

    assert ["SelectorGroupChatManager", "a"] == agents_of(stage.entries())


def test_swarm(stage: Stage) -> None:
    """A handoff books each side to itself."""
    client = stage.guarded(Scripted(calls("transfer_to_bob"), "done"), stage.budget())
    agents: Any = [
        AssistantAgent("alice", client, handoffs=["bob"]),
        AssistantAgent("bob", client, handoffs=["alice"]),
    ]
    run(Swarm(agents, max_turns=2).run(task="go"))

    assert ["alice", "bob"] == agents_of(stage.entries())


def ledger(*, satisfied: bool) -> str:
    """Return what the orchestrator asks its model for after each turn."""
    yes = "true" if satisfied else "false"
    return (
        f'{{"is_request_satisfied": {{"answer": {yes}, "reason": ""}}, '
        '"is_progress_being_made": {"answer": true, "reason": ""}, '
        '"is_in_loop": {"answer": false, "reason": ""}, '
        '"instruction_or_question": {"answer": "work", "reason": ""}, '
        '"next_speaker": {"answer": "worker", "reason": ""}}'
    )


def test_magentic(stage: Stage) -> None:
    """Scenario 3: of six calls five are the orchestrator's and one the worker's; 90 tokens in all."""
    client = stage.guarded(
        Scripted("facts", "plan", ledger(satisfied=False), "worked", ledger(satisfied=True), "the end"),
        stage.budget(),
    )
    run(MagenticOneGroupChat([AssistantAgent("worker", client)], client).run(task="go"))
    found = stage.entries()

    assert 5 == agents_of(found).count("MagenticOneOrchestrator")
    assert 1 == agents_of(found).count("worker")
    assert 90 == sum(entry.usage.total_tokens for entry in found)


def test_graph(stage: Stage) -> None:
    """Parallel branches of a graph are booked each to itself."""
    client = stage.guarded(Scripted("x"), stage.budget())
    first, left, right = (AssistantAgent(name, client) for name in ("first", "left", "right"))
    builder = DiGraphBuilder()
    builder.add_node(first).add_node(left).add_node(right).add_edge(first, left).add_edge(first, right)
    run(GraphFlow([first, left, right], graph=builder.build()).run(task="go"))

    assert ["first", "left", "right"] == sorted(agents_of(stage.entries()))


class NoExecutor(CodeExecutor):
    """Says that all code ran."""

    component_type = "code_executor"

    async def execute_code_blocks(
        self, code_blocks: list[CodeBlock], cancellation_token: CancellationToken
    ) -> CodeResult:
        """Run nothing."""
        return CodeResult(exit_code=0, output="ran")

    async def start(self) -> None:
        """Start nothing."""

    async def stop(self) -> None:
        """Stop nothing."""

    async def restart(self) -> None:
        """Restart nothing."""


@pytest.mark.parametrize("stream", [False, True])
def test_code_executor(stage: Stage, stream: bool) -> None:
    """An agent that writes code and reflects on what came of it makes two calls, both its own."""
    client = stage.guarded(Scripted("```python\nprint(1)\n```", "it ran"), stage.budget())
    coder = CodeExecutorAgent(
        "coder",
        NoExecutor(),
        model_client=client,
        model_client_stream=stream,
        approval_func=lambda _: ApprovalResponse(approved=True, reason=""),
    )
    run(RoundRobinGroupChat([coder], max_turns=1).run(task="go"))

    assert ["coder", "coder"] == agents_of(stage.entries())


# --- one inside the other ----------------------------------------------------------------------------


def test_agent_tools_in_parallel(stage: Stage) -> None:
    """Scenario 4: two agents that are tools of a third are booked to themselves, in the third one's team."""
    budget = stage.budget()
    workers = [
        AssistantAgent(name, stage.guarded(Scripted("w", delay_s=0.01), budget), description=name)
        for name in ("w1", "w2")
    ]
    boss = AssistantAgent(
        "boss",
        stage.guarded(Scripted(calls("w1", "w2"), "ok"), budget),
        tools=[AgentTool(w) for w in workers],
    )
    team = RoundRobinGroupChat([boss], max_turns=1)
    run(team.run(task="go"))
    found = stage.entries()

    assert ["boss", "w1", "w2"] == sorted(agents_of(found))
    assert {"boss", "boss/w1", "boss/w2"} == {entry.subject.agent.path for entry in found}
    assert {team._team_id} == {team_of(entry) for entry in found}
    assert {"frame"} == set(map(source_of, found))


def test_agent_tool_without_a_team(stage: Stage) -> None:
    """An agent that is a tool of one that runs alone is booked to itself."""
    budget = stage.budget()
    inner = AssistantAgent("inner", stage.guarded(Scripted("w"), budget), description="x")
    outer = AssistantAgent(
        "outer", stage.guarded(Scripted(calls("inner"), "ok"), budget), tools=[AgentTool(inner)]
    )
    run(outer.run(task="go"))

    assert ["outer", "inner"] == agents_of(stage.entries())


def test_async_tool_that_runs_an_agent(stage: Stage) -> None:
    """An agent that a function runs is booked to itself, and not to the agent whose tool the function is."""
    budget = stage.budget()

    async def ask(task: str) -> str:
        """Ask."""
        await AssistantAgent("adhoc", stage.guarded(Scripted("w"), budget)).run(task=task)
        return "ok"

    outer = AssistantAgent("outer", stage.guarded(Scripted(calls("ask"), "ok"), budget), tools=[ask])
    run(RoundRobinGroupChat([outer], max_turns=1).run(task="go"))

    assert ["outer", "adhoc"] == agents_of(stage.entries())


def test_nested_team(stage: Stage) -> None:
    """Scenario 5: of a team inside a team the members carry the inner team's id, in a run inside the outer one's."""
    budget = stage.budget()
    client = stage.guarded(Scripted("x"), budget)
    inner = RoundRobinGroupChat([AssistantAgent("deep", client)], max_turns=1, name="inner_team")
    outer = RoundRobinGroupChat([inner, AssistantAgent("flat", client)], max_turns=2, name="outer_team")
    run(outer.run(task="go"))
    deep, flat = stage.entries()

    assert [("deep", inner._team_id), ("flat", outer._team_id)] == [
        (entry.subject.agent.name, team_of(entry)) for entry in (deep, flat)
    ]
    assert "inner_team/deep" == deep.subject.agent.path
    runs = {each.run.id: each.run for each in stage.store.runs(bursar_where())}
    assert flat.subject.run_id == runs[deep.subject.run_id].parent_id
    assert {"inner_team", "outer_team"} == {each.workflow for each in runs.values()}


def bursar_where() -> Any:
    """Return what covers all."""
    from bursar.store import Where

    return Where()


def test_team_tool(stage: Stage) -> None:
    """Scenario 5: of a team that is a tool the members carry their own team's id."""
    client = stage.guarded(Scripted(calls("crew"), "x"), stage.budget())
    crew = RoundRobinGroupChat([AssistantAgent("deep", client)], max_turns=1)
    boss = AssistantAgent("boss", client, tools=[TeamTool(crew, name="crew", description="x")])
    run(RoundRobinGroupChat([boss], max_turns=1).run(task="go"))
    found = {entry.subject.agent.name: entry for entry in stage.entries()}

    assert crew._team_id == team_of(found["deep"])
    assert "boss/deep" == found["deep"].subject.agent.path


@pytest.mark.parametrize("is_in_team", [False, True])
def test_society_of_mind(stage: Stage, is_in_team: bool) -> None:
    """Scenario 5: its members carry its own team's id; its last call is its own, with a team around it or without."""
    client = stage.guarded(Scripted("x"), stage.budget())
    inner = RoundRobinGroupChat([AssistantAgent("deep", client)], max_turns=1)
    som = SocietyOfMindAgent("som", inner, client)
    run(RoundRobinGroupChat([som], max_turns=1).run(task="go") if is_in_team else som.run(task="go"))
    deep, last = stage.entries()

    assert ["deep", "som"] == agents_of([deep, last])
    assert inner._team_id == team_of(deep) != team_of(last)
    assert "som/deep" == deep.subject.agent.path


# --- where the stack does not tell -------------------------------------------------------------------


class Custom(BaseChatAgent):
    """An agent of one's own, which makes its call as *call* does."""

    def __init__(self, name: str, call: Callable[[], Any]) -> None:
        super().__init__(name, "custom")
        self._call = call

    @property
    def produced_message_types(self) -> Sequence[type[BaseChatMessage]]:
        """Return what it says."""
        return (TextMessage,)

    async def on_messages(
        self, messages: Sequence[BaseChatMessage], cancellation_token: CancellationToken
    ) -> Response:
        """Say what the call brought."""
        await self._call()
        return Response(chat_message=TextMessage(content="x", source=self.name))

    async def on_reset(self, cancellation_token: CancellationToken) -> None:
        """Forget nothing."""


def in_task(client: BudgetedChatCompletionClient) -> Callable[[], Any]:
    """Return a call that is made in a task of its own."""

    async def call() -> None:
        await asyncio.create_task(client.create(ASK))

    return call


@pytest.mark.parametrize(
    ("is_in_team", "bound", "expected"),
    [
        (True, None, ("cust", "runtime")),
        (False, None, ("unattributed", "unattributed")),
        (True, "x", ("x", "bound")),
        (False, "x", ("x", "bound")),
    ],
)
def test_call_in_a_task(
    stage: Stage,
    is_in_team: bool,
    bound: str | None,
    expected: tuple[str, str],
) -> None:
    """Scenario 6: in a task of its own a call is named by the runtime; without one only a bound name tells."""
    client = stage.guarded(Scripted("x"), stage.budget())
    agent = Custom("cust", in_task(client if bound is None else client.for_agent(bound)))
    run(RoundRobinGroupChat([agent], max_turns=1).run(task="go") if is_in_team else agent.run(task="go"))
    (entry,) = stage.entries()

    assert expected == (entry.subject.agent.name, source_of(entry))


def test_task_inside_an_agent_tool(stage: Stage) -> None:
    """Where stack and runtime fail together the outer agent is named, and the inner one if its client is bound."""
    budget = stage.budget()
    client = stage.guarded(Scripted("x"), budget)
    found: list[str] = []
    for inner_client in (client, client.for_agent("inner")):
        inner = Custom("inner", in_task(inner_client))
        boss = AssistantAgent(
            "boss", stage.guarded(Scripted(calls("inner"), "ok"), budget), tools=[AgentTool(inner)]
        )
        run(RoundRobinGroupChat([boss], max_turns=1).run(task="go"))
        found.append(agents_of(stage.entries())[-1])

    assert ["boss", "inner"] == found


def test_thread(stage: Stage) -> None:
    """A call in a thread that keeps no context is unattributed, unless its client is bound."""
    client = stage.guarded(Scripted("x"), stage.budget())

    async def in_threads() -> None:
        loop = asyncio.get_running_loop()
        for each in (client, client.for_agent("threaded")):
            await loop.run_in_executor(None, lambda each=each: asyncio.run(each.create(ASK)))

    run(RoundRobinGroupChat([Custom("cust", in_threads)], max_turns=1).run(task="go"))

    assert ["unattributed", "threaded"] == agents_of(stage.entries())


def test_two_teams_at_once(stage: Stage) -> None:
    """Scenario 7: agents of one name in two teams at once are told apart by their teams."""
    client = stage.guarded(Scripted("x", delay_s=0.01), stage.budget())
    teams = [RoundRobinGroupChat([AssistantAgent("a", client)], max_turns=2) for _ in range(2)]

    async def both() -> None:
        await asyncio.gather(*(team.run(task="go") for team in teams))

    run(both())
    found = stage.entries()

    assert {"a"} == set(agents_of(found))
    assert [2, 2] == [[team_of(e) for e in found].count(team._team_id) for team in teams]


def test_two_teams_in_one_runtime(stage: Stage) -> None:
    """Scenario 7: the same in a runtime that they share."""
    client = stage.guarded(Scripted("x", delay_s=0.01), stage.budget())

    async def both() -> list[str]:
        runtime = SingleThreadedAgentRuntime()
        runtime.start()
        teams = [
            RoundRobinGroupChat([AssistantAgent("a", client)], max_turns=2, runtime=runtime) for _ in range(2)
        ]
        await asyncio.gather(*(team.run(task="go") for team in teams))
        await runtime.stop_when_idle()
        return [team._team_id for team in teams]

    ids = run(both())
    found = [team_of(entry) for entry in stage.entries()]

    assert [2, 2] == [found.count(team_id) for team_id in ids]


def test_runtime_that_was_started_before_the_run(stage: Stage) -> None:
    """Scenario 22: in a runtime that sees no run around it the team is known, and by it the run it was started in."""
    client = stage.guarded(Scripted("x"))

    async def late() -> tuple[str, Any]:
        runtime = SingleThreadedAgentRuntime()
        runtime.start()
        team = RoundRobinGroupChat([AssistantAgent("a", client)], max_turns=1, runtime=runtime)
        async with stage.budget().run("job") as job:
            await team.run(task="go")
        await runtime.stop_when_idle()
        return team._team_id, job

    team_id, job = run(late())
    (entry,) = stage.entries()

    assert team_id == team_of(entry)
    assert job.spent > 0
    assert entry.subject.run_id in job.family


def test_each_run_of_a_team_is_one(stage: Stage) -> None:
    """A team that runs twice makes two runs, each with the whole budget, and each ends."""
    client = stage.guarded(Scripted("x"), stage.budget(calls=1))
    team = RoundRobinGroupChat([AssistantAgent("a", client)], max_turns=1, name="crew")
    for _ in range(2):
        run(team.run(task="go"))
    runs = [each.run for each in stage.store.runs(bursar_where())]

    assert [f"{team._team_id}.1", f"{team._team_id}.2"] == [each.id for each in runs]
    assert all(each.ended_s is not None for each in runs)
    assert ["ok", "ok"] == [status for _, status in stage.rows()]


def test_run_inside_a_tool_is_nearer(stage: Stage) -> None:
    """A run that a tool enters pays for what is called in it, whatever team the tool belongs to."""
    client = stage.guarded(Scripted("x"))

    async def look_up(task: str) -> str:
        """Look up."""
        async with stage.budget(1).run("lookup"):
            await client.create(ASK)
        return task

    outer = AssistantAgent(
        "outer", stage.guarded(Scripted(calls("look_up"), "ok"), stage.budget()), tools=[look_up]
    )
    run(RoundRobinGroupChat([outer], max_turns=1).run(task="go"))

    assert ["RoundRobinGroupChat", "lookup"] == [entry.subject.workflow for entry in stage.entries()]


# --- core agents ---------------------------------------------------------------------------------


@dataclass
class Ask:
    """A message that asks for a call."""

    text: str


class Router(RoutedAgent):
    """A core agent that makes one call for each message."""

    def __init__(self, client: BudgetedChatCompletionClient) -> None:
        super().__init__("router")
        self._client = client

    @message_handler
    async def on_ask(self, message: Ask, ctx: MessageContext) -> None:
        """Make it."""
        await asyncio.create_task(self._client.create(ASK))


def test_core_agents(stage: Stage) -> None:
    """A core agent is named by its type, whether it was sent a message or a topic; its whole id is kept."""
    client = stage.guarded(Scripted("x"), stage.budget())

    async def send() -> None:
        runtime = SingleThreadedAgentRuntime()
        await Router.register(runtime, "router", lambda: Router(client))
        await runtime.add_subscription(TypeSubscription("topicA", "router"))
        runtime.start()
        await runtime.publish_message(Ask("x"), TopicId("topicA", "user-123"))
        await runtime.send_message(Ask("x"), AgentId("router", "session-9"))
        await runtime.stop_when_idle()

    run(send())
    found = stage.entries()

    assert ["router", "router"] == agents_of(found)
    assert {"autogen:runtime:router/user-123", "autogen:runtime:router/session-9"} == {
        entry.subject.agent.framework for entry in found
    }


def test_bound_name_must_be_known(stage: Stage) -> None:
    """A name that the user typed and the budget does not know is an error before anything is sent."""
    client = stage.guarded(Scripted("x"), stage.budget(agents={"writer": "50%"}))

    with pytest.raises(UnknownAgent, match="wirter"):
        client.for_agent("wirter")


def test_teams_that_ended_are_forgotten(stage: Stage) -> None:
    """Of runs that ended a few are remembered, of those that go on all."""
    from bursar_autogen import teams

    client = stage.guarded(Scripted("x"), stage.budget())

    async def many() -> None:
        for _ in range(teams._ENDED_MOST + 5):
            await RoundRobinGroupChat([AssistantAgent("a", client)], max_turns=1).run(task="go")

    run(many())

    assert {} == teams._running
    assert teams._ENDED_MOST == len(teams._ended)


def test_named_client_pays_as_the_other_does(stage: Stage) -> None:
    """A client made in a run pays from it where nothing is around the call, and so does one named after it."""

    async def outside() -> Any:
        async with stage.budget().run("job") as job:
            client = stage.guarded(Scripted("x"))
        named = client.for_agent("x")
        await client.create(ASK)
        await named.create(ASK)
        return job

    job = run(outside())

    assert 2 == job.calls
