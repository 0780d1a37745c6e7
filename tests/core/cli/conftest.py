"""A ledger in a file whose every figure is known, and the command to read it with."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from bursar.cli import main
from bursar.entry import Agent, Entry, RunRecord, Source, Status, Subject
from bursar.ids import new_id
from bursar.stores.sqlite import SQLiteStore
from bursar.usage import Usage

START_S = 1_790_000_000.0
"""2026-09-21 14:13:20 UTC."""


class Book:
    """A SQLite ledger written entry by entry, by a clock that only moves when told."""

    def __init__(self, path: Path) -> None:
        self.now_s = START_S
        self.url = f"sqlite:///{path}"
        self.store = SQLiteStore(path, clock=lambda: self.now_s)

    def run(
        self, run_id: str, workflow: str, *, parent_id: str | None = None, took_s: float | None = None
    ) -> None:
        """Open a run, and close it if it *took_s* seconds."""
        self.store.open_run(
            RunRecord(id=run_id, workflow=workflow, started_s=self.now_s, parent_id=parent_id)
        )
        if took_s is not None:
            self.store.close_run(run_id, self.now_s + took_s)

    def call(
        self,
        run_id: str,
        workflow: str,
        nanousd: int | None,
        *,
        agent: str = "writer",
        asked: str = "gpt-4o",
        served: str | None = None,
        status: Status = "ok",
        source: Source = "priced",
        attempt: int = 1,
        call_id: str = "",
        usage: Usage | None = None,
        is_repeat: bool = False,
        reason: str = "",
        provider: str = "openai",
        price: str = "",
    ) -> None:
        """Append one attempt of a call."""
        self.now_s += 0.001
        entry_id = new_id(self.now_s)
        subject = Subject(
            call_id=call_id or entry_id,
            run_id=run_id,
            workflow=workflow,
            agent=Agent(name=agent, path=agent),
            provider=provider,
            model=asked,
            operation="openai.chat",
            is_repeat=is_repeat,
        )
        of = usage or Usage()
        self.store.record(
            Entry(
                entry_id,
                subject,
                status,
                source,
                attempt,
                served or asked,
                nanousd,
                0,
                of,
                1_200,
                reason=reason,
                price=price,
            )
        )


@pytest.fixture
def book(tmp_path: Path) -> Iterator[Book]:
    """An empty ledger in a file."""
    book = Book(tmp_path / "ledger.db")
    yield book
    book.store.close()


@pytest.fixture
def bursar(book: Book) -> Callable[..., Result]:
    """Call the command on the ledger, with a width if one is given."""

    def called(*arguments: str, columns: int | None = None, store: str | None = None) -> Result:
        environment = {
            "BURSAR_STORE": store or book.url,
            "COLUMNS": None if columns is None else str(columns),
        }
        return CliRunner(env=environment).invoke(main, arguments)

    return called
