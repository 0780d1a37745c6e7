"""From the bound of a call to a hold on its chain: fit, wait, downgrade, shrink, refuse, in that order."""

from __future__ import annotations

import asyncio
import random
import time
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from bursar.errors import BudgetExceeded, UnknownPrice, UnmeteredEndpoint
from bursar.ids import new_id
from bursar.meter.asking import close_question, has_other_limit, open_question, set_limit
from bursar.meter.at_once import new_bound
from bursar.meter.held import Held
from bursar.meter.pausing import Pause, Question, Step, is_asking
from bursar.meter.refusing import exceeded_by
from bursar.policy import Policy, logger
from bursar.reservation import LEASE_S, Armed, Claim, Grant, Refusal, Shrink
from bursar.tokens import encoding_name
from bursar.tuples import make
from bursar.waiting import Ticket

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from bursar.account import Amounts
    from bursar.bound import Bound
    from bursar.entry import Subject
    from bursar.meter.plan import Plan
    from bursar.policy import OnExceed
    from bursar.reservation import Answer, Notice, Resolution
    from bursar.store import Store

_LOOK_AGAIN_S: Final = 0.05
"""How often a waiter looks by itself where other processes share the store and cannot wake it."""

_QUESTIONS_MOST: Final = 8


class Reserving:
    """Finds the hold for one attempt of one call."""

    asked = 0
    _is_forced = False

    def __init__(self, plan: Plan, store: Store, owner: str, about: Subject) -> None:
        self.plan = plan
        self.store = store
        self.owner = owner
        self.about = about
        self._bounds: dict[str, Bound] = {}

    def first(self, answer: Answer | None) -> Generator[Step, Any, Held]:
        """
        Yield what must be waited for or asked, and return the hold.

        Args:
            answer: What `hold_at_once` got.

        Raises:
            BudgetExceeded: It does not fit, whatever was tried.
            UnknownPrice: A limit in dollars is to be kept and the model has no price.
        """
        while True:
            model, ladder = self.plan.ask.model, self._ladder()
            answer = self._look(model, heeds_downgrade=bool(ladder), answer=answer)
            if isinstance(answer, Grant):
                return self._held(answer, self._bound(model))
            held, refusal = yield from self._go_down(model, ladder, answer)
            if held is not None:
                return held
            assert refusal is not None  # noqa: S101 (one of the two is always there)
            if not (yield from self._has_made_room(refusal)):
                raise self.exceeded(refusal, self._bound(self.plan.ask.model))
            answer = None

    def again(self, held: Held, resolving: Resolution) -> Generator[Step, Any, Held]:
        """
        Yield what must be waited for, and return the hold for another send of the same request.

        Args:
            resolving: How the attempt before ended; booked in the same step.

        Raises:
            BudgetExceeded: Another attempt does not fit; the one before is resolved all the same.
        """
        amounts = held.amounts._replace(calls=0, attempts=1)
        answer = self.store.reserve(self._claim(amounts), resolving)
        return (yield from self._granted_again(held, amounts, answer))

    def once_more(self, held: Held) -> Generator[Step, Any, Held]:
        """Do as `again` does, after an attempt that was not paid and is booked already."""
        amounts = held.amounts._replace(calls=0, attempts=1)
        return (yield from self._granted_again(held, amounts, self.store.reserve(self._claim(amounts))))

    def _granted_again(self, held: Held, amounts: Amounts, answer: Answer) -> Generator[Step, Any, Held]:
        if isinstance(answer, Refusal) and answer.reason == "busy":
            answer = yield from self._wait(lambda: self.store.reserve(self._claim(amounts)), answer)
        if isinstance(answer, Grant):
            return self._held(answer, held.bound)
        assert isinstance(answer, Refusal)  # noqa: S101 (a claim that heeds no downgrade is never Armed)
        raise self.exceeded(answer, held.bound)

    def unpaid(self) -> Held:
        """Return what stands for a hold while the store does not answer: the whole bound, held nowhere."""
        asked = self._bound(self.plan.ask.model)
        return Held(new_id(), asked, asked.amounts, None, is_unpaid=True)

    def _go_down(
        self, model: str, ladder: tuple[str, ...], answer: Answer
    ) -> Generator[Step, Any, tuple[Held | None, Refusal | None]]:
        """Go down the list once, after *answer*: waiting for the whole bound, the ladder, what is affordable."""
        answer = yield from self._waited(model, answer, heeds_downgrade=bool(ladder))
        steps: tuple[str, ...] | None = None
        if isinstance(answer, Armed):
            steps = self._usable(ladder)
            if steps:
                logger.info(
                    '%s is past its downgrade threshold: "%s" stands in for "%s"',
                    answer.account,
                    steps[0],
                    model,
                )
                model, *rest = steps
                steps = tuple(rest)
            answer = yield from self._waited(model, self._look(model))
        if isinstance(answer, Grant):
            return self._held(answer, self._bound(model)), None
        refusal = answer
        assert isinstance(refusal, Refusal)  # noqa: S101 (only a claim that heeds a downgrade is Armed)
        cheaper = self._usable(ladder) if steps is None else steps
        for candidate in cheaper:
            answer = self._try(candidate)
            if isinstance(answer, Grant):
                return self._held(answer, self._bound(candidate)), None
        for candidate in (model, *cheaper):
            affordable = self._try_affordable(candidate)
            if isinstance(affordable, Grant):
                return self._held(affordable, self._bound(candidate)), None
        return None, refusal

    def _look(self, model: str, *, heeds_downgrade: bool = False, answer: Answer | None = None) -> Answer:
        """Ask for the whole bound, if that has no *answer* yet, unless others have waited longer for what it needs."""
        waiters = self.store.waiters
        if waiters.queues and self.plan.can_wait:
            key = waiters.contended(self.plan.chain.keys)
            if key is not None and not waiters.is_holding(self.owner):
                answer = self._try(model, heeds_downgrade=heeds_downgrade, only_assess=True)
                # It would fit, and others have waited longer: stand behind them.
                return Refusal("busy", key, key, 0, 0, 0, 0, 0) if isinstance(answer, Grant) else answer
        return self._try(model, heeds_downgrade=heeds_downgrade, answer=answer)

    def _waited(
        self, model: str, answer: Answer, *, heeds_downgrade: bool = False
    ) -> Generator[Step, Any, Answer]:
        """Return *answer*, or where it is that an account is busy, what comes of waiting for it."""
        if not isinstance(answer, Refusal) or answer.reason != "busy":
            return answer
        return (yield from self._wait(lambda: self._try(model, heeds_downgrade=heeds_downgrade), answer))

    def _wait(self, look: Callable[[], Answer], refusal: Refusal) -> Generator[Step, Any, Answer]:
        """Stand in the queue of the account that is busy until a look is anything else, or the time is up."""
        if not self.plan.can_wait:
            return refusal
        waiters = self.store.waiters
        deadline_s = time.monotonic() + self._policy_of(refusal.key).wait_s
        ticket: Ticket | None = None
        answer: Answer = refusal
        try:
            while isinstance(answer, Refusal) and answer.reason == "busy":
                if ticket is None or ticket.key != answer.key:
                    if ticket is not None:
                        waiters.leave(ticket)
                    ticket = waiters.join(answer.key, self.owner, in_loop=self.plan.is_async)
                elif (left_s := deadline_s - time.monotonic()) <= 0:
                    break
                else:
                    most_s = _LOOK_AGAIN_S * random.uniform(0.5, 1.5) if self.store.is_shared else left_s  # noqa: S311
                    yield Pause(ticket, min(left_s, most_s))
                if waiters.is_head(ticket):
                    answer = look()
        finally:
            if ticket is not None:
                waiters.leave(ticket)
        # Whose turn never came looks once all the same, to say what is short.
        return look() if answer is refusal else answer

    def _try(
        self,
        model: str,
        *,
        heeds_downgrade: bool = False,
        only_assess: bool = False,
        answer: Answer | None = None,
    ) -> Answer:
        """Ask for the whole bound; where the cheap one does not fit, count the input and ask once more."""
        ask_store = self.store.assess if only_assess else self.store.reserve
        if answer is None:
            tried = self._bound(model)
            answer = ask_store(self._claim(tried.amounts, heeds_downgrade=heeds_downgrade))
        if isinstance(answer, Refusal) and (tighter := self._tighten(model)) is not None:
            answer = ask_store(self._claim(tighter.amounts, heeds_downgrade=heeds_downgrade))
        return answer

    def _try_affordable(self, model: str) -> Answer | None:
        tried = self._bound(model)
        shrink = tried.shrink
        if shrink.most <= shrink.least or not shrink.output_tokens or not self.plan.can_shrink(shrink.least):
            return None
        return self.store.reserve(self._claim(tried.amounts, shrink=shrink))

    def _bound(self, model: str) -> Bound:
        if model not in self._bounds:
            self._bounds[model] = new_bound(self.plan, model)
        return self._bounds[model]

    def _tighten(self, model: str) -> Bound | None:
        """Count the input exactly, once; None where that is no help."""
        loose, asked = self._bound(model), self.plan.ask.model
        # The count is of the tokenizer of the model asked for: another model may make more of the same text.
        if model != asked and (encoding_name(model) is None or encoding_name(model) != encoding_name(asked)):
            return None
        is_counted = loose.input_tokens == self.plan.ask_of(model).input_tokens_most
        count = self.plan.count_input() if is_counted else None
        if count is None or count >= loose.input_tokens:
            return None
        tight = self._bounds[model] = new_bound(self.plan, model, input_tokens=count)
        return tight

    def _claim(
        self,
        amounts: Amounts,
        *,
        heeds_downgrade: bool = False,
        shrink: Shrink | None = None,
    ) -> Claim:
        plan, is_forced = self.plan, self._is_forced
        return make(
            Claim,
            (
                new_id(self.store.now()),
                plan.chain.accounts,
                amounts,
                self.owner,
                LEASE_S,
                shrink,
                plan.is_sent_at_once,
                heeds_downgrade and not is_forced,
                is_forced,
                self.about,
            ),
        )

    def _held(self, grant: Grant, granted: Bound) -> Held:
        id_, amounts, output_limit, notices = grant
        self.store.waiters.holders[id_] = self.owner
        return make(Held, (id_, granted, amounts, output_limit, False, notices))

    def tell(self, notices: tuple[Notice, ...]) -> None:
        """Log the thresholds that were passed, and tell whoever asked to be told."""
        for notice in notices:
            self._policy_of(notice.key).announce(notice)

    def _ladder(self) -> tuple[str, ...]:
        if not self.plan.can_downgrade:
            return ()
        return self.plan.chain.ladders.get(self.plan.ask.model, ())

    def _policy_of(self, key: str) -> Policy:
        return self.plan.chain.policy_of(key)

    def _usable(self, ladder: tuple[str, ...]) -> tuple[str, ...]:
        """Return the steps of the ladder whose bound is known; the others are passed over."""
        usable: list[str] = []
        for model in ladder:
            try:
                self._bound(model)
            except (UnknownPrice, UnmeteredEndpoint) as error:
                _tell_unusable(model, str(error))
            else:
                usable.append(model)
        return tuple(usable)

    def _has_made_room(self, refusal: Refusal) -> Generator[Step, Any, bool]:
        """Do what the budget says about a call that does not fit; return whether to go down the list again."""
        on_exceed = self._policy_of(refusal.key).on_exceed
        exceeded = self.exceeded(refusal, self._bound(self.plan.ask.model))
        if on_exceed == "warn":
            logger.warning('%s It is let through: on_exceed is "warn".', exceeded)
            self._is_forced = True
            return True
        if not callable(on_exceed) or self.asked >= _QUESTIONS_MOST or is_asking.get():
            return False
        asked, is_ours = open_question(self.store, refusal.key, self.owner)
        if not is_ours:
            return self.plan.can_wait and (yield from asked.wait(self._ticket(refusal.key)))
        try:
            if has_other_limit(self.store, refusal):
                # Somebody else's question was answered since the refusal: that one need not be put again.
                return True
            self.asked += 1
            answer: Any = yield Question(on_exceed, exceeded)
            has_room = self._has_room(refusal, answer)
            asked.is_refused = not has_room
            return has_room
        finally:
            close_question(self.store, refusal.key, asked)

    def _has_room(self, refusal: Refusal, answer: Any) -> bool:  # noqa: ANN401 - what a user's function returned
        if answer is None or answer is False:
            # A function may have set budget.limit itself and returned nothing: see whether that made room.
            return has_other_limit(self.store, refusal)
        if answer is not True:
            set_limit(self.plan.chain, self.store, refusal, answer)
        return True

    def _ticket(self, key: str) -> Ticket:
        loop = asyncio.get_running_loop() if self.plan.is_async else None
        return Ticket(key, self.owner, None if loop is None else loop.create_future())

    def on_exceed_of(self, exceeded: BudgetExceeded) -> OnExceed:
        """Return what the budget of the account that refused says about a call that does not fit."""
        account = exceeded.details.account
        key = next((a.key for a in self.plan.chain.accounts if a.name == account), "")
        return self._policy_of(key).on_exceed

    def exceeded(self, refusal: Refusal, asked: Bound) -> BudgetExceeded:
        """Return a refusal as the error that a user sees."""
        return exceeded_by(self.plan, refusal, asked, self._policy_of(refusal.key))


@lru_cache(maxsize=256)
def _tell_unusable(model: str, why: str) -> None:
    """Say, once in a process, that a step of a ladder cannot be taken."""
    logger.warning('downgrade: "%s" is passed over: %s', model, why)
