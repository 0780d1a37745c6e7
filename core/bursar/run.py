"""A run: one execution of a workflow, the budgets that it pays from, and what it has come to."""

from __future__ import annotations

import logging
import threading
from copy import copy
from functools import cached_property
from typing import TYPE_CHECKING, Final

from bursar.dropped import dropped
from bursar.entry import Entry, RunRecord
from bursar.errors import BudgetExceeded, StoreError
from bursar.ids import new_id
from bursar.ledger.report import Report
from bursar.money import Money, parse_usd, to_usd
from bursar.names import writable
from bursar.paychain import Link, PayChain, limits_lock
from bursar.recording import recorded_entry
from bursar.repeats import Repeats
from bursar.scope import UNSEEN, agent_around, enter_run, leave_run, run_around
from bursar.store import Where
from bursar.tuples import make
from bursar.watching import add_cost

if TYPE_CHECKING:
    from contextvars import Token
    from decimal import Decimal
    from types import TracebackType

    from bursar.account import Account, AccountState
    from bursar.budget import Budget
    from bursar.store import Store

logger: Final = logging.getLogger("bursar")

_REFUSALS_REMEMBERED: Final = 1_000
_CHAINS_REMEMBERED: Final = 1_024
UNATTRIBUTED: Final = "unattributed"


