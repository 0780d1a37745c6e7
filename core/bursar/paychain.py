"""The accounts that a call is paid from: of its agent, its run, the runs around that, and their budgets."""

from __future__ import annotations

import threading
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bursar.account import Account
    from bursar.budget import Budget
    from bursar.policy import Policy


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


class PayChain(NamedTuple):
    """
    The accounts that an agent pays from, from the agent outwards.

    Attributes:
        policies: The rules that hold for each account, by its key.

        ends_s: When a window of the chain ends and the chain must be asked for again.

        budgets: The budget that each account belongs to, by its key.
    """

    accounts: tuple[Account, ...]
    policies: dict[str, Policy]
    ends_s: float | None
    budgets: Mapping[str, Budget] = MappingProxyType({})

    @property
    def fails_open(self) -> bool:
        """Whether calls go through unpaid while the store does not answer: only where every budget says so."""
        return all(policy.fails_open for policy in self.policies.values())

    @property
    def limits_money(self) -> bool:
        """Whether any account limits dollars, so that a call without a known price must be refused."""
        return any(account.limits.nanousd is not None for account in self.accounts)

    @property
    def limits_tokens(self) -> bool:
        """Whether any account limits tokens."""
        return any(account.limits.tokens is not None for account in self.accounts)
