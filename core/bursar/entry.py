"""Ledger entries: who spent what, when, how much, and how it is known."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from bursar.usage import Usage

Status = Literal["ok", "error", "aborted", "released", "refused"]
"""
How an attempt ended: `ok` answered, `error` sent and not billed, `aborted` cut or cancelled and paid,
`released` never sent, `refused` not let through.
"""

Source = Literal["stated", "priced", "estimated", "bound", "unknown", "none"]
"""
How a cost is known: `stated` by the provider, `priced` from reported usage, `estimated` from what was seen,
`bound` the most it can have been, `unknown` no price is known, `none` nothing was billed.
"""


class Agent(NamedTuple):
    """
    Who spends.

    Attributes:
        name: The agent as its own framework calls it; `"unattributed"` where that is not known.

        path: The agents it runs under, outermost first, joined by `/`; the name where there is none above it.

        framework: Which adapter named it: `"guard"`, `"langchain"`, ...
    """

    name: str
    path: str = ""
    framework: str = "guard"


class Subject(NamedTuple):
    """
    What a call is and who makes it; the same for all its attempts.

    Attributes:
        call_id: Groups the attempts of one call.

        operation: What was asked for: `"chat"`, `"responses"`, `"embeddings"`, `"messages"`, ...

        model: The model asked for by the caller, before any downgrade.

        is_repeat: The same agent sent the same request before, in the same run.
    """

    call_id: str
    run_id: str
    workflow: str
    agent: Agent
    provider: str
    model: str
    operation: str
    is_repeat: bool = False


class Entry(NamedTuple):
    """
    One line of the ledger, never changed once written.

    Attributes:
        id: Of the reservation that it resolves, or its own; sorts by the time of the reserve.

        attempt: 1 for the first send of a call; more for the SDK's own retries.

        model: The model that served and is billed.

        cost_nanousd: Nano-dollars; None where no price is known, which is never zero.

        overage_nanousd: What the cost exceeds its reservation by.

        is_late: Resolved after the lease ran out.

        reason: Of a refusal: the account and what ran short. Of an error: its kind. Never a text of the call.

        price: The price row and data version that the cost was computed from.
    """

    id: str
    subject: Subject
    status: Status
    source: Source
    attempt: int
    model: str
    cost_nanousd: int | None
    bound_nanousd: int
    usage: Usage
    duration_ms: int = 0
    overage_nanousd: int = 0
    is_late: bool = False
    reason: str = ""
    price: str = ""

    @property
    def is_sent(self) -> bool:
        """Whether a request reached the wire."""
        return self.status in {"ok", "error", "aborted"}

    @property
    def is_retry(self) -> bool:
        """Whether this is a further send of the same call, or a repeat of the same request."""
        return self.attempt > 1 or self.subject.is_repeat


class RunRecord(NamedTuple):
    """One run of a workflow, as the ledger keeps it; times are seconds since the epoch."""

    id: str
    workflow: str
    started_s: float
    parent_id: str | None = None
    ended_s: float | None = None
