"""What happens at a threshold or at the limit of a budget."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
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


def parse_thresholds(value: float | Sequence[float] | None, *, what: str) -> tuple[int, ...]:
    """
    Return thresholds as parts per million, ascending.

    Raises:
        ValueError: One is not above 0 and at most 1.
    """
    if value is None:
        return ()
    values = (value,) if isinstance(value, int | float) else tuple(value)
    for threshold in values:
        if isinstance(threshold, bool) or not 0 < threshold <= 1:
            msg = f"{what} must be a share of the limit above 0 and at most 1, such as 0.8, not {threshold!r}"
            raise ValueError(msg)
    return tuple(sorted({round(threshold * PPM) for threshold in values}))


def parse_ladder(downgrade: Mapping[str, str | Sequence[str]] | None) -> dict[str, tuple[str, ...]]:
    """
    Return the ladder below each model: `{"a": "b", "b": "c"}` gives `a` the ladder `b`, `c`.

    Raises:
        ValueError: A ladder leads back to its own model.
    """
    steps = {model: (to,) if isinstance(to, str) else tuple(to) for model, to in (downgrade or {}).items()}
    return {model: tuple(_descend(model, steps)) for model in steps}


def _descend(model: str, steps: Mapping[str, tuple[str, ...]]) -> list[str]:
    below: list[str] = []
    pending = list(steps[model])
    while pending:
        cheaper = pending.pop(0)
        if cheaper == model:
            msg = f'downgrade leads from "{model}" back to "{model}"; a ladder must go down'
            raise ValueError(msg)
        if cheaper not in below:
            below.append(cheaper)
            pending.extend(steps.get(cheaper, ()))
    return below
