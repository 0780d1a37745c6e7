"""A budget: an amount that a scope may spend in a window, split among agents if you like."""

from __future__ import annotations

import threading
from fractions import Fraction
from typing import TYPE_CHECKING, Literal

from bursar.account import Account, Limits
from bursar.allotment import Share, split
from bursar.budget.arguments import (
    check_is_told,
    checked_agents,
    parse_allotments,
    parse_at_least,
    parse_ladder,
    parse_limits,
    parse_min_output_tokens,
    parse_name,
    parse_on_exceed,
    parse_on_store_failure,
    parse_store,
    parse_threshold,
    parse_thresholds,
)
from bursar.budget.declared import Declared, Scope
from bursar.budget.misnamed import Misnamed
from bursar.dropped import dropped
from bursar.errors import UnknownAgent
from bursar.ids import new_id
from bursar.ledger.report import Report
from bursar.money import Money, format_usd, parse_usd, to_usd
from bursar.paychain import Link, limit_changes, limits_lock
from bursar.policy import (
    DEFAULT_MIN_OUTPUT_TOKENS,
    DEFAULT_WAIT_S,
    DEFAULT_WARN_AT,
    OnExceed,
    Policy,
)
from bursar.run import Run
from bursar.store import Where
from bursar.stores.opening import open_store
from bursar.tuples import make
from bursar.watching import Watch
from bursar.window import Per, Window, describe, parse_per, window_at

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import timedelta
    from decimal import Decimal

    from bursar.ledger import Anomaly
    from bursar.reservation import Notice
    from bursar.store import Store


