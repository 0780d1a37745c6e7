"""What README.md shows of pytest runs as it stands there."""

from __future__ import annotations

from pathlib import Path

from bursar.simulator import Simulator

from ...executing import against_simulator, python_of, run


def test_readme(tmp_path: Path, offline_env: dict[str, str]) -> None:
    """The fence is a file of tests, which pass."""
    ((_, source),) = python_of("pytest")
    (tmp_path / "test_readme_shows.py").write_text(source)
    with Simulator() as simulator:
        env = against_simulator(simulator, offline_env, tmp_path) | {"PYTEST_ADDOPTS": "-p no:asyncio"}
        run(["-m", "pytest", "-W", "error", "test_readme_shows.py"], env=env, cwd=tmp_path)

        assert simulator.arrived > 0
