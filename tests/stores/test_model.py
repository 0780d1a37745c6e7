"""The stores against a model: whatever is done in whatever order, they hold what it holds."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from store_parts import Clock, account, amounts_of, claim, entry, granted, shrink

from bursar.account import Account, Amounts, Limits
from bursar.errors import ReservationConflict
from bursar.ids import new_id
from bursar.reservation import Grant, Refusal, Resolution
from bursar.store import Store, Where
from bursar.stores.memory import MemoryStore
from bursar.stores.postgres import PostgresStore
from bursar.stores.sqlite import SQLiteStore

from ..servers import postgres_ledger

_LEASE_S = 100.0
_NAMES = ("agent-a", "agent-b", "run", "day")
_CHAINS = (("agent-a", "run", "day"), ("agent-b", "run", "day"), ("run", "day"), ("day",))
_NOTHING = Amounts()


def _sum(rows: list[Amounts]) -> Amounts:
    return Amounts(*map(sum, zip(_NOTHING, *rows, strict=True)))


@dataclass
class Hold:
    """A reservation of the model."""

    chain: tuple[str, ...]
    held: Amounts
    owner: str
    end_s: float
    is_dispatched: bool = False
    is_over: bool = False
    actual: Amounts | None = None


@dataclass
class Model:
    """What a store promises, without regard for speed: every sum is taken anew from every reservation."""

    limits: dict[str, Limits]
    holds: dict[str, Hold] = field(default_factory=dict[str, Hold])
    latched: set[str] = field(default_factory=set[str])

    def of(self, name: str) -> tuple[Amounts, Amounts, Amounts]:
        """What is spent, presumed and reserved of an account."""
        on = [hold for hold in self.holds.values() if name in hold.chain]
        spent = [hold.actual for hold in on if hold.actual is not None]
        presumed = [hold.held for hold in on if hold.actual is None and hold.is_over and hold.is_dispatched]
        return _sum(spent), _sum(presumed), _sum([h.held for h in on if h.actual is None and not h.is_over])

    def lacks(self, chain: tuple[str, ...], asked: Amounts, own: str | None = None) -> str | None:
        """The first account without room; *own* given, as if nobody else held anything."""
        for name in chain:
            spent, presumed, reserved = self.of(name)
            if own is not None:
                mine = [h for h in self.holds.values() if h.owner == own and name in h.chain]
                reserved = _sum([h.held for h in mine if h.actual is None and not h.is_over])
            taken = _sum([spent, presumed, reserved, asked])
            is_over = any(m is not None and t > m for t, m in zip(taken, self.limits[name], strict=True))
            if name in self.latched or is_over:
                return name
        return None

    def is_broken(self, name: str, over: Amounts) -> bool:
        """Whether more is taken than a limit allows, in a unit of which there was an overage."""
        taken = _sum([*self.of(name)])
        return any(
            m is not None and t > m and o > 0 for t, m, o in zip(taken, self.limits[name], over, strict=True)
        )

    def sweep(self, now_s: float) -> int:
        """Mark the holds whose lease ran out, and count them."""
        over = [h for h in self.holds.values() if h.actual is None and not h.is_over and h.end_s <= now_s]
        for hold in over:
            hold.is_over = True
        return len(over)

    def resolve(self, hold: Hold, actual: Amounts) -> None:
        """End a hold; an overage that breaks a limit latches there."""
        counted = _NOTHING if hold.is_over and not hold.is_dispatched else hold.held
        hold.actual = actual
        over = Amounts(*(a - h for a, h in zip(actual, counted, strict=True)))
        self.latched |= {name for name in hold.chain if self.is_broken(name, over)}

    def set_limits(self, name: str, limits: Limits) -> None:
        """Change limits; a raised one lifts the latch."""
        old, self.limits[name] = self.limits[name], limits
        is_raised = any(o is not None and (n is None or n > o) for o, n in zip(old, limits, strict=True))
        if is_raised and not self.is_broken(name, Amounts(1, 1, 1, 1)):
            self.latched.discard(name)


_amounts = st.builds(Amounts, st.integers(0, 400), st.integers(0, 30), st.just(1), st.integers(1, 2))
_limits = st.builds(
    Limits,
    st.none() | st.integers(0, 2_000),
    st.none() | st.integers(0, 90),
    st.none() | st.integers(0, 9),
    st.none() | st.integers(0, 2**70),
)


class Machine(RuleBasedStateMachine):
    """Does the same to a store and to the model; each store has a subclass."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.store = self.make_store()
        limits = {name: Limits(2_000) for name in _NAMES}
        self.model = Model(dict(limits))
        self.accounts = {name: account(name, limits=limits[name]) for name in _NAMES}
        # The chains are handed in as the same tuples each time, as runs do, and each account is opened at once.
        self.chains: dict[tuple[str, ...], tuple[Account, ...]] = {
            names: tuple(self.accounts[name] for name in names) for names in _CHAINS
        }
        for made in self.accounts.values():
            self.store.declare((made,))
        self.last_spent = dict.fromkeys(_NAMES, 0)
        self.entries = 0

    def make_store(self) -> Store:
        """The store under test."""
        raise NotImplementedError

    @rule(
        names=st.sampled_from(_CHAINS),
        asked=_amounts,
        owner=st.sampled_from("xy"),
        is_dispatched=st.booleans(),
    )
    def reserve(self, names: tuple[str, ...], asked: Amounts, owner: str, is_dispatched: bool) -> None:
        """Hold, or be refused for the same reason as the model."""
        id_ = new_id(self.clock())
        options: dict[str, Any] = {"owner": owner, "is_dispatched": is_dispatched, "lease_s": _LEASE_S}
        made = claim(id_=id_, amounts=asked, **options)._replace(accounts=self.chains[names])
        answer = self.store.reserve(made)
        if self.model.lacks(names, asked) is not None:
            self.model.sweep(self.clock())
        if self.model.lacks(names, asked) is None:
            assert isinstance(answer, Grant)
            self.model.holds[id_] = Hold(names, asked, owner, self.clock() + _LEASE_S, is_dispatched)
            assert answer == self.store.reserve(made)
        else:
            broke = self.model.lacks(names, asked, own=owner)
            assert isinstance(answer, Refusal)
            assert answer.reason == ("busy" if broke is None else "broke")
            assert answer.key == f"key of {broke or self.model.lacks(names, asked)}"

    @rule(data=st.data(), actual=_amounts)
    def settle(self, data: st.DataObject, actual: Amounts) -> None:
        """Settle any reservation, ended or not, for any cost."""
        if self.model.holds:
            id_ = data.draw(st.sampled_from(sorted(self.model.holds)))
            self._resolve(id_, Resolution(entry(id_, actual.nanousd), actual))

    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        """Release any reservation, ended or not."""
        if self.model.holds:
            id_ = data.draw(st.sampled_from(sorted(self.model.holds)))
            self._resolve(id_, Resolution(entry(id_, 0, status="released", source="none"), _NOTHING))

    def _resolve(self, id_: str, resolution: Resolution) -> None:
        hold = self.model.holds[id_]
        try:
            booked = self.store.resolve(resolution)
        except ReservationConflict:
            assert hold.actual is not None
        else:
            if hold.actual is None:
                assert booked.is_late == hold.is_over
                self.model.resolve(hold, resolution.amounts)
                self.entries += 1

    @rule(data=st.data())
    def dispatch(self, data: st.DataObject) -> None:
        """Send any reservation that is still held."""
        if self.model.holds:
            id_ = data.draw(st.sampled_from(sorted(self.model.holds)))
            hold = self.model.holds[id_]
            try:
                self.store.dispatch(id_)
            except ReservationConflict:
                assert hold.actual is not None or hold.is_over
            else:
                hold.is_dispatched = True

    @rule(data=st.data())
    def extend(self, data: st.DataObject) -> None:
        """Extend the lease of any reservation that is still held."""
        if self.model.holds:
            id_ = data.draw(st.sampled_from(sorted(self.model.holds)))
            self.store.extend(id_, _LEASE_S)
            self.model.holds[id_].end_s = self.clock() + _LEASE_S

    @rule(name=st.sampled_from(_NAMES), limits=_limits, is_declared=st.booleans())
    def set_limits(self, name: str, limits: Limits, is_declared: bool) -> None:
        """Raise or lower limits, by declaring or by setting them."""
        if is_declared:
            self.store.declare((account(name, limits=limits),))
        else:
            self.store.set_limits(f"key of {name}", limits)
        self.model.set_limits(name, limits)

    @rule(seconds=st.sampled_from((1.0, 40.0, 101.0)))
    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.clock.advance(seconds)

    @rule()
    def expire(self) -> None:
        """Sweep."""
        assert self.model.sweep(self.clock()) == self.store.expire()

    @invariant()
    def the_store_holds_what_the_model_holds(self) -> None:
        """Every account is as the model has it, and nothing is below zero."""
        for name in _NAMES:
            limits = self.model.limits[name]
            state = self.store.state(f"key of {name}")
            assert state is not None
            assert (state.is_latched, state.limits) == (name in self.model.latched, limits)
            for of_store, of_model in zip(
                (state.spent, state.presumed, state.reserved), self.model.of(name), strict=True
            ):
                for unit in limits.units:
                    assert of_store[unit] == of_model[unit] >= 0
            # Within a window what is spent only grows.
            assert state.spent.nanousd >= self.last_spent[name]
            self.last_spent[name] = state.spent.nanousd

    @invariant()
    def the_ledger_has_each_end_once(self) -> None:
        """Each reservation that ended has one entry, and the sums are theirs."""
        ended = {id_: hold for id_, hold in self.model.holds.items() if hold.actual is not None}
        spent = _sum([hold.actual for hold in ended.values() if hold.actual is not None])
        entries = list(self.store.entries(Where()))

        assert sorted(ended) == [found.id for found in entries]
        assert spent.nanousd == self.store.totals(None, Where())[0][1].cost_nanousd
        orphans = [h for h in self.model.holds.values() if h.actual is None and h.is_over and h.is_dispatched]
        assert sum(hold.held.nanousd for hold in orphans) == self.store.presumed_nanousd(Where())


