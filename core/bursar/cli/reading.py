"""Opening the ledger to read it, and finding a run in it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from bursar.store import Where
from bursar.stores.opening import open_store
from bursar.stores.urls import without_password

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bursar.store import RunTotals, Store

_SQLITE: Final = "sqlite:///"
_POSTGRES: Final = ("postgresql:", "postgres:")
_CANDIDATES_SHOWN: Final = 5


def open_ledger(url: str | None) -> Store:
    """
    Return the store at *url*, or the default one.

    Raises:
        click.ClickException: There is none, or the URL is malformed.
        StoreError: It does not open.
    """
    try:
        # To open one that is not there would make it: right for a program that spends, wrong for one that reads.
        if url is not None and not _is_there(url):
            msg = f'there is no ledger at "{without_password(url.removeprefix(_SQLITE))}"'
            raise click.ClickException(msg)
        return open_store(url)
    except ValueError as error:
        raise click.ClickException(str(error)) from error


def _is_there(url: str) -> bool:
    """Whether there is a ledger at *url*; also true where opening it says better what is wrong."""
    if url.startswith(_SQLITE):
        return Path(url.removeprefix(_SQLITE)).expanduser().exists()
    if url.startswith(_POSTGRES):
        try:
            from bursar.stores.postgres import has_ledger
        except ImportError:
            return True
        return has_ledger(url)
    return True


def find_run(runs: Sequence[RunTotals], prefix: str) -> RunTotals:
    """
    Return the run whose id is, or is the only one to begin with, *prefix*.

    Raises:
        click.ClickException: None does, or several do.
    """
    found = [run for run in runs if run.run.id.startswith(prefix)]
    exact = [run for run in found if run.run.id == prefix]
    if len(exact or found) == 1:
        return (exact or found)[0]
    if not found:
        msg = f'no run begins with "{prefix}"; "bursar runs" lists them'
    else:
        shown = ", ".join(run.run.id for run in found[:_CANDIDATES_SHOWN])
        msg = f'{len(found):,} runs begin with "{prefix}": {shown}{", ..." if len(found) > _CANDIDATES_SHOWN else ""}'
    raise click.ClickException(msg)


def all_runs(store: Store) -> list[RunTotals]:
    """Return every run of the ledger, oldest first."""
    return store.runs(Where())
