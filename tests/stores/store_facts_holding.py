"""Facts about reserving: all or none, busy or broke, what is affordable, thresholds, limits."""

from __future__ import annotations

from typing import Any

import pytest
from store_parts import account, amounts_of, claim, granted, releasing, settling, shrink, spend

from bursar.account import Amounts, Limits
from bursar.errors import ReservationConflict
from bursar.reservation import Armed, Grant, Refusal
from bursar.store import Store, Where

_ALL = Where()


class HoldingFacts:
    def test_reserve_holds_on_the_whole_chain(self, store: Store) -> None:
        """A grant holds the bound on every account of the chain."""
        granted(store.reserve(claim(account("agent", 500), account("run"))))

        assert [(0, 0, 100)] * 2 == [amounts_of(store, name) for name in ("agent", "run")]

    def test_a_refusal_holds_nothing(self, store: Store) -> None:
        """Where the outermost account does not fit, the inner ones hold nothing either."""
        answer = store.reserve(claim(account("agent"), account("run"), account("day", 99)))

        assert isinstance(answer, Refusal)
        assert ("key of day", 'the "day"', "broke", 99, 100) == (
            answer.key,
            answer.account,
            answer.reason,
            answer.limit,
            answer.asked,
        )
        assert [(0, 0, 0)] * 3 == [amounts_of(store, name) for name in ("agent", "run", "day")]

    def test_the_first_level_that_does_not_fit_is_the_reason(self, store: Store) -> None:
        """Of two accounts that are broke, the inner one is named."""
        answer = store.reserve(claim(account("agent", 50), account("run", 60)))

        assert isinstance(answer, Refusal)
        assert answer.key == "key of agent"

    def test_a_limit_can_be_spent_to_the_last_unit(self, store: Store) -> None:
        """A bound equal to what is left fits; one more does not."""
        run = account("run", 250)
        granted(store.reserve(claim(run, nanousd=250)))
        answer = store.reserve(claim(run, nanousd=1))

        assert isinstance(answer, Refusal)

    def test_what_others_hold_is_busy(self, store: Store) -> None:
        """It would fit but for what another holds: busy."""
        run = account("run", 150)
        granted(store.reserve(claim(run, owner="a")))
        answer = store.reserve(claim(run, owner="b"))

        assert isinstance(answer, Refusal)
        assert ("busy", False, 0, 100) == (answer.reason, answer.own_holds, answer.spent, answer.reserved)

    def test_what_is_spent_is_broke(self, store: Store) -> None:
        """It would not fit even if all holds ended: broke."""
        run = account("run", 150)
        spend(store, (run,))
        answer = store.reserve(claim(run))

        assert isinstance(answer, Refusal)
        assert (answer.reason, answer.spent) == ("broke", 60)

    def test_nobody_waits_for_a_hold_of_its_own(self, store: Store) -> None:
        """It would fit but for what the asker itself holds: broke, and said to be its own."""
        run = account("run", 150)
        granted(store.reserve(claim(run, owner="a")))
        answer = store.reserve(claim(run, owner="a"))

        assert isinstance(answer, Refusal)
        assert (answer.reason, answer.own_holds) == ("broke", True)

    def test_a_thread_does_not_wait_for_its_tasks(self, store: Store) -> None:
        """A thread that blocks owns what its tasks hold; a task may wait for what another task holds."""
        run = account("run", 150)
        granted(store.reserve(claim(run, owner="1:2:3")))
        owners = ("1:2:", "1:2:4/", "1:2:4", "1:25:", "1:2", "1:25:3/")
        answers = [store.reserve(claim(run, owner=owner)) for owner in owners]

        assert [("broke", True)] * 2 + [("busy", False)] * 4 == [
            (answer.reason, answer.own_holds) for answer in answers if isinstance(answer, Refusal)
        ]

    def test_a_task_does_not_wait_for_what_it_holds_by_a_call_that_blocks(self, store: Store) -> None:
        """What a task holds is its own, whether or not the call that took it blocked the thread."""
        run = account("run", 150)
        granted(store.reserve(claim(run, owner="1:2:3/")))
        answers = [store.reserve(claim(run, owner=owner)) for owner in ("1:2:3", "1:2:33")]

        assert ["broke", "busy"] == [answer.reason for answer in answers if isinstance(answer, Refusal)]

    def test_busy_within_broke_is_broke(self, store: Store) -> None:
        """Waiting for a busy inner account is no use if an outer one is broke."""
        day = account("day", 160)
        spend(store, (day,), 61)
        agent = account("agent", 150)
        granted(store.reserve(claim(agent, owner="a", nanousd=60)))
        answer = store.reserve(claim(agent, day, owner="b"))

        assert isinstance(answer, Refusal)
        assert (answer.reason, answer.key) == ("broke", "key of day")

    @pytest.mark.parametrize("unit", ["tokens", "calls", "attempts"])
    def test_other_units_are_limits_too(self, store: Store, unit: str) -> None:
        """Tokens, calls and attempts are held and refused as money is."""
        run = account("run", limits=Limits(**{unit: 15}))
        asked = Amounts(10**9, 10, 10, 10)
        granted(store.reserve(claim(run, amounts=asked)))
        answer = store.reserve(claim(run, amounts=asked))

        assert isinstance(answer, Refusal)
        assert (Amounts._fields[answer.unit], answer.limit) == (unit, 15)

    def test_no_limit_refuses_nothing(self, store: Store) -> None:
        """An account without limits gives anything, and keeps count."""
        free = account("free", None)
        granted(store.reserve(claim(free, nanousd=10**15)))

        assert (0, 0, 10**15) == amounts_of(store, "free")

    def test_an_affordable_output_is_held_where_the_bound_does_not_fit(self, store: Store) -> None:
        """The bound is lowered to what is left, and the grant says to what output."""
        run = account("run", 1_000)
        asked = claim(run, nanousd=1_200, shrink=shrink(200_000, 10_000, most=100))
        answer = granted(store.reserve(asked))

        assert (80, 1_000) == (answer.output_limit, answer.amounts.nanousd)
        assert (0, 0, 1_000) == amounts_of(store)

    def test_too_little_for_the_least_output_is_refused(self, store: Store) -> None:
        """Below the least output that is worth sending, nothing is held, and that least is what was asked."""
        run = account("run", 1_000)
        answer = store.reserve(claim(run, nanousd=1_200, shrink=shrink(200_000, 10_000, most=100, least=81)))

        assert isinstance(answer, Refusal)
        assert answer.asked == 200 + 81 * 10
        assert (0, 0, 0) == amounts_of(store)

    def test_a_whole_bound_that_fits_is_not_lowered(self, store: Store) -> None:
        """Where the bound fits, the output limit is left alone."""
        answer = granted(store.reserve(claim(account(), shrink=shrink(0, 1_000, most=100))))

        assert (None, 100) == (answer.output_limit, answer.amounts.nanousd)

    def test_a_forced_claim_passes_the_limit(self, store: Store) -> None:
        """A forced claim is held in full, whatever is left."""
        run = account("run", 50)
        granted(store.reserve(claim(run, is_forced=True)))

        assert (0, 0, 100) == amounts_of(store)

    def test_a_repeated_claim_holds_once(self, store: Store) -> None:
        """The same claim under the same id is answered as the first time and holds nothing more."""
        asked = claim(account())
        first = store.reserve(asked)

        assert first == store.reserve(asked)
        assert (0, 0, 100) == amounts_of(store)

    def test_other_amounts_under_an_id_conflict(self, store: Store) -> None:
        """The same id with other amounts is an error."""
        asked = claim(account())
        store.reserve(asked)

        with pytest.raises(ReservationConflict, match=asked.id):
            store.reserve(asked._replace(amounts=Amounts(101, 10, 1, 1)))
        assert (0, 0, 100) == amounts_of(store)

    def test_a_resolved_id_conflicts(self, store: Store) -> None:
        """No reservation is made under the id of a resolved one, also long after."""
        asked = claim(account())
        store.reserve(asked)
        store.resolve(settling(asked.id))
        with pytest.raises(ReservationConflict, match="new id"):
            store.reserve(asked)
        assert store.totals(None, _ALL)[0][1].calls == 1
        with pytest.raises(ReservationConflict, match="new id"):
            store.reserve(asked)

        assert (60, 0, 0) == amounts_of(store)

    def test_resolve_and_reserve_are_one_step(self, store: Store) -> None:
        """What the resolved reservation returns is there for the new one, before anybody else."""
        run = account("run", 150)
        first, second = claim(run, nanousd=150), claim(run, nanousd=90)
        store.reserve(first)
        granted(store.reserve(second, settling(first.id, 60)))

        assert (60, 0, 90) == amounts_of(store)

    def test_a_refused_step_still_resolves(self, store: Store) -> None:
        """A refusal does not undo the resolution that went with it."""
        run = account("run", 150)
        first = claim(run, nanousd=150)
        store.reserve(first)
        answer = store.reserve(claim(run, nanousd=91), settling(first.id, 60))

        assert isinstance(answer, Refusal)
        assert (60, 0, 0) == amounts_of(store)

    def test_a_step_that_fails_resolves_nothing(self, store: Store) -> None:
        """Where the claim conflicts, the resolution that went with it has not happened."""
        first, second = claim(account()), claim(account())
        store.reserve(first)
        store.reserve(second)
        with pytest.raises(ReservationConflict):
            store.reserve(second._replace(amounts=Amounts(7)), settling(first.id))

        assert (0, 0, 200) == amounts_of(store)

    def test_assess_holds_nothing(self, store: Store) -> None:
        """`assess` answers as `reserve` would, and changes nothing."""
        run = account("run", 150, downgrade_at_ppm=500_000)
        asked = claim(run)

        assert isinstance(store.assess(asked), Grant)
        assert (0, 0, 0) == amounts_of(store)
        granted(store.reserve(asked))
        assert isinstance(store.assess(claim(run)), Refusal)
        assert isinstance(store.assess(claim(run, nanousd=1, heeds_downgrade=True)), Armed)
        state = store.state(run.key)
        assert state is not None
        assert not state.is_armed

    def test_each_threshold_is_told_once(self, store: Store) -> None:
        """A threshold on spent and reserved is told at the reserve that reaches it, and never again."""
        run = account("run", 1_000, warn_at_ppm=(500_000, 800_000))
        told: list[list[int]] = []
        for nanousd in (499, 1, 100, 300, 1):
            asked = claim(run, nanousd=nanousd)
            told.append([notice.threshold_ppm for notice in granted(store.reserve(asked)).notices])
        store.resolve(releasing(asked.id))
        told.append(
            [notice.threshold_ppm for notice in granted(store.reserve(claim(run, nanousd=1))).notices]
        )

        assert [[], [500_000], [], [800_000], [], []] == told

    def test_thresholds_passed_together_are_told_together(self, store: Store) -> None:
        """A call that passes two thresholds tells both, with the account's figures."""
        run = account("run", 1_000, warn_at_ppm=(500_000, 800_000))
        spend(store, (run,), 100)
        notices = granted(store.reserve(claim(run, nanousd=800))).notices

        assert [(500_000, 100, 900, 1_000), (800_000, 100, 900, 1_000)] == [
            (notice.threshold_ppm, notice.spent, notice.committed, notice.limit) for notice in notices
        ]

    def test_a_threshold_on_other_units_is_told(self, store: Store) -> None:
        """The fullest unit of an account counts."""
        run = account("run", limits=Limits(nanousd=10**9, calls=2), warn_at_ppm=(900_000,))
        counts = [len(granted(store.reserve(claim(run))).notices) for _ in range(2)]

        assert [0, 1] == counts

    def test_downgrade_arms_at_its_threshold(self, store: Store) -> None:
        """At the threshold a claim that heeds it is answered `Armed`, and one that does not is held."""
        run = account("run", 1_000, downgrade_at_ppm=800_000)
        granted(store.reserve(claim(run, nanousd=799, heeds_downgrade=True)))
        granted(store.reserve(claim(run, nanousd=1, heeds_downgrade=True)))
        answer = store.reserve(claim(run, nanousd=1, heeds_downgrade=True))

        assert isinstance(answer, Armed)
        assert run.key == answer.key
        granted(store.reserve(claim(run, nanousd=1)))

    def test_downgrade_disarms_five_points_lower(self, store: Store) -> None:
        """Once armed, an account stays so until it is five points below its threshold."""
        run = account("run", 1_000, downgrade_at_ppm=800_000)
        holds = [claim(run, nanousd=nanousd) for nanousd in (750, 49, 1)]
        for hold in holds:
            store.reserve(hold)
        heeding: dict[str, Any] = {"nanousd": 1, "heeds_downgrade": True}
        assert isinstance(store.reserve(claim(run, **heeding)), Armed)
        store.resolve(releasing(holds[1].id))
        assert isinstance(store.reserve(claim(run, **heeding)), Armed)
        store.resolve(releasing(holds[2].id))
        assert isinstance(store.reserve(claim(run, **heeding)), Armed)
        store.resolve(settling(holds[0].id, 749))

        granted(store.reserve(claim(run, **heeding)))

    def test_limits_are_raised_in_flight(self, store: Store) -> None:
        """A raised limit gives what it did not give before; what is held stays held."""
        run = account("run", 150)
        store.reserve(claim(run))
        assert isinstance(store.reserve(claim(run)), Refusal)
        store.set_limits(run.key, Limits(nanousd=200))

        granted(store.reserve(claim(run)))
        assert (0, 0, 200) == amounts_of(store)

    def test_limits_are_lowered_in_flight(self, store: Store) -> None:
        """A limit below what is held only refuses what comes next."""
        run = account("run", 1_000)
        asked = claim(run)
        store.reserve(asked)
        store.set_limits(run.key, Limits(nanousd=50))

        assert isinstance(store.reserve(claim(run, nanousd=1)), Refusal)
        store.resolve(settling(asked.id, 40))
        assert (40, 0, 0) == amounts_of(store)
        granted(store.reserve(claim(run, nanousd=10)))

    def test_a_unit_that_is_limited_later_counts_all_that_was_taken(self, store: Store) -> None:
        """A new limit on calls counts the calls of before and those in flight."""
        run = account("run", 1_000)
        spend(store, (run,))
        asked = claim(run)
        store.reserve(asked)
        store.set_limits(run.key, Limits(1_000, None, 2))

        assert isinstance(store.reserve(claim(run)), Refusal)
        store.resolve(settling(asked.id))
        state = store.state(run.key)
        assert state is not None
        assert (state.spent.calls, state.reserved.calls) == (2, 0)

    def test_setting_limits_of_what_is_not_open_does_nothing(self, store: Store) -> None:
        """An account that was never opened stays unknown."""
        store.set_limits("nobody", Limits(1))

        assert store.state("nobody") is None

    def test_declare_opens_and_changes(self, store: Store) -> None:
        """`declare` opens an account, and later gives it new limits without touching what is spent."""
        store.declare((account("run", 100),))
        first = store.state(account("run").key)
        spend(store, (account("run", 100),))
        store.declare((account("run", 300),))
        again = store.state(account("run").key)

        assert first is not None
        assert again is not None
        assert (100, 300, 60) == (first.limits.nanousd, again.limits.nanousd, again.spent.nanousd)

    def test_declare_takes_a_whole_chain(self, store: Store) -> None:
        """Accounts that are new are opened, and those that are not get their new limits, in one step."""
        store.declare((account("run", 100),))
        store.declare((account("agent", 10), account("run", 300), account("day")))
        limits = [store.state(account(name).key) for name in ("agent", "run", "day")]

        assert [10, 300, account("day").limits.nanousd] == [
            state and state.limits.nanousd for state in limits
        ]

    def test_an_account_from_which_something_is_held_is_not_forgotten(self, store: Store) -> None:
        """What is in flight is settled where it was held."""
        run = account("run", 100)
        asked = claim(run, nanousd=60)
        store.reserve(asked)
        store.forget((run.key, "unknown"))
        state = store.state(run.key)

        assert state is not None
        assert 60 == state.reserved.nanousd

    def test_an_open_account_keeps_its_limits_whatever_a_claim_says(self, store: Store) -> None:
        """A claim declares only accounts that are not open."""
        store.declare((account("run", 100),))
        answer = store.reserve(claim(account("run", 10_000), nanousd=101))

        assert isinstance(answer, Refusal)
        assert answer.limit == 100
