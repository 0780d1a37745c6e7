"""What becomes of a call that does not fit: the words, and the function that is asked."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import openai
import pytest
from openai.types.chat import ChatCompletion

import bursar
from bursar import Budget, BudgetExceeded
from bursar.account import Account
from bursar.simulator import Answer
from bursar.stores.memory import MemoryStore

if TYPE_CHECKING:
    from tests.core.budget.conftest import Desk, Open, RushTasks, RushThreads

    from bursar.reservation import Notice

guard: Callable[..., Any] = bursar.guard
"""Typed loosely: the SDKs' overloads lose the thread on unpacked options."""

ASK: dict[str, Any] = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 100}
CALL = Decimal("0.00102")


def test_stop_answers_with_a_completion_that_says_why(desk: Desk) -> None:
    """With "stop" the answer is a real one that used nothing, and the run still knows of the refusal."""
    budget = Budget("0.0001", store=desk.store, on_exceed="stop")
    with budget.run("doc") as run:
        answer = guard(desk.openai(), agent="writer").chat.completions.create(**ASK)

    assert isinstance(answer, ChatCompletion)
    assert ("stop", 0) == (
        answer.choices[0].finish_reason,
        answer.usage.total_tokens if answer.usage else None,
    )
    assert 0 == desk.sim.arrived
    with pytest.raises(BudgetExceeded):
        run.raise_if_refused()


