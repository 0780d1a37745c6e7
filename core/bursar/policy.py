"""What happens at a threshold or at the limit of a budget."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal

from bursar.account import PPM, UNITS
from bursar.money import format_usd

if TYPE_CHECKING:
    from bursar.errors import BudgetExceeded
    from bursar.reservation import Notice

logger: Final = logging.getLogger("bursar")

OnExceed = Literal["raise", "stop", "warn"] | Callable[["BudgetExceeded"], Any]
"""
What to do with a call that does not fit: `"raise"` BudgetExceeded; `"stop"` answers with a real, empty answer that says
why; `"warn"` logs and lets it through; a function is asked, may be async in async code, and may raise the limit.
"""

DEFAULT_WARN_AT: Final = (0.8,)
DEFAULT_WAIT_S: Final = 30.0
DEFAULT_MIN_OUTPUT_TOKENS: Final = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """
    The rules of one budget.

    Attributes:
        ladder: Cheaper models to try, in order, by the model they stand in for.

        wait_s: Seconds to wait for what others hold reserved.

        min_output_tokens: The smallest output limit a request is lowered to.

        fails_open: Whether calls go through unpaid while the store does not answer.
    """

    warn_at_ppm: tuple[int, ...] = ()
    ladder: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    downgrade_at_ppm: int | None = None
    on_exceed: OnExceed = "raise"
    on_notice: Callable[[Notice], object] | None = None
    wait_s: float = DEFAULT_WAIT_S
    min_output_tokens: int = DEFAULT_MIN_OUTPUT_TOKENS
    fails_open: bool = False

    def announce(self, notice: Notice) -> None:
        """Log that a threshold was passed, and tell whoever asked to be told."""
        logger.warning("%s", describe_notice(notice))
        if self.on_notice is not None:
            self.on_notice(notice)


def describe_notice(notice: Notice) -> str:
    """Return a notice as a sentence with its numbers."""
    return (
        f"{notice.account} has {format_amount(notice.committed, notice.unit)} of "
        f"{format_amount(notice.limit, notice.unit)} spent or reserved "
        f"({format_amount(notice.spent, notice.unit)} spent), "
        f"past its threshold of {notice.threshold_ppm * 100 / PPM:g} %"
    )


def format_amount(amount: int, unit: int) -> str:
    """Return an amount with its unit, for people."""
    if unit == 0:
        return format_usd(amount)
    return f"{amount:,} {UNITS[unit].removesuffix('s') if amount == 1 else UNITS[unit]}"
