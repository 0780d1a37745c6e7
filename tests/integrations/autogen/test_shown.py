"""What README.md and the notebook show of AutoGen runs as it stands there."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest

from bursar.simulator import Simulator

from ...executing import NOTEBOOKS, against_simulator, execute_notebook, python_of, read_notebook, run_python

pytestmark = pytest.mark.timeout(110)

NOTEBOOK: Final = NOTEBOOKS / "autogen.ipynb"


def test_readme(tmp_path: Path, offline_env: dict[str, str]) -> None:
    """The fences that need AutoGen work when they are typed in."""
    python = python_of("autogen")
    with Simulator() as simulator:
        run_python(python, env=against_simulator(simulator, offline_env, tmp_path), cwd=tmp_path)

        assert simulator.arrived > 0
    assert python


def test_notebook(tmp_path: Path, jupyter: dict[str, str]) -> None:
    """Every cell runs, in order, from a fresh kernel."""
    execute_notebook(read_notebook(NOTEBOOK), tmp_path, jupyter)
