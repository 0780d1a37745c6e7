"""The hold for the whole bound of a call, as nearly every call has it: one look, and one answer of the store."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bursar.bound import Bound, bound, unmetered_bound
from bursar.errors import UnknownPrice
from bursar.ids import new_id
from bursar.meter.held import Held
from bursar.prices import price as known_price
from bursar.reservation import LEASE_S, Claim, Grant
from bursar.tuples import make

if TYPE_CHECKING:
    from bursar.entry import Subject
    from bursar.meter.plan import Plan
    from bursar.reservation import Answer
    from bursar.store import Store


def hold_at_once(
    plan: Plan, store: Store, owner: str, about: Subject, *, is_first: bool
) -> Held | Answer | None:
    """
    Return the hold for the whole bound, or the answer after which `Reserving.first` finds what can be had.

    None where others must be asked before.

    Args:
        is_first: Whether it is the first claim of the call, which goes by the call's own id.

    Raises:
        UnknownPrice: A limit in dollars is to be kept and the model has no price.
    """
    if store.journal.may_hold_any:
        store.journal.replay_if_any()
    if store.waiters.queues and plan.can_wait:
        return None
    model, chain = plan.ask.model, plan.chain
    asked = new_bound(plan, model)
    answer = store.reserve(
        make(
            Claim,
            (
                about.call_id if is_first else new_id(store.now()),
                chain.accounts,
                asked.amounts,
                owner,
                LEASE_S,
                None,
                plan.is_sent_at_once,
                plan.can_downgrade and model in chain.ladders,
                False,
                about,
            ),
        )
    )
    if type(answer) is not Grant:
        return answer
    id_, amounts, output_limit, notices = answer
    store.waiters.holders[id_] = owner
    return make(Held, (id_, asked, amounts, output_limit, False, notices))


def new_bound(plan: Plan, model: str, *, input_tokens: int | None = None) -> Bound:
    """
    Return the most that the call may cost at *model*.

    Args:
        input_tokens: An exact count, where the cheap bound does not fit.

    Raises:
        UnknownPrice: A limit in dollars is to be kept and the model has no price.
    """
    if plan.fixed_bound is not None:
        return plan.fixed_bound
    if not plan.is_metered:
        return unmetered_bound(model)
    found = bound(
        plan.ask if model == plan.ask.model else plan.ask_of(model),
        provider=plan.provider,
        model=model,
        min_output_tokens=plan.chain.innermost.min_output_tokens,
        input_tokens=input_tokens,
        timeout_s=plan.timeout_s,
        is_limited=plan.chain.is_limited,
    )
    if found.price is None and plan.chain.limits_money:
        known_price(plan.provider, model)
        raise UnknownPrice(f'no price for model "{model}" at provider "{plan.provider}"')
    return found
