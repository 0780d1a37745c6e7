"""The termination condition ends a team before a call must be refused, and lets it go on when there is money."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from autogen_agentchat.agents import AssistantAgent
from autogen_agentchat.base import TerminatedException
from autogen_agentchat.conditions import MaxMessageTermination, TextMentionTermination
from autogen_agentchat.messages import TextMessage
from autogen_agentchat.teams import RoundRobinGroupChat, SelectorGroupChat

from bursar import Budget
from bursar.run import Run
from bursar.simulator import Simulator
from bursar_autogen import BudgetTermination

from .conftest import ASK, Scripted, Stage, run, said

pytestmark = pytest.mark.timeout(30)

MESSAGE = [TextMessage(content="x", source="a")]


def raise_calls(budget: Budget, job: Run, most: int) -> None:
    """Let *job* make *most* calls in all."""
    account = budget.own_account(job, budget.store.now())
    budget.set_account_limits(account.key, account.limits._replace(calls=most))


def combined(order: str, ours: BudgetTermination) -> Any:
    """Return our condition alone, or with another."""
    most = MaxMessageTermination(50)
    return {"alone": ours, "first": ours | most, "last": most | ours}[order]


@pytest.mark.parametrize("order", ["alone", "first", "last"])
def test_life_of_a_team(stage: Stage, order: str) -> None:
    """Scenario 10: run, run on, run without money, get some, run on: nothing is refused, raised or said twice."""
    budget = stage.budget(calls=2)
    plain = Scripted("one", "two", "three", "four")
    client = stage.guarded(plain, budget)
    agents: Any = [AssistantAgent("a", client), AssistantAgent("b", client)]
    team = RoundRobinGroupChat(agents, termination_condition=combined(order, BudgetTermination(budget)))

    async def live() -> tuple[list[Any], Run]:
        async with budget.run("job") as job:
            results = [await team.run(task="go"), await team.run(task="more"), await team.run()]
            raise_calls(budget, job, 4)
            results.append(await team.run(task="again"))
            return results, job

    results, job = run(live())
    said_first, said_last = results[0].stop_reason, results[-1].stop_reason

    assert said_first.startswith("Budget exhausted: ")
    assert "a $" in said_first and "b $" in said_first  # noqa: PT018
    assert ["The group chat has already terminated."] * 2 == [each.stop_reason for each in results[1:3]]
    assert said_last.startswith("Budget exhausted: ")
    assert ["one", "two", "three", "four"] == [
        message.to_text() for result in results for message in result.messages if message.source in {"a", "b"}
    ]
    assert () == job.refusals
    contexts = [[message.content for message in call["messages"]] for call in plain.sent]
    assert all(len(set(context)) == len(context) for context in contexts)


def test_ends_before_a_call_is_refused(wire: Stage) -> None:
    """In dollars something is always left: the team ends where that is less than the last call could have cost."""
    budget = wire.budget("$0.01")
    client = wire.guarded(wire.openai(), budget)
    agents: Any = [AssistantAgent("a", client), AssistantAgent("b", client, model_client_stream=True)]
    team = RoundRobinGroupChat(
        agents, termination_condition=BudgetTermination(budget) | MaxMessageTermination(200)
    )
    result = run(team.run(task="go"), wire)
    (job,) = budget.runs

    assert "too little for another call" in result.stop_reason
    assert () == job.refusals
    assert 0 < (job.remaining or 0) < (budget.limit or 0)
    assert wire.sim.bill.total == job.spent


def test_each_run_of_a_team_has_its_own(stage: Stage) -> None:
    """Outside of any run each run of the team has the whole budget again, and the condition knows that."""
    budget = stage.budget(calls=2)
    client = stage.guarded(Scripted("x"), budget)
    team = RoundRobinGroupChat([AssistantAgent("a", client)], termination_condition=BudgetTermination(budget))

    async def twice() -> list[Any]:
        return [await team.run(task="go"), await team.run(task="go")]

    assert [3, 3] == [len(result.messages) for result in run(twice())]


def test_budget_around_counts(stage: Stage) -> None:
    """A budget that is spent by others ends a team that starts after that."""
    day = stage.budget(calls=1, per="day", name="org")
    client = stage.guarded(Scripted("x"), day)
    first = RoundRobinGroupChat([AssistantAgent("a", client)], termination_condition=BudgetTermination(day))
    second = RoundRobinGroupChat([AssistantAgent("b", client)], termination_condition=BudgetTermination(day))

    async def both() -> list[Any]:
        return [await first.run(task="go"), await second.run(task="go"), await second.run(task="go")]

    results = run(both())

    assert 2 == len(results[0].messages)
    assert results[1].stop_reason.startswith("Budget exhausted: ")
    assert "The group chat has already terminated." == results[2].stop_reason
    assert ["ok"] == [status for _, status in stage.rows()]


def test_reading_changes_nothing(stage: Stage) -> None:
    """It is never true by being read: that would break what it is combined with."""
    budget = stage.budget(calls=1)
    client = stage.guarded(Scripted("x"), budget)
    condition = BudgetTermination(budget)

    async def read() -> list[bool]:
        async with budget.run("job"):
            before = condition.terminated
            await client.create(ASK)
            spent = condition.terminated
            told = await condition(MESSAGE)
            return [before, spent, told is not None, condition.terminated]

    assert [False, False, True, True] == run(read())


def test_asked_again_after_the_end(stage: Stage) -> None:
    """Asked again when it has ended a team it raises what AutoGen's own conditions raise, and reset, it has ended."""
    budget = stage.budget(calls=0)
    condition = BudgetTermination(budget)

    async def again() -> None:
        async with budget.run("job") as job:
            assert BudgetTermination(budget).terminated
            assert await BudgetTermination(budget).reset() is None
            assert not condition.terminated
            raise_calls(budget, job, 1)
            fresh = BudgetTermination(budget)
            assert not fresh.terminated
            raise_calls(budget, job, 0)
            assert await fresh(MESSAGE) is not None
            with pytest.raises(TerminatedException):
                await fresh(MESSAGE)
            await fresh.reset()
            assert fresh.terminated
            raise_calls(budget, job, 1)
            assert not fresh.terminated

    run(again())


