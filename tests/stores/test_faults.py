"""What goes wrong with a file: a clear error, and nothing lost; afterwards the same store works again."""

from __future__ import annotations

import os
import resource
import sqlite3
import stat
import subprocess
import sys
import textwrap
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from store_parts import account, amounts_of, claim, granted, settling, spend

from bursar.errors import StoreError
from bursar.reservation import Claim
from bursar.store import Where
from bursar.stores.sqlite import SQLiteStore
from bursar.stores.sqlite.schema import MIGRATIONS

RUN = (account("run", None),)


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    """A ledger with one settled call, closed."""
    store = SQLiteStore(tmp_path / "ledger.db")
    spend(store, RUN)
    store.close()
    return tmp_path / "ledger.db"


def _refused(path: Path) -> str:
    with pytest.raises(StoreError) as raised:
        SQLiteStore(path, lock_timeout_s=0.05)
    assert str(path) in str(raised.value)
    return str(raised.value)


def test_files_are_private(tmp_path: Path) -> None:
    """The ledger, its log and its index are for their owner alone, whatever the umask."""
    before = os.umask(0)
    try:
        store = SQLiteStore(tmp_path / "new" / "ledger.db")
        spend(store, RUN)
    finally:
        os.umask(before)
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in (tmp_path / "new").iterdir()}

    assert {"ledger.db": 0o600, "ledger.db-wal": 0o600, "ledger.db-shm": 0o600} == modes
    assert 0o700 == stat.S_IMODE((tmp_path / "new").stat().st_mode)
    store.close()


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    """It is named, left as it is, and a store opens there once it is moved away."""
    path = tmp_path / "ledger.db"
    path.write_bytes(b"dear diary, " * 500)

    assert "is not a SQLite file" in _refused(path)
    assert path.read_bytes().startswith(b"dear diary")
    path.rename(tmp_path / "diary")
    SQLiteStore(path).close()


def test_a_database_of_another_program(tmp_path: Path) -> None:
    """It is named and not touched."""
    path = tmp_path / "ledger.db"
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE recipes (name TEXT)")
    other.close()
    before = path.read_bytes()

    assert "another program" in _refused(path)
    assert before == path.read_bytes()
    assert [path] == list(tmp_path.iterdir())


