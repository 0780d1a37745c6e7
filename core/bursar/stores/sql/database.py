"""What a database must do for the statements of this room."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import TracebackType


class Cursor(Protocol):
    """Runs statements inside of a transaction; a parameter's place is a `?`."""

    @property
    def rowcount(self) -> int:
        """How many rows the last statement changed."""
        ...

    def execute(self, statement: str, parameters: Sequence[Any] = (), /) -> Cursor:
        """Run one statement."""
        ...

    def fetchone(self) -> Any:  # noqa: ANN401 - a row has any columns
        """Return the next row, or None."""
        ...

    def fetchall(self) -> list[Any]:
        """Return the rows that are left."""
        ...

    def __iter__(self) -> Iterator[Any]:
        """Return the rows that are left, one by one."""
        ...


class Database(Protocol):
    """
    A database, in which transactions are one after the other.

    ```python
    with database as cursor:      # alone from here on, until it is committed, or rolled back if anything is raised
        cursor.execute(...)
    ```

    Threads take turns, and so do processes.
    """

    @property
    def conflict(self) -> type[Exception]:
        """What is raised where a row has a key that another one has."""
        ...

    @property
    def listed(self) -> str:
        """The rows of one column that hold the texts of a JSON array, which is the statement's one parameter."""
        ...

    def __enter__(self) -> Cursor:
        """
        Begin a transaction.

        Raises:
            StoreError: The database does not answer, or not in time.
        """
        ...

    def __exit__(
        self, kind: type[BaseException] | None, raised: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Commit, or roll back if anything was raised; an error of the database's becomes a `StoreError`."""
        ...

    def query(self, statement: str, parameters: Sequence[Any] = ()) -> list[Any]:
        """Return all rows of one reading statement, as one consistent snapshot."""
        ...

    def close(self) -> None:
        """Close it; a later call opens it again."""
        ...
