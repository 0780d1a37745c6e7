"""
When a budget is too little for another call, told before that call is made.

What is left of a budget is rarely nothing: it is less than the next call may cost.  Who makes that, nobody knows yet.
But it reads what the last call of its agent read, and all that was said since; so what must be left is the most, of
all agents of the team, of the least that such a call can be made for.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from functools import lru_cache
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final, NamedTuple
from weakref import WeakKeyDictionary

from bursar.account import UNITS
from bursar.bound import bound
from bursar.money import ceil_to_nano, to_usd
from bursar.policy import format_amount
from bursar.tokens import encoding_name
from bursar.wire.weigh import text_tokens_most

if TYPE_CHECKING:
    from collections.abc import Callable

    from bursar.account import Account, AccountState
    from bursar.bound import Bound
    from bursar.errors import BudgetExceeded
    from bursar.meter import Held, Plan
    from bursar.run import Run
    from bursar.usage import Usage

_TEAMS_MOST: Final = 4_096
_AGENTS_MOST: Final = 256
_PER_MESSAGE: Final = 32
"""Tokens for what is around a message: its role, and the name of who said it."""

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


class _Need:
    """
    The least that the next call of one agent may cost.

    Attributes:
        input_tokens: What it will read: what its last call read, and all that was said since.

        asked: The bound of that call.
    """

    __slots__ = ("asked", "input_tokens")

    def __init__(self, asked: Bound) -> None:
        self.asked = asked
        self.input_tokens = asked.input_tokens

    @property
    def nanousd(self) -> int:
        """The cost with the smallest answer, rounded up."""
        shrink = self.asked.shrink
        each_picousd = shrink.fixed_picousd // max(self.asked.input_tokens, 1)
        return ceil_to_nano(self.input_tokens * each_picousd + shrink.least * shrink.output_picousd)

    @property
    def tokens(self) -> int:
        """The tokens, in and out."""
        shrink = self.asked.shrink
        return self.input_tokens + shrink.least * shrink.output_tokens


_needs: Final[OrderedDict[str, dict[str, _Need]]] = OrderedDict()
"""By team, whose agents remember from run to run what was said, and by agent."""

_lock: Final = threading.Lock()


def note_held(plan: Plan, held: Held) -> None:
    """Remember that a call got through, and what the next one like it needs."""
    if _refused:
        for run in plan.run.lineage:
            _refused.pop(run, None)
    need = _Need(held.bound)
    for step in plan.chain.ladders.get(plan.ask.model, ()) if plan.can_downgrade else ():
        need = min(need, _Need(_bound_at(plan, step)), key=lambda each: each.nanousd)
    team = _team_of(plan.run)
    agents = _needs.get(team)
    if agents is None or len(agents) >= _AGENTS_MOST:
        agents = {}
        with _lock:
            _needs[team] = agents
            if len(_needs) > _TEAMS_MOST:
                _needs.popitem(last=False)
    agents[plan.agent.name] = need


def note_answered(plan: Plan, usage: Usage, text: Callable[[], str]) -> None:
    """
    Remember that all agents of a team will read what one has answered.

    Args:
        usage: What the call did use. Where prompts are counted exactly, the next one will be, too.

        text: Returns all that it answered.
    """
    is_counted = bool(usage.input_tokens) and _can_count(plan.ask.model)
    size = (usage.output_tokens if is_counted else text_tokens_most(text())) + _PER_MESSAGE
    for agent, need in tuple(_needs.get(_team_of(plan.run), {}).items()):
        if is_counted and agent == plan.agent.name:
            need.input_tokens = usage.input_tokens
        need.input_tokens += size


def _team_of(run: Run) -> str:
    """Return the id of the team that *run* is one of; of another run, its own."""
    return run.id.partition(".")[0]


@lru_cache(maxsize=1024)
def _can_count(model: str) -> bool:
    """Whether prompts to *model* are counted exactly where their bytes do not fit, told without loading its table."""
    return encoding_name(model) is not None and find_spec("bpe_openai") is not None


def _bound_at(plan: Plan, model: str) -> Bound:
    return bound(
        plan.ask_of(model),
        provider=plan.provider,
        model=model,
        min_output_tokens=plan.chain.innermost.min_output_tokens,
        is_limited=False,
    )


def shortage(run: Run, agent: str = "") -> Short | None:
    """
    Return the first account of *run* that has too little left for another call, or None.

    Holds of calls in flight are not counted, as most of them return; nor are accounts whose budget asks a function.

    Args:
        agent: Whose own account to look at too; none by default.
    """
    chain = run.chain(agent)
    for account, policy, _ in chain.links:
        if callable(policy.on_exceed):
            # Somebody is asked before a call is refused, and may raise the limit.
            continue
        state = run.store.state(account.key)
        if state is not None and (short := _short(run, account, state)) is not None:
            return short
    return None


def _short(run: Run, account: Account, state: AccountState) -> Short | None:
    needs = list(_needs.get(_team_of(run), {}).values())
    nanousd = max((need.nanousd for need in needs), default=1)
    tokens = max((need.tokens for need in needs), default=1)
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
