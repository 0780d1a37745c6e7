"""Windows: when a budget renews, and which one a call is booked to."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import bursar
from bursar import Budget, BudgetExceeded
from bursar.store import Store
from bursar.stores.memory import MemoryStore
from bursar.stores.sqlite import SQLiteStore
from bursar.window import window_at

if TYPE_CHECKING:
    from tests.core.budget.conftest import Open

guard: Callable[..., Any] = bursar.guard
"""Typed loosely: the SDKs' overloads lose the thread on unpacked options."""

ASK: dict[str, Any] = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 100}
CALL = Decimal("0.00102")
EVENING = datetime(2026, 11, 30, 23, 59, tzinfo=UTC).timestamp()


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now_s = EVENING

    def __call__(self) -> float:
        """Return the second it stands at."""
        return self.now_s

    def move(self, **by: float) -> None:
        """Move it on."""
        self.now_s += timedelta(**by).total_seconds()


@pytest.fixture
def clock() -> Clock:
    """A clock that shows one minute to a new month."""
    return Clock()


@pytest.fixture(params=["memory", "sqlite"])
def kept(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> Store:
    """A store of each kind on that clock."""
    return (
        MemoryStore(clock=clock) if request.param == "memory" else SQLiteStore(tmp_path / "l.db", clock=clock)
    )


@pytest.fixture
def client(open_desk: Open) -> Any:
    """A client whose server answers as long as it may."""
    return open_desk(talkative=True).openai()


@pytest.mark.parametrize("per", ["day", "month", timedelta(minutes=10)])
def test_a_budget_renews_with_its_window(kept: Store, clock: Clock, client: Any, per: Any) -> None:
    """What is spent in one window leaves the next one whole."""
    guarded = guard(client, Budget(CALL, per=per, store=kept, warn_at=None), label="writer")
    guarded.chat.completions.create(**ASK)
    with pytest.raises(BudgetExceeded):
        guarded.chat.completions.create(**ASK)
    clock.move(minutes=1)

    guarded.chat.completions.create(**ASK)

    assert CALL == guarded.bursar.spent


def test_a_budget_in_total_does_not_renew(kept: Store, clock: Clock, client: Any) -> None:
    """A budget in total is spent once, whenever."""
    budget = Budget(CALL, per="total", name="once", store=kept, warn_at=None)
    guard(client, budget).chat.completions.create(**ASK)
    clock.move(days=1_000)

    with pytest.raises(BudgetExceeded, match='budget "once" in total'):
        guard(client, budget).chat.completions.create(**ASK)


def test_a_settle_after_midnight_books_to_the_day_of_the_reserve(
    kept: Store, clock: Clock, client: Any
) -> None:
    """A stream that was opened before midnight is paid from that day, and the new day is whole."""
    budget = Budget(CALL, per="day", name="org", store=kept, warn_at=None)
    guarded = guard(client, budget)
    stream = guarded.chat.completions.create(**ASK, stream=True)
    clock.move(minutes=2)
    guarded.chat.completions.create(**ASK)

    list(stream)

    states = [kept.state(f"budget:org:{day}") for day in ("2026-11-30", "2026-12-01")]
    assert [(CALL, 0)] * 2 == [(Decimal(s.spent.nanousd).scaleb(-9), s.reserved.nanousd) for s in states if s]
    assert CALL == budget.spent


def test_a_named_budget_is_shared_and_one_without_a_name_is_its_workflows(kept: Store, client: Any) -> None:
    """Two budgets of one name in a window are one account; without a name each workflow has its own."""
    shared: Decimal | None = None
    for _ in range(2):
        with Budget("$1", per="day", name="org", store=kept).run("a") as named:
            guard(client, agent="writer").chat.completions.create(**ASK)
            shared = named.remaining
    apart: list[Decimal | None] = []
    for workflow in ("a", "b"):
        with Budget("$1", per="day", store=kept).run(workflow) as run:
            guard(client, agent="writer").chat.completions.create(**ASK)
        apart.append(run.remaining)

    assert 1 - 2 * CALL == shared
    assert [1 - CALL] * 2 == apart


def test_a_limit_that_was_set_ends_with_its_window(kept: Store, clock: Clock, client: Any) -> None:
    """A limit raised for one day holds that day."""
    budget = Budget(CALL, per="day", name="org", store=kept, warn_at=None)
    with budget.run("doc") as run:
        guarded = guard(client, agent="writer")
        run.limit = 1
        for _ in range(2):
            guarded.chat.completions.create(**ASK)
        clock.move(days=1)
        guarded.chat.completions.create(**ASK)

        assert CALL == run.limit
        with pytest.raises(BudgetExceeded):
            guarded.chat.completions.create(**ASK)


@pytest.mark.parametrize(
    ("per", "name", "ends"),
    [
        ("day", "2026-11-30", datetime(2026, 12, 1, tzinfo=UTC)),
        ("month", "2026-11", datetime(2026, 12, 1, tzinfo=UTC)),
        (timedelta(hours=1), "3600s@1796079600", datetime(2026, 12, 1, tzinfo=UTC)),
    ],
)
def test_a_window_ends_where_the_next_begins(per: Any, name: str, ends: datetime) -> None:
    """The last second of a window is its own, and the first of the next is not."""
    window = window_at(per, EVENING + 59.999)

    assert (name, ends.timestamp()) == window
    assert name != window_at(per, ends.timestamp()).name
