"""What surrounds a call: the run that pays, the agent that asks, the meter that already follows it."""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar, Token
from typing import TYPE_CHECKING, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Generator

    from bursar.meter import Meter, Observer
    from bursar.run import Run

T = TypeVar("T")

current_run: Final[ContextVar[Run | None]] = ContextVar("bursar_run", default=None)
"""The innermost `with budget.run(...)` around this code."""

current_agent: Final[ContextVar[str | None]] = ContextVar("bursar_agent", default=None)
"""The innermost `with agent(...)` around this code."""

current_meter: Final[ContextVar[Meter | Observer | None]] = ContextVar("bursar_meter", default=None)
"""The meter that owns the reservation of the call being made: an inner one must not reserve again."""


@contextmanager
def agent(name: str) -> Generator[None]:
    """
    Name the agent that every call in this block is booked to, where nothing nearer names one.

    Raises:
        ValueError: *name* is empty, or no text.
    """
    if not isinstance(name, str) or not name.strip():  # pyright: ignore[reportUnnecessaryIsInstance]
        msg = f"an agent's name must be a text that is not empty, not {name!r}"
        raise ValueError(msg)
    token = current_agent.set(name)
    try:
        yield
    finally:
        leave(current_agent, token, name)


def leave(variable: ContextVar[T | None], token: Token[T | None], value: T) -> None:
    """
    End a block in which *variable* was *value*.

    A block in an async generator, a test's fixture or a dependency of a web framework may end in another context than
    it began in; of that one nothing is known but whether it was copied from inside the block.
    """
    try:
        variable.reset(token)
    except ValueError:
        if variable.get() is value:
            variable.set(None if token.old_value is Token.MISSING else token.old_value)
