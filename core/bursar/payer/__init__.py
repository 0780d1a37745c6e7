"""
Who pays for the calls of a guarded client, or of a framework's model, and what they have come to: its `.bursar`.

`Roots` keeps the runs that a framework opens by itself.
"""

from __future__ import annotations

import threading
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from bursar.dropped import dropped
from bursar.entry import Agent
from bursar.ledger import Report
from bursar.money import to_usd
from bursar.names import writable
from bursar.paychain import Booking, limit_changes
from bursar.run import UNATTRIBUTED, Run
from bursar.scope import agent_around, agents_in, current_agent, current_run, run_around, runs_in
from bursar.store import Where

if TYPE_CHECKING:
    from decimal import Decimal

    from bursar.account import AccountState
    from bursar.budget import Budget
    from bursar.store import Store

__all__ = ["Booking", "Payer"]

_WORKFLOW: Final = "guard"
_RUNS_REMEMBERED: Final = 1_000
_AGENTS_REMEMBERED: Final = 1_000


@lru_cache(maxsize=4096)
def _named(name: str, outer: str) -> Agent:
    return Agent(name=name, path=name if outer == name else f"{outer}/{name}")


class Payer:
    """
    Pays for the calls of one guarded client or model, and its copies.

    Attributes:
        agent: Who the calls are booked to, if the client was given a name.

        budget: The client's own budget, beside that of the run around a call.
    """

    def __init__(
        self,
        budget: Budget | None,
        *,
        agent: str | None,
        workflow: str | None,
        made_in: Run | None,
        outer: Payer | None,
        store: Store | None,
    ) -> None:
        self.agent = agent
        self.budget = budget
        self._made_in = made_in
        self._outer = outer
        self._store = store
        self._workflow = workflow or (outer.agent if outer is not None else None) or _WORKFLOW
        self._lock = threading.Lock()
        self._own: Run | None = None
        self._used: dict[str, Run] = {}
        # The run around the last call, and the bookings of calls in it, by what named their agent.
        self._last: tuple[Run | None, dict[Agent | str | None, Booking]] = (None, {})

    @property
    def run(self) -> Run:
        """The run that a call made here and now is booked to."""
        run = run_around() or self._made_in
        if run is not None and run.is_open_in_store:
            return run
        return self._own_run(None)

    @property
    def agent_name(self) -> str:
        """The agent that a call made here and now is booked to."""
        if self.agent is not None:
            return self.agent
        if (named := agent_around()) is not None:
            return named
        return self._outer.agent_name if self._outer is not None else UNATTRIBUTED

    def booking(self, named: Agent | None = None, *, run: Run | None = None) -> Booking:
        """
        Return what a call made here and now is booked to and paid from.

        Args:
            named: The agent, where a framework names it; a name that the user gave this payer stands before it.

            run: The run, where a framework has one of its own (`Roots`).

        Raises:
            UnknownAgent: The run's budget has no allotment for the name that this client was given.
        """
        around = run or (run_around() if runs_in else current_run.get())
        name = named or (agent_around() if agents_in else current_agent.get())
        last, known = self._last
        booking = known.get(name) if last is around else None
        if booking is not None and booking.chain.changes == limit_changes.count:
            # Nearly always.
            return booking
        run = run or self.run
        agent = self._agent() if named is None else self._renamed(named)
        agent = Agent(writable(agent.name), writable(agent.path), agent.framework)
        chain = run.chain(agent.name, self._payers(run))
        if self.agent is not None and self.budget is None:
            self.check_agent(run)
        if run.id not in self._used and len(self._used) < _RUNS_REMEMBERED:
            self._used[run.id] = run
        booking = Booking(run, agent, chain)
        if chain.ends_s is None:
            if last is not around or len(known) >= _AGENTS_REMEMBERED:
                # One assignment, so that no thread finds the bookings of another run.
                self._last = around, {name: booking}
            else:
                known[name] = booking
        return booking

    def _agent(self) -> Agent:
        name = self.agent_name
        outer = self._outer.agent_name if self._outer is not None else name
        return _named(name, outer)

    def _renamed(self, named: Agent) -> Agent:
        """Return *named* under the name that the user gave this payer, if there is one."""
        if self.agent is None or self.agent == named.name:
            return named
        path = self.agent if named.name == UNATTRIBUTED else f"{named.path}/{self.agent}"
        return Agent(name=self.agent, path=path, framework=named.framework)

    def check_agent(self, run: Run | None = None) -> None:
        """
        Check that a name the user typed is known to the budget of *run*, or of the run around this code.

        Raises:
            UnknownAgent: It is not, and the client has no budget of its own.
        """
        run = run or run_around() or self._made_in
        if self.agent is None or self.budget is not None or run is None or run.budget is None:
            return
        if run.budget.agents and self.agent not in run.budget.agents:
            raise run.budget.unknown_agent(self.agent)

    @property
    def limit(self) -> Decimal | None:
        """Dollars that it may spend: of its own budget, else its agent's allotment in the run, else the run's."""
        state = self._state()
        return None if state is None or state.limits.nanousd is None else to_usd(state.limits.nanousd)

    @property
    def spent(self) -> Decimal:
        """Dollars that this client has spent, what is presumed spent included."""
        state = self._state()
        if state is None or (self.agent is not None and not self._has_own_account):
            report = self.report()
            return report.total + report.presumed
        return to_usd(state.spent.nanousd + state.presumed.nanousd)

    @property
    def reserved(self) -> Decimal:
        """Dollars held for its calls in flight."""
        state = self._state()
        return to_usd(0 if state is None else state.reserved.nanousd)

    @property
    def remaining(self) -> Decimal | None:
        """Dollars left for new calls; None without a limit."""
        state = self._state()
        if state is None or state.limits.nanousd is None:
            return None
        committed = state.spent.nanousd + state.presumed.nanousd + state.reserved.nanousd
        return to_usd(max(state.limits.nanousd - committed, 0))

    @property
    def calls(self) -> int:
        """Calls of this client of which at least one request was sent."""
        return self.report().calls

    def report(self) -> Report:
        """Return what its agent's calls have cost, in every run it was used in."""
        dropped.do_all()
        run = self.run
        runs = tuple({run.id: run, **self._used})
        return Report.of(run.store, Where(run_ids=runs, agent=self.agent))

    def _state(self) -> AccountState | None:
        """Return the account that is most this client's own."""
        dropped.do_all()
        run = self.run
        chain = run.chain(self.agent_name, self._payers(run))
        return run.store.state(chain.accounts[0].key) if chain.accounts else None

    @property
    def _has_own_account(self) -> bool:
        """Whether it has a budget of its own, or its agent an allotment; else it shares the account of the run."""
        budget = self.run.budget
        return self.budget is not None or (budget is not None and self.agent_name in budget.agents)

    def _payers(self, run: Run) -> tuple[Run, ...]:
        """Return the runs behind the budgets of this client itself, innermost first."""
        own = [] if self.budget is None or self._own is run else [self._own_run(run)]
        return (*own, *(self._outer._payers(run) if self._outer is not None else ()))

    def _own_run(self, around: Run | None) -> Run:
        """Return the run that stands for this client where there is none around the call."""
        own = self._own
        if own is not None and (own.is_open_in_store if around is None else own.is_kept_in(around.store)):
            # Every call but the first.
            return own
        with self._lock:
            if self._own is None:
                title = f'agent "{self.agent}"' if self.agent else "this client"
                self._own = Run(self.budget, self._workflow, title=title)
                if self.budget is not None:
                    self._own = self.budget.standing_run(self._own)
            if around is None:
                self._own.open(store=self._named_store())
            else:
                self._own.bind(around.store)
            return self._own

    def _named_store(self) -> Store | None:
        """Return the store that was named for this client, or for one that it was made from."""
        if self._store is not None or self._outer is None:
            return self._store
        budget = self._outer.budget
        return budget.store if budget is not None and budget.has_own_store else self._outer._named_store()

    def __repr__(self) -> str:
        return f"Payer(agent={self.agent!r}, budget={self.budget!r})"
