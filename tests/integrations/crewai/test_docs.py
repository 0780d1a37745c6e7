"""What README.md and the notebook show of CrewAI runs as it is written."""

from __future__ import annotations

from pathlib import Path

from tests.executing import (
    NOTEBOOKS,
    against_simulator,
    execute_notebook,
    python_of,
    read_notebook,
    run_python,
)

from bursar.simulator import Simulator


def test_readme(tmp_path: Path, offline_env: dict[str, str]) -> None:
    """The README's fences run, one after the other."""
    python = python_of("crewai")
    with Simulator() as simulator:
        run_python(python, env=against_simulator(simulator, offline_env, tmp_path), cwd=tmp_path)

    assert python


def test_notebook(tmp_path: Path, jupyter: dict[str, str]) -> None:
    """Every cell runs, in order, from a fresh kernel."""
    execute_notebook(read_notebook(NOTEBOOKS / "crewai.ipynb"), tmp_path, jupyter)
