from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bursar.simulator import Simulator

from .project import Project, project_environment


@pytest.fixture
def project(tmp_path: Path, offline_env: dict[str, str]) -> Iterator[Project]:
    """A folder for tests whose clients call a simulator that answers as long as it is allowed to."""
    folder = tmp_path / "project"
    folder.mkdir()
    with Simulator(talkative=True) as simulator:
        yield Project(folder, simulator, project_environment(simulator, tmp_path, offline_env))
