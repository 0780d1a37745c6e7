"""The entry of a cost that was not seen, and is told: a tool with a price, a search, a rented machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bursar.entry import Agent, Entry, Subject
from bursar.ids import new_id
from bursar.money import Money, parse_usd
from bursar.names import writable
from bursar.usage import Usage

if TYPE_CHECKING:
    from bursar.run import Run


def recorded_entry(run: Run, cost: Money, *, agent: str, what: str) -> Entry:
    """
    Return the line of a *cost* in the ledger of *run*.

    Args:
        agent, what: See `Run.record`.

    Raises:
        ValueError: The cost is no amount of dollars.
    """
    name, what = writable(agent), writable(what)
    nanousd = parse_usd(cost, what="a recorded cost")
    entry_id = new_id(run.store.now())
    subject = Subject(
        call_id=entry_id,
        run_id=run.id,
        workflow=run.workflow,
        agent=Agent(name=name, path=name),
        provider="",
        model=what,
        operation="record",
    )
    return Entry(entry_id, subject, "ok", "stated", 1, what, nanousd, nanousd, Usage())
