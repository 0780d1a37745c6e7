"""Ledger entries as records for programs, with how each cost is known."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from bursar.cli.output import Record, moment, usd
from bursar.ids import time_of

if TYPE_CHECKING:
    from bursar.entry import Entry

ENTRY_FIELDS: Final = (
    "entry",
    "time",
    "run",
    "workflow",
    "agent",
    "agent_path",
    "provider",
    "operation",
    "requested_model",
    "model",
    "call",
    "attempt",
    "status",
    "cost_usd",
    "source",
    "price",
    "bound_usd",
    "overage_usd",
    "input_tokens",
    "cache_read_tokens",
    "cache_write_tokens",
    "cache_write_1h_tokens",
    "output_tokens",
    "reasoning_tokens",
    "other_usage",
    "duration_ms",
    "is_repeat",
    "is_late",
    "reason",
)


def entry_record(entry: Entry, *, is_flat: bool = False) -> Record:
    """
    Return one entry; its cost is None where no price is known.

    Args:
        is_flat: Whether the rarer counts are written as JSON text, for a table's cell.
    """
    subject, usage = entry.subject, entry.usage
    other = dict(usage.other)
    values = (
        entry.id,
        moment(time_of(entry.id)),
        subject.run_id,
        subject.workflow,
        subject.agent.name,
        subject.agent.path,
        subject.provider,
        subject.operation,
        subject.model,
        entry.model,
        subject.call_id,
        entry.attempt,
        entry.status,
        None if entry.cost_nanousd is None else usd(entry.cost_nanousd),
        entry.source,
        entry.price or None,
        usd(entry.bound_nanousd),
        usd(entry.overage_nanousd),
        usage.input_tokens,
        usage.cache_read_tokens,
        usage.cache_write_tokens,
        usage.cache_write_1h_tokens,
        usage.output_tokens,
        usage.reasoning_tokens,
        (json.dumps(other, sort_keys=True) if other else None) if is_flat else other,
        entry.duration_ms,
        subject.is_repeat,
        entry.is_late,
        entry.reason or None,
    )
    return dict(zip(ENTRY_FIELDS, values, strict=True))
