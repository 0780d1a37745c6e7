"""Opening a store by its URL."""

from __future__ import annotations

import os
import re
import threading
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bursar.folders import data_path
from bursar.stores.forks import hold_through_forks
from bursar.stores.memory import MemoryStore
from bursar.stores.urls import without_password
from bursar.unwatched import unwatched

if TYPE_CHECKING:
    from collections.abc import Callable

    from bursar.store import Store

_ENVIRONMENT: Final = "BURSAR_STORE"
_EXAMPLES: Final = (
    '"memory:", "sqlite:///ledger.db", "sqlite:////var/lib/bursar/ledger.db" or "postgresql://HOST/DATABASE"'
)
_NOT_YET: Final = ("redis", "rediss")


def open_store(url: str | None = None) -> Store:
    """
    Return the store at *url*; the same one, however often and from whichever thread a process asks for it.

    Args:
        url: `postgresql://user@host/database` is shared by many machines, and needs the extra `postgres`.
            `memory:` is one store for the whole process, and `memory:NAME` another.  `sqlite:///ledger.db` is a file
            below the working directory, `sqlite:////var/lib/ledger.db` one at an absolute path, and `~` the home
            directory.  Left out, it is what `BURSAR_STORE` names, else `ledger.db` in the user's data directory.
            Only then, and only if that directory cannot be written, the store is in memory and a `RuntimeWarning`
            says so.

    Raises:
        ValueError: *url*, or `BURSAR_STORE`, names no store that there is.
        StoreError: The store does not open: damaged, locked, read-only, of another program.
    """
    return _stores.open(url)


def check_store_url(url: str) -> None:
    """
    Check that *url* names a store that there is, and open nothing.

    Raises:
        ValueError: It does not.
    """
    _stores.named(url)


def register_store(scheme: str, named: Callable[[str], tuple[str, Callable[[], Store]]]) -> None:
    """
    Let `open_store` open URLs of one more *scheme*.

    Args:
        named: Takes a URL and returns what tells this store from others, and what opens it; raises ValueError for a
            URL that is malformed.
    """
    _stores.register(scheme, named)


class _Stores:
    """The stores that this process has open."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._open: dict[str, Store] = {}
        self._schemes: dict[str, Callable[[str], tuple[str, Callable[[], Store]]]] = {}
        hold_through_forks(self)

    def register(self, scheme: str, named: Callable[[str], tuple[str, Callable[[], Store]]]) -> None:
        self._schemes[scheme] = named

    @unwatched
    def open(self, url: str | None) -> Store:
        url = url or os.environ.get(_ENVIRONMENT)
        if not url:
            return self._default()
        return self._once(*self.named(url))

    @unwatched
    def named(self, url: str) -> tuple[str, Callable[[], Store]]:
        scheme, colon, _ = url.partition(":")
        named = self._schemes.get(scheme) if colon else None
        if named is None:
            raise ValueError(_no_such_store(url, scheme if colon else ""))
        return named(url)

    def before_fork(self) -> None:
        self._lock.acquire()

    def after_fork(self, *, in_child: bool) -> None:
        if in_child:
            self._lock = threading.RLock()
        else:
            self._lock.release()

    def _default(self) -> Store:
        path = data_path("ledger.db")
        if _can_write(path):
            return self._once(f"sqlite:{path}", lambda: _sqlite(path))
        with self._lock:
            is_first = f"instead of {path}" not in self._open
            store = self._once(f"instead of {path}", lambda: self.open("memory:"))
        if is_first:
            warnings.warn(
                f'bursar keeps the ledger in memory, because "{path.parent}" cannot be written: what is spent is '
                f"forgotten when this process ends; name another place with store= or {_ENVIRONMENT}",
                RuntimeWarning,
                stacklevel=5,
            )
        return store

    def _once(self, name: str, opened: Callable[[], Store]) -> Store:
        store = self._open.get(name)
        if store is None:
            with self._lock:
                store = self._open.get(name)
                if store is None:
                    store = self._open[name] = opened()
        return store


def _memory_named(url: str) -> tuple[str, Callable[[], Store]]:
    name = url.removeprefix("memory:")
    if not re.fullmatch(r"[\w.-]*", name):
        msg = f'store {url!r} is not a memory store: write "memory:", or "memory:" and a name of letters and digits'
        raise ValueError(msg)
    return url, lambda: MemoryStore(url=url)


def _sqlite_named(url: str) -> tuple[str, Callable[[], Store]]:
    text = url.removeprefix("sqlite:///")
    if text == url or not text or "?" in text or "\0" in text or text == ":memory:":
        msg = (
            f'store "{without_password(url)}" names no file: write "sqlite:///" and a path, such as {_EXAMPLES}, '
            'without options; the store in memory is "memory:"'
        )
        raise ValueError(msg)
    try:
        path = Path(text).expanduser()
    except RuntimeError as error:
        msg = f"store {url!r} names a home directory that there is not: {error}"
        raise ValueError(msg) from error
    # The folder and not the file is followed through links, so that two spellings of a path are one store.
    path = path.parent.resolve() / path.name
    return f"sqlite:{path}", lambda: _sqlite(path)


def _sqlite(path: Path) -> Store:
    from bursar.stores.sqlite import SQLiteStore

    return SQLiteStore(path)


def _postgres_named(url: str) -> tuple[str, Callable[[], Store]]:
    try:
        from bursar.stores.postgres import PostgresStore
        from bursar.stores.postgres.address import Address
    except ImportError as error:
        msg = f'store "{without_password(url)}" needs psycopg: pip install "bursar[postgres]"'
        raise ValueError(msg) from error
    address = Address.of(url)
    return f"{address.conninfo} {address.schema}", lambda: PostgresStore(url)


def _can_write(path: Path) -> bool:
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError:
        return False
    writable = os.R_OK | os.W_OK
    return os.access(path.parent, writable | os.X_OK) and (not path.exists() or os.access(path, writable))


def _no_such_store(url: str, scheme: str) -> str:
    shown = without_password(url)
    if scheme in _NOT_YET:
        missing = f'needs a store for "{scheme}:", which this version of bursar does not have'
        return f'store "{shown}" {missing}; use {_EXAMPLES}'
    return f'store "{shown}" is not the URL of a store; write {_EXAMPLES}'


_stores: Final = _Stores()
register_store("memory", _memory_named)
register_store("sqlite", _sqlite_named)
register_store("postgres", _postgres_named)
register_store("postgresql", _postgres_named)
