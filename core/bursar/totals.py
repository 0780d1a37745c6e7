"""Sums over ledger entries, as reports and roll-ups keep them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bursar.entry import Entry


class Totals(NamedTuple):
    """
    What a set of ledger entries adds up to.

    Attributes:
        cost_nanousd: Every known cost.

        calls: Calls of which at least one request was sent.

        attempts: Requests sent, retries included.

        retries: Attempts beyond the first of a call, and repeats of a request the agent had sent before.

        retry_nanousd: What those retries cost.

        estimated_nanousd: The part of the cost that is estimated or a bound, not reported.

        unknown_calls: Calls without a known price; their cost is not in *cost_nanousd*.
    """

    cost_nanousd: int = 0
    calls: int = 0
    attempts: int = 0
    input_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0
    retries: int = 0
    retry_nanousd: int = 0
    refusals: int = 0
    estimated_nanousd: int = 0
    unknown_calls: int = 0

    @classmethod
    def of(cls, entry: Entry) -> Totals:
        """Return what one *entry* adds."""
        _, _, status, source, attempt, _, cost_nanousd, _, usage, *_ = entry
        if status == "refused":
            return _REFUSED
        cost = cost_nanousd or 0
        is_sent = 0 if status == "released" else 1
        is_retry = is_sent if entry.is_retry else 0
        # Built without the constructor, which costs more than all the rest: every settled call comes by here.
        return tuple.__new__(  # pyright: ignore[reportUnknownMemberType]
            cls,
            (
                cost,
                is_sent if attempt == 1 else 0,
                is_sent,
                usage.input_tokens,
                usage.cache_read_tokens,
                usage.cache_write_tokens,
                usage.output_tokens,
                usage.reasoning_tokens,
                is_retry,
                cost if is_retry else 0,
                0,
                cost if source in {"estimated", "bound"} else 0,
                1 if cost_nanousd is None else 0,
            ),
        )

    @classmethod
    def sum(cls, rows: Sequence[Totals]) -> Totals:
        """Return the sum of *rows*."""
        if len(rows) == 1:
            # Nearly always, where each call is a run of its own.
            return rows[0]
        return cls(*map(sum, zip(cls(), *rows, strict=True)))

    def plus(self, other: Totals) -> Totals:
        """Return the sum of both."""
        return Totals(*(a + b for a, b in zip(self, other, strict=True)))


_REFUSED = Totals(refusals=1)