class Run:
    """
    One execution of a workflow; made by `Budget.run`, and used in `with` or `async with`.

    Everything that is called inside pays from its budget, and from the runs around it.

    Attributes:
        id: Tells it from every other run.

        workflow: What it is a run of.

        parent: The run around it.

        budget: What it pays from; None only for a client that is metered and not limited.

        repeats: The requests that were sent in it, once there are any; see `has_seen`.
    """

    parent: Run | None = None
    repeats: Repeats | None = None
    is_open_in_store = False
    # What most runs have none of is made when there is some; the runs inside by their ids, so as not to keep them.
    _inside: list[str] | None = None
    _refusals: list[BudgetExceeded] | None = None
    _store: Store | None = None
    _token: Token[Run | None] | None = None

    def __init__(
        self, budget: Budget | None, workflow: str, *, id: str | None = None, title: str | None = None
    ) -> None:
        if not isinstance(workflow, str) or not workflow.strip():  # pyright: ignore[reportUnnecessaryIsInstance]
            msg = f"a workflow's name must be a text that is not empty, not {workflow!r}"
            raise ValueError(msg)
        if id is not None and (not isinstance(id, str) or not id.strip()):  # pyright: ignore[reportUnnecessaryIsInstance]
            msg = f"a run's id must be a text that is not empty, not {id!r}; leave it out for a new one"
            raise ValueError(msg)
        self.id = (id if id.isascii() else writable(id)) if id else new_id()
        self.workflow = workflow if workflow.isascii() else writable(workflow)
        self.budget = budget
        self.title = f'run "{self.workflow}"' if title is None else title
        self._lock = threading.Lock()
        self._chains: dict[tuple[object, ...], PayChain] = {}

    def __enter__(self) -> Run:
        if self._token is not None:
            msg = f"{self.title} is entered already; make another with budget.run()"
            raise RuntimeError(msg)
        self.open(run_around())
        self._token = enter_run(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._token is not None:
            if not leave_run(self, self._token) and not self._chains:
                logger.warning("%s %s", self.title, UNSEEN)
            self._token = None
        self.close()

    async def __aenter__(self) -> Run:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, traceback)

    def open(self, parent: Run | None = None, *, store: Store | None = None) -> None:
        """
        Enter the run in the ledger; a second time changes nothing.

        Raises:
            ValueError: A budget that it pays from is kept in another store than the rest.
        """
        with self._lock:
            if self.is_open_in_store:
                return
            self.parent = parent
            budget = self.budget
            if budget is not None and budget.has_own_store and not (parent or store or budget.within):
                # Nearly always.
                chosen = budget.store
            else:
                chosen = self._choose_store(parent, store)
            self.store = self._store = chosen
            around = None if parent is None else parent.id
            try:
                chosen.open_run(make(RunRecord, (self.id, self.workflow, chosen.now(), around, None)))
            except StoreError as error:
                self._go_on_unentered(error)
            self.is_open_in_store = True
        if parent is not None:
            for run in parent.lineage:
                run.note_inside(self.id)

    def close(self) -> None:
        """Note in the ledger that the run has ended; calls still in flight are booked to it all the same."""
        if not self.is_open_in_store:
            return
        try:
            self.store.close_run(self.id, self.store.now())
        except StoreError as error:
            # This runs while the user's own error may be on its way out, which matters more than a time.
            logger.error("the end of %s is not noted in the ledger: %s", self.title, error)
        # Calls in flight have theirs, and a later one asks anew: there are many more runs than are open.
        self._chains.clear()
        if self.budget is not None:
            self.budget.note_closed(self)

    def has_seen(self, fingerprint: int) -> bool:
        """Whether the same agent sent the same request before in this run; remembers it."""
        if self.repeats is None:
            with self._lock:
                if self.repeats is None:
                    self.repeats = Repeats()
        return self.repeats.has_seen(fingerprint)

    def note_inside(self, run_id: str) -> None:
        """Count a run among those inside this one."""
        with self._lock:
            if self._inside is None:
                self._inside = []
            self._inside.append(run_id)

    @cached_property
    def store(self) -> Store:
        """Where its accounts and entries are kept; there as soon as that is chosen, as every call asks for it."""
        msg = f"{self.title} is not open yet: use it in `with`"
        raise RuntimeError(msg)

    def is_kept_in(self, store: Store) -> bool:
        """Whether its accounts are in *store*, for certain."""
        return self._store is store

    @property
    def family(self) -> list[str]:
        """The ids of this run and of all runs inside it."""
        return [self.id, *(self._inside or ())]

    @property
    def lineage(self) -> list[Run]:
        """This run and the runs around it, innermost first."""
        return [self, *(self.parent.lineage if self.parent is not None else ())]

    def bind(self, store: Store) -> None:
        """
        Keep its accounts in *store*, without a run of its own in the ledger.

        Raises:
            ValueError: They are kept in another store already.
        """
        with self._lock:
            if self._store is not store:
                self.store = self._store = self._choose_store(None, store)

    def chain(self, agent: str, payers: tuple[Run, ...] = ()) -> PayChain:
        """
        Return the accounts that *agent* pays from now: of *payers*, of this run and of the runs around it.

        Args:
            payers: Stand for the budgets that a client has of its own.

        Raises:
            ValueError: One of them is kept in another store.
        """
        now_s = self.store.now()
        # Two budgets may each have a run of the same id, which is a framework's.
        key = (agent, *[(payer.id, id(payer.budget)) for payer in payers]) if payers else (agent,)
        known = self._chains.get(key)
        if known is not None and known.is_newest and (known.ends_s is None or now_s < known.ends_s):
            return known
        with limits_lock:
            if self.budget is not None and self.parent is None and not payers:
                # Nearly always.
                links, ends_s = self.budget.accounts(self, agent, now_s)
            else:
                links, ends_s = self._links(agent, payers, now_s)
            chain = PayChain(links, ends_s)
            try:
                self.store.declare(chain.accounts)
            except StoreError:
                if not chain.fails_open:
                    raise
                # Not remembered, and over already, so that the next call declares the accounts.
                return PayChain(chain.links, now_s)
        if len(self._chains) >= _CHAINS_REMEMBERED:
            self._chains.clear()
        self._chains[key] = chain
        return chain

    def note_refusal(self, refusal: BudgetExceeded) -> None:
        """Remember a refusal, for frameworks that swallow the exception; in the runs around it too."""
        # A copy: the exception itself has a traceback, and with it all that the refused call had at hand.
        kept = copy(refusal)
        for run in self.lineage:
            with run._lock:
                if run._refusals is None:
                    run._refusals = []
                if len(run._refusals) < _REFUSALS_REMEMBERED:
                    run._refusals.append(kept)

    @property
    def refusals(self) -> tuple[BudgetExceeded, ...]:
        """The calls that were refused in this run and the runs inside it; the first 1,000."""
        return tuple(self._refusals or ())

    def raise_if_refused(self) -> None:
        """
        Raise the first refusal of this run, if there was one.

        Raises:
            BudgetExceeded: A call was refused, even where a framework turned that into text.
        """
        if self._refusals:
            # A copy again, as it is about to get a traceback.
            raise copy(self._refusals[0])

    def record(self, cost: Money, *, agent: str | None = None, what: str = "tool") -> Entry:
        """
        Book a cost that bursar did not see: a tool with a price, a search, a rented machine.

        It is booked in full, also past a limit, because it is spent.

        Args:
            cost: Dollars.

            agent: Who spent it; the agent of the block around this code if left out.

            what: Names it in reports, where models stand.
        """
        entry = recorded_entry(self, cost, agent=agent or agent_around() or UNATTRIBUTED, what=what)
        self.store.record(entry, self.chain(entry.subject.agent.name).accounts)
        add_cost(self, entry.cost_nanousd or 0)
        return entry

    @property
    def limit(self) -> Decimal | None:
        """Its limit in dollars; set it to raise or lower it for this run, or this window of its budget, alone."""
        known = self._state() or self._own_account()
        nanousd = None if known is None else known.limits.nanousd
        return None if nanousd is None else to_usd(nanousd)

    @limit.setter
    def limit(self, limit: Money | None) -> None:
        account = self._own_account()
        if account is None or self.budget is None:
            msg = f"{self.title} has no budget whose limit could be set"
            raise ValueError(msg)
        nanousd = None if limit is None else parse_usd(limit)
        self.budget.set_account_limits(account.key, account.limits._replace(nanousd=nanousd))

    @property
    def spent(self) -> Decimal:
        """Dollars spent, presumed spending included, by this run and the runs inside it."""
        return to_usd(self.spent_nanousd)

    @property
    def spent_nanousd(self) -> int:
        """Nano-dollars spent, presumed spending included, by this run and the runs inside it."""
        state = self._state()
        if self.budget is None or self.budget.per != "run":
            rows = self.store.totals(None, Where(run_ids=tuple(self.family)))
            return sum(totals.cost_nanousd for _, totals in rows)
        return 0 if state is None else state.spent.nanousd + state.presumed.nanousd

    @property
    def reserved(self) -> Decimal:
        """Dollars held for calls in flight."""
        state = self._state()
        return to_usd(0 if state is None else state.reserved.nanousd)

    @property
    def remaining(self) -> Decimal | None:
        """Dollars left for new calls of this run; None without a limit."""
        state = self._state()
        if state is None:
            return self.limit
        if state.limits.nanousd is None:
            return None
        committed = state.spent.nanousd + state.presumed.nanousd + state.reserved.nanousd
        return to_usd(max(state.limits.nanousd - committed, 0))

    @property
    def calls(self) -> int:
        """Calls of which at least one request was sent, by this run and the runs inside it."""
        return self.report().calls

    def report(self) -> Report:
        """Return what this run and the runs inside it have cost."""
        dropped.do_all()
        return Report.of(self.store, Where(run_ids=tuple(self.family)))

    def _state(self) -> AccountState | None:
        """Return its own account as it is now, answers that were dropped included."""
        dropped.do_all()
        account = self._own_account()
        return None if account is None else self.store.state(account.key)

    def _own_account(self) -> Account | None:
        """Return the account of this run as a whole: the last of its own budget's."""
        return None if self.budget is None else self.budget.own_account(self, self.store.now())

    def _links(self, agent: str, payers: tuple[Run, ...], now_s: float) -> tuple[list[Link], float | None]:
        links: dict[str, Link] = {}
        ends: list[float] = []
        around = self.lineage
        own = [payer for payer in payers if all(payer.budget is not run.budget for run in around)]
        for payer in own:
            payer.bind(self.store)
        for run in (*own, *around):
            if run.budget is None:
                continue
            chain, ends_s = run.budget.accounts(run, agent, now_s)
            ends.extend(() if ends_s is None else (ends_s,))
            for link in chain:
                links.setdefault(link.account.key, link)
        return list(links.values()), min(ends, default=None)

    def _go_on_unentered(self, error: StoreError) -> None:
        if self.budget is None or not self.budget.policy.fails_open:
            raise error
        logger.warning(
            '%s is not entered in the ledger, and goes on: on_store_failure is "open". %s', self.title, error
        )

    def _choose_store(self, parent: Run | None, store: Store | None) -> Store:
        chosen = parent.store if parent is not None else store
        budgets: list[Budget] = []
        budget = self.budget
        while budget is not None:
            if not budget.has_own_store:
                budgets.append(budget)
            elif chosen is None:
                chosen = budget.store
            elif budget.store is not chosen:
                msg = (
                    f"{self.title} would pay from budgets in two stores, {chosen.url} and {budget.store.url}; "
                    "keep every budget of a chain in the same store"
                )
                raise ValueError(msg)
            budget = budget.within
        if chosen is None:
            chosen = _default_store()
        for budget in budgets:
            budget.bind(chosen)
        return chosen

    def __repr__(self) -> str:
        return f"Run({self.workflow!r}, id={self.id!r})"


def _default_store() -> Store:
    from bursar.stores.opening import open_store

    return open_store(None)
