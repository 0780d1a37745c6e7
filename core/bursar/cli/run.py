"""`bursar run`: one run as a tree of its agents, their calls, and each call's attempts."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Final

import click

from bursar.cli.entries import ENTRY_FIELDS, entry_record
from bursar.cli.options import format_option, store_option
from bursar.cli.output import console, duration, write_csv, write_json
from bursar.cli.reading import all_runs, find_run, open_ledger
from bursar.ledger.families import Families, inclusive_totals
from bursar.ledger.wording import describe_model, printable, short_moment
from bursar.money import format_usd
from bursar.store import Where
from bursar.totals import Totals

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rich.text import Text
    from rich.tree import Tree

    from bursar.entry import Entry, RunRecord

_CALLS_SHOWN: Final = 50
_ENTRIES_READ: Final = 100_000
_STYLES: Final = {"error": "yellow", "aborted": "yellow", "refused": "red", "released": "dim"}


@click.command(name="run")
@click.argument("run_id", metavar="RUN_ID")
@format_option
@store_option
def command(*, run_id: str, style: str, url: str | None) -> None:
    """
    Show one run as a tree: its agents, their calls and attempts, and the runs inside it.

    Each cost says how it is known: stated by the provider, priced from reported usage, estimated from what was seen,
    or the bound; and by which row of which price data, with the service tier and the discount.  In json and csv there
    is one record for each attempt, the oldest first.

    RUN_ID may be any beginning of an id that no other run has.
    """
    store = open_ledger(url)
    runs = all_runs(store)
    run = find_run(runs, run_id).run
    families = Families([one.run for one in runs])
    family = families.family(run.id)
    entries = list(store.entries(Where(run_ids=family), most=_ENTRIES_READ))
    if style != "table":
        _write(run.id, entries, style)
        return
    by_run: defaultdict[str, list[Entry]] = defaultdict(list)
    for entry in entries:
        by_run[entry.subject.run_id].append(entry)
    members = [one for one in runs if one.run.id in family]
    out = console()
    out.print(_run_tree(run, families, by_run, inclusive_totals(members)))
    if len(entries) == _ENTRIES_READ:
        out.print(f"only the newest {_ENTRIES_READ:,} attempts are shown")


def _write(run_id: str, entries: Sequence[Entry], style: str) -> None:
    if len(entries) == _ENTRIES_READ:
        click.echo(f"only the newest {_ENTRIES_READ:,} attempts are written", err=True)
    if style == "csv":
        write_csv(ENTRY_FIELDS, [entry_record(entry, is_flat=True) for entry in entries])
    else:
        write_json({"run": run_id, "entries": [entry_record(entry) for entry in entries]})


def _run_tree(
    run: RunRecord, families: Families, entries: dict[str, list[Entry]], totals: dict[str, Totals]
) -> Tree:
    from rich.text import Text
    from rich.tree import Tree

    took = "not ended" if run.ended_s is None else f"took {duration(run.ended_s - run.started_s)}"
    heading = Text(printable(run.workflow), style="bold")
    heading.append(f"  {format_usd(totals[run.id].cost_nanousd)}", style="bold green")
    heading.append(f"  {_sums(totals[run.id])}", style="not bold")
    heading.append(f"\n{printable(run.id)}  {short_moment(run.started_s)}, {took}", style="not bold dim")
    tree = Tree(heading, guide_style="dim")
    by_agent: defaultdict[str, list[Entry]] = defaultdict(list)
    for entry in entries.get(run.id, []):
        by_agent[entry.subject.agent.path or entry.subject.agent.name].append(entry)
    for path, of_agent in by_agent.items():
        sums = Totals.sum([Totals.of(entry) for entry in of_agent])
        label = Text(printable(path).replace("/", " > "), style="bold cyan")
        label.append(f"  {format_usd(sums.cost_nanousd)}", style="green not bold")
        label.append(f"  {_sums(sums)}", style="default not bold")
        _add_calls(tree.add(label), of_agent)
    for child in families.children.get(run.id, ()):
        tree.add(_run_tree(child, families, entries, totals))
    return tree


def _add_calls(branch: Tree, entries: Sequence[Entry]) -> None:
    calls: defaultdict[str, list[Entry]] = defaultdict(list)
    for entry in entries:
        calls[entry.subject.call_id].append(entry)
    if len(calls) > _CALLS_SHOWN:
        _add_summary(branch, entries)
        return
    for attempts in calls.values():
        attempts.sort(key=lambda entry: entry.attempt)
        if len(attempts) == 1:
            branch.add(_attempt(attempts[0], is_call=True))
            continue
        call = branch.add(_call(attempts))
        for attempt in attempts:
            call.add(_attempt(attempt, is_call=False))


def _add_summary(branch: Tree, entries: Iterable[Entry]) -> None:
    """Show many calls by what they have in common."""
    from rich.text import Text

    count: Counter[tuple[str, str, str, bool]] = Counter()
    cost: Counter[tuple[str, str, str, bool]] = Counter()
    for entry in entries:
        group = (entry.model, entry.status, entry.reason, entry.is_retry)
        count[group] += 1
        cost[group] += entry.cost_nanousd or 0
    for (model, status, reason, is_retry), number in count.most_common(_CALLS_SHOWN):
        line = Text(f"{number:,} x {printable(model)} ")
        line.append(status, style=_STYLES.get(status, ""))
        line.append(f" {format_usd(cost[model, status, reason, is_retry])}", style="green")
        line.append("".join((", retries" if is_retry else "", f": {printable(reason)}" if reason else "")))
        branch.add(line)
    if len(count) > _CALLS_SHOWN:
        branch.add(Text(f"and {len(count) - _CALLS_SHOWN:,} more kinds", style="dim"))


def _call(attempts: Sequence[Entry]) -> Text:
    from rich.text import Text

    first = attempts[0]
    costs = [entry.cost_nanousd or 0 for entry in attempts]
    line = Text(printable(f"{first.subject.operation} {first.subject.model}"))
    line.append(f"  {format_usd(sum(costs))}", style="green")
    line.append(f"  {len(attempts)} attempts")
    return line


def _attempt(entry: Entry, *, is_call: bool) -> Text:
    from rich.text import Text

    line = Text("" if is_call else f"{entry.attempt}. ")
    if is_call:
        line.append(f"{printable(entry.subject.operation)} ")
    line.append(printable(describe_model(entry)))
    line.append(f"  {entry.status}", style=_STYLES.get(entry.status, ""))
    if entry.is_sent:
        line.append(
            f"  {'price unknown' if entry.cost_nanousd is None else format_usd(entry.cost_nanousd)}",
            style="green",
        )
        line.append(
            f"{'' if entry.source in {'none', 'unknown', 'priced'} else f' ({entry.source})'}{_tokens(entry)}"
        )
        line.append(f"  {duration(entry.duration_ms / 1000)}")
        if entry.price:
            line.append(f"  by {printable(entry.price)}", style="dim")
    marks = [
        *(["same request again"] if entry.subject.is_repeat else []),
        *(["after its lease ran out"] if entry.is_late else []),
        *([f"{format_usd(entry.overage_nanousd)} over its reservation"] if entry.overage_nanousd else []),
        *([printable(entry.reason)] if entry.reason else []),
    ]
    line.append("".join(f"  {mark}" for mark in marks), style="magenta" if entry.is_retry else "dim")
    return line


def _tokens(entry: Entry) -> str:
    usage = entry.usage
    if not usage.total_tokens:
        return ""
    cached = f" ({usage.cache_read_tokens:,} cached)" if usage.cache_read_tokens else ""
    return f"  {usage.input_tokens:,} in{cached}, {usage.output_tokens:,} out"


def _sums(totals: Totals) -> str:
    parts = [f"{totals.calls:,} {'call' if totals.calls == 1 else 'calls'}"]
    if totals.retries:
        parts.append(
            f"{totals.retries:,} {'retry' if totals.retries == 1 else 'retries'} for {format_usd(totals.retry_nanousd)}"
        )
    if totals.refusals:
        parts.append(f"{totals.refusals:,} refused")
    return ", ".join(parts)