class Budget:
    """
    An amount that a run, a day, a month or all time may spend, reserved before every call.

    ```python
    Budget("$5.00", agents={"planner": "15%", "researcher": "50%"}, downgrade={"gpt-4o": "gpt-4o-mini"})
    ```

    Args:
        limit: Dollars: `"$5.00"`, `5`, `Decimal("0.50")`; None for no limit in money.

        agents: What each agent may spend of it: a share (`"15%"`), an amount (`"$1.50"`), or a `Budget` with limits
            and rules of its own. An agent that is not named spends from what the others leave.

        per: When it renews: each `"run"`, UTC `"day"` or `"month"`, a `timedelta`, or never (`"total"`). A budget that
            is not per run is shared by everyone who uses its name, or its workflow where it has none.

        within: The budget around this one; a call is paid from both or not at all.

        name: Names it in errors, reports and the store.

        tokens, calls, attempts: Limits in other units on the same budget: tokens in and out, calls, and requests sent
            with retries.

        warn_at: Shares of the limit, spent or reserved, at which to log a warning and call *on_notice*, once each:
            `0.8` or `"80%"`, or several.

        downgrade: The cheaper model that stands in for a model that no longer fits: a name, or several in order.

        downgrade_at: The share of the limit, spent or reserved, from which calls are downgraded at once.

        on_exceed: What becomes of a call that does not fit: `"raise"`, `"stop"` (a real answer that says why),
            `"warn"` (let it through), or a function that is given the `BudgetExceeded` and may raise the limit: it
            returns the new limit, or True if it made room itself, or False to refuse.

        on_notice: Called with each `Notice`.

        on_anomaly: Called with an `Anomaly` when a run under way has cost more than all but two in a thousand of its
            workflow's runs do, before its next call is sent; what it raises stops that call. The ledger is read for
            it at a workflow's first call.

        min_output_tokens: The smallest output limit that a request is lowered to, to fit what is left.

        wait_s: Seconds that a call waits for what others hold reserved.

        store: Where accounts and ledger are kept: `"memory:"`, `"sqlite:///ledger.db"`, `"postgresql://host/database"`,
            or an open store; by default `BURSAR_STORE`, else a file in the user's data folder.

        on_store_failure: `"closed"` refuses calls while the store does not answer; `"open"` lets them through unpaid.

        oversubscribe: Allow shares that add up to more than 100 %; the whole still holds.

    Attributes:
        has_own_store: Whether a store was named for this budget, or it was used with one.

    Raises:
        ValueError: A limit, share or threshold makes no sense; the message names it and the remedy.
    """

    def __init__(
        self,
        limit: Money | None = None,
        *,
        agents: Mapping[str, Money | Budget] | None = None,
        per: Literal["run", "day", "month", "total"] | timedelta = "run",
        within: Budget | None = None,
        name: str | None = None,
        tokens: int | None = None,
        calls: int | None = None,
        attempts: int | None = None,
        warn_at: float | str | Sequence[float | str] | None = DEFAULT_WARN_AT,
        downgrade: Mapping[str, str | Sequence[str]] | None = None,
        downgrade_at: float | str | None = None,
        on_exceed: OnExceed = "raise",
        on_notice: Callable[[Notice], object] | None = None,
        on_anomaly: Callable[[Anomaly], object] | None = None,
        min_output_tokens: int = DEFAULT_MIN_OUTPUT_TOKENS,
        wait_s: float = DEFAULT_WAIT_S,
        store: Store | str | None = None,
        on_store_failure: Literal["closed", "open"] = "closed",
        oversubscribe: bool = False,
    ) -> None:
        self.name = parse_name(name, "a budget's name")
        _check_within(within)
        if on_notice is not None:
            check_is_told(on_notice, "on_notice", "a Notice")
        if on_anomaly is not None:
            check_is_told(on_anomaly, "on_anomaly", "an Anomaly")
        self.watch = None if on_anomaly is None else Watch(on_anomaly)
        self.per: Per = parse_per(per)
        self.within = within
        self.policy = Policy(
            warn_at_ppm=parse_thresholds(warn_at, "warn_at"),
            ladder=parse_ladder(downgrade),
            downgrade_at_ppm=None if downgrade_at is None else parse_threshold(downgrade_at, "downgrade_at"),
            on_exceed=parse_on_exceed(on_exceed),
            on_notice=on_notice,
            wait_s=parse_at_least(0, wait_s, "wait_s"),
            min_output_tokens=parse_min_output_tokens(min_output_tokens),
            fails_open=parse_on_store_failure(on_store_failure),
        )
        self._limits = parse_limits(limit, tokens=tokens, calls=calls, attempts=attempts)
        self._agents = _parse_agents(agents, self._limits, oversubscribe=oversubscribe)
        self._store = parse_store(store)
        self.has_own_store = store is not None
        self._lock = threading.RLock()
        self._declared = Declared()
        self._misnamed = Misnamed()
        self._standing: Run | None = None
        # Tells the account of a budget without a name from that of another one in the same run.
        self._id = new_id()[-22:-16]

    def run(self, workflow: str = "run", *, id: str | None = None) -> Run:
        """
        Return a run of *workflow* that pays from this budget, to be used in `with` or `async with`.

        Args:
            workflow: Runs of one workflow are compared with each other.

            id: The run's id; a new one if left out. A run that had this id before goes on from what it has spent; a
                store in memory forgets that when a thousand newer runs of this budget have ended.
        """
        return Run(self, workflow, id=id)

    def standing_run(self, proposed: Run) -> Run:
        """Return the run that stands for this budget outside any other: the first proposed, for all its clients."""
        with self._lock:
            if self._standing is None:
                self._standing = proposed
            return self._standing

    @property
    def store(self) -> Store:
        """Where accounts and ledger are kept; opened on first use."""
        # No `cached_property`: with Python 3.11 that makes every look at an attribute of a budget slower.
        store = self._store
        if store is None or isinstance(store, str):
            with self._lock:
                store = self._store
                if store is None or isinstance(store, str):
                    store = self._store = open_store(store)
                    self.has_own_store = True
        return store

    def bind(self, store: Store) -> None:
        """Use *store*, unless one was named; every budget of a chain must be in the same one."""
        if not self.has_own_store:
            self._store, self.has_own_store = store, True

    @property
    def limits(self) -> Limits:
        """The most of each unit; None is no limit."""
        return self._limits

    @property
    def agents(self) -> tuple[str, ...]:
        """The agents that have an allotment."""
        return tuple(self._agents)

    @property
    def limit(self) -> Decimal | None:
        """The limit in dollars; set it to raise or lower it, also while calls are in flight."""
        return None if self._limits.nanousd is None else to_usd(self._limits.nanousd)

    @limit.setter
    def limit(self, limit: Money | None) -> None:
        nanousd = None if limit is None else parse_usd(limit)
        with limits_lock:
            limit_changes.count += 1
            self._limits = self._limits._replace(nanousd=nanousd)
            self._declared.own_limits.clear()
            for (key, _, _), agents in self._declared.scopes():
                self.store.set_limits(key, self._limits)
                for agent_key, agent in agents.items():
                    self.store.set_limits(agent_key, self.agent_limits(agent))

    def set_account_limits(self, key: str, limits: Limits) -> None:
        """
        Change the limits of one account of this budget, in one run or window, until the budget's own limit is set.

        The shares of its agents follow the limits of the whole.
        """
        with limits_lock:
            limit_changes.count += 1
            self._declared.own_limits[key] = limits
            self.store.set_limits(key, limits)
            for agent_key, agent in self._declared.agents_of(key).items():
                if isinstance(self._agents[agent], Fraction) and agent_key not in self._declared.own_limits:
                    self.store.set_limits(agent_key, self.agent_limits(agent, limits))

    @property
    def spent(self) -> Decimal:
        """Dollars spent, presumed spending included: in all its runs of this process, or in the current window."""
        dropped.do_all()
        return to_usd(self._declared.spent_nanousd(self.store, self.store.now()))

    @property
    def remaining(self) -> Decimal | None:
        """Dollars left in its newest run or in the current window; None without a limit."""
        dropped.do_all()
        key = self._declared.newest(self.store.now())
        state = None if key is None else self.store.state(key)
        if state is None or state.limits.nanousd is None:
            return None if state is not None else self.limit
        committed = state.spent.nanousd + state.presumed.nanousd + state.reserved.nanousd
        return to_usd(max(state.limits.nanousd - committed, 0))

    @property
    def runs(self) -> list[Run]:
        """Its newest runs in this process, oldest first."""
        return self._declared.runs()

    def note_closed(self, run: Run) -> None:
        """Note that *run* has ended; of those that ended long ago only what they spent is remembered."""
        self._declared.note_closed(run)
        if self.watch is not None:
            self.watch.end(run)
        if self.within is not None:
            self.within.note_closed(run)

    def report(self) -> Report:
        """Return what its newest runs of this process have cost, 10,000 at most."""
        dropped.do_all()
        return Report.of(self.store, Where(run_ids=self._declared.run_ids()))

    def agent_limits(self, agent: str, whole: Limits | None = None) -> Limits:
        """
        Return what *agent* may spend of *whole*, which is the budget's own limits if left out.

        Raises:
            UnknownAgent: It has no allotment.
        """
        terms = self._agents.get(agent)
        if terms is None:
            raise self.unknown_agent(agent)
        if isinstance(terms, Budget):
            return terms.limits
        if isinstance(terms, int):
            return Limits(terms)
        shares = {name: share for name, share in self._agents.items() if isinstance(share, Fraction)}
        return split(self._limits if whole is None else whole, shares)[agent]

    def agent_policy(self, agent: str) -> Policy:
        """Return the rules for *agent*: its own where its allotment is a `Budget`, else this budget's."""
        terms = self._agents.get(agent)
        return terms.policy if isinstance(terms, Budget) else self.policy

    def unknown_agent(self, agent: str) -> UnknownAgent:
        """Return the error for a name the user typed that has no allotment here."""
        known = ", ".join(f'"{name}"' for name in self._agents)
        return UnknownAgent(
            f'agent "{agent}" has no allotment in this budget, which names {known}; correct the name, or '
            "add it to agents="
        )

    def accounts(self, run: Run, agent: str, at_s: float) -> tuple[list[Link], float | None]:
        """
        Return the accounts that *agent* pays from in *run*, from the agent outwards, and when to ask again.

        The budgets around this one come after its own, each account with the rules that hold for it.
        """
        scope = self._scope(run, at_s)
        key, label, ends_s = scope
        declared, policy = self._declared, self.policy
        whole = declared.own_limits.get(key, self._limits)
        account = make(
            Account,
            (key, label or f'agent "{agent}"', whole, policy.warn_at_ppm, policy.downgrade_at_ppm),
        )
        chain = [make(Link, (account, policy, self))]
        agent_key = ""
        if self._agents:
            if agent in self._agents:
                agent_key = f"{key}/agent:{agent}"
                chain.insert(0, self._link_of(agent, agent_key, label, whole))
            else:
                self._misnamed.look_at(agent, self._agents)
        declared.note(run, scope, agent_key, agent, at_s=at_s)
        if self.within is None:
            return chain, ends_s
        outer, outer_ends_s = self.within.accounts(run, agent, at_s)
        ends = [end for end in (ends_s, outer_ends_s) if end is not None]
        return chain + outer, min(ends, default=None)

    def own_account(self, run: Run, at_s: float) -> Account:
        """Return the account of this budget as a whole that *run* pays from."""
        key, label, _ = self._scope(run, at_s)
        return _account(key, label, self._declared.own_limits.get(key, self._limits), self.policy)

    def _link_of(self, agent: str, key: str, label: str, whole: Limits) -> Link:
        policy = self.agent_policy(agent)
        name = f'agent "{agent}" in {label}' if label else f'agent "{agent}"'
        limits = self._declared.own_limits.get(key) or self.agent_limits(agent, whole)
        return Link(_account(key, name, limits, policy), policy, self)

    def _scope(self, run: Run, at_s: float) -> Scope:
        if self.per == "run":
            label = f'budget "{self.name}" in {run.title}' if self.name else run.title
            return f"run:{run.id}:{self.name or self._id}", label, None
        window: Window = window_at(self.per, at_s)
        if self.name:
            label = f'budget "{self.name}" {describe(self.per)}'
            return f"budget:{self.name}:{window.name}", label, window.ends_s
        label = f'workflow "{run.workflow}" {describe(self.per)}'
        return f"workflow:{run.workflow}:{window.name}", label, window.ends_s

    def __repr__(self) -> str:
        limit = "no limit" if self._limits.nanousd is None else format_usd(self._limits.nanousd)
        return f"Budget({limit} {describe(self.per)}{f', name={self.name!r}' if self.name else ''})"


