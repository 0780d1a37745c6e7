"""Asking a user about a call that does not fit: once per account, however many calls wait for the answer."""

from __future__ import annotations

import threading
import weakref
from typing import TYPE_CHECKING, Final

from bursar.account import UNITS, Limits
from bursar.meter.pausing import Pause
from bursar.money import parse_usd
from bursar.owner import is_of

if TYPE_CHECKING:
    from collections.abc import Generator

    from bursar.meter.pausing import Step
    from bursar.money import Money
    from bursar.paychain import PayChain
    from bursar.reservation import Refusal
    from bursar.store import Store
    from bursar.waiting import Ticket

_LOOK_AGAIN_S: Final = 3_600.0


class Asked:
    """
    One question that is being put to the user, and the calls that wait for its answer.

    Attributes:
        owner: Who puts it.

        is_over: Whether it is answered, or was given up.

        is_refused: Whether the answer was no, which then holds for all that waited for it.
    """

    def __init__(self, owner: str) -> None:
        self.owner = owner
        self.is_over = False
        self.is_refused = False
        self._waiting: list[Ticket] = []

    def wait(self, ticket: Ticket) -> Generator[Step, object, bool]:
        """
        Yield until the question is over, and return whether to look again.

        A call that blocks cannot wait for a task of its own thread to be answered: to that one, the answer is no.
        """
        if ticket.blocks and is_of(self.owner, ticket.owner):
            return False
        with _lock:
            self._waiting.append(ticket)
        while not self.is_over:
            yield Pause(ticket, _LOOK_AGAIN_S)
        return not self.is_refused

    def end(self) -> None:
        """Let those that wait go on."""
        with _lock:
            self.is_over = True
            waiting, self._waiting = self._waiting, []
        for ticket in waiting:
            ticket.wake()


def open_question(store: Store, key: str, owner: str) -> tuple[Asked, bool]:
    """Return the question that is being put about the account *key*, and whether it is the caller's to put."""
    with _lock:
        questions = _questions.setdefault(store, {})
        asked = questions.get(key)
        if asked is not None and not asked.is_over:
            return asked, False
        asked = questions[key] = Asked(owner)
        return asked, True


def close_question(store: Store, key: str, asked: Asked) -> None:
    """End a question that the caller put, answered or not."""
    with _lock:
        questions = _questions.get(store, {})
        if questions.get(key) is asked:
            del questions[key]
    asked.end()


def has_other_limit(store: Store, refusal: Refusal) -> bool:
    """Whether the limit that a call was refused by has been changed since."""
    state = store.state(refusal.key)
    # A unit without a limit is refused by an account that is latched: as if by a limit of zero.
    return state is not None and (state.limits[refusal.unit] or 0) != refusal.limit


def set_limit(chain: PayChain, store: Store, refusal: Refusal, limit: Money) -> None:
    """
    Give the account that refused the limit that the user answered with.

    Raises:
        ValueError: It is no amount, or no whole number where the unit is one of counts.
    """
    state = store.state(refusal.key)
    before = state.limits if state is not None else Limits()
    if refusal.unit == 0:
        amount = parse_usd(limit, what="the limit that on_exceed returned")
    elif isinstance(limit, int) and not isinstance(limit, bool) and limit >= 0:
        amount = limit
    else:
        msg = (
            f"on_exceed returned {limit!r} as the limit of {refusal.account} in {UNITS[refusal.unit]}; "
            "return a whole number"
        )
        raise ValueError(msg)
    limits = Limits(*(amount if unit == refusal.unit else kept for unit, kept in enumerate(before)))
    chain.budget_of(refusal.key).set_account_limits(refusal.key, limits)


_lock: Final = threading.RLock()
_questions: Final[weakref.WeakKeyDictionary[Store, dict[str, Asked]]] = weakref.WeakKeyDictionary()
