"""The store in one SQLite file: the default, shared by the processes of one machine."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from bursar.stores.sql import SQLStore
from bursar.stores.sqlite.connection import Connection

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


class SQLiteStore(SQLStore):
    """
    Keeps accounts and the ledger in one SQLite file, in write-ahead mode.

    Args:
        path: The file; made with mode 0600, and its folder with 0700, where they are not there.

        clock: Seconds since the epoch; the same clock for every process that shares the file.

        lock_timeout_s: Seconds that another process may keep the file locked.

        is_durable: Whether even a power loss may lose no settled call.

    Raises:
        StoreError: The file cannot be opened, or is not a ledger.
    """

    def __init__(
        self,
        path: Path,
        *,
        clock: Callable[[], float] = time.time,
        lock_timeout_s: float = 10.0,
        is_durable: bool = False,
    ) -> None:
        def opened(on_open: Callable[[], None], on_rollback: Callable[[], None]) -> Connection:
            return Connection(
                path,
                lock_timeout_s=lock_timeout_s,
                is_durable=is_durable,
                on_open=on_open,
                on_rollback=on_rollback,
            )

        super().__init__(f"sqlite:///{path}", path, clock, opened)
