"""The accounts that a call is paid from: of its agent, its run, the runs around that, and their budgets."""

from __future__ import annotations

import threading
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Final, NamedTuple

from bursar.policy import Policy

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bursar.account import Account
    from bursar.budget import Budget
    from bursar.entry import Agent
    from bursar.run import Run

_NO_RULES: Final = Policy()


class Link(NamedTuple):
    """One account of a chain, the rules that hold for it, and whose it is."""

    account: Account
    policy: Policy
    budget: Budget


limits_lock: Final = threading.RLock()
"""
Held while limits are read and declared, and while they are changed.

A call that read a limit before it was raised must not declare what it read after that.
"""


class _LimitChanges:
    """Counts the changes of limits in this process, under `limits_lock`."""

    count = 0


limit_changes: Final = _LimitChanges()


class PayChain:
    """
    The accounts that an agent pays from, from the agent outwards; never changed, what follows from them included.

    Attributes:
        links: Each account with the rules that hold for it, and whose it is.

        accounts: The accounts alone; the same tuple for as long as the chain lives.

        ends_s: When a window of the chain ends and the chain must be asked for again.

        innermost: The rules of the agent's own account, or no rules for a client that is metered and not limited.

        limits_money: Whether any account limits dollars, so that a call without a known price must be refused.

        is_limited: Whether any account limits what a call may cost, in dollars or in tokens.

        is_watched: Whether any budget wants to be told of a run that comes to cost more than usual.

        changes: How many changes of limits there were before it; see `is_newest`.
    """

    accounts: tuple[Account, ...]

    def __init__(self, links: Sequence[Link], ends_s: float | None = None) -> None:
        self.changes = limit_changes.count
        self.links = links
        self.ends_s = ends_s
        if len(links) == 1:
            # Nearly always, where each call is a run of its own.
            ((account, self.innermost, budget),) = links
            nanousd, tokens, _, _ = account[2]
            self.limits_money = nanousd is not None
            self.is_limited = self.limits_money or tokens is not None
            self.is_watched = budget.watch is not None
            self.accounts = (account,)
        else:
            self.innermost = links[0].policy if links else _NO_RULES
            self.accounts = tuple([link.account for link in links])
            self.limits_money = any(account.limits.nanousd is not None for account in self.accounts)
            self.is_limited = self.limits_money or any(
                account.limits.tokens is not None for account in self.accounts
            )
            self.is_watched = any(link.budget.watch is not None for link in links)

    @property
    def is_newest(self) -> bool:
        """Whether no limit was changed since; if one was, what follows from the limits may be other."""
        return self.changes == limit_changes.count

    @cached_property
    def ladders(self) -> dict[str, tuple[str, ...]]:
        """The models that stand in for a model, of the innermost account that names any for it."""
        ladders: dict[str, tuple[str, ...]] = {}
        for link in reversed(self.links):
            ladders.update(link.policy.ladder)
        return ladders

    @property
    def keys(self) -> tuple[str, ...]:
        """The accounts' keys."""
        return tuple(account.key for account in self.accounts)

    @property
    def fails_open(self) -> bool:
        """Whether calls go through unpaid while the store does not answer: only where every budget says so."""
        return all(link.policy.fails_open for link in self.links)

    def policy_of(self, key: str) -> Policy:
        """Return the rules for the account *key*; those of the innermost where it is none of the chain's."""
        return next((link.policy for link in self.links if link.account.key == key), self.innermost)

    def budget_of(self, key: str) -> Budget:
        """Return the budget that the account *key* belongs to."""
        return next(link.budget for link in self.links if link.account.key == key)


class Booking(NamedTuple):
    """What one call is booked to, and what it is paid from."""

    run: Run
    agent: Agent
    chain: PayChain

    def with_ladder(self, model: str, steps: tuple[str, ...]) -> Booking:
        """Return it with *steps* as the only models that stand in for *model*, whichever budget is short."""
        links = [
            link._replace(policy=replace(link.policy, ladder={**link.policy.ladder, model: steps}))
            for link in self.chain.links
        ]
        return self._replace(chain=PayChain(links, self.chain.ends_s))