def test_an_sqlite_that_is_too_old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told at once, with what to do, and no file is made."""
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 22, 0))

    assert "needs SQLite 3.26 or newer, and this Python has" in _refused(tmp_path / "ledger.db")
    assert [] == list(tmp_path.iterdir())


def test_a_ledger_of_a_newer_bursar(ledger: Path) -> None:
    """It says which schema it has, and what to do."""
    other = sqlite3.connect(ledger)
    other.execute("PRAGMA user_version = 99")
    other.close()

    assert f"newer bursar (schema 99, this one knows {len(MIGRATIONS)}); upgrade" in _refused(ledger)


def test_a_truncated_ledger(ledger: Path) -> None:
    """Half a file is damaged, and said to be."""
    os.truncate(ledger, ledger.stat().st_size // 2)

    with pytest.raises(StoreError, match="is damaged; move it away") as raised:
        spend(SQLiteStore(ledger), RUN)
    assert str(ledger) in str(raised.value)


def test_a_ledger_that_is_damaged_while_it_is_open(ledger: Path) -> None:
    """The open store says so, and works on once a whole file is put in its place."""
    store = SQLiteStore(ledger)
    whole = ledger.read_bytes()
    ledger.write_bytes(whole[:100] + os.urandom(len(whole) - 100))
    with pytest.raises(StoreError, match="damaged"):
        spend(store, RUN)
    for log in ledger.parent.glob("ledger.db-*"):
        log.unlink()
    ledger.write_bytes(whole)
    spend(store, RUN)

    assert (120, 0, 0) == amounts_of(store)
    store.close()


def test_a_ledger_that_is_locked(ledger: Path) -> None:
    """Beyond the time allowed it is an error that says how long; nothing was changed, and it works when it is free."""
    store = SQLiteStore(ledger, lock_timeout_s=0.1)
    asked = claim(*RUN)
    store.reserve(asked)
    other = sqlite3.connect(ledger, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    for does in (lambda: store.reserve(claim(*RUN)), lambda: store.resolve(settling(asked.id))):
        with pytest.raises(StoreError, match=r"locked by another process for 0.1 s; end that process"):
            does()
    assert (60, 0, 100) == amounts_of(store)
    other.execute("ROLLBACK")
    other.close()
    store.resolve(settling(asked.id))

    assert (120, 0, 0) == amounts_of(store)
    store.close()


def test_a_lock_within_the_time_allowed_is_waited_for(ledger: Path) -> None:
    """Whoever is locked out goes on as soon as the other is done."""
    store = SQLiteStore(ledger, lock_timeout_s=30)
    other = sqlite3.connect(ledger, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    timer = threading.Timer(0.1, lambda: other.execute("ROLLBACK"))
    timer.start()
    spend(store, RUN)
    timer.join()

    assert (120, 0, 0) == amounts_of(store)
    other.close()
    store.close()


def test_many_may_open_a_new_ledger_at_once(tmp_path: Path) -> None:
    """Whoever comes first makes the tables; nobody is told that the file is locked."""
    stores: list[SQLiteStore] = []

    def opens() -> None:
        stores.append(SQLiteStore(tmp_path / "ledger.db"))

    threads = [threading.Thread(target=opens) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert 16 == len(stores)
    for store in stores:
        store.close()


def _as_nobody(path: Path) -> str:
    """Spend as a user who may read and not write, and return the error; by a fork, as python itself may be private."""
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if not child:
        try:
            os.setgid(65534)
            os.setuid(65534)
            spend(SQLiteStore(path, lock_timeout_s=0.05), RUN)
        except StoreError as error:
            os.write(writing, str(error).encode())
        finally:
            os._exit(0)
    os.close(writing)
    os.waitpid(child, 0)
    with open(reading, encoding="utf-8") as printed:
        return printed.read()


def _run(code: str, path: Path, *, before: Callable[[], None] | None = None) -> str:
    imports = f"from pathlib import Path\nimport sys\nsys.path[:0] = {[path for path in sys.path if path]}\n"
    body = imports + "from test_faults import *\npath = Path(sys.argv[1])\n" + textwrap.dedent(code)
    done = subprocess.run(
        [sys.executable, "-c", body, str(path)],
        preexec_fn=before,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert 0 == done.returncode, done.stderr
    return done.stdout


@pytest.fixture
def shown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder that every user may look into."""
    folder = tmp_path_factory.mktemp("shown")
    ancestors = [folder, folder.parent, folder.parent.parent]
    modes = [ancestor.stat().st_mode for ancestor in ancestors]
    for ancestor in ancestors:
        ancestor.chmod(0o755)
    yield folder
    for ancestor, mode in zip(ancestors, modes, strict=True):
        ancestor.chmod(mode)


def test_a_ledger_that_may_only_be_read(shown: Path) -> None:
    """Another user's ledger is an error that says what to do."""
    store = SQLiteStore(shown / "ledger.db")
    spend(store, RUN)
    store.close()
    (shown / "ledger.db").chmod(0o644)
    printed = _as_nobody(shown / "ledger.db")

    assert str(shown / "ledger.db") in printed
    assert "writ" in printed
    assert "name another store" in printed


def test_a_folder_that_cannot_be_written(shown: Path) -> None:
    """A ledger that cannot be made is an error that says what to do."""
    printed = _as_nobody(shown / "ledger.db")

    assert str(shown / "ledger.db") in printed
    assert "writable" in printed
    assert "name another store" in printed


def test_a_folder_that_is_a_file(tmp_path: Path) -> None:
    """A path that cannot be is an error that says so."""
    (tmp_path / "file").touch()

    assert "name another store" in _refused(tmp_path / "file" / "ledger.db")


