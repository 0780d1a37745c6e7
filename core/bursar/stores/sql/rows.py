"""How accounts and entries stand in rows."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from bursar.account import MOST, Account, Amounts, Balance, Limits
from bursar.entry import Agent, Entry, Subject
from bursar.stores.rollup import hour_of
from bursar.usage import Usage

if TYPE_CHECKING:
    from collections.abc import Sequence

_UNITS: Final = Amounts._fields

ACCOUNT_COLUMNS: Final = (
    "id, key, name, limits, warn_at_ppm, downgrade_at_ppm, warned_ppm, is_latched, is_armed, "
    + ", ".join(f"committed_{unit}, spent_{unit}, presumed_{unit}" for unit in _UNITS)
)

STATE_COLUMNS: Final = (
    *("name", "limits", "warn_at_ppm", "downgrade_at_ppm", "warned_ppm", "is_latched", "is_armed"),
    *(f"quick_{unit}" for unit in _UNITS),
)
"""What `state_row` gives."""

ENTRY_COLUMNS: Final = (
    "run_id",
    "call_id",
    "workflow",
    "agent",
    "agent_path",
    "framework",
    "provider",
    "requested_model",
    "operation",
    "is_repeat",
    "status",
    "source",
    "attempt",
    "model",
    "cost_nanousd",
    "bound_nanousd",
    "input_tokens",
    "cache_read_tokens",
    "cache_write_tokens",
    "cache_write_1h_tokens",
    "output_tokens",
    "reasoning_tokens",
    "other_usage",
    "duration_ms",
    "overage_nanousd",
    "is_late",
    "reason",
    "price",
    "hour",
)
"""What `entry_row` gives, besides the id."""


def balance_of(row: Sequence[Any]) -> Balance:
    """Return the working state of an account from a row in the order of `ACCOUNT_COLUMNS`."""
    balance = Balance(account_of(row), lambda unit: tuple(row[9 + 3 * unit : 12 + 3 * unit]))
    balance.warned_ppm = row[6]
    balance.is_latched, balance.is_armed = bool(row[7]), bool(row[8])
    balance.refresh()
    return balance


def account_of(row: Sequence[Any]) -> Account:
    """Return what a row in the order of `ACCOUNT_COLUMNS` declares."""
    return Account(
        key=row[1],
        name=row[2],
        limits=Limits(*json.loads(row[3])),
        warn_at_ppm=tuple(json.loads(row[4])),
        downgrade_at_ppm=row[5],
    )


def state_row(balance: Balance) -> tuple[Any, ...]:
    """Return what is declared, latched, armed and warned, in the order of `STATE_COLUMNS`."""
    # A unit that is not limited is in nobody's way, but while an account is latched or armed its money is.
    quick = {kept.unit: kept.quick_cap for kept in balance.units}
    return (
        balance.name,
        json.dumps(balance.limits),
        json.dumps(balance.warn_at_ppm),
        balance.downgrade_at_ppm,
        balance.warned_ppm,
        int(balance.is_latched),
        int(balance.is_armed),
        *(quick.get(unit, MOST) for unit in range(len(_UNITS))),
    )


def entry_row(entry: Entry) -> tuple[Any, ...]:
    """Return the row of an entry, in the order of `ENTRY_COLUMNS`."""
    id_, subject, status, source, attempt, model, cost, bound, usage, *ends = entry
    duration_ms, overage, is_late, reason, price = ends
    agent = subject.agent
    return (
        subject.run_id,
        subject.call_id,
        subject.workflow,
        agent.name,
        agent.path,
        agent.framework,
        subject.provider,
        subject.model,
        subject.operation,
        # Python's SQLite looks for an adapter for every value that is no plain int, float or text.
        1 if subject.is_repeat else 0,
        status,
        source,
        attempt,
        model,
        cost,
        bound,
        usage.input_tokens,
        usage.cache_read_tokens,
        usage.cache_write_tokens,
        usage.cache_write_1h_tokens,
        usage.output_tokens,
        usage.reasoning_tokens,
        json.dumps(dict(usage.other)) if usage.other else "",
        duration_ms,
        overage,
        1 if is_late else 0,
        reason,
        price,
        hour_of(id_),
    )


def entry_of(id_: str, row: Sequence[Any]) -> Entry:
    """Return the entry that a row in the order of `ENTRY_COLUMNS` holds."""
    subject = Subject(
        call_id=row[1],
        run_id=row[0],
        workflow=row[2],
        agent=Agent(name=row[3], path=row[4], framework=row[5]),
        provider=row[6],
        model=row[7],
        operation=row[8],
        is_repeat=bool(row[9]),
    )
    usage = Usage(
        input_tokens=row[16],
        cache_read_tokens=row[17],
        cache_write_tokens=row[18],
        cache_write_1h_tokens=row[19],
        output_tokens=row[20],
        reasoning_tokens=row[21],
        other=json.loads(row[22]) if row[22] else {},
    )
    status, source, attempt, model, cost, bound = row[10:16]
    duration_ms, overage, is_late, reason, price = row[23:28]
    ends = (duration_ms, overage, bool(is_late), reason, price)
    return Entry(id_, subject, status, source, attempt, model, cost, bound, usage, *ends)
