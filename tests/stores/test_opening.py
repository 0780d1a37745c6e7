"""Opening stores by URL."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from bursar.errors import StoreError
from bursar.stores.memory import MemoryStore
from bursar.stores.opening import open_store, register_store
from bursar.stores.sqlite import SQLiteStore


def test_the_same_url_is_the_same_store(tmp_path: Path) -> None:
    """However a path is spelt, and from whichever thread, a file is one store, so that waiters share it."""
    (tmp_path / "there").mkdir()
    stores: list[object] = []

    def opens() -> None:
        stores.append(open_store(f"sqlite:///{tmp_path}/ledger.db"))

    threads = [threading.Thread(target=opens) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    stores.append(open_store(f"sqlite:///{tmp_path}/there/../ledger.db"))

    assert {id(stores[0])} == set(map(id, stores))


def test_memory_is_one_store_unless_named() -> None:
    """`memory:` is shared by the process; each name is a store of its own."""
    assert open_store("memory:") is open_store("memory:")
    assert open_store("memory:a") is open_store("memory:a")
    assert open_store("memory:a") is not open_store("memory:b")
    assert open_store("memory:a").url == "memory:a"
    assert isinstance(open_store("memory:"), MemoryStore)


def test_a_relative_path_is_below_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three slashes and a name is a file here."""
    monkeypatch.chdir(tmp_path)
    store = open_store("sqlite:///sub/ledger.db")

    assert isinstance(store, SQLiteStore)
    assert (tmp_path / "sub" / "ledger.db").exists()
    assert store.url == f"sqlite:///{tmp_path}/sub/ledger.db"


def test_a_tilde_is_the_home_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`~` is expanded as a shell does."""
    monkeypatch.setenv("HOME", str(tmp_path))
    open_store("sqlite:///~/ledger.db")

    assert (tmp_path / "ledger.db").exists()


@pytest.mark.parametrize(
    "url",
    [
        *("", " ", "ledger.db", "/var/lib/ledger.db", "sqlite:", "sqlite://ledger.db", "sqlite:///"),
        *("sqlite:///:memory:", "sqlite:///a.db?mode=ro", "sqlite:///~nobody-here/x.db"),
        *("memory:a b", "memory", "mysql://host/db"),
    ],
)
def test_a_malformed_url_is_named(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What names no store is an error that shows it, and what to write instead."""
    monkeypatch.setenv("BURSAR_STORE", "nonsense")
    with pytest.raises(ValueError, match="store") as raised:
        open_store(url)

    assert (url or "nonsense") in str(raised.value)


@pytest.mark.parametrize("scheme", ["redis", "rediss"])
def test_a_store_that_is_not_there_yet_is_said_so(scheme: str) -> None:
    """A scheme that bursar will know is told apart from a mistake, and its password is not shown."""
    with pytest.raises(ValueError, match=r"does not have; use \"memory:\"") as raised:
        open_store(f"{scheme}://user:s3cret@host/0")

    assert "s3cret" not in str(raised.value)


@pytest.mark.parametrize(
    "url",
    [
        "redis://:planted@host/0",
        "redis://me:pla/nted@ho@st/0",
        "postgresql://host/db?password=planted&colour=blue",
        "sqlite://me:planted@host/x",
        "sqlite:///x.db?key=planted",
        "mysql://me:planted@host",
    ],
)
def test_no_error_shows_a_password(url: str) -> None:
    """A URL is shown without who signs in and without options."""
    with pytest.raises(ValueError, match="store ") as caught:
        open_store(url)

    assert "planted" not in str(caught.value)
    assert "nted" not in str(caught.value)


def test_a_store_plugs_in_by_its_scheme() -> None:
    """A later store registers its scheme and is opened once for each name."""
    opened: list[MemoryStore] = []

    def named(url: str) -> tuple[str, object]:
        def opens() -> MemoryStore:
            opened.append(MemoryStore(url=url))
            return opened[-1]

        return url, opens

    register_store("plugged", named)  # type: ignore[arg-type]

    assert open_store("plugged:1") is open_store("plugged:1")
    assert ["plugged:1"] == [store.url for store in opened]


def _child(code: str, **env: str) -> subprocess.CompletedProcess[str]:
    bare = {name: value for name, value in os.environ.items() if name != "BURSAR_STORE"}
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**bare, **env},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


_SHOW = "from bursar.stores.opening import open_store; print(open_store().url); print(open_store() is open_store())"


def test_the_environment_names_the_store(tmp_path: Path) -> None:
    """`BURSAR_STORE` names the store where nobody else does."""
    done = _child(_SHOW, BURSAR_STORE=f"sqlite:///{tmp_path}/x.db")

    assert [f"sqlite:///{tmp_path}/x.db", "True"] == done.stdout.split()


def test_the_default_is_in_the_users_data_directory(tmp_path: Path) -> None:
    """Where nothing names a store it is a file in the user's data directory."""
    done = _child(_SHOW, XDG_DATA_HOME=str(tmp_path), HOME=str(tmp_path))

    assert "" == done.stderr
    assert done.stdout.splitlines()[0].endswith("bursar/ledger.db")
    assert 1 == len(list(tmp_path.rglob("ledger.db")))


def test_an_unwritable_data_directory_is_said_once(tmp_path: Path) -> None:
    """Only then the ledger is in memory, and one warning says that it is and what to do."""
    blocked = tmp_path / "a file"
    blocked.write_text("in the way")
    done = _child(f"{_SHOW}\nopen_store()", XDG_DATA_HOME=str(blocked), HOME=str(blocked))

    assert ["memory:", "True"] == done.stdout.split()
    assert 1 == done.stderr.count("RuntimeWarning: bursar keeps the ledger in memory")
    assert "BURSAR_STORE" in done.stderr


def test_a_user_without_a_home(tmp_path: Path) -> None:
    """In a container whose user is but a number, which names no home either, the ledger is in memory."""
    is_unknown = "import os, pwd\ndef gone(uid): raise KeyError(uid)\npwd.getpwuid = gone\n"
    spends = (
        "import bursar, openai\nfrom bursar.simulator import Simulator\n"
        "with Simulator() as sim, openai.OpenAI(base_url=sim.openai_base_url, api_key='none') as client:\n"
        "    client = bursar.guard(client, budget=1.00)\n"
        "    client.chat.completions.create(model='gpt-4o', messages=[{'role': 'user', 'content': 'hi'}])\n"
        "    print(client.bursar.spent > 0)"
    )
    code = f"{is_unknown}os.chdir({str(tmp_path)!r})\n{_SHOW}\n{spends}"
    done = _child(code, HOME="", XDG_DATA_HOME="", XDG_CONFIG_HOME="")

    assert ["memory:", "True", "True"] == done.stdout.split(), done.stderr
    assert 1 == done.stderr.count("RuntimeWarning: bursar keeps the ledger in memory")
    assert [] == list(tmp_path.iterdir())


def test_a_store_that_was_named_is_never_replaced(tmp_path: Path) -> None:
    """A store that somebody asked for and that does not open is an error, and no warning."""
    blocked = tmp_path / "a file"
    blocked.write_text("in the way")
    with pytest.raises(StoreError, match="a file"):
        open_store(f"sqlite:///{blocked}/ledger.db")