def test_a_path_that_is_a_folder(tmp_path: Path) -> None:
    """So is a folder in the ledger's place."""
    assert "name another store" in _refused(tmp_path)


_FILL = """
    store = SQLiteStore(path)
    held, settled = [], 0
    try:
        while True:
            for _ in range(20):
                asked = claim(*RUN)
                store.reserve(asked)
                held.append(asked)
            while len(held) > 10:
                store.resolve(settling(held[0].id))
                settled += 1
                del held[0]
    except StoreError as error:
        print(error)
    print(settled, flush=True)
    LIFT
    for asked in held:
        store.resolve(settling(asked.id))
    print(settled + len(held), *amounts_of(store), store.totals(None, Where())[0][1].cost_nanousd)
"""


def _was_full(printed: str) -> str:
    message, settled, after = printed.splitlines()
    total, spent, presumed, reserved, summed = map(int, after.split())
    assert int(settled) > 50
    # A settle may be refused that then is repeated: each that is held in the end was booked once.
    assert (60 * total, 0, 0, 60 * total) == (spent, presumed, reserved, summed)
    return message


def test_a_disk_that_is_full(tmp_path: Path) -> None:
    """It is said, nothing settled is lost, and the same store goes on when there is room again."""
    if (
        os.geteuid() != 0
        or subprocess.run(
            ["/bin/mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(tmp_path)],
            capture_output=True,
            check=False,
        ).returncode
    ):
        pytest.skip("no small file system can be mounted here")
    try:
        grow = ["/bin/mount", "-o", "remount,size=50m", str(tmp_path)]
        lift = f"import subprocess; subprocess.run({grow}, check=True)"
        message = _was_full(_run(_FILL.replace("LIFT", lift), tmp_path / "ledger.db"))
    finally:
        subprocess.run(["/bin/umount", "-l", str(tmp_path)], check=True)

    assert "the disk is full; free some space" in message


def test_a_quota_that_is_used_up(tmp_path: Path) -> None:
    """So it is where this user's files may not grow."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, resource.RLIM_INFINITY))

    lift = "import resource as r; r.setrlimit(r.RLIMIT_FSIZE, (r.RLIM_INFINITY, r.RLIM_INFINITY))"
    message = _was_full(_run(_FILL.replace("LIFT", lift), tmp_path / "ledger.db", before=limit))

    assert "cannot be written: the disk" in message or "cannot be read or written" in message


def test_a_closed_store_opens_again(ledger: Path) -> None:
    """`close` lets go of the file; the next verb takes it up again."""
    store = SQLiteStore(ledger)
    asked = claim(*RUN)
    store.reserve(asked)
    store.close()
    store.resolve(settling(asked.id))

    assert (120, 0, 0) == amounts_of(store)
    store.close()


def test_a_verb_in_the_middle_of_another_is_refused(ledger: Path) -> None:
    """A finalizer that runs inside a transaction must not become a part of it: it is told to come again."""
    store = SQLiteStore(ledger)
    inside, error = store._database, pytest.raises(StoreError, match="another step")  # pyright: ignore[reportPrivateUsage]
    with inside, error:
        store.reserve(claim(*RUN))
    granted(store.reserve(claim(*RUN)))
    store.close()


def test_a_refusal_of_a_claim_leaves_no_trace(ledger: Path) -> None:
    """An account that a failed step would have opened is opened by the next."""
    store = SQLiteStore(ledger)
    asked = claim(*RUN)
    store.reserve(asked)
    store.resolve(settling(asked.id))
    other = Claim(asked.id, (account("new", None),), asked.amounts)
    with pytest.raises(Exception, match="new id"):
        store.reserve(other)
    granted(store.reserve(claim(*other.accounts)))

    assert (0, 0, 100) == amounts_of(store, "new")
    assert 2 == store.totals(None, Where())[0][1].calls
    store.close()
