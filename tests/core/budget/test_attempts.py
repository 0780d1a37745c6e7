"""Every attempt is seen, counted, capped, and paid for if it was billed."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import openai
import pytest

import bursar
from bursar import Budget, BudgetExceeded
from bursar.simulator import Answer, Fault
from bursar.store import Where

if TYPE_CHECKING:
    from tests.core.budget.conftest import Desk, Open

guard: Callable[..., Any] = bursar.guard
"""Typed loosely: the SDKs' overloads lose the thread on unpacked options."""

ASK: dict[str, Any] = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 100}
CALL = Decimal("0.00102")
"""What ASK may cost at most."""


def lines(desk: Desk) -> list[tuple[str, int, str]]:
    """Return status, attempt and source of every entry."""
    return [(entry.status, entry.attempt, entry.source) for entry in desk.store.entries(Where())]


def test_attempts_cap_the_retries_of_the_sdk(desk: Desk) -> None:
    """With attempts=2 an SDK that would try five times sends two requests."""
    desk.sim.fail_next(*[Fault.status(500, retry_after_s=0.001)] * 5)
    client = guard(desk.openai(max_retries=4), Budget(attempts=2, store=desk.store, warn_at=None))

    with pytest.raises(BudgetExceeded, match="attempts"):
        client.chat.completions.create(**ASK)

    assert 2 == desk.sim.arrived
    assert [("error", 1, "none"), ("error", 2, "none"), ("refused", 3, "none")] == lines(desk)
    assert {} == desk.reserved()


def test_a_retried_error_costs_what_was_billed_and_no_more(open_desk: Open) -> None:
    """Two unbilled 500s before an answer are two lines of the ledger at nothing, and one call."""
    desk = open_desk(faults=[Fault.status(500, retry_after_s=0.001), Fault.rate_limited(retry_after_s=0.001)])
    client = guard(desk.openai(max_retries=2), Budget(CALL, store=desk.store, warn_at=None), label="writer")

    client.chat.completions.create(**ASK)

    assert [("error", 1, "none"), ("error", 2, "none"), ("ok", 3, "priced")] == lines(desk)
    assert desk.billed_nanousd == desk.ledger_nanousd == int(client.bursar.spent.scaleb(9))
    assert 1 == client.bursar.calls
    assert {} == desk.reserved()


def test_async_retries_are_attempts_too(open_desk: Open) -> None:
    """The async client's retries are seen as the blocking one's are."""
    desk = open_desk(faults=[Fault.status(503, retry_after_s=0.001)])
    client = guard(desk.aopenai(max_retries=2), Budget(CALL, attempts=5, store=desk.store, warn_at=None))

    async def main() -> None:
        await client.chat.completions.create(**ASK)

    desk.run(main())

    assert [("error", 1, "none"), ("ok", 2, "priced")] == lines(desk)
    assert desk.billed_nanousd == desk.ledger_nanousd


def test_a_read_timeout_is_booked_at_the_bound(open_desk: Open) -> None:
    """A request that timed out after it was sent may be billed, so it is paid in full, and the retry besides."""
    desk = open_desk(script={"slow": [Answer(text="late", latency_s=0.4), Answer(text="now")]})
    client = guard(desk.openai(max_retries=1, timeout=0.1), Budget(3 * CALL, store=desk.store, warn_at=None))

    client.chat.completions.create(**ASK, user="slow")
    desk.sim.wait_idle()

    assert [("aborted", 1, "bound"), ("ok", 2, "priced")] == lines(desk)
    assert desk.billed_nanousd <= desk.ledger_nanousd
    assert {} == desk.reserved()


def test_a_retry_that_no_budget_is_left_for_is_not_sent(open_desk: Open) -> None:
    """A timeout takes the whole budget; the SDK's retry is refused, and the refusal is what the caller sees."""
    desk = open_desk(latency_s=0.4)
    client = guard(desk.openai(max_retries=3, timeout=0.1), Budget(CALL, store=desk.store, warn_at=None))

    with pytest.raises(BudgetExceeded):
        client.chat.completions.create(**ASK)

    assert 1 == desk.sim.arrived
    assert CALL == client.bursar.spent


def test_a_refused_connection_costs_nothing(desk: Desk) -> None:
    """A request that never left costs nothing and holds nothing."""
    plain = openai.OpenAI(base_url="http://127.0.0.1:9/v1", api_key="sk-planted", max_retries=1)
    client = guard(plain, Budget("$1", store=desk.store))

    with plain, pytest.raises(openai.APIConnectionError):
        client.chat.completions.create(**ASK)

    assert 0 == client.bursar.spent
    assert {} == desk.reserved()


def test_a_repeated_request_is_a_retry_with_its_cost(desk: Desk) -> None:
    """The same request of the same agent again is marked, and what it cost is shown as the cost of retries."""
    with Budget("$1", store=desk.store).run("doc") as run:
        client = guard(desk.openai(), agent="writer")
        other = guard(desk.openai(), agent="reviewer")
        first = client.chat.completions.create(**ASK)
        for each in (client, other):
            each.chat.completions.create(**ASK)

    assert first.usage is not None
    assert [False, True, False] == [entry.is_retry for entry in desk.store.entries(Where())]
    (totals,) = [totals for name, totals in desk.store.totals("agent", Where()) if name == "writer"]
    assert totals.cost_nanousd == 2 * totals.retry_nanousd
    assert 3 == run.calls


def test_an_overage_latches_the_account_until_its_limit_is_raised(open_desk: Open) -> None:
    """A cost above what was held is booked in full, and no call follows until the limit is raised."""
    desk = open_desk(script={"odd": Answer(text="ok", input_tokens=100_000)})
    budget = Budget("0.1", store=desk.store, warn_at=None)
    client = guard(desk.openai(), budget)
    client.chat.completions.create(**ASK, user="odd")

    with pytest.raises(BudgetExceeded):
        client.chat.completions.create(**ASK)
    budget.limit = 1
    client.chat.completions.create(**ASK)

    assert desk.billed_nanousd == desk.ledger_nanousd > 250_000_000
    assert 2 == desk.sim.arrived


def test_a_call_whose_lease_ran_out_settles_late(open_desk: Open) -> None:
    """What a slow call was presumed to have spent is replaced by what it cost."""
    desk = open_desk()
    client = guard(desk.openai(), Budget(2 * CALL, store=desk.store, warn_at=None))
    stream = client.chat.completions.create(**ASK, stream=True)
    later_s = desk.store.now() + 3_600
    desk.store.now = lambda: later_s

    desk.store.expire()
    presumed = client.bursar.spent
    list(stream)

    (entry,) = desk.store.entries(Where())
    assert ("ok", True) == (entry.status, entry.is_late)
    assert int(presumed.scaleb(9)) == entry.bound_nanousd > (entry.cost_nanousd or 0)
    assert desk.billed_nanousd == desk.ledger_nanousd == int(client.bursar.spent.scaleb(9))
