"""The accounts that one budget has declared: what their limits are now, and what they have come to."""

from __future__ import annotations

import threading
from collections import deque
from itertools import islice
from math import inf
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bursar.account import AccountState, Limits
    from bursar.run import Run
    from bursar.store import Store

_CLOSED_KEPT: Final = 1_000
_FORGOTTEN_AT_ONCE: Final = 100
"""Many at a time, so that nearly no run waits at its end for others to be forgotten."""
_IDS_KEPT: Final = 10_000


Scope = tuple[str, str, float | None]
"""
One account of a budget as a whole: one run of it, or one window.

Its key; what it is called, empty where the agent's name says it all; and when its window ends.
"""


class Declared:
    """
    Keeps what a budget must remember of its runs and windows; of runs that ended long ago only what they spent.

    Memory stays flat however many runs a budget has: of those that ended the newest 1,000 at least are kept with their
    accounts, and the ids of 10,000 for reports.

    Attributes:
        own_limits: Limits that were set for one account alone, by its key.
    """

    def __init__(self) -> None:
        # Reentrant, because a run that is garbage-collected in here may close.
        self._lock = threading.RLock()
        self._scopes: dict[str, tuple[Scope, dict[str, str]]] = {}
        self.own_limits: dict[str, Limits] = {}
        self._runs: dict[str, tuple[Run, str]] = {}
        self._closed: deque[str] = deque()
        self._past_ids: deque[str] = deque(maxlen=_IDS_KEPT)
        self._past_nanousd = 0
        self._next_end_s = inf

    def note(self, run: Run, scope: Scope, agent_key: str, agent: str, *, at_s: float) -> None:
        """Note that *run* pays from *scope* and, where *agent_key* is not empty, from the account of an agent."""
        key, _, ends_s = scope
        with self._lock:
            known = self._scopes.get(key)
            if known is None:
                if self._next_end_s <= at_s:
                    self._drop_ended(at_s)
                known = self._scopes[key] = (scope, {})
                if ends_s is not None:
                    self._next_end_s = min(self._next_end_s, ends_s)
            if agent_key:
                known[1][agent_key] = agent
            runs = self._runs
            if run.id not in runs:
                runs[run.id] = (run, key)
                if len(runs) > _IDS_KEPT:
                    # Runs that nobody closed.
                    self._forget(list(islice(self._runs, _FORGOTTEN_AT_ONCE)))

    def note_closed(self, run: Run) -> None:
        """Note that *run* has ended; the oldest of those that have are forgotten."""
        if run.id in self._runs:
            self._closed.append(run.id)
        if len(self._closed) >= _CLOSED_KEPT + _FORGOTTEN_AT_ONCE:
            with self._lock:
                # Another thread may have been here first.
                many = max(len(self._closed) - _CLOSED_KEPT, 0)
                self._forget([self._closed.popleft() for _ in range(many)])

    def scopes(self) -> list[tuple[Scope, dict[str, str]]]:
        """Return every account of the budget as a whole, oldest first, with its agents' by their keys."""
        with self._lock:
            return [(scope, dict(agents)) for scope, agents in self._scopes.values()]

    def agents_of(self, scope_key: str) -> dict[str, str]:
        """Return the agents with an account in a scope, by their accounts' keys."""
        with self._lock:
            known = self._scopes.get(scope_key)
            return {} if known is None else dict(known[1])

    def runs(self) -> list[Run]:
        """Return the runs that are kept, oldest first."""
        with self._lock:
            return [run for run, _ in self._runs.values()]

    def run_ids(self) -> tuple[str, ...]:
        """Return the ids of the newest runs and of those inside them."""
        with self._lock:
            return (*self._past_ids, *(id_ for run, _ in self._runs.values() for id_ in run.family))

    def spent_nanousd(self, store: Store, at_s: float) -> int:
        """Return what is spent, presumed spending included, in all runs, or in the windows at *at_s*."""
        with self._lock:
            past, live = self._past_nanousd, self._live(at_s)
        return past + sum(_spent(store.state(key)) for key in live)

    def newest(self, at_s: float) -> str | None:
        """Return the key of the newest account as a whole that has not ended."""
        with self._lock:
            return next(reversed(self._live(at_s)), None)

    def _live(self, at_s: float) -> list[str]:
        return [key for (key, _, ends_s), _ in self._scopes.values() if ends_s is None or at_s < ends_s]

    def _drop_ended(self, at_s: float) -> None:
        ends = {key: ends_s for (key, _, ends_s), _ in self._scopes.values() if ends_s is not None}
        for key in [key for key, ends_s in ends.items() if ends_s <= at_s]:
            self._drop(key)
            del ends[key]
        self._next_end_s = min(ends.values(), default=inf)

    def _drop(self, key: str) -> tuple[str, ...]:
        """Forget an account as a whole, and return its key and those of its agents."""
        _, agents = self._scopes.pop(key)
        keys = (key, *agents)
        for name in keys:
            self.own_limits.pop(name, None)
        return keys

    def _forget(self, run_ids: Iterable[str]) -> None:
        """Keep of these runs no more than their ids and what they spent; a budget's runs are all in one store."""
        keys: list[str] = []
        store: Store | None = None
        for run, key in [known for id_ in run_ids if (known := self._runs.pop(id_, None)) is not None]:
            self._past_ids.extend(run.family)
            scope = self._scopes.get(key)
            # The account of a window is not the run's own, and goes when the window ends.
            if scope is not None and scope[0][2] is None and key.startswith(f"run:{run.id}:"):
                store = run.store
                self._past_nanousd += _spent(store.state(key))
                keys += self._drop(key)
        if store is not None:
            store.forget(keys)


def _spent(state: AccountState | None) -> int:
    return 0 if state is None else state.spent.nanousd + state.presumed.nanousd
