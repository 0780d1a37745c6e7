"""How the demo ends: what happened, the report, and the ledger held against the bill."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from bursar.ledger.tables import report_tables
from bursar.ledger.wording import is_other_model
from bursar.money import format_usd, to_usd
from bursar.store import Where

if TYPE_CHECKING:
    from collections.abc import Iterator
    from decimal import Decimal

    from rich.console import Console

    from bursar.demo.stage import Stage
    from bursar.entry import Entry
    from bursar.run import Run
    from bursar.simulator import Simulator


def show_ending(console: Console, run: Run, stage: Stage) -> bool:
    """Show what happened and what it cost; return whether the ledger agrees with the bill, if there is one."""
    entries = list(run.store.entries(Where(run_ids=tuple(run.family))))
    console.print()
    grid = Table.grid(padding=(0, 2))
    for word, style, text in _highlights(entries, run, stage.simulator):
        grid.add_row(Text(word, style=f"bold {style}"), Text(text))
    console.print(grid)
    for table in report_tables(run.report()):
        console.print()
        console.print(table)
    console.print()
    is_right = _check(console, run, stage.simulator)
    console.print(f"Every attempt of it: bursar run {run.id[:16]}")
    return is_right


def _highlights(
    entries: list[Entry], run: Run, simulator: Simulator | None
) -> Iterator[tuple[str, str, str]]:
    killed = dict.fromkeys(refusal.agent for refusal in run.refusals)
    for refusal in run.refusals:
        others = {entry.subject.agent.name for entry in entries} - killed.keys()
        details = refusal.details
        left = f"{_dollars(details.remaining)} of its {_dollars(details.limit)} left"
        alone = "alone, " if len(killed) == 1 else ""
        yield "killed", "red", f"{refusal.agent}, {alone}with {left}; the other {len(others)} agents went on"
    downgraded = [entry for entry in entries if is_other_model(entry)]
    for agent in dict.fromkeys(entry.subject.agent.name for entry in downgraded):
        of_agent = [entry for entry in downgraded if entry.subject.agent.name == agent]
        wire = "" if simulator is None else f"; on the wire {_wire_models(simulator, agent)}"
        models = f"asked for {of_agent[0].subject.model}, served by {of_agent[0].model}"
        yield "downgraded", "yellow", f"{agent} {models}{wire}"
    retried = [entry for entry in entries if entry.is_retry or entry.status in {"error", "aborted"}]
    for agent in dict.fromkeys(entry.subject.agent.name for entry in retried):
        of_agent = [entry for entry in retried if entry.subject.agent.name == agent]
        failed = [entry for entry in of_agent if entry.status != "ok"]
        paid = sum(entry.cost_nanousd or 0 for entry in of_agent if entry.is_retry)
        text = f"{agent}: {sum(entry.is_retry for entry in of_agent)} retries for {format_usd(paid)}"
        if failed:
            reasons = ", ".join(dict.fromkeys(entry.reason for entry in failed))
            text += f", {len(failed)} failed attempts among its calls ({reasons})"
        yield "retried", "magenta", text


def _dollars(usd: Decimal) -> str:
    return format_usd(int(usd.scaleb(9)))


def _wire_models(simulator: Simulator, agent: str) -> str:
    """Return the models that the agent's requests named, in order, those that follow one another together."""
    models = (str(request.body.get("model")) for request in simulator.requests if request.agent == agent)
    return ", then ".join(f"{model} ({len(list(of))} x)" for model, of in groupby(models))


def _check(console: Console, run: Run, simulator: Simulator | None) -> bool:
    report = run.report()
    booked = report.totals.cost_nanousd
    held = (
        f", {format_usd(round(run.reserved.scaleb(9)))} still held"
        if run.reserved
        else ", nothing still held"
    )
    console.print(f"the ledger says     ${to_usd(booked):f}, of ${run.limit:f}{held}")
    if simulator is None:
        console.print("the bill            is the providers' own: compare it with their dashboards")
        return True
    simulator.wait_idle()
    billed = simulator.bill.total_nanousd
    console.print(
        f"the provider billed ${to_usd(billed):f}, {simulator.bill.calls} answers to {simulator.arrived} requests"
    )
    is_same = booked == billed
    text = "equal, to the nano-dollar" if is_same else f"they differ by {format_usd(abs(booked - billed))}"
    console.print(Text(text, style="bold green" if is_same else "bold red"))
    return is_same