def test_and(stage: Stage) -> None:
    """With `&` a team goes on until both say so, and a team whose budget is spent needs answers in place of errors."""
    budget = stage.budget(calls=2, on_exceed="stop")
    client = stage.guarded(Scripted("one", "two"), budget)
    agents: Any = [AssistantAgent("a", client), AssistantAgent("b", client)]
    team = RoundRobinGroupChat(
        agents, termination_condition=BudgetTermination(budget) & MaxMessageTermination(6)
    )

    async def twice() -> list[Any]:
        async with budget.run("job") as job:
            first = await team.run(task="go")
            again = await team.run(task="more")
            raise_calls(budget, job, 9)
            return [first, again, await team.run(task="on")]

    first, again, last = run(twice())

    assert 6 == len(first.messages)
    assert "Budget exhausted" in first.stop_reason
    assert "Maximum number of messages" in first.stop_reason
    assert "Maximum number of messages" in again.stop_reason
    assert 9 - 2 <= len(last.messages)
    assert "Budget exhausted" in last.stop_reason


def test_and_with_what_is_true_first(stage: Stage) -> None:
    """With `&`, and the other condition reached long before, the team ends when the budget does."""
    budget = stage.budget(calls=3)
    client = stage.guarded(Scripted("STOP"), budget)
    team = RoundRobinGroupChat(
        [AssistantAgent("a", client)],
        termination_condition=TextMentionTermination("STOP") & BudgetTermination(budget),
    )
    result = run(team.run(task="go"))

    assert 4 == len(result.messages)
    assert "Budget exhausted" in result.stop_reason


def test_stops_a_team_that_was_refused_in_the_midst(stage: Stage) -> None:
    """A turn that is refused in the midst, and answered, is the last one."""
    budget = stage.budget(calls=3, on_exceed="stop")
    client = stage.guarded(Scripted("a", "one", "b", "two"), budget)
    agents: Any = [AssistantAgent("a", client), AssistantAgent("b", client)]
    ours = BudgetTermination(budget)
    team = SelectorGroupChat(agents, client, termination_condition=ours, allow_repeated_speaker=True)
    result = run(team.run(task="go"))

    assert "[Stopped by the budget" in result.messages[-1].to_text()
    assert 3 == len(result.messages)
    assert "Budget exhausted" in result.stop_reason


