"""
What the stores cost: time of a reserve and its settle, of reports over a million entries, and memory.

Each figure stands beside its floor, measured in turns with it, so that a busy machine slows both alike; ratios are
medians of the turns.  Claims and resolutions are made outside the timed part: they are the caller's.

Run it with `python tests/benchmarks/bench_stores.py`.
"""

from __future__ import annotations

import gc
import json
import os
import random
import resource
import sqlite3
import subprocess
import sys
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING

from bursar.account import Account, Amounts, Limits
from bursar.entry import Agent, Entry, Subject
from bursar.ids import new_id
from bursar.reservation import Claim, Resolution
from bursar.store import Where
from bursar.stores.memory import MemoryStore
from bursar.stores.sqlite import SQLiteStore
from bursar.usage import Usage

if TYPE_CHECKING:
    from collections.abc import Callable

    from bursar.store import Store

ROWS = 1_000_000
DAYS = 30
CHAIN = tuple(
    Account(key=f"{name}/01a2b3c4", name=f'{name} "triage"', limits=Limits(10**15), warn_at_ppm=(800_000,))
    for name in ("agent", "run", "day", "month")
)
SUBJECT = Subject(
    call_id=new_id(),
    run_id=new_id(),
    workflow="doc-summary",
    agent=Agent(name="researcher", path="planner/researcher"),
    provider="openai",
    model="gpt-4o",
    operation="chat",
)
USAGE = Usage(input_tokens=1_200, output_tokens=345)


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One line of the table; *most* and *most_ratio* are the targets."""

    what: str
    value: float
    unit: str
    most: float | None = None
    floor: float | None = None
    ratio: float | None = None
    most_ratio: float | None = None

    def line(self) -> str:
        """Return the line."""
        too_much = self.most is not None and self.value > self.most
        too_often = self.most_ratio is not None and (self.ratio or 0) > self.most_ratio
        floor = "" if self.floor is None else f"{self.floor:.2f}"
        ratio = "" if self.ratio is None else f"{self.ratio:.1f}"
        targets = [f"{self.most:g} {self.unit}"] if self.most is not None else []
        targets += [f"{self.most_ratio:g} x"] if self.most_ratio is not None else []
        verdict = "missed" if too_much or too_often else "ok" if targets else ""
        value = f"{self.value:.2f} {self.unit}"
        return f"{self.what:<58} {value:>12} {floor:>8} {ratio:>6} {', '.join(targets):>12}  {verdict}"


def made(number: int) -> list[tuple[Claim, Resolution]]:
    """Return calls: what they claim, and how they end."""
    calls: list[tuple[Claim, Resolution]] = []
    for _ in range(number):
        id_ = new_id()
        entry = Entry(id_, SUBJECT, "ok", "priced", 1, "gpt-4o-2024-08-06", 60_000, 100_000, USAGE, 812)
        resolution = Resolution(entry, Amounts(60_000, 1_545, 1, 1))
        calls.append((Claim(id_, CHAIN, Amounts(100_000, 2_000, 1, 1), "1:2"), resolution))
    return calls


def timed_us(does: Callable[[], object], times: int) -> float:
    """Return the microseconds of one of *times* that *does* does."""
    start = perf_counter()
    does()
    return (perf_counter() - start) / times * 1e6


def pairs(store: Store, calls: list[tuple[Claim, Resolution]]) -> None:
    """Reserve and settle each call."""
    reserve, resolve = store.reserve, store.resolve
    for claim, resolution in calls:
        reserve(claim)
        resolve(resolution)


def in_turns(
    what: Callable[[list[tuple[Claim, Resolution]]], object],
    floor: Callable[[int], object],
    block: int,
    turns: int,
) -> tuple[float, float, float]:
    """Return the medians of a call and of its floor, in microseconds, and of their ratio."""
    rows: list[tuple[float, float]] = []
    gc.collect()
    for _ in range(turns):
        calls = made(block)
        rows.append((timed_us(lambda calls=calls: what(calls), block), timed_us(lambda: floor(block), block)))
    return median(a for a, _ in rows), median(b for _, b in rows), median(a / b for a, b in rows)


def bench_memory() -> list[Figure]:
    """Measure the store in memory."""
    store, lock = MemoryStore(), threading.Lock()

    def two_locks(times: int) -> None:
        for _ in range(times):
            with lock:
                pass
            with lock:
                pass

    pairs(store, made(2_000))
    value, floor, ratio = in_turns(lambda calls: pairs(store, calls), two_locks, 16, 601)
    one = Figure(
        what="reserve + settle, chain of 4, memory (floor: two locks)",
        value=value,
        unit="µs",
        most=5,
        floor=floor,
        ratio=ratio,
        most_ratio=6,
    )
    value, floor, ratio = in_turns(lambda calls: pairs(store, calls), two_locks, 2_560, 15)
    folded = Figure(what="  with its share of the roll-ups", value=value, unit="µs", floor=floor, ratio=ratio)
    return [one, folded]


def bench_sqlite(folder: Path) -> list[Figure]:
    """Measure the store in a file, next to transactions of one update on the same kind of file."""
    store = SQLiteStore(folder / "pairs.db")
    plain = sqlite3.connect(folder / "floor.db", isolation_level=None)
    for pragma in (
        "page_size = 2048",
        "journal_mode = WAL",
        "wal_autocheckpoint = 10000",
        "synchronous = NORMAL",
    ):
        plain.execute(f"PRAGMA {pragma}")
    plain.execute("CREATE TABLE one (id INTEGER PRIMARY KEY, amount INTEGER)")
    plain.execute("INSERT INTO one VALUES (1, 0)")

    def updates(times: int) -> None:
        execute = plain.cursor().execute
        for _ in range(times):
            execute("BEGIN IMMEDIATE")
            execute("UPDATE one SET amount = amount + 1 WHERE id = 1")
            execute("COMMIT")

    def fused(calls: list[tuple[Claim, Resolution]]) -> None:
        ended: Resolution | None = None
        for claim, resolution in calls:
            store.reserve(claim, ended)
            ended = resolution
        if ended is not None:
            store.resolve(ended)

    pairs(store, made(2_000))
    value, floor, ratio = in_turns(lambda calls: pairs(store, calls), updates, 256, 61)
    two = Figure(
        what="the same on SQLite (floor: a transaction of one update)",
        value=value,
        unit="µs",
        floor=floor,
        ratio=ratio,
        most_ratio=6,
    )
    value, floor, ratio = in_turns(fused, updates, 256, 31)
    one = Figure(
        what="  settle and next reserve in one step", value=value, unit="µs", floor=floor, ratio=ratio
    )
    store.close()
    plain.close()
    return [two, one]


def bench_postgres() -> list[Figure]:
    """Measure the store in PostgreSQL, if a server answers, next to transactions of one update in the same database."""
    import psycopg

    from bursar.stores.postgres import PostgresStore

    server = os.environ.get("BURSAR_TEST_POSTGRES_URL", "postgresql://postgres@127.0.0.1:5432/test")
    try:
        plain = psycopg.connect(server, autocommit=True, connect_timeout=3)
    except psycopg.OperationalError:
        return []
    plain.execute("DROP SCHEMA IF EXISTS bursar_bench CASCADE")
    store = PostgresStore(f"{server}?schema=bursar_bench")
    plain.execute("CREATE TABLE bursar_bench.one (id BIGINT PRIMARY KEY, amount BIGINT)")
    plain.execute("INSERT INTO bursar_bench.one VALUES (1, 0)")

    def updates(times: int) -> None:
        for _ in range(times):
            plain.execute("BEGIN")
            plain.execute("UPDATE bursar_bench.one SET amount = amount + 1 WHERE id = 1")
            plain.execute("COMMIT")

    pairs(store, made(200))
    value, floor, ratio = in_turns(lambda calls: pairs(store, calls), updates, 32, 21)
    plain.execute("DROP SCHEMA bursar_bench CASCADE")
    plain.close()
    store.close()
    what = "the same on PostgreSQL (floor: a transaction of one update)"
    return [Figure(what=what, value=value, unit="µs", floor=floor, ratio=ratio)]


def fill(path: Path) -> None:
    """Write a ledger of a million entries in bulk: 60,000 runs of 4 workflows, 6 agents, 3 models, 30 days."""
    store = SQLiteStore(path)
    rng, runs, now_s = random.Random(1), 60_000, 1_795_000_000
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA synchronous = OFF")
    start_of = [now_s - rng.random() * DAYS * 86_400 for _ in range(runs)]
    workflows = ("doc-summary", "research", "code-review", "triage")
    connection.execute("BEGIN")
    columns = [row[1] for row in connection.execute("PRAGMA table_info(entries)")]
    insert = f"INSERT INTO entries VALUES ({', '.join('?' * len(columns))})"  # noqa: S608 (marks, and no value)
    connection.executemany(
        "INSERT INTO runs (id, workflow, started_s, ended_s) VALUES (?, ?, ?, ?)",
        ((f"run-{n}", workflows[n % 4], start_of[n], start_of[n] + 60) for n in range(runs)),
    )
    for _ in range(ROWS):
        run = rng.randrange(runs)
        at_s = start_of[run] + rng.random() * 60
        row: dict[str, object] = {
            **dict.fromkeys(columns, 0),
            **{
                "id": new_id(at_s),
                "run_id": f"run-{run}",
                "call_id": f"call-{run}",
                "workflow": workflows[run % 4],
            },
            **{
                "agent": f"agent-{rng.randrange(6)}",
                "agent_path": "a/b",
                "framework": "guard",
                "provider": "openai",
            },
            **{"requested_model": "gpt-4o", "operation": "chat", "status": "ok"},
            **{"source": "priced", "attempt": 1, "model": f"model-{rng.randrange(3)}", "other_usage": ""},
            **{"cost_nanousd": rng.randrange(10**7), "bound_nanousd": 10**7, "input_tokens": 1_200},
            **{"output_tokens": 300, "reason": "", "price": "", "hour": int(at_s) // 3600},
        }
        connection.execute(insert, tuple(row.values()))
    from bursar.stores.sql import ledger

    for statement in ledger.ROLL_UP:
        connection.execute(statement.replace(ledger.ENDED, "FROM entries WHERE 1"))
    connection.execute("COMMIT")
    connection.close()
    store.close()


def bench_reports(folder: Path) -> list[Figure]:
    """Measure what a report asks of a ledger of a million entries."""
    path = folder / "million.db"
    fill(path)
    store = SQLiteStore(path)

    def by_workflow() -> dict[str, tuple[int, int]]:
        costs: dict[str, list[int]] = {}
        for run in store.runs(Where()):
            costs.setdefault(run.run.workflow, []).append(run.totals.cost_nanousd)
        store.totals("workflow", Where())
        found: dict[str, tuple[int, int]] = {}
        for name, all_costs in costs.items():
            all_costs.sort()
            found[name] = (all_costs[len(all_costs) // 2], all_costs[len(all_costs) * 99 // 100])
        return found

    asked: dict[str, Callable[[], object]] = {
        "by agent": lambda: store.totals("agent", Where()),
        "by workflow, with p50 and p99 of 60,000 runs": by_workflow,
        "by run, of the last 7 days": lambda: store.totals("run", Where(since_s=1_795_000_000 - 7 * 86_400)),
        "by agent, of one run": lambda: store.totals("agent", Where(run_ids=("run-7",))),
    }
    figures: list[Figure] = []
    for name, does in asked.items():
        seconds = median(timed_us(does, 1_000_000) for _ in range(5))
        figures.append(Figure(what=f"1,000,000 entries {name}", value=seconds, unit="s", most=1))
    assert sum(sums.calls for _, sums in store.totals("agent", Where())) == ROWS
    store.close()
    return figures


def settle_a_million(url: str) -> None:
    """Settle calls and print the memory in use after 200,000 and after a million, in MB."""
    store: Store = MemoryStore() if url == "memory" else SQLiteStore(Path(url))
    used: list[float] = []
    for _ in range(5):
        for _ in range(100):
            pairs(store, made(2_000))
        # Not the peak of getrusage(): a process inherits that of whoever started it.
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        used.append(pages * resource.getpagesize() / 2**20)
    store.close()
    print(json.dumps([used[0], used[-1]]))


def bench_growth(folder: Path) -> list[Figure]:
    """Measure how much the memory of a process grows from its 200,000th settled call to its millionth."""
    figures: list[Figure] = []
    for name, url in (("memory", "memory"), ("SQLite", str(folder / "growth.db"))):
        command = [sys.executable, __file__, "settle", url]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        before, after = json.loads(done.stdout)
        what = f"growth from 200,000 to 1,000,000 settled calls, {name}"
        figures.append(Figure(what=what, value=after - before, unit="MB", most=2, floor=before))
    return figures


def main() -> None:
    """Measure all, and print the table."""
    print(f"{'what':<58} {'measured':>12} {'floor':>8} {'ratio':>6} {'at most':>12}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        parts: list[Callable[[], list[Figure]]] = [
            bench_memory,
            lambda: bench_sqlite(folder),
            bench_postgres,
            lambda: bench_reports(folder),
            lambda: bench_growth(folder),
        ]
        for part in parts:
            for figure in part():
                print(figure.line(), flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["settle"]:
        settle_a_million(sys.argv[2])
    else:
        main()
