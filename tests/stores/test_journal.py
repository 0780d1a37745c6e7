"""Costs that could not be booked are kept, and booked later, once."""

from __future__ import annotations

import gc
import os
import stat
from pathlib import Path

import pytest
from store_parts import START_S, account, amounts_of, claim, settling

from bursar.errors import StoreError
from bursar.ids import new_id
from bursar.reservation import Resolution
from bursar.store import Where
from bursar.stores.journal import Journal
from bursar.stores.memory import MemoryStore
from bursar.stores.sqlite import SQLiteStore


@pytest.fixture
def store() -> MemoryStore:
    """A store that answers."""
    return MemoryStore()


def _reserved(store: MemoryStore | SQLiteStore, number: int = 3) -> list[Resolution]:
    claims = [claim(account("run", None)) for _ in range(number)]
    for asked in claims:
        store.reserve(asked)
    return [settling(asked.id) for asked in claims]


def _files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.jsonl"))


def test_what_is_kept_is_booked_later(tmp_path: Path, store: MemoryStore) -> None:
    """A replay books each resolution as it was, and the file is gone."""
    resolutions = _reserved(store)
    journal = Journal(tmp_path / "unbooked")
    for resolution in resolutions:
        journal.keep(resolution)
    files = _files(tmp_path)

    assert [0o600] == [stat.S_IMODE(file.stat().st_mode) for file in files]
    assert (3, 0) == (journal.replay(store), journal.replay(store))
    assert [resolution.entry for resolution in resolutions] == list(store.entries(Where()))
    assert (180, 0, 0) == amounts_of(store)
    assert [] == _files(tmp_path)


def test_what_an_older_bursar_kept_is_booked(tmp_path: Path, store: MemoryStore) -> None:
    """A line that has a fingerprint, as those of the first schema have, is booked without it."""
    (resolution,) = _reserved(store, 1)
    journal = Journal(tmp_path / "unbooked")
    journal.keep(resolution)
    (file,) = _files(tmp_path)
    file.write_text(file.read_text().replace('"is_repeat"', '"fingerprint": "0123456789abcdef", "is_repeat"'))

    assert 1 == journal.replay(store)
    assert [resolution.entry] == list(store.entries(Where()))


def test_what_was_booked_before_is_not_booked_again(tmp_path: Path, store: MemoryStore) -> None:
    """A settle that reached the store although it seemed to fail counts once."""
    resolutions = _reserved(store)
    journal = Journal(tmp_path / "unbooked")
    for resolution in (*resolutions, resolutions[0]):
        journal.keep(resolution)
    store.resolve(resolutions[1])
    journal.replay(store)

    assert (180, 0, 0) == amounts_of(store)


def test_another_process_books_what_was_left(tmp_path: Path, store: MemoryStore) -> None:
    """What a killed process kept is booked by the next, but for a line that was cut off."""
    resolutions = _reserved(store)
    for resolution in resolutions:
        Journal(tmp_path / "unbooked").keep(resolution)
    (left,) = _files(tmp_path)
    lines = left.read_text().splitlines(keepends=True)
    left.write_text("".join(lines[:2]) + lines[2][:40])
    left.rename(tmp_path / "unbooked.1-abcdef00.jsonl")

    assert 2 == Journal(tmp_path / "unbooked", store).replay_if_any()
    assert (120, 0, 100) == amounts_of(store)
    assert [] == _files(tmp_path)


def test_lines_that_cannot_be_read_are_kept(
    tmp_path: Path, store: MemoryStore, caplog: pytest.LogCaptureFixture
) -> None:
    """A damaged line stops neither the others nor the program; the file stays for a person to see."""
    (resolution,) = _reserved(store, 1)
    Journal(tmp_path / "unbooked").keep(resolution)
    (file,) = _files(tmp_path)
    file.write_text("{}\nnonsense\n" + file.read_text())

    assert 1 == Journal(tmp_path / "unbooked", store).replay(store)
    assert [file.with_suffix(".damaged")] == list(tmp_path.iterdir())
    assert "cannot be read" in caplog.text


def test_a_cost_that_the_store_never_heard_of_reaches_the_ledger(tmp_path: Path, store: MemoryStore) -> None:
    """If the file was replaced in the meantime, the entry is recorded without accounts."""
    journal = Journal(tmp_path / "unbooked")
    journal.keep(settling(new_id(START_S)))

    assert 1 == journal.replay(store)
    assert 60 == store.totals(None, Where())[0][1].cost_nanousd


def test_a_journal_that_cannot_be_written_is_in_memory(
    tmp_path: Path, store: MemoryStore, caplog: pytest.LogCaptureFixture
) -> None:
    """If the disk is gone too, the cost is at least kept while the process lives, and a log says so."""
    resolutions = _reserved(store)
    (tmp_path / "no folder").touch()
    journal = Journal(tmp_path / "no folder" / "unbooked")
    for resolution in resolutions:
        journal.keep(resolution)

    assert 3 == caplog.text.count("kept in memory")
    assert (3, 0) == (journal.replay(store), journal.replay(store))
    assert (180, 0, 0) == amounts_of(store)


def test_nothing_is_lost_while_the_store_is_down(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A replay that fails keeps all, does not raise where a call begins, and is not tried at every call."""
    store = SQLiteStore(tmp_path / "ledger.db", lock_timeout_s=0.01)
    (resolution,) = _reserved(store, 1)
    journal = store.journal
    blocker = SQLiteStore(tmp_path / "ledger.db")
    with blocker._database:  # pyright: ignore[reportPrivateUsage]
        with pytest.raises(StoreError):
            store.resolve(resolution)
        journal.keep(resolution)

        assert (0, 0) == (journal.replay_if_any(), journal.replay_if_any())
        assert 1 == caplog.text.count("still not booked")
        with pytest.raises(StoreError):
            journal.replay(store)
    blocker.close()

    assert 1 == journal.replay(store)
    assert (60, 0, 0) == amounts_of(store)
    assert [] == _files(tmp_path)
    store.close()


def test_the_journal_of_a_store(tmp_path: Path) -> None:
    """It is beside the store's file, and goes with the store."""
    store = SQLiteStore(tmp_path / "ledger.db")
    journal = store.journal
    journal.keep(settling(new_id(START_S)))

    assert [f"ledger.db.unbooked.{os.getpid()}"] == [file.name.rsplit("-", 1)[0] for file in _files(tmp_path)]
    store.close()
    del store
    gc.collect()
    assert 0 == journal.replay_if_any()