_Terms = Share | int | Budget


def _account(key: str, name: str, limits: Limits, policy: Policy) -> Account:
    return make(Account, (key, name, limits, policy.warn_at_ppm, policy.downgrade_at_ppm))


def _check_within(within: object) -> None:
    if within is not None and not isinstance(within, Budget):
        msg = f"within must be the Budget around this one, not {within!r}; write within=Budget({within!r})"
        raise TypeError(msg)


def _parse_agents(agents: object, limits: Limits, *, oversubscribe: bool) -> dict[str, _Terms]:
    given = checked_agents(agents)
    own = {name: value for name, value in given.items() if isinstance(value, Budget)}
    for name, terms in own.items():
        _check_terms(name, terms)
    others = {name: value for name, value in given.items() if name not in own}
    allotments = parse_allotments(others, limits, oversubscribe=oversubscribe)
    return {name: own[name] if name in own else allotments[name] for name in given}


def _check_terms(agent: str, terms: Budget) -> None:
    """Check the budget of an agent, of which the limits and the rules hold, in the run or window of the whole."""
    if terms.within is not None or terms.agents or terms.per != "run" or terms.watch is not None:
        msg = (
            f'the allotment of agent "{agent}" is a budget with within=, agents=, per= or on_anomaly=, which hold for '
            "the whole; give it limits and rules alone"
        )
        raise ValueError(msg)