def test_warn_lets_the_call_through_and_books_it(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    """With "warn" the call is sent, logged and booked in full, past the limit."""
    client = guard(desk.openai(), Budget("0.00001", store=desk.store, on_exceed="warn", warn_at=None))

    with caplog.at_level(logging.WARNING, "bursar"):
        client.chat.completions.create(**ASK)
        client.chat.completions.create(**ASK)

    assert 2 == desk.sim.arrived
    assert desk.sim.bill.total == client.bursar.spent > Decimal("0.00001")
    assert 'on_exceed is "warn"' in caplog.text


@pytest.mark.parametrize("answer", ["$1", 1, Decimal(1), 1.0])
def test_a_function_may_return_a_new_limit(desk: Desk, answer: Any) -> None:
    """What the function returns is the new limit of the account that was short."""
    asked: list[BudgetExceeded] = []

    def ask(exceeded: BudgetExceeded) -> Any:
        asked.append(exceeded)
        return answer

    client = guard(desk.openai(), Budget("0.0001", store=desk.store, on_exceed=ask))

    client.chat.completions.create(**ASK)

    assert [Decimal("0.0001")] == [exceeded.details.limit for exceeded in asked]
    assert 1 == client.bursar.limit


@pytest.mark.parametrize("answer", [None, False])
def test_a_function_that_makes_no_room_refuses(desk: Desk, answer: Any) -> None:
    """None and False refuse the call, after one question."""
    asked: list[BudgetExceeded] = []

    def ask(exceeded: BudgetExceeded) -> Any:
        asked.append(exceeded)
        return answer

    client = guard(desk.openai(), Budget("0.0001", store=desk.store, on_exceed=ask))

    with pytest.raises(BudgetExceeded):
        client.chat.completions.create(**ASK)
    assert 1 == len(asked)
    assert 0 == desk.sim.arrived


@pytest.mark.parametrize("answer", [None, True])
def test_a_function_may_set_the_limit_itself(desk: Desk, answer: Any) -> None:
    """A function that raises budget.limit itself returns True, or nothing."""

    def ask(_: BudgetExceeded) -> Any:
        budget.limit = 1
        return answer

    budget = Budget("0.0001", store=desk.store, on_exceed=ask)

    guard(desk.openai(), budget).chat.completions.create(**ASK)

    assert 1 == desk.sim.arrived


def test_a_function_that_always_says_true_is_not_asked_for_ever(desk: Desk) -> None:
    """True without room is believed a few times, and then the call is refused."""
    client = guard(desk.openai(), Budget("0.0001", store=desk.store, on_exceed=lambda _: True))

    with pytest.raises(BudgetExceeded):
        client.chat.completions.create(**ASK)
    assert 0 == desk.sim.arrived


def test_an_async_function_is_awaited(desk: Desk) -> None:
    """In async code the function may be async, and the loop goes on while it is asked."""

    async def ask(_: BudgetExceeded) -> int:
        await asyncio.sleep(0)
        return 1

    client = guard(desk.aopenai(), Budget("0.0001", store=desk.store, on_exceed=ask))

    async def main() -> None:
        await client.chat.completions.create(**ASK)

    desk.run(main())

    assert 1 == desk.sim.arrived


def test_an_async_function_on_a_client_that_blocks_is_told_at_once(desk: Desk) -> None:
    """An async function on a blocking client is an error when the client is guarded."""

    async def ask(_: BudgetExceeded) -> int:
        return 1

    with pytest.raises(TypeError, match="on_exceed is an async function"):
        guard(desk.openai(), Budget("0.0001", store=desk.store, on_exceed=ask))


def test_many_callers_ask_once(desk: Desk, rush: RushThreads) -> None:
    """Twenty threads that do not fit put one question, and all go by its answer."""
    asked: list[BudgetExceeded] = []
    is_asking = threading.Lock()

    def ask(exceeded: BudgetExceeded) -> str:
        assert is_asking.acquire(blocking=False)
        asked.append(exceeded)
        threading.Event().wait(0.05)
        is_asking.release()
        return "$1"

    client = guard(desk.openai(), Budget("0.0001", store=desk.store, on_exceed=ask))

    done = rush(lambda _: client.chat.completions.create(**ASK), 20)

    assert (20, 1) == (len(done.answers), len(asked))


def test_many_tasks_ask_once_and_take_no_for_an_answer(desk: Desk, arush: RushTasks) -> None:
    """Twenty tasks that do not fit put one question, and a no is the answer for all of them."""
    asked: list[BudgetExceeded] = []

    async def ask(exceeded: BudgetExceeded) -> bool:
        asked.append(exceeded)
        await asyncio.sleep(0.05)
        return False

    client = guard(desk.aopenai(), Budget("0.0001", store=desk.store, on_exceed=ask))

    done = desk.run(arush(lambda _: client.chat.completions.create(**ASK), 20))

    assert (20, 1) == (len(done.refusals), len(asked))
    assert 0 == desk.sim.arrived


def test_a_call_that_blocks_does_not_wait_for_a_question_of_its_own_thread(desk: Desk) -> None:
    """While a task asks the user, a blocking call of its thread is refused: it would keep the answer from coming."""
    asking, answered = asyncio.Event(), asyncio.Event()

    async def approve(exceeded: BudgetExceeded) -> bool:
        del exceeded
        asking.set()
        await answered.wait()
        return False

    budget = Budget(calls=0, store=desk.store, on_exceed=approve)

    async def main() -> None:
        with budget.run() as run:
            tasks, blocking = guard(desk.aopenai()), guard(desk.openai())
            task = asyncio.create_task(tasks.chat.completions.create(**ASK))
            await asking.wait()
            with pytest.raises(BudgetExceeded):
                blocking.chat.completions.create(**ASK)
            answered.set()
            with pytest.raises(BudgetExceeded):
                await task
            assert 2 == len(run.refusals)

    desk.run(main())

    assert 0 == desk.sim.arrived


def test_a_little_room_is_shared_before_the_user_is_asked_again(open_desk: Open, rush: RushThreads) -> None:
    """Answers that make room for one call each lead to as many questions as calls, and none too many is sent."""
    desk = open_desk(talkative=True)
    asked: list[Decimal] = []

    def ask(exceeded: BudgetExceeded) -> Decimal:
        asked.append(exceeded.details.limit)
        return exceeded.details.limit + CALL

    budget = Budget(CALL, store=desk.store, on_exceed=ask, wait_s=0, warn_at=None, min_output_tokens=100)
    client = guard(desk.openai(), budget)

    done = rush(lambda _: client.chat.completions.create(**ASK), 5)

    assert 5 == len(done.answers)
    assert [CALL * n for n in range(1, 5)] == asked
    assert 5 * CALL == client.bursar.spent


class Hesitant(MemoryStore):
    """Waits before it declares an account, so that a limit can be changed just then."""

    def __init__(self) -> None:
        super().__init__()
        self.is_declaring, self.go_on = threading.Event(), threading.Event()

    def declare(self, accounts: tuple[Account, ...]) -> None:
        """Declare them a moment later."""
        self.is_declaring.set()
        self.go_on.wait(0.3)
        super().declare(accounts)


@pytest.mark.parametrize("whose", ["budget", "run"])
def test_a_raised_limit_is_not_undone_by_a_call_that_read_it_before(whose: str) -> None:
    """A call that begins while the limit is raised declares the raised one."""
    store = Hesitant()
    budget = Budget(1, store=store)
    with budget.run("job") as run:
        beginning = threading.Thread(target=lambda: run.chain("late"))
        beginning.start()
        assert store.is_declaring.wait(5)
        if whose == "budget":
            budget.limit = 5
        else:
            run.limit = 5
        store.go_on.set()
        beginning.join()

        assert 5 == run.limit == run.remaining


def test_a_function_may_call_a_guarded_client_itself(desk: Desk) -> None:
    """A call that the function makes from the same budget is refused, and asks nobody."""
    refused: list[BudgetExceeded] = []

    def ask(_: BudgetExceeded) -> bool:
        try:
            client.chat.completions.create(**ASK)
        except BudgetExceeded as exceeded:
            refused.append(exceeded)
        return False

    client = guard(desk.openai(), Budget("0.0001", store=desk.store, on_exceed=ask))

    with pytest.raises(BudgetExceeded):
        client.chat.completions.create(**ASK)
    assert 1 == len(refused)


def test_an_error_of_the_function_reaches_its_caller(desk: Desk) -> None:
    """What the function raises is raised by the call, and nothing is held or sent."""

    def ask(_: BudgetExceeded) -> bool:
        raise LookupError("nobody is there to be asked")

    client: openai.OpenAI = guard(desk.openai(), Budget("0.0001", store=desk.store, on_exceed=ask))

    with pytest.raises(LookupError, match="nobody"):
        client.chat.completions.create(**ASK)
    assert 0 == desk.sim.arrived
    assert {} == desk.reserved()


def test_a_new_limit_that_is_none_is_an_error(desk: Desk) -> None:
    """A limit that makes no sense is named together with where it came from."""
    client = guard(desk.openai(), Budget("0.0001", store=desk.store, on_exceed=lambda _: "lots"))

    with pytest.raises(ValueError, match="the limit that on_exceed returned of 'lots'"):
        client.chat.completions.create(**ASK)


def test_a_raised_limit_outlives_the_next_agent(desk: Desk) -> None:
    """A limit set for one run stays when another agent's account is opened in that run, and other runs keep theirs."""
    budget = Budget("$5", agents={"a": "50%", "b": "50%"}, store=desk.store)
    with budget.run("first") as first:
        guard(desk.openai(), agent="a").chat.completions.create(**ASK)
        first.limit = 8
        b = guard(desk.openai(), agent="b")
        b.chat.completions.create(**ASK)

        assert (8, 4) == (first.limit, b.bursar.limit)
    with budget.run("second") as second:
        guard(desk.openai(), agent="a").chat.completions.create(**ASK)

        assert (5, 5) == (second.limit, budget.limit)


def test_limits_are_lowered_and_raised_between_calls(desk: Desk) -> None:
    """A limit below what is spent refuses the next call only; raised again, calls go on."""
    budget = Budget("$1", store=desk.store)
    client = guard(desk.openai(), budget)
    client.chat.completions.create(**ASK)
    budget.limit = "0.00001"

    with pytest.raises(BudgetExceeded):
        client.chat.completions.create(**ASK)
    budget.limit = None
    client.chat.completions.create(**ASK)

    assert 2 == desk.sim.arrived
    assert budget.limit is None


def test_limits_are_lowered_while_calls_are_in_flight(open_desk: Open) -> None:
    """Calls in flight come to their end and are booked; the next is refused until the limit is raised."""
    desk = open_desk(latency_s=0.3)
    budget = Budget(1, store=desk.store, warn_at=None)
    client = guard(desk.openai(), budget)

    def call() -> None:
        client.chat.completions.create(**ASK)

    with ThreadPoolExecutor(4) as pool:
        calls = [pool.submit(call) for _ in range(4)]
        while desk.sim.arrived < 4:
            time.sleep(0.001)
        budget.limit = "$0.0001"
        with pytest.raises(BudgetExceeded):
            call()
        for made in calls:
            made.result()
    budget.limit = 1
    call()

    assert 5 == desk.sim.arrived
    assert desk.billed_nanousd == desk.ledger_nanousd
    assert {} == desk.reserved()


def test_a_notice_that_raises_holds_nothing(desk: Desk) -> None:
    """An error of `on_notice` reaches the caller, the call is not sent, and nothing stays reserved."""

    def on_notice(notice: Notice) -> None:
        raise ZeroDivisionError(notice.account)

    budget = Budget("$0.0011", store=desk.store, on_notice=on_notice, warn_at=0.1)
    client, tasks = guard(desk.openai(), budget), guard(desk.aopenai(), budget)
    with pytest.raises(ZeroDivisionError):
        client.chat.completions.create(**ASK)

    assert {} == desk.reserved()
    assert 0 == desk.sim.arrived
    # It is told once, and the next call goes through.
    desk.run(tasks.chat.completions.create(**ASK))
    assert 1 == desk.sim.arrived


def test_a_latched_account_without_a_limit_in_dollars_asks_once(open_desk: Open) -> None:
    """A function that makes no room for an account that is latched in another unit is not asked again."""
    desk = open_desk(script={"writer": Answer(input_tokens=5_000)})
    asked: list[BudgetExceeded] = []
    budget = Budget(tokens=1_000, store=desk.store, on_exceed=asked.append)
    client = guard(desk.openai(), budget)
    client.chat.completions.create(**ASK, user="writer")
    with pytest.raises(BudgetExceeded):
        client.chat.completions.create(**ASK, user="writer")

    assert 1 == len(asked)
    assert 1 == desk.sim.arrived
