"""The budgeted client is a client and a component like any other of AutoGen's."""

from __future__ import annotations

import asyncio
import gc
import inspect
import json
import subprocess
import sys
from typing import Any

import pytest
from autogen_agentchat.agents import AssistantAgent
from autogen_agentchat.conditions import MaxMessageTermination
from autogen_agentchat.teams import RoundRobinGroupChat
from autogen_core.model_context import TokenLimitedChatCompletionContext
from autogen_core.models import ChatCompletionClient
from autogen_ext.models.openai import OpenAIChatCompletionClient
from autogen_ext.models.replay import ReplayChatCompletionClient

from bursar import Budget
from bursar_autogen import BudgetedChatCompletionClient, BudgetTermination, register_budget

from .conftest import ABLE, ASK, Scripted, Stage, run

pytestmark = pytest.mark.timeout(30)

KEY = "sk-planted-secret"


def openai() -> OpenAIChatCompletionClient:
    """Return a client that is never asked anything."""
    return OpenAIChatCompletionClient(model="gpt-4o", api_key=KEY, max_tokens=50)


def test_round_trip_of_a_client() -> None:
    """Scenario 19: a client is written down with its budget by name, and loaded with that one; keys are masked."""
    budget = Budget(5, name="crew-budget")
    client = BudgetedChatCompletionClient(
        openai(), budget, agent="writer", fallback=openai(), on_exceed="stop", provider="openai"
    )
    written = client.dump_component()
    loaded = ChatCompletionClient.load_component(written)

    assert isinstance(loaded, BudgetedChatCompletionClient)
    assert "bursar_autogen.BudgetedChatCompletionClient" == written.provider
    assert "model" == written.component_type
    assert budget is loaded.bursar.budget
    assert "writer" == loaded.bursar.agent
    assert written.config == loaded.dump_component().config
    assert "crew-budget" in written.model_dump_json()
    assert KEY not in written.model_dump_json()
    assert KEY not in str(written.model_dump())


def test_round_trip_of_a_team(stage: Stage) -> None:
    """Scenario 19: so is a team with budgeted members and a condition; it runs as before."""
    budget = stage.budget(calls=2, name="team-budget")
    plain = ReplayChatCompletionClient(["one", "two", "three"], model_info=ABLE)
    client = BudgetedChatCompletionClient(plain, budget, model="gpt-4o")
    agents: Any = [AssistantAgent("a", client), AssistantAgent("b", client)]
    team = RoundRobinGroupChat(
        agents, termination_condition=BudgetTermination(budget) | MaxMessageTermination(9)
    )
    written = team.dump_component().model_dump_json()
    loaded = RoundRobinGroupChat.load_component(json.loads(written))
    result = run(loaded.run(task="go"))

    assert result.stop_reason is not None
    assert result.stop_reason.startswith("Budget exhausted")
    assert [("a", "ok"), ("b", "ok")] == stage.rows()


def test_budget_without_a_name_is_not_written_down() -> None:
    """A budget that could not be found again is an error when it is written, with the remedy."""
    with pytest.raises(ValueError, match=r"Budget\(\.\.\., name="):
        BudgetedChatCompletionClient(openai(), 5).dump_component()
    with pytest.raises(ValueError, match=r"Budget\(\.\.\., name="):
        BudgetTermination(Budget(5)).dump_component()
    with pytest.raises(ValueError, match=r"Budget\(\.\.\., name="):
        register_budget(Budget(5))

    assert "budget" not in BudgetedChatCompletionClient(openai()).dump_component().config


def test_unknown_budget_is_an_error() -> None:
    """A name that this process does not know is an error when it is loaded; registered, it is found."""
    written = BudgetedChatCompletionClient(openai(), Budget(5, name="gone")).dump_component()
    gc.collect()
    with pytest.raises(ValueError, match="register_budget"):
        ChatCompletionClient.load_component(written)
    budget = register_budget(Budget(5, name="gone"))
    loaded: Any = ChatCompletionClient.load_component(written)

    assert budget is loaded.bursar.budget


def test_client_that_cannot_be_written_down(stage: Stage) -> None:
    """A client around one that is no component says so, as AutoGen does, and pays all the same."""

    class Plain(Scripted):
        """Is no component."""

        def _to_config(self) -> Any:
            raise NotImplementedError

    client = stage.guarded(Plain("x"), stage.budget(name="n"))
    run(client.create(ASK))
    with pytest.raises(NotImplementedError):
        client.dump_component()

    assert ["ok"] == [status for _, status in stage.rows()]


