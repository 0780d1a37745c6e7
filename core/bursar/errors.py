"""
What bursar raises.

```text
BursarError
├── BudgetExceeded       a budget on the call's chain has too little left: nothing was sent
├── UnknownPrice         the model has no price, so a money budget cannot be kept: nothing was sent
├── UnmeteredEndpoint    the endpoint costs money and is not metered yet: nothing was sent
├── UnknownAgent         a name the user typed is not among the budget's agents
├── ReservationConflict  a reservation was resolved before, with another payload
└── StoreError           the store did not answer, or is damaged
```

No message holds a prompt, a completion, a header or a key.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from decimal import Decimal


class BursarError(Exception):
    """The base of every error that bursar raises on purpose."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusalDetails:
    """
    The numbers behind a refusal, in dollars, tokens or counts as *unit* says.

    Attributes:
        account: The account that did not fit, in words: `agent "writer" in run "triage"`.

        unit: What ran short: `"usd"`, `"tokens"`, `"calls"` or `"attempts"`.

        reason: `"broke"` when the money is spent, `"busy"` when others still hold it reserved.

        limit, spent, reserved: The account as it was at that moment; *spent* includes what is presumed spent.

        asked: The most that this call could have cost.
    """

    account: str
    unit: Literal["usd", "tokens", "calls", "attempts"]
    reason: Literal["broke", "busy"]
    limit: Decimal
    spent: Decimal
    reserved: Decimal
    asked: Decimal

    @property
    def remaining(self) -> Decimal:
        """What was left for a new call, never below zero."""
        return max(self.limit - self.spent - self.reserved, self.limit * 0)


class BudgetExceeded(BursarError):
    """
    A budget on the call's chain has less left than the call could cost; nothing was sent.

    Attributes:
        details: The numbers, and the first account that did not fit.

        agent, model: Who asked, and for what.

        run_id, workflow: The run that the call would have been paid from.
    """

    def __init__(
        self,
        message: str,
        *,
        details: RefusalDetails,
        agent: str,
        model: str | None = None,
        run_id: str | None = None,
        workflow: str | None = None,
    ) -> None:
        super().__init__(message)
        self.details = details
        self.agent = agent
        self.model = model
        self.run_id = run_id
        self.workflow = workflow

    def __reduce__(self) -> tuple[Any, ...]:
        # As an exception is copied by its message alone, it could not come back from a pool of processes.
        make = partial(
            type(self),
            details=self.details,
            agent=self.agent,
            model=self.model,
            run_id=self.run_id,
            workflow=self.workflow,
        )
        return make, self.args


class UnknownPrice(BursarError):
    """
    No price is known for a model at a provider, so no money budget can be kept for it.

    Unknown is never zero: add the price, or declare the model free, with the line in the message.
    """


class UnmeteredEndpoint(BursarError):
    """An endpoint that costs money and cannot be bounded yet was called under a budget that it could break."""


class UnknownAgent(BursarError, ValueError):
    """A name the user typed is not among the agents that the budget names."""


class ReservationConflict(BursarError):
    """A reservation is unknown, or was resolved before with another payload."""


class StoreError(BursarError):
    """The store did not answer, or holds what cannot be read; nothing was changed."""
