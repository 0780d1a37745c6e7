"""The accounts that a call is paid from: of its agent, its run, the runs around that, and their budgets."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Final, NamedTuple

from bursar.policy import Policy

if TYPE_CHECKING:
    from collections.abc import Mapping

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


@dataclass(eq=False)
class PayChain:
    """
    The accounts that an agent pays from, from the agent outwards; never changed, what follows from them included.

    Attributes:
        policies: The rules that hold for each account, by its key.

        ends_s: When a window of the chain ends and the chain must be asked for again.

        budgets: The budget that each account belongs to, by its key.

        innermost: The rules of the agent's own account, or no rules for a client that is metered and not limited.

        limits_money: Whether any account limits dollars, so that a call without a known price must be refused.

        is_limited: Whether any account limits what a call may cost, in dollars or in tokens.

        is_watched: Whether any budget wants to be told of a run that comes to cost more than usual.

        changes: How many changes of limits there were before it; see `is_newest`.
    """

    accounts: tuple[Account, ...]
    policies: dict[str, Policy]
    ends_s: float | None
    budgets: Mapping[str, Budget]
    innermost: Policy = field(init=False)
    limits_money: bool = field(init=False)
    is_limited: bool = field(init=False)
    is_watched: bool = field(init=False)
    changes: int = field(init=False)

    def __post_init__(self) -> None:
        self.changes = limit_changes.count
        self.innermost = next(iter(self.policies.values()), _NO_RULES)
        self.limits_money = self.is_limited = self.is_watched = False
        for account in self.accounts:
            limits = account.limits
            self.limits_money = self.limits_money or limits.nanousd is not None
            self.is_limited = self.is_limited or limits.nanousd is not None or limits.tokens is not None
        for budget in self.budgets.values():
            self.is_watched = self.is_watched or budget.watch is not None

    @property
    def is_newest(self) -> bool:
        """Whether no limit was changed since; if one was, what follows from the limits may be other."""
        return self.changes == limit_changes.count

    @cached_property
    def ladders(self) -> dict[str, tuple[str, ...]]:
        """The models that stand in for a model, of the innermost account that names any for it."""
        ladders: dict[str, tuple[str, ...]] = {}
        for policy in reversed(self.policies.values()):
            ladders.update(policy.ladder)
        return ladders

    @property
    def keys(self) -> tuple[str, ...]:
        """The accounts' keys."""
        return tuple(account.key for account in self.accounts)

    @property
    def fails_open(self) -> bool:
        """Whether calls go through unpaid while the store does not answer: only where every budget says so."""
        return all(policy.fails_open for policy in self.policies.values())


class Booking(NamedTuple):
    """What one call is booked to, and what it is paid from."""

    run: Run
    agent: Agent
    chain: PayChain

    def with_ladder(self, model: str, steps: tuple[str, ...]) -> Booking:
        """Return it with *steps* as the only models that stand in for *model*, whichever budget is short."""
        policies = {
            key: replace(policy, ladder={**policy.ladder, model: steps})
            for key, policy in self.chain.policies.items()
        }
        return self._replace(chain=replace(self.chain, policies=policies))
