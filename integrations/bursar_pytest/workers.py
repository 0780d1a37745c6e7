"""One ledger for the worker processes of pytest-xdist."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Final

import pytest

_FOLDER: Final = pytest.StashKey["tempfile.TemporaryDirectory[str]"]()


def shared_ledger(config: pytest.Config) -> str:
    """Return the URL of a ledger that lasts as long as *config*, or the one that the user has named."""
    if named := os.environ.get("BURSAR_STORE"):
        return named
    folder = config.stash.get(_FOLDER, None)
    if folder is None:
        folder = config.stash[_FOLDER] = tempfile.TemporaryDirectory(prefix="bursar-")
        config.add_cleanup(folder.cleanup)
    return f"sqlite:///{Path(folder.name) / 'ledger.db'}"