class MemoryMachine(Machine):
    def make_store(self) -> Store:
        """The store under test."""
        return MemoryStore(clock=self.clock)


class SQLiteMachine(Machine):
    def make_store(self) -> Store:
        """The store under test."""
        self.folder = tempfile.mkdtemp()
        return SQLiteStore(Path(self.folder) / "ledger.db", clock=self.clock)

    def teardown(self) -> None:
        """Remove the file."""
        self.store.close()
        shutil.rmtree(self.folder)


class PostgresMachine(Machine):
    def make_store(self) -> Store:
        """The store under test."""
        self.ledger = postgres_ledger()
        return PostgresStore(self.ledger.__enter__(), clock=self.clock)

    def teardown(self) -> None:
        """Remove the tables."""
        self.store.close()
        self.ledger.__exit__(None, None, None)


TestMemoryModel = MemoryMachine.TestCase
TestMemoryModel.settings = settings(max_examples=100, stateful_step_count=40)
TestSQLiteModel = SQLiteMachine.TestCase
TestSQLiteModel.settings = settings(max_examples=60, stateful_step_count=40)
TestPostgresModel = PostgresMachine.TestCase
TestPostgresModel.settings = settings(max_examples=30, stateful_step_count=40)


@given(
    limit=st.integers(0, 5_000),
    fixed=st.integers(0, 3_000_000),
    price=st.integers(0, 90_000),
    tokens=st.none() | st.integers(0, 400),
    most=st.integers(1, 300),
)
def test_the_largest_output_that_fits_is_held(
    limit: int, fixed: int, price: int, tokens: int | None, most: int
) -> None:
    """One token more than what is held would not fit; nothing is refused that would."""
    made = shrink(fixed, price, most=most)
    store = MemoryStore()
    asked = claim(
        account("run", limits=Limits(limit, tokens)),
        amounts=made.amounts(most, Amounts(0, 0, 1, 1)),
        shrink=made,
    )
    answer = store.reserve(asked)
    needs = {output: made.amounts(output, _NOTHING) for output in range(1, most + 1)}
    fits = [
        o for o, need in needs.items() if need.nanousd <= limit and (tokens is None or need.tokens <= tokens)
    ]

    if fits:
        assert max(fits) == (granted(answer).output_limit or most)
        assert needs[max(fits)].nanousd == amounts_of(store)[2]
    else:
        assert isinstance(answer, Refusal)
