"""
Steps of a store that block an event loop for a moment, where something watches for what blocks one.

`langgraph dev` has BlockBuster raise from whatever touches a file or a database on an event loop.  A step of a store
takes a fraction of a millisecond, and is meant to be taken there: calls are booked in callbacks that nothing awaits.
"""

from __future__ import annotations

import asyncio
import sys
from functools import wraps
from typing import TYPE_CHECKING, Final, ParamSpec, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

P = ParamSpec("P")
T = TypeVar("T")

_WATCHER: Final = "blockbuster"


def unwatched(step: Callable[P, T]) -> Callable[P, T]:
    """Return *step*, which needs no event loop, so that no watcher takes it for one that a loop must not take."""

    @wraps(step)
    def taken(*args: P.args, **kwargs: P.kwargs) -> T:
        if _WATCHER not in sys.modules or (loop := asyncio._get_running_loop()) is None:
            return step(*args, **kwargs)
        # What watches asks whether a loop runs in this thread.
        asyncio._set_running_loop(None)
        try:
            return step(*args, **kwargs)
        finally:
            asyncio._set_running_loop(loop)

    return taken
