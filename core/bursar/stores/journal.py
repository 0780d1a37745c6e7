"""Costs that could not be booked when they were known: kept aside until the store answers again."""

from __future__ import annotations

import errno
import json
import logging
import os
import sys
import threading
import time
import weakref
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from bursar.account import Amounts
from bursar.entry import Agent, Entry, Subject
from bursar.errors import ReservationConflict, StoreError
from bursar.reservation import Resolution
from bursar.unwatched import unwatched
from bursar.usage import Usage

if sys.platform != "win32":
    import fcntl

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from bursar.store import Store

logger: Final = logging.getLogger(__name__)

_AGAIN_S: Final = 5.0


class Journal:
    """
    Keeps resolutions as lines of JSON, on disk before `keep` returns, until they are booked.

    A resolution holds figures and names, and nothing of the call's text.  Each process writes a file of its own and
    books any that it finds, so what a killed process kept aside is booked by the next one.

    Attributes:
        may_hold_any: Whether anything may be kept that is not booked.

    Args:
        path: Where: files begin with this path, have mode 0600 and are gone once all is booked.  None, or a place
            that cannot be written, keeps it in memory.

        store: What `replay_if_any` books into.
    """

    def __init__(self, path: Path | None, store: Store | None = None) -> None:
        self._path = path
        self._store = None if store is None else weakref.ref(store)
        self._lock = threading.RLock()
        self._in_memory: list[Resolution] = []
        # A file may be left by a process that was killed: look once.
        self.may_hold_any = path is not None
        self._next_s = 0.0

    @unwatched
    def keep(self, resolution: Resolution) -> None:
        """Keep *resolution* until it is booked; on disk when this returns, or in memory if that fails too."""
        with self._lock:
            self.may_hold_any = True
            if self._path is not None:
                try:
                    _append(self._own_file(self._path), _line_of(resolution))
                except OSError as error:
                    logger.error(
                        'the cost of reservation "%s" cannot be kept in "%s" (%s): it is kept in memory, and lost with '
                        "this process unless the store answers before",
                        resolution.entry.id,
                        self._path,
                        error.strerror,
                    )
                else:
                    return
            self._in_memory.append(resolution)

    @unwatched
    def replay(self, store: Store) -> int:
        """
        Book all that is kept, and return how much that was; what is booked already is not booked again.

        Raises:
            StoreError: The store still does not answer; what is not booked stays kept.
        """
        with self._lock:
            count = 0
            while self._in_memory:
                _book(store, self._in_memory[0])
                del self._in_memory[0]
                count += 1
            if self._path is not None:
                for file in sorted(self._path.parent.glob(f"{self._path.name}.*.jsonl")):
                    count += _replay_file(file, store)
            self.may_hold_any = False
            return count

    def replay_if_any(self) -> int:
        """Book what is kept, if anything is and the store answers; after a failure not again for five seconds."""
        store = None if self._store is None else self._store()
        if not self.may_hold_any or store is None or time.monotonic() < self._next_s:
            return 0
        try:
            return self.replay(store)
        except (StoreError, OSError) as error:
            self._next_s = time.monotonic() + _AGAIN_S
            logger.warning("costs that were kept aside are still not booked: %s", error)
            return 0

    def _own_file(self, path: Path) -> Path:
        return path.with_name(f"{path.name}.{os.getpid()}-{_RANDOM}.jsonl")


_RANDOM: Final = os.urandom(4).hex()


def _book(store: Store, resolution: Resolution) -> None:
    try:
        store.resolve(resolution)
    except ReservationConflict as unknown:
        # The store has never heard of it, or has forgotten it: the ledger at least shall know.
        try:
            store.record(resolution.entry)
        except ReservationConflict:
            logger.warning(
                "a cost that was kept aside is dropped, because the ledger has another: %s", unknown
            )


def _replay_file(file: Path, store: Store) -> int:
    with _locked(file, os.O_RDONLY) as descriptor:
        if descriptor is None:
            return 0
        with open(descriptor, encoding="utf-8", closefd=False) as lines:
            # A line that is cut off was never promised: its writer was killed before `keep` returned.
            kept = [line for line in lines if line.endswith("\n")]
        resolutions = [resolution for line in kept if (resolution := _resolution_of(line)) is not None]
        for resolution in resolutions:
            _book(store, resolution)
        is_whole = len(resolutions) == len(kept)
        if sys.platform != "win32":
            # As long as no other process can be at it.
            _put_away(file, is_whole=is_whole)
    if sys.platform == "win32":
        # Where a file that is open cannot be removed.
        _put_away(file, is_whole=is_whole)
    return len(resolutions)


def _put_away(file: Path, *, is_whole: bool) -> None:
    if is_whole:
        file.unlink()
    else:
        file.replace(file.with_suffix(".damaged"))
        logger.error('"%s" has lines that cannot be read; they are left in "%s.damaged"', file, file.stem)


def _append(file: Path, line: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    while True:
        with _locked(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, waits=True) as descriptor:
            if descriptor is None:
                continue
            size, data = os.fstat(descriptor).st_size, line.encode()
            if os.write(descriptor, data) != len(data):
                # Half a line would spoil the next one.
                os.ftruncate(descriptor, size)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(descriptor)
            return


@contextmanager
def _locked(file: Path, flags: int, *, waits: bool = False) -> Generator[int | None]:
    """Give the open file, alone with it; None if another process is at it or has just booked and removed it."""
    try:
        descriptor = os.open(file, flags, 0o600)
    except FileNotFoundError:
        if flags & os.O_CREAT:
            raise
        yield None
        return
    try:
        yield descriptor if _lock(descriptor, waits=waits) and _is_at(descriptor, file) else None
    finally:
        os.close(descriptor)


def _lock(descriptor: int, *, waits: bool) -> bool:
    if sys.platform == "win32":
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if waits else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    return True


def _is_at(descriptor: int, file: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), file.stat())
    except FileNotFoundError:
        return False


def _line_of(resolution: Resolution) -> str:
    fields: dict[str, Any] = resolution.entry._asdict()
    subject, usage = resolution.entry.subject, resolution.entry.usage
    fields["subject"] = {**subject._asdict(), "agent": subject.agent._asdict()}
    fields["usage"] = {**usage._asdict(), "other": dict(usage.other)}
    return json.dumps({"entry": fields, "amounts": resolution.amounts}) + "\n"


def _resolution_of(line: str) -> Resolution | None:
    try:
        read = json.loads(line)
        fields = read["entry"]
        agent = Agent(**fields["subject"].pop("agent"))
        # The first schema had one.
        fields["subject"].pop("fingerprint", None)
        fields["subject"] = Subject(agent=agent, **fields["subject"])
        fields["usage"] = Usage(**fields["usage"])
        return Resolution(Entry(**fields), Amounts(*read["amounts"]))
    except (ValueError, KeyError, TypeError):
        # Written by no bursar that this one knows; the caller says so and keeps it.
        return None
