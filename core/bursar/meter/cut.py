"""What a call is booked at whose end nobody saw: the most that it can have cost, or what was seen of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bursar.billing import Bill, bill_time
from bursar.tuples import make
from bursar.usage import Usage

if TYPE_CHECKING:
    from bursar.meter.held import Held
    from bursar.meter.plan import Plan
    from bursar.wire import Receipt


def bound_bill(held: Held, model: str, usage: Usage) -> Bill:
    """Return the whole of what is held for a call as its bill, marked so; unknown where no price is known."""
    price = held.bound.price
    if price is None:
        return Bill(None, "unknown", model, usage)
    return Bill(held.amounts.nanousd, "bound", model, usage, price.provenance())


def seen_bill(plan: Plan, held: Held, receipt: Receipt, output_tokens: int, *, duration_ms: int = 0) -> Bill:
    """
    Return what was sent and what was seen of the answer as its bill, or the bound where more may be billed than that.

    Args:
        receipt: What was reported before the end.

        output_tokens: The output that was seen, counted high.

        duration_ms: How long the call took, which is what a model priced by the second is billed for.
    """
    price = held.bound.price
    if price is not None and price.is_by_the_second:
        usage = receipt.usage or Usage(output_tokens=output_tokens)
        timed = bill_time(price, usage, duration_ms, model=receipt.model or held.bound.model)
        return timed if receipt.finished else timed._replace(source="estimated")
    seen = _seen(plan, held, receipt, output_tokens)
    if not held.amounts.nanousd:
        return seen
    # A deployment may be called anything; the price knows which model it stands for.
    is_hiding = plan.hides_output(held.bound.model, price.model if price is not None else "")
    reported = receipt.usage.reasoning_tokens if receipt.usage is not None else 0
    return bound_bill(held, seen.model, seen.usage) if is_hiding and not reported else seen


def _seen(plan: Plan, held: Held, receipt: Receipt, output_tokens: int) -> Bill:
    """Price what was sent and what was seen, never above what is held."""
    bound, price = held.bound, held.bound.price
    input_tokens = receipt.usage.input_tokens if receipt.usage is not None else 0
    if not input_tokens:
        counted = plan.count_input()
        input_tokens = bound.input_tokens if counted is None else min(counted, bound.input_tokens)
    usage = make(Usage, (input_tokens, 0, 0, 0, output_tokens, 0, {}))
    if price is None:
        return Bill(None, "unknown", bound.model, usage)
    held_nanousd = held.amounts.nanousd
    cost = min(bound.nanousd_of(input_tokens, output_tokens), held_nanousd) if held_nanousd else 0
    return make(Bill, (cost, "estimated", receipt.model or bound.model, usage, price.standard_provenance))
