"""A call and what it is made inside of: the meter that pays for it already, or its own, which what it asks can see."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from bursar.scope import agents_in, begun_in, current_agent, current_meter, current_run, leave

if TYPE_CHECKING:
    from contextvars import ContextVar, Token

    from bursar.meter import Meter
    from bursar.meter.observer import Observer


def outer_meter() -> Meter | None:
    """Return the meter around this code that pays for the call about to be made, or None; it says so once."""
    around = current_meter.get()
    return None if around is None else around.inner()


class AtWork:
    """
    Lets what is called in a block know that it is paid for, and by which meter, run and agent.

    Args:
        meter: Of the call that is made in the block.

        variable, value: What an adapter sets there besides.
    """

    __slots__ = ("_before", "_frame", "_meter", "_value", "_variable")

    def __init__(self, meter: Meter | Observer, variable: ContextVar[Any], value: object) -> None:
        self._meter = meter
        self._variable = variable
        self._value = value

    def __enter__(self) -> None:
        plan = self._meter.plan
        # Kept, so that no other frame is taken for it.
        self._frame = sys._getframe(1) if agents_in else None  # pyright: ignore[reportPrivateUsage]
        self._before: tuple[Token[Any], ...] = (
            self._variable.set(self._value),
            current_meter.set(self._meter),
            current_run.set(plan.run),
            current_agent.set(plan.agent.name),
            begun_in.set(None if self._frame is None else id(self._frame)),
        )

    def __exit__(self, *_: object) -> None:
        besides, meter, run, agent, begun = self._before
        self._frame = None
        try:
            self._variable.reset(besides)
        except ValueError:
            # It ends in another context than it began in.
            plan = self._meter.plan
            leave(self._variable, besides, self._value)
            leave(current_meter, meter, self._meter)
            leave(current_run, run, plan.run)
            leave(current_agent, agent, plan.agent.name)
            return
        current_meter.reset(meter)
        current_run.reset(run)
        current_agent.reset(agent)
        begun_in.reset(begun)
