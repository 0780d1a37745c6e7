"""Values that no ledger could keep: counts of more digits than a computer's number, names with half a letter."""

# What an SDK returns depends on unpacked options, which its overloads do not follow.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

import json
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from decimal import Decimal
from pathlib import Path
from typing import Any

import openai
import pytest

import bursar
from bursar import Budget, BudgetExceeded, guard
from bursar.clients.batch_results import book_results
from bursar.simulator import Simulator
from bursar.store import Store, Where
from bursar.stores.memory import MemoryStore
from bursar.stores.sqlite import SQLiteStore
from bursar.usage import Usage
from bursar.wire import Receipt

from .conftest import http_library

ASK: Any = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 9}
HALF = "writer\ud83d"
WHOLE = "writer\\ud83d"


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """A store of each kind."""
    store = MemoryStore() if request.param == "memory" else SQLiteStore(tmp_path / "ledger.db")
    yield store
    store.close()


@pytest.fixture
def client() -> Iterator[openai.OpenAI]:
    """A client of a simulated provider."""
    with (
        Simulator() as sim,
        openai.OpenAI(base_url=sim.openai_base_url, api_key="none", max_retries=0) as client,
    ):
        yield client


@contextmanager
def answered(**fields: Any) -> Generator[openai.OpenAI]:
    """A client that is answered with these fields beside the ordinary ones."""
    message = {"role": "assistant", "content": "Hello."}
    answer = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "gpt-4o-mini",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11},
        **fields,
    }
    library = http_library(openai)
    headers, content = {"content-type": "application/json"}, json.dumps(answer).encode()

    def respond(request: Any) -> Any:
        return library.Response(200, headers=headers, content=content, request=request)

    with library.Client(transport=library.MockTransport(respond)) as http_client:
        yield openai.OpenAI(api_key="none", http_client=http_client, max_retries=0)


@pytest.mark.parametrize(
    "usage",
    [
        {"prompt_tokens": 2**63, "completion_tokens": 2, "total_tokens": 11},
        {"prompt_tokens": 9, "completion_tokens": 10**30, "total_tokens": 11},
        {"prompt_tokens": 1e300, "completion_tokens": 2, "total_tokens": 11},
        {"prompt_tokens": 9, "completion_tokens": 2, "cost": 1e300},
        {"prompt_tokens": 9, "completion_tokens": 2, "cost_in_usd_ticks": 10**40},
    ],
    ids=["input", "output", "float", "cost", "ticks"],
)
def test_an_answer_that_counts_too_much_is_given_and_paid(store: Store, usage: dict[str, Any]) -> None:
    """Counts that no call has are not believed, and lose nobody the answer that was paid for."""
    with answered(usage=usage) as client:
        guarded = guard(client, Budget("$1", store=store))
        said = guarded.chat.completions.create(**ASK).choices[0].message.content
    (entry,) = store.entries(Where())

    assert said == "Hello."
    assert Decimal(0) == guarded.bursar.reserved
    assert 0 < (entry.cost_nanousd or 0) <= entry.bound_nanousd


def test_a_model_with_half_a_letter_is_given_and_paid(store: Store) -> None:
    """The name of what served is whatever the server wrote."""
    with answered(model="gpt-4o-mini\ud83d") as client:
        guarded = guard(client, Budget("$1", store=store))
        said = guarded.chat.completions.create(**ASK).choices[0].message.content
    (entry,) = store.entries(Where())

    assert said == "Hello."
    assert (entry.model, entry.status) == ("gpt-4o-mini\\ud83d", "ok")
    assert guarded.bursar.report().by_model


@pytest.mark.parametrize(
    "more", [{"max_tokens": 10**30}, {"max_tokens": 1e300}, {"n": 10**30}, {"n": 10**10}]
)
@pytest.mark.parametrize("limits", [{"limit": "$1"}, {"calls": 10}, {"tokens": 1_000}])
def test_a_request_for_too_much_is_told_what_it_would_be_without_a_budget(
    store: Store, client: openai.OpenAI, limits: dict[str, Any], more: dict[str, Any]
) -> None:
    """The provider refuses it, or the budget does; neither is an error of the ledger's."""
    guarded = guard(client, Budget(**limits, store=store))
    with suppress(openai.BadRequestError, BudgetExceeded):
        guarded.chat.completions.create(**{**ASK, **more})

    assert Decimal(0) == guarded.bursar.reserved


@pytest.mark.parametrize("where", ["label", "agent", "allotment"])
def test_an_agent_with_half_a_letter_is_known_by_its_code(
    store: Store, client: openai.OpenAI, where: str
) -> None:
    """Wherever an agent's name stands, it is the same agent."""
    agents = {HALF: "50%"} if where == "allotment" else None
    guarded = guard(client, label=HALF if where != "agent" else None)
    with Budget("$1", agents=agents, store=store).run("doc") as run, bursar.agent(HALF):
        guarded.chat.completions.create(**ASK)
        run.record(cost="0.25", agent=HALF, what="search\ud83d")

    assert [WHOLE] == list(run.report().by_agent)
    assert Decimal(0) == run.reserved


def test_results_of_a_batch_by_a_model_with_half_a_letter_are_booked(
    store: Store, client: openai.OpenAI
) -> None:
    """They are read later than any call's answer, and by another door."""
    guarded = guard(client, Budget("$1", store=store))
    receipt = Receipt(usage=Usage(input_tokens=9, output_tokens=2), model="gpt-4o-mini\ud83d", finished=True)
    book_results(guarded.bursar.booking(), "openai", "batch_1", (receipt,))
    (entry,) = store.entries(Where())

    assert entry.model == "gpt-4o-mini\\ud83d"


def test_a_run_with_half_a_letter_is_kept_by_its_code(store: Store, client: openai.OpenAI) -> None:
    """A workflow, a run's id and a budget's name are whatever a program makes of its own input."""
    with Budget("$1", name="team\ud83d", store=store).run("doc\ud83d", id="1\ud83d") as run:
        guard(client).chat.completions.create(**ASK)
    (line,) = store.runs(Where())

    assert (line.run.id, line.run.workflow) == ("1\\ud83d", "doc\\ud83d")
    assert run.spent > 0


@pytest.mark.parametrize("name", ["", "  ", 5, None])
def test_an_agent_without_a_name_is_an_error(name: Any) -> None:
    """It is told where it is written."""
    with pytest.raises(ValueError, match="must be a text that is not empty"), bursar.agent(name):
        pass
