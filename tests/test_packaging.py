"""What is shipped: packages, metadata, the command, and a lock that any machine can use."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path
from typing import Any, Final

import pytest
from packaging.requirements import Requirement

ROOT: Final = Path(__file__).resolve().parents[1]
PROJECT: Final[dict[str, Any]] = tomllib.loads((ROOT / "pyproject.toml").read_text())
EXTRAS: Final[dict[str, list[str]]] = PROJECT["project"]["optional-dependencies"]
GROUPS: Final[dict[str, list[str | dict[str, str]]]] = PROJECT["dependency-groups"]


def packages() -> list[Path]:
    """The import packages in this repository: what has an `__init__.py` right below a source root."""
    return sorted(
        path.parent for root in ("core", "integrations") for path in ROOT.glob(f"{root}/*/__init__.py")
    )


def requirements() -> list[Requirement]:
    """Every direct requirement: the package's, its extras' and the tools'."""
    groups = (PROJECT["project"]["dependencies"], *EXTRAS.values(), *GROUPS.values())
    return [Requirement(line) for group in groups for line in group if isinstance(line, str)]


def test_every_package_is_in_the_wheel() -> None:
    """A package that lies in a source root is shipped."""
    shipped = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]

    assert sorted(shipped) == [str(path.relative_to(ROOT)) for path in packages()]


@pytest.mark.parametrize("package", packages(), ids=lambda path: path.name)
def test_every_package_is_typed(package: Path) -> None:
    """Type checkers read our annotations: `py.typed` is in each package."""
    assert (package / "py.typed").is_file()


@pytest.mark.parametrize("package", packages(), ids=lambda path: path.name)
def test_every_folder_of_a_package_is_a_package(package: Path) -> None:
    """No folder of modules lacks its `__init__.py`, which would hide it from checkers and contracts."""
    folders = {path.parent for path in package.rglob("*.py")}

    assert [] == sorted(str(folder) for folder in folders if not (folder / "__init__.py").exists())


def test_the_installed_version_is_the_project_s() -> None:
    """`bursar.__version__`, the distribution's metadata and pyproject.toml agree."""
    import bursar

    version = PROJECT["project"]["version"]

    assert version == metadata.version("bursar")
    assert version == bursar.__version__


def test_the_core_requires_no_sdk_and_no_framework() -> None:
    """A plain `pip install bursar` brings the prices, the terminal and the data directory, and nothing else."""
    required = {Requirement(line).name for line in PROJECT["project"]["dependencies"]}

    assert {"click", "genai-prices", "platformdirs", "rich"} == required


def test_all_names_every_extra() -> None:
    """`bursar[all]` is the sum of the other extras."""
    (everything,) = map(Requirement, EXTRAS["all"])

    assert everything.extras == EXTRAS.keys() - {"all"}


@pytest.mark.parametrize("requirement", requirements(), ids=str)
def test_every_requirement_has_a_floor(requirement: Requirement) -> None:
    """`--resolution lowest-direct` picks a version that somebody has tried."""
    operators = {specifier.operator for specifier in requirement.specifier}

    assert requirement.name == "bursar" or ">=" in operators


def test_the_lock_names_only_the_public_index() -> None:
    """uv.lock holds one registry over https, and no path or address of the machine that wrote it."""
    lock = (ROOT / "uv.lock").read_text()
    sources = re.findall(r"^source = \{ (\w+) = \"([^\"]+)\" \}$", lock, re.MULTILINE)
    registries = {where for kind, where in sources if kind == "registry"}
    elsewhere = {(kind, where) for kind, where in sources if kind != "registry"}
    schemes = set(re.findall(r"\b(?:url|registry) = \"(\w+):/", lock))

    assert 1 == len(registries)
    assert {("editable", ".")} == elsewhere
    assert {"https"} == schemes
    assert not re.search(r"//(?:localhost|\d+\.\d+\.\d+\.\d+|\[)", lock)


@pytest.mark.parametrize("arguments", [["--help"], ["--version"]], ids=" ".join)
def test_the_command_is_installed(arguments: list[str]) -> None:
    """`bursar` starts as a command of the environment it is installed in."""
    command = Path(sys.executable).with_name("bursar")
    done = subprocess.run([command, *arguments], capture_output=True, text=True, check=False)

    assert (0, "") == (done.returncode, done.stderr)
    assert "bursar" in done.stdout


def test_the_licence_is_mit() -> None:
    """The licence that the metadata names is the one in the file, and it is shipped."""
    assert "MIT" == metadata.metadata("bursar")["License-Expression"]
    assert "MIT License" == (ROOT / "LICENSE").read_text().splitlines()[0]
