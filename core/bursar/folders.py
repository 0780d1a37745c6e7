"""The folders that the system has for what a program keeps for its user."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

_NOWHERE: Final = Path(os.devnull)
"""Stands for the home of a user who has none, as in a container whose user is but a number: nothing lies below it."""


def data_path(name: str) -> Path:
    """Return where the file *name* of the user's data is, or would be."""
    from platformdirs import user_data_path

    try:
        return user_data_path("bursar", appauthor=False) / name
    except RuntimeError:
        return _NOWHERE / name


def config_path(name: str) -> Path:
    """Return where the file *name* of the user's settings is, or would be."""
    from platformdirs import user_config_path

    try:
        return user_config_path("bursar", appauthor=False) / name
    except RuntimeError:
        return _NOWHERE / name
