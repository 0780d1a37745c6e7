"""Which handlers pay for a call: each says so at the call's start, and whoever meters the call asks for them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from uuid import UUID

    from bursar_langchain.handler import BudgetCallbackHandler

_CLAIMS_MOST: Final = 10_000
_DROPPED_AT_ONCE: Final = 100


class Claims:
    """The handlers of calls that have not been metered yet; safe to use from any thread."""

    def __init__(self) -> None:
        # Each step below is one step of C, and what is claimed for a run is claimed in one thread.
        self._claims: dict[int, list[BudgetCallbackHandler]] = {}

    def add(self, run_id: UUID, handler: BudgetCallbackHandler) -> None:
        """Note that *handler* pays for a call."""
        claims = self._claims
        claims.setdefault(run_id.int, []).append(handler)
        if len(claims) >= _CLAIMS_MOST + _DROPPED_AT_ONCE:
            # Of calls that another handler stopped; many at a time, because all are looked through for the oldest.
            for oldest in list(claims)[:_DROPPED_AT_ONCE]:
                claims.pop(oldest, None)

    def take(self, run_id: UUID) -> list[BudgetCallbackHandler]:
        """Return who pays for a call, once."""
        return self._claims.pop(run_id.int, []) if self._claims else []


CLAIMS: Final = Claims()
