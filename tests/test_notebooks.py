"""Every notebook runs from a fresh kernel without a key and without a network, and is stored without outputs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

import nbformat
import pytest
from nbclient import NotebookClient

if TYPE_CHECKING:
    from collections.abc import Mapping

FOLDER: Final = Path(__file__).resolve().parents[1] / "notebooks"
NOTEBOOKS: Final = sorted(FOLDER.glob("*.ipynb"))


def read(path: Path) -> Any:  # noqa: ANN401  # nbformat has no types for a notebook
    """The notebook at *path*, in the newest format."""
    return cast("Any", nbformat.read(path, as_version=4))  # pyright: ignore[reportUnknownMemberType]


def execute(notebook: Any, folder: Path, env: Mapping[str, str]) -> None:  # noqa: ANN401
    """Runs every cell of *notebook* in *folder*; the first that raises ends it with an error."""
    client = NotebookClient(
        notebook, timeout=100, kernel_name="python3", resources={"metadata": {"path": str(folder)}}
    )
    client.execute(env=dict(env))


@pytest.fixture
def jupyter(tmp_path: Path, offline_env: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The environment for a kernel of this interpreter that leaves no file outside of a temporary folder."""
    own = {
        "BURSAR_STORE": f"sqlite:///{tmp_path}/ledger.db",
        "IPYTHONDIR": str(tmp_path / "ipython"),
        "JUPYTER_PLATFORM_DIRS": "1",
        "JUPYTER_PREFER_ENV_PATH": "1",
        "JUPYTER_RUNTIME_DIR": str(tmp_path / "runtime"),
    }
    for name, value in own.items():
        monkeypatch.setenv(name, value)
    return {**offline_env, **own}


def test_there_is_a_quickstart() -> None:
    """The quickstart is among the notebooks, so the tests below have something to run."""
    assert "quickstart.ipynb" in [path.name for path in NOTEBOOKS]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_is_stored_without_outputs(path: Path) -> None:
    """A notebook in the repository shows nothing that a run has to confirm."""
    cells = [cell for cell in read(path).cells if cell.cell_type == "code"]

    assert [] == [cell.source for cell in cells if cell.outputs or cell.execution_count]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_runs(path: Path, tmp_path: Path, jupyter: dict[str, str]) -> None:
    """Every cell runs, in order, from a fresh kernel."""
    execute(read(path), tmp_path, jupyter)


def test_a_cell_that_raises_fails(tmp_path: Path, jupyter: dict[str, str]) -> None:
    """A notebook whose last cell does not hold is an error."""
    from nbclient.exceptions import CellExecutionError

    cell: Any = nbformat.v4.new_code_cell("assert 1 == 2")  # pyright: ignore[reportUnknownMemberType]
    notebook: Any = nbformat.v4.new_notebook(cells=[cell])  # pyright: ignore[reportUnknownMemberType]
    with pytest.raises(CellExecutionError, match="AssertionError"):
        execute(notebook, tmp_path, jupyter)