def test_signatures_are_autogen_s() -> None:
    """Every argument of AutoGen's interface is taken under its name; a stream is no coroutine."""
    for name in ("create", "create_stream", "count_tokens", "remaining_tokens"):
        theirs = inspect.signature(getattr(ChatCompletionClient, name)).parameters
        ours = inspect.signature(getattr(BudgetedChatCompletionClient, name)).parameters
        assert theirs.keys() <= ours.keys()
        assert [p.kind for p in theirs.values()] == [ours[p].kind for p in theirs]
    assert not inspect.iscoroutinefunction(BudgetedChatCompletionClient.create_stream)
    assert set() == BudgetedChatCompletionClient.__abstractmethods__


def test_delegates(stage: Stage) -> None:
    """Whatever else a client has is asked of the client below."""
    plain = ReplayChatCompletionClient(["one two"], model_info=ABLE)
    client = stage.guarded(plain, stage.budget(), model="gpt-4o")
    run(client.create(messages=ASK))

    assert ABLE == client.model_info
    assert 1 == len(client.create_calls)
    assert (1, 2) == (client.total_usage().prompt_tokens, client.total_usage().completion_tokens)
    assert client.total_usage() == client.actual_usage()
    assert plain.count_tokens(ASK) == client.count_tokens(ASK)
    assert plain.remaining_tokens(ASK) == client.remaining_tokens(ASK)
    with pytest.warns(DeprecationWarning, match="model_info"):
        assert ABLE == client.capabilities
    with pytest.raises(AttributeError):
        client.no_such_thing  # noqa: B018
    with pytest.raises(AttributeError):
        client._no_such_thing  # noqa: B018


def test_client_of_a_token_limited_context(stage: Stage) -> None:
    """A context that counts tokens by its client takes a budgeted one."""
    client = stage.guarded(ReplayChatCompletionClient(["x"], model_info=ABLE), stage.budget(), model="gpt-4o")
    agent = AssistantAgent(
        "a", client, model_context=TokenLimitedChatCompletionContext(client, token_limit=100)
    )
    run(agent.run(task="go"))

    assert [("a", "ok")] == stage.rows()


def test_figures(stage: Stage) -> None:
    """The client says what it has spent, of its own and of an agent's."""
    budget = stage.budget("$1.00", agents={"writer": "50%"})
    client = stage.guarded(Scripted("x"), budget)

    async def two() -> None:
        await client.create(ASK)
        await client.for_agent("writer").create(ASK)

    run(two())

    assert budget.spent == client.bursar.spent == 2 * client.for_agent("writer").bursar.spent > 0
    assert {"unattributed", "writer"} == set(client.bursar.report().by_agent)


def test_dollars_as_a_budget(stage: Stage) -> None:
    """An amount is a budget for all calls of the client and of those named after it."""
    client = BudgetedChatCompletionClient(Scripted("x"), "$1.00", model="gpt-4o")

    async def two() -> None:
        await client.create(ASK)
        await client.for_agent("writer").create(ASK)

    run(two())

    assert 1 == client.bursar.limit
    assert 2 == client.bursar.calls
    assert stage is not None


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"client": "gpt-4o"}, TypeError),
        ({"fallback": ["gpt-4o"]}, TypeError),
        ({"on_exceed": "warn"}, ValueError),
        ({"agent": ""}, ValueError),
        ({"model": ""}, ValueError),
        ({"budget": "cheap"}, ValueError),
    ],
    ids=str,
)
def test_arguments_that_make_no_sense(arguments: dict[str, Any], error: type[Exception]) -> None:
    """What a user mistypes is an error at once."""
    given: dict[str, Any] = {"client": Scripted("x"), "budget": 5, **arguments}

    with pytest.raises(error):
        BudgetedChatCompletionClient(**given)


def test_budget_must_be_given() -> None:
    """A condition without a budget is an error at once."""
    missing: Any = None
    with pytest.raises(TypeError, match="budget"):
        BudgetTermination(missing)


def test_closes_its_clients() -> None:
    """Closing it closes the clients that it wraps."""
    closed: list[str] = []

    class Closing(Scripted):
        """Notes that it is closed."""

        async def close(self) -> None:
            closed.append("x")

    asyncio.run(BudgetedChatCompletionClient(Closing(), 5, fallback=[Closing()]).close())

    assert ["x", "x"] == closed


def test_without_autogen() -> None:
    """Where AutoGen is not installed, the import says what to install."""
    program = (
        "import sys; sys.modules['autogen_agentchat'] = None\n"
        "try:\n    import bursar_autogen\n"
        "except ImportError as error:\n    print(error)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert 'pip install "bursar[autogen]"' in done.stdout
