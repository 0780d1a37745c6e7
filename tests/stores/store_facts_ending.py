"""Facts about resolving: settle, release, overage, leases, late settles."""

from __future__ import annotations

from typing import Any

import pytest
from store_parts import (
    START_S,
    Clock,
    account,
    amounts_of,
    claim,
    entry,
    granted,
    releasing,
    settling,
    subject,
)

from bursar.account import Amounts, Limits
from bursar.entry import Agent
from bursar.errors import ReservationConflict
from bursar.ids import new_id
from bursar.reservation import Refusal
from bursar.store import Store, Where

_LEASE_S = 600.0


class EndingFacts:
    def test_settle_returns_the_rest(self, store: Store) -> None:
        """A settle books the true cost on the whole chain and gives the rest back."""
        asked = claim(account("agent"), account("run"))
        store.reserve(asked)
        resolution = settling(asked.id, 60)

        assert resolution.entry == store.resolve(resolution)
        assert [(60, 0, 0)] * 2 == [amounts_of(store, name) for name in ("agent", "run")]

    def test_release_returns_everything(self, store: Store) -> None:
        """A release takes nothing but the attempts that were sent."""
        run = account("run", limits=Limits(1_000, 100, 10, 10))
        asked = claim(run)
        store.reserve(asked)
        store.resolve(releasing(asked.id)._replace(amounts=Amounts(0, 0, 0, 1)))
        state = store.state(run.key)

        assert state is not None
        assert (state.spent, state.reserved) == (Amounts(0, 0, 0, 1), Amounts())

    def test_a_repeated_resolve_books_once(self, store: Store) -> None:
        """The same resolution again answers the first entry, now and after the ledger was read."""
        asked = claim(account())
        store.reserve(asked)
        first = store.resolve(settling(asked.id))

        assert first == store.resolve(settling(asked.id))
        assert [first] == list(store.entries(Where()))
        assert first == store.resolve(settling(asked.id))
        assert (60, 0, 0) == amounts_of(store)

    def test_another_resolution_conflicts(self, store: Store) -> None:
        """A reservation ends once: another cost or status is an error and changes nothing."""
        asked = claim(account())
        store.reserve(asked)
        store.resolve(settling(asked.id))

        for other in (settling(asked.id, 61), releasing(asked.id)):
            with pytest.raises(ReservationConflict, match=asked.id):
                store.resolve(other)
        assert (60, 0, 0) == amounts_of(store)

    def test_an_unknown_reservation_conflicts(self, store: Store) -> None:
        """What was never reserved here cannot be resolved."""
        with pytest.raises(ReservationConflict, match="not known"):
            store.resolve(settling(new_id(START_S)))

    def test_an_overage_is_recorded_in_full(self, store: Store) -> None:
        """A cost above the bound is booked whole; within the limit it closes nothing."""
        run = account("run", 1_000)
        asked = claim(run)
        store.reserve(asked)
        store.resolve(settling(asked.id, 300, overage_nanousd=200))

        assert (300, 0, 0) == amounts_of(store)
        granted(store.reserve(claim(run)))

    def test_an_overage_that_breaks_a_limit_latches_there(self, store: Store) -> None:
        """An account that an overage takes past its limit gives nothing more; its outer one does."""
        agent, run = account("agent", 150), account("run", 10_000)
        asked = claim(agent, run)
        store.reserve(asked)
        store.resolve(settling(asked.id, 151))
        states = [store.state(name) for name in (agent.key, run.key)]
        answer = store.reserve(claim(agent, run, nanousd=0))

        assert [True, False] == [state is not None and state.is_latched for state in states]
        assert isinstance(answer, Refusal)
        assert (answer.reason, answer.key) == ("broke", agent.key)
        granted(store.reserve(claim(run)))

    def test_raising_the_limit_lifts_the_latch(self, store: Store) -> None:
        """A limit raised above what is committed opens the account again; the same limit declared anew does not."""
        run = account("run", 150)
        asked = claim(run)
        store.reserve(asked)
        store.resolve(settling(asked.id, 151))
        store.declare((run,))
        assert isinstance(store.reserve(claim(run, nanousd=0)), Refusal)
        store.set_limits(run.key, Limits(150 + 50))

        granted(store.reserve(claim(run, nanousd=49)))

    def test_an_orphan_that_was_dispatched_is_presumed_spent(self, store: Store, clock: Clock) -> None:
        """The provider may have billed it, so it goes on counting."""
        run = account("run", 150)
        asked = claim(run, lease_s=_LEASE_S)
        store.reserve(asked)
        store.dispatch(asked.id)
        clock.advance(_LEASE_S - 0.001)
        assert store.expire() == 0
        clock.advance(0.001)

        assert store.expire() == 1
        assert (0, 100, 0) == amounts_of(store)
        assert store.presumed_nanousd(Where()) == 100
        answer = store.reserve(claim(run, owner="another"))
        assert isinstance(answer, Refusal)
        assert (answer.reason, answer.spent) == ("broke", 100)

    def test_what_is_presumed_spent_is_told_by_whose_it_is(self, store: Store, clock: Clock) -> None:
        """Of a report on one run, workflow, agent or time, it is what the calls of just that may have cost."""
        for number, (run_id, workflow, name) in enumerate(
            [("run-1", "triage", "writer"), ("run-2", "triage", "planner"), ("run-2", "summary", "planner")]
        ):
            about = subject(run_id=run_id, workflow=workflow, agent=Agent(name=name))
            options: dict[str, Any] = {"lease_s": _LEASE_S, "is_dispatched": True, "about": about}
            store.reserve(claim(account("run", None), nanousd=10**number, **options))
        store.reserve(claim(account("run", None), nanousd=1_000, lease_s=_LEASE_S, is_dispatched=True))
        clock.advance(_LEASE_S)
        store.expire()

        def presumed(**conditions: Any) -> int:
            return store.presumed_nanousd(Where(**conditions))

        assert (1_111, 1) == (presumed(), presumed(run_ids=("run-1",)))
        assert (110, 11) == (presumed(run_ids=("run-2",)), presumed(workflow="triage"))
        assert (110, 10) == (presumed(agent="planner"), presumed(agent="planner", workflow="triage"))
        assert (1_111, 0) == (presumed(since_s=START_S), presumed(since_s=START_S + 7_200))

    def test_a_lowered_hold_is_presumed_spent_by_whose_it_is(self, store: Store, clock: Clock) -> None:
        """Also where the hold was taken in sight of a limit."""
        about = subject(run_id="run-1")
        options: dict[str, Any] = {"lease_s": _LEASE_S, "is_dispatched": True, "about": about}
        granted(store.reserve(claim(account("run", 100, warn_at_ppm=(500_000,)), **options)))
        clock.advance(_LEASE_S)
        store.expire()

        assert 100 == store.presumed_nanousd(Where(run_ids=("run-1",)))
        assert 0 == store.presumed_nanousd(Where(run_ids=("run-2",)))

    def test_an_orphan_claimed_as_dispatched_is_presumed_spent(self, store: Store, clock: Clock) -> None:
        """A claim may say beforehand that its request is sent at once."""
        store.reserve(claim(account(), is_dispatched=True))
        clock.advance(_LEASE_S)

        assert store.expire() == 1
        assert (0, 100, 0) == amounts_of(store)

    def test_an_orphan_that_was_not_dispatched_is_released(self, store: Store, clock: Clock) -> None:
        """What was never sent was never billed."""
        store.reserve(claim(account()))
        clock.advance(_LEASE_S)

        assert store.expire() == 1
        assert (0, 0, 0) == amounts_of(store)
        assert store.presumed_nanousd(Where()) == 0

    def test_a_refusal_looks_for_orphans_first(self, store: Store, clock: Clock) -> None:
        """A reserve that would be refused releases what ran out, without being told to."""
        run = account("run", 150)
        store.reserve(claim(run))
        clock.advance(_LEASE_S)

        granted(store.reserve(claim(run)))
        assert (0, 0, 100) == amounts_of(store)

    def test_a_late_settle_replaces_what_was_presumed(self, store: Store, clock: Clock) -> None:
        """A call that was slow and not dead is booked at its cost, and its entry is marked late."""
        asked = claim(account(), is_dispatched=True)
        store.reserve(asked)
        clock.advance(_LEASE_S)
        store.expire()

        assert store.resolve(settling(asked.id, 60)).is_late
        assert (60, 0, 0) == amounts_of(store)
        assert store.presumed_nanousd(Where()) == 0
        assert [True] == [found.is_late for found in store.entries(Where())]

    def test_a_late_release_returns_what_was_presumed(self, store: Store, clock: Clock) -> None:
        """A call that proves not to be billed gives back what was presumed."""
        asked = claim(account(), is_dispatched=True)
        store.reserve(asked)
        clock.advance(_LEASE_S)
        store.expire()
        store.resolve(releasing(asked.id))

        assert (0, 0, 0) == amounts_of(store)

    def test_a_late_settle_of_what_was_released_is_booked(self, store: Store, clock: Clock) -> None:
        """The cost is known, so it is booked, though nothing was held for it any more."""
        asked = claim(account())
        store.reserve(asked)
        clock.advance(_LEASE_S)
        store.expire()
        store.resolve(settling(asked.id, 60))

        assert (60, 0, 0) == amounts_of(store)

    def test_a_repeated_late_settle_books_once(self, store: Store, clock: Clock) -> None:
        """Late or not, a reservation ends once."""
        asked = claim(account(), is_dispatched=True)
        store.reserve(asked)
        clock.advance(_LEASE_S)
        store.expire()
        first = store.resolve(settling(asked.id))

        assert first == store.resolve(settling(asked.id))
        assert (60, 0, 0) == amounts_of(store)

    def test_extend_keeps_a_hold_alive(self, store: Store, clock: Clock) -> None:
        """A lease counts from the extension."""
        asked = claim(account(), lease_s=10)
        store.reserve(asked)
        clock.advance(9)
        store.extend(asked.id, 10)
        clock.advance(9.5)

        assert store.expire() == 0
        clock.advance(0.5)
        assert store.expire() == 1

    def test_extending_what_is_not_held_does_nothing(self, store: Store, clock: Clock) -> None:
        """An extension brings no expired hold back."""
        asked = claim(account())
        store.reserve(asked)
        clock.advance(_LEASE_S)
        store.expire()
        store.extend(asked.id, _LEASE_S)
        store.extend(new_id(START_S), _LEASE_S)

        assert (0, 0, 0) == amounts_of(store)

    def test_what_is_not_held_must_not_be_sent(self, store: Store, clock: Clock) -> None:
        """Dispatching a reservation that ran out, ended or never was is an error: nothing is held for it."""
        late, ended = claim(account()), claim(account())
        store.reserve(late)
        clock.advance(_LEASE_S)
        store.expire()
        store.reserve(ended)
        store.resolve(releasing(ended.id))

        for id_ in (late.id, ended.id, new_id(START_S)):
            with pytest.raises(ReservationConflict, match="reserve anew"):
                store.dispatch(id_)

    def test_a_repeat_of_an_expired_claim_conflicts(self, store: Store, clock: Clock) -> None:
        """An id whose lease ran out is not held again."""
        asked = claim(account())
        store.reserve(asked)
        clock.advance(_LEASE_S)
        store.expire()

        with pytest.raises(ReservationConflict, match="new id"):
            store.reserve(asked)

    def test_the_end_of_a_hold_wakes_who_waits(self, store: Store, clock: Clock) -> None:
        """A resolve, an expiry and a raised limit wake the head of the queue."""
        run = account("run", 150)
        asked, orphan = claim(run), claim(run)
        store.reserve(asked)
        ticket = store.waiters.join(run.key, "b")
        woken: list[bool] = []

        def look() -> None:
            woken.append(ticket.is_set)
            ticket.wait(0)

        look()
        store.resolve(releasing(asked.id))
        look()
        store.reserve(orphan)
        look()
        clock.advance(_LEASE_S)
        store.expire()
        look()
        store.set_limits(run.key, Limits(200))
        look()
        store.waiters.leave(ticket)

        assert [False, True, False, True, True] == woken

    def test_record_books_what_had_no_reservation(self, store: Store) -> None:
        """An entry without a reservation is booked on the accounts given; an overage latches there too."""
        run = account("run", 100)
        fee = entry(new_id(START_S), 60)
        store.record(fee, (run,))
        store.record(fee, (run,))
        assert (60, 0, 0) == amounts_of(store)
        store.record(entry(new_id(START_S), 60), (run,))
        state = store.state(run.key)

        assert state is not None
        assert (state.spent.nanousd, state.is_latched) == (120, True)

    def test_recording_another_entry_under_an_id_conflicts(self, store: Store) -> None:
        """An entry is never changed once written."""
        fee = entry(new_id(START_S), 60)
        store.record(fee)

        with pytest.raises(ReservationConflict):
            store.record(fee._replace(cost_nanousd=61))
