"""Every notebook runs from a fresh kernel without a key and without a network, and is stored without outputs."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import nbformat
import pytest

from .executing import FRAMEWORKS, execute_notebook, read_notebook
from .executing import NOTEBOOKS as FOLDER

NOTEBOOKS: Final = sorted(FOLDER.glob("*.ipynb"))
# The others run in the environments of their frameworks.
RUN_HERE: Final = [path for path in NOTEBOOKS if path.stem not in FRAMEWORKS]


def test_there_is_a_quickstart() -> None:
    """The quickstart is among the notebooks, so the tests below have something to run."""
    assert "quickstart.ipynb" in [path.name for path in NOTEBOOKS]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_is_stored_without_outputs(path: Path) -> None:
    """A notebook in the repository shows nothing that a run has to confirm."""
    cells = [cell for cell in read_notebook(path).cells if cell.cell_type == "code"]

    assert [] == [cell.source for cell in cells if cell.outputs or cell.execution_count]


@pytest.mark.parametrize("path", RUN_HERE, ids=lambda path: path.stem)
def test_notebook_runs(path: Path, tmp_path: Path, jupyter: dict[str, str]) -> None:
    """Every cell runs, in order, from a fresh kernel."""
    execute_notebook(read_notebook(path), tmp_path, jupyter)


def test_a_cell_that_raises_fails(tmp_path: Path, jupyter: dict[str, str]) -> None:
    """A notebook whose last cell does not hold is an error."""
    from nbclient.exceptions import CellExecutionError

    cell: Any = nbformat.v4.new_code_cell("assert 1 == 2")  # pyright: ignore[reportUnknownMemberType]
    notebook: Any = nbformat.v4.new_notebook(cells=[cell])  # pyright: ignore[reportUnknownMemberType]
    with pytest.raises(CellExecutionError, match="AssertionError"):
        execute_notebook(notebook, tmp_path, jupyter)
