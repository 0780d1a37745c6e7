"""A framework's hook on an event loop cannot wait: it takes what fits, asks whom it may, and refuses at once."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from bursar import Budget, BudgetExceeded
from bursar.clients.unmetered import never
from bursar.meter import Meter, plan_request
from bursar.payer import Payer
from bursar.stores.memory import MemoryStore
from bursar.wire import chat_format

if TYPE_CHECKING:
    from bursar.run import Run

BODY: dict[str, Any] = {
    "model": "gpt-4o",
    "messages": [{"role": "user", "content": "hi"}],
    "max_tokens": 100,
}
CALL = Decimal("0.00102")
"""What BODY costs at most."""


def hook_of(run: Run, payer: Payer) -> Meter:
    """A meter as a hook makes it: it must not wait, and cannot change the request."""
    endpoint = chat_format("openai", "gpt-4o")
    assert endpoint is not None
    booking = payer.booking(run=run)
    return Meter(plan_request(endpoint, BODY, booking, provider="openai", can_wait=False, can_shrink=never))


def held_elsewhere(run: Run, payer: Payer) -> Meter:
    """A meter that holds what a call in another thread may cost."""

    def hold() -> Meter:
        meter = hook_of(run, payer)
        meter.reserve()
        return meter

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(hold).result()


@pytest.fixture
def payer() -> Payer:
    """Who pays, from the run alone."""
    return Payer(None, agent="writer", workflow=None, made_in=None, outer=None, store=None)


def test_a_busy_budget_refuses_at_once(payer: Payer) -> None:
    """What is held by others is not waited for, and the refusal says why."""
    with Budget(CALL * 3 / 2, wait_s=20, store=MemoryStore(), warn_at=None).run("job") as run:
        held = held_elsewhere(run, payer)
        before_s = time.monotonic()
        with pytest.raises(BudgetExceeded, match="nothing can wait for it") as caught:
            hook_of(run, payer).reserve()

        assert time.monotonic() - before_s < 5
        assert caught.value.details.reason == "busy"
        held.release()


def test_a_hook_asks_the_user(payer: Payer) -> None:
    """A function that is asked about a busy budget may raise the limit, in a hook too."""
    asked: list[BudgetExceeded] = []

    def raise_it(exceeded: BudgetExceeded) -> Decimal:
        asked.append(exceeded)
        return 10 * CALL

    with Budget(CALL, on_exceed=raise_it, store=MemoryStore(), warn_at=None).run("job") as run:
        first, second = held_elsewhere(run, payer), hook_of(run, payer)
        second.reserve()

        assert (1, "busy") == (len(asked), asked[0].details.reason)
        first.release()
        second.release()