def test_agent_alone_is_stopped(stage: Stage) -> None:
    """Where one agent's allotment is spent, the others go on, until nobody gets any further."""
    budget = stage.budget(
        agents={"a": Budget(calls=1, on_exceed="stop"), "b": Budget(calls=3, on_exceed="stop")},
        on_exceed="stop",
    )
    client = stage.guarded(Scripted("x"), budget)
    agents: Any = [AssistantAgent("a", client), AssistantAgent("b", client)]
    team = RoundRobinGroupChat(
        agents, termination_condition=BudgetTermination(budget) | MaxMessageTermination(100)
    )
    result = run(team.run(task="go"))
    rows = stage.rows()

    assert ["a", "b", "b", "b"] == [name for name, status in rows if status == "ok"]
    assert "Budget exhausted" in result.stop_reason
    assert len(result.messages) < 12


def test_two_teams_share_a_condition_s_budget(stage: Stage) -> None:
    """Conditions of two teams that run at once look each at its own run."""
    budget = stage.budget(calls=2)
    client = stage.guarded(Scripted(said("x"), delay_s=0.01), budget)

    async def both() -> list[Any]:
        teams = [
            RoundRobinGroupChat(
                [AssistantAgent("a", client)], termination_condition=BudgetTermination(budget)
            )
            for _ in range(2)
        ]
        return await asyncio.gather(*(team.run(task="go") for team in teams))

    assert [3, 3] == [len(result.messages) for result in run(both())]


def test_somebody_is_asked_first(stage: Stage) -> None:
    """Where the budget asks a function, the team goes on to the call that it is asked about."""
    asked: list[str] = []

    def ask(exceeded: Any) -> int | None:
        asked.append(exceeded.agent)
        return 3 if len(asked) == 1 else None

    budget = stage.budget(calls=2, on_exceed=ask)
    client = stage.guarded(Scripted("x"), budget, on_exceed="stop")
    team = RoundRobinGroupChat([AssistantAgent("a", client)], termination_condition=BudgetTermination(budget))
    result = run(team.run(task="go"))

    assert ["ok", "ok", "ok", "refused"] == [status for _, status in stage.rows()]
    assert ["a", "a"] == asked
    assert "Budget exhausted" in str(result.stop_reason)


def test_what_one_team_says_is_nothing_to_another(wire: Stage) -> None:
    """Teams that share a day's budget need what their own conversations need, however much others have said."""
    day = wire.budget("$0.50", per="day", name="org")
    client = wire.guarded(wire.openai(max_tokens=300), day)

    async def many() -> list[Any]:
        ended: list[Any] = []
        for index in range(12):
            agents: Any = [AssistantAgent(f"agent_{index}", client)]
            team = RoundRobinGroupChat(agents, max_turns=6, termination_condition=BudgetTermination(day))
            ended.append((await team.run(task="go " * 200)).stop_reason)
        return ended

    assert {"Maximum number of turns 6 reached."} == set(run(many(), wire))


@pytest.mark.parametrize("limit", ["$0.004", "$0.006", "$0.008", "$0.012", "$0.02"])
def test_never_refuses_a_round_robin(limit: str) -> None:
    """Whatever the limit, a team of answers that are as long as they may be is ended and not refused."""
    with Simulator(talkative=True) as sim:
        stage = Stage(sim)
        budget = stage.budget(limit)
        client = stage.guarded(stage.openai(max_tokens=300), budget)
        agents: Any = [AssistantAgent("a", client), AssistantAgent("b", client)]
        team = RoundRobinGroupChat(agents, termination_condition=BudgetTermination(budget))
        result = run(team.run(task="go"), stage)
        (job,) = budget.runs

        assert str(result.stop_reason).startswith("Budget exhausted")
        assert () == job.refusals
        assert len(result.messages) > 1
