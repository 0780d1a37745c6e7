"""Which handlers pay for a call: each says so at the call's start, and whoever meters the call asks for them."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from uuid import UUID

    from bursar_langchain.handler import BudgetCallbackHandler

_CLAIMS_MOST: Final = 10_000


class Claims:
    """The handlers of calls that have not been metered yet; safe to use from any thread."""

    def __init__(self) -> None:
        # Each step below is one step of C, and what is claimed for a run is claimed in one thread.
        self._claims: OrderedDict[int, list[BudgetCallbackHandler]] = OrderedDict()

    def add(self, run_id: UUID, handler: BudgetCallbackHandler) -> None:
        """Note that *handler* pays for a call."""
        claims = self._claims
        claims.setdefault(run_id.int, []).append(handler)
        if len(claims) > _CLAIMS_MOST:
            # Of a call that another handler stopped.
            claims.popitem(last=False)

    def take(self, run_id: UUID) -> list[BudgetCallbackHandler]:
        """Return who pays for a call, once."""
        return self._claims.pop(run_id.int, []) if self._claims else []


CLAIMS: Final = Claims()
