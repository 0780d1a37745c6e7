"""
When a budget is too little for another call, told before that call is made.

What is left of a budget is rarely nothing: it is less than the next call may cost.  The next call of a conversation
asks for no less than the last one, so the least that the last one could have been made for is what must be left.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple
from weakref import WeakKeyDictionary

from bursar.account import UNITS
from bursar.bound import bound
from bursar.money import ceil_to_nano, to_usd
from bursar.policy import format_amount

if TYPE_CHECKING:
    from bursar.account import Account, AccountState
    from bursar.bound import Bound
    from bursar.errors import BudgetExceeded
    from bursar.meter import Held, Plan
    from bursar.run import Run
    from bursar.store import Store

_ACCOUNTS_MOST: Final = 10_000
_OF_AGENT: Final = "/agent:"
"""What the key of an agent's own account has, and no other's."""


class Short(NamedTuple):
    """
    An account that has too little left.

    Attributes:
        account: Its name, in words.

        unit: What runs short, as its place in `UNITS`.

        limit, left: Of that unit.
    """

    account: str
    unit: int
    limit: int
    left: int

    def __str__(self) -> str:
        """Return a sentence with the numbers."""
        limit, left = format_amount(self.limit, self.unit), format_amount(max(self.left, 0), self.unit)
        return f"{self.account} may spend {limit} and has {left} left, too little for another call"


_least: Final[WeakKeyDictionary[Store, dict[str, tuple[int, int]]]] = WeakKeyDictionary()


def note_least(plan: Plan, held: Held) -> None:
    """Remember the least, in nano-dollars and in tokens, that the call just held for could have been made for."""
    known = _least.get(plan.run.store)
    if known is None:
        known = _least[plan.run.store] = {}
    elif len(known) >= _ACCOUNTS_MOST:
        known.clear()
    least = _least_of(held.bound)
    for step in _ladder(plan):
        least = min(least, _least_of(_bound_at(plan, step)))
    for account in plan.chain.accounts:
        known[account.key] = least


def _least_of(asked: Bound) -> tuple[int, int]:
    shrink = asked.shrink
    nanousd = ceil_to_nano(shrink.fixed_picousd + shrink.least * shrink.output_picousd)
    return nanousd, shrink.fixed_tokens + shrink.least * shrink.output_tokens


def _ladder(plan: Plan) -> tuple[str, ...]:
    if not plan.can_downgrade:
        return ()
    ladders = (policy.ladder for policy in plan.chain.policies.values())
    return next((ladder[plan.ask.model] for ladder in ladders if plan.ask.model in ladder), ())


def _bound_at(plan: Plan, model: str) -> Bound:
    policy = next(iter(plan.chain.policies.values()))
    least = policy.min_output_tokens
    return bound(
        plan.ask_of(model), provider=plan.provider, model=model, min_output_tokens=least, is_limited=False
    )


def shortage(run: Run, agent: str = "") -> Short | None:
    """
    Return the first account of *run* that has too little left for another call, or None.

    Holds of calls in flight are not counted: most of them return.

    Args:
        agent: Whose own account to look at too; none by default.
    """
    for account in run.chain(agent).accounts:
        state = run.store.state(account.key)
        if state is not None and (short := _short(run.store, account, state)) is not None:
            return short
    return None


def _short(store: Store, account: Account, state: AccountState) -> Short | None:
    nanousd, tokens = _least.get(store, {}).get(account.key, (1, 1))
    needed = (nanousd, tokens, 1, 1)
    for unit in range(len(UNITS)):
        limit = state.limits[unit]
        if limit is None:
            continue
        left = limit - state.spent[unit] - state.presumed[unit]
        if left < max(needed[unit], 1) or state.is_latched:
            return Short(account.name, unit, limit, left)
    return None


class _Refused:
    """What was refused in a run since a call got through: the last refusal, and that of each agent."""

    def __init__(self) -> None:
        self.shared: BudgetExceeded | None = None
        self.again: BudgetExceeded | None = None
        self.agents: set[str] = set()


_refused: Final[WeakKeyDictionary[Run, _Refused]] = WeakKeyDictionary()


def note_refused(plan: Plan, exceeded: BudgetExceeded) -> None:
    """Remember that a call was refused, for the conditions of its team and of the teams around that one."""
    if exceeded.details.reason == "busy":
        return
    key = next(
        (account.key for account in plan.chain.accounts if account.name == exceeded.details.account), ""
    )
    for run in plan.run.lineage:
        known = _refused.setdefault(run, _Refused())
        if _OF_AGENT not in key:
            known.shared = exceeded
        elif exceeded.agent in known.agents:
            known.again = exceeded
        known.agents.add(exceeded.agent)


def note_held(plan: Plan) -> None:
    """Remember that a call got through."""
    if _refused:
        for run in plan.run.lineage:
            _refused.pop(run, None)


def refusal_that_stays(run: Run) -> BudgetExceeded | None:
    """
    Return a refusal after which nobody in *run* gets any further, or None.

    One by an account that all share; or the second of the same agent, if no call of any other got through between
    them: then everybody has had a turn, and nobody has anything left.
    """
    known = _refused.get(run)
    if known is None:
        return None
    for exceeded in (known.shared, known.again):
        if exceeded is not None and not _has_other_limit(run, exceeded):
            return exceeded
    return None


def _has_other_limit(run: Run, exceeded: BudgetExceeded) -> bool:
    """Whether the limit that a call was refused by has been changed since."""
    details = exceeded.details
    unit = UNITS.index(details.unit)
    for account in run.chain(exceeded.agent).accounts:
        state = run.store.state(account.key)
        if account.name == details.account and state is not None:
            limit = state.limits[unit]
            return limit is None or (to_usd(limit) if unit == 0 else limit) != details.limit
    return False
