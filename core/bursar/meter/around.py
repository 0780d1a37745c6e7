"""A call and what it is made inside of: the meter that pays for it already, or its own, which what it asks can see."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bursar.scope import current_agent, current_meter, current_run, leave

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

        besides: What else is set there: variables and their values.
    """

    __slots__ = ("_before", "_values")

    def __init__(self, meter: Meter | Observer, *besides: tuple[ContextVar[Any], Any]) -> None:
        plan = meter.plan
        self._values: tuple[tuple[ContextVar[Any], Any], ...] = (
            *besides,
            (current_meter, meter),
            (current_run, plan.run),
            (current_agent, plan.agent.name),
        )

    def __enter__(self) -> None:
        self._before: list[Token[Any]] = [variable.set(value) for variable, value in self._values]

    def __exit__(self, *_: object) -> None:
        for (variable, value), before in zip(self._values, self._before, strict=True):
            leave(variable, before, value)
