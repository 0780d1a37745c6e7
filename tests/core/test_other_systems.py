"""Systems without forks and file locks, as Windows is: stood for by a process that had them taken away."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

WITHOUT = """
import asyncio, concurrent.futures, ctypes, http.server, multiprocessing, os, sqlite3, sys, tempfile, zoneinfo
import anthropic, click, genai_prices, openai, platformdirs, rich.live, rich.progress
for name in ("register_at_fork", "fork", "forkpty", "getuid", "geteuid"):
    delattr(os, name)
sys.modules["fcntl"] = None
sys.platform = "win32"
"""
"""What is not bursar's own is imported before."""


def run(program: str) -> subprocess.CompletedProcess[str]:
    """Run *program* where there are no forks."""
    return subprocess.run(
        [sys.executable, "-c", WITHOUT + program], capture_output=True, text=True, check=False, timeout=60
    )


def test_it_is_imported() -> None:
    """Nothing needs what is not everywhere at import."""
    ended = run("import bursar, bursar.cli, bursar.demo, bursar.simulator, bursar.stores")

    assert (ended.returncode, ended.stderr) == (0, "")


def test_a_call_is_paid_and_reported(tmp_path: Path) -> None:
    """A guarded client pays into a ledger in a file, and what was kept aside is booked from beside it."""
    program = f"""
from pathlib import Path
import bursar
from bursar import Budget, BudgetExceeded, guard
from bursar.simulator import Simulator
path = Path({str(tmp_path)!r}) / "ledger.db"
with Simulator() as sim:
    client = openai.OpenAI(base_url=sim.openai_base_url, api_key="none")
    writer = guard(client, budget=Budget(calls=1, store=f"sqlite:///{{path}}"), label="writer")
    ask = dict(model="gpt-4o-mini", messages=[dict(role="user", content="hi")])
    writer.chat.completions.create(**ask)
    try:
        writer.chat.completions.create(**ask)
    except BudgetExceeded:
        print(writer.bursar.calls, path.exists())
"""
    ended = run(program)

    assert (ended.returncode, ended.stdout) == (0, "1 True\n"), ended.stderr


def test_what_was_kept_aside_is_booked(tmp_path: Path) -> None:
    """A file of costs that could not be booked is read and removed."""
    program = f"""
from pathlib import Path
from bursar.account import Amounts
from bursar.entry import Agent, Entry, Subject
from bursar.ids import new_id
from bursar.reservation import Resolution
from bursar.store import Where
from bursar.stores.journal import Journal
from bursar.stores.sqlite import SQLiteStore
from bursar.usage import Usage
store = SQLiteStore(Path({str(tmp_path)!r}) / "ledger.db")
subject = Subject("call", "run", "doc", Agent("writer", "writer"), "openai", "gpt-4o", "openai.chat", False)
entry = Entry(new_id(), subject, "ok", "reported", 1, "gpt-4o", 5, 5, Usage())
file = Path({str(tmp_path)!r}) / "ledger.db.unbooked"
Journal(file, store).keep(Resolution(entry, Amounts(5, 0, 1, 1)))
print(Journal(file, store).replay(store), len(list(store.entries(Where()))), list(file.parent.glob("*unbooked*")))
"""
    ended = run(program)

    assert (ended.returncode, ended.stdout) == (0, "1 1 []\n"), ended.stderr
