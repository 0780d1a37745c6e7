"""
Tests a framework's adapter in environments of its own: one with the oldest versions it supports, one with the newest.

    environments.py test [NAME | NAME-oldest | NAME-newest ...]     install what is pinned, and run its tests
    environments.py types [NAME ...]                                check its types against the newest versions
    environments.py bench [NAME ...]                                time it with the newest versions
    environments.py lock [NAME ...]                                 pin anew, from the public index only

Each folder of `.ci/environments/` describes one: `environment.toml` says which extra of bursar it tests, what its
tests need besides, and where they are; `oldest.txt` and `newest.txt` pin everything.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import uv

if TYPE_CHECKING:
    from pathlib import Path

FOLDER = uv.ROOT / ".ci" / "environments"
ENDS = {"oldest": "lowest-direct", "newest": "highest"}
PUBLIC = ("UV_DEFAULT_INDEX", "UV_INDEX_URL", "PIP_INDEX_URL", "UV_FIND_LINKS")


@dataclass(frozen=True)
class Environment:
    """
    One folder of `.ci/environments/`.

    In the values of *environ*, `{venv}` is the folder that an end is installed in: what a framework writes for itself
    may be of no use to its other end.
    """

    name: str
    extra: str
    requires: list[str]
    tests: list[str]
    types: list[str]
    environ: dict[str, str]
    oldest: list[str]

    def pins(self, end: str) -> Path:
        """The file that pins what *end* installs."""
        return FOLDER / self.name / f"{end}.txt"

    def venv(self, end: str) -> Path:
        """The folder that *end* is installed in."""
        return uv.ROOT / f".venv-{self.name}-{end}"


def read(name: str) -> Environment:
    """The environment that is described in the folder *name*."""
    file = FOLDER / name / "environment.toml"
    if not file.is_file():
        sys.exit(f"there is no environment {name!r} in {FOLDER}")
    table = tomllib.loads(file.read_text())
    return Environment(
        name,
        table["extra"],
        table.get("requires", []),
        table["tests"],
        table.get("types", []),
        table.get("environ", {}),
        table.get("oldest", []),
    )


def names() -> list[str]:
    """Every environment that is described and whose adapter has tests."""
    described = sorted(path.parent.name for path in FOLDER.glob("*/environment.toml"))
    return [name for name in described if all((uv.ROOT / path).is_dir() for path in read(name).tests)]


def lock(environment: Environment) -> None:
    """Pins what each end of *environment* installs."""
    program = uv.bring()
    env = {name: value for name, value in uv.environment().items() if name not in PUBLIC}
    for end, resolution in ENDS.items():
        wanted = [*environment.requires, *(environment.oldest if end == "oldest" else [])]
        arguments = [
            *("--no-config", "pip", "compile", "--quiet", "--upgrade", "--resolution", resolution),
            *("--python-version", "3.11", "--no-emit-index-url", "--no-annotate", "--no-header"),
            *("--extra", environment.extra, "pyproject.toml", "-", "--output-file", environment.pins(end)),
        ]
        done = subprocess.run(
            [program, *arguments], env=env, cwd=uv.ROOT, input="\n".join(wanted), text=True, check=False
        )
        if done.returncode:
            sys.exit(done.returncode)


def install(environment: Environment, end: str) -> Path:
    """The interpreter of *end* of *environment*, with all that is pinned installed."""
    venv, pins = environment.venv(end), environment.pins(end)
    python = venv / "bin" / "python"
    mark = venv / "pins.sha256"
    digest = hashlib.sha256(pins.read_bytes() + (uv.ROOT / "pyproject.toml").read_bytes()).hexdigest()
    if mark.is_file() and mark.read_text() == digest:
        return python
    program, env = uv.bring(), uv.environment()
    for arguments in (
        ("venv", "--quiet", "--clear", "--python", sys.executable, venv),
        ("--no-config", "pip", "install", "--quiet", "--python", python, "--requirements", pins),
        ("--no-config", "pip", "install", "--quiet", "--python", python, "--no-deps", "--editable", "."),
    ):
        done = subprocess.run([program, *arguments], env=env, cwd=uv.ROOT, check=False)
        if done.returncode:
            sys.exit(done.returncode)
    mark.write_text(digest)
    return python


def test(environment: Environment, end: str) -> bool:
    """Whether the tests of *environment* pass with the versions of *end*."""
    python = install(environment, end)
    print(f"--- {environment.name}, {end} versions", flush=True)
    venv = str(environment.venv(end))
    env = os.environ | {name: value.format(venv=venv) for name, value in environment.environ.items()}
    done = subprocess.run([python, "-m", "pytest", *environment.tests], cwd=uv.ROOT, env=env, check=False)
    return done.returncode == 0


def types(environment: Environment) -> bool:
    """Whether the types of *environment*'s packages and tests hold against its newest versions."""
    install(environment, "newest")
    print(f"--- types of {environment.name}", flush=True)
    config = environment.venv("newest") / "pyrightconfig.json"
    settings = {
        "extends": "../pyproject.toml",
        "include": [f"../{path}" for path in environment.types],
        "exclude": ["**/__pycache__"],
        "extraPaths": ["../core", "../integrations"],
        "venvPath": "..",
        "venv": environment.venv("newest").name,
    }
    config.write_text(json.dumps(settings))
    pyright = uv.ROOT / ".venv" / "bin" / "pyright"
    return subprocess.run([pyright, "--project", config], cwd=uv.ROOT, check=False).returncode == 0


def bench(environment: Environment) -> bool:
    """Whether the benchmark of *environment* ran, if it has one; what it measures is only printed."""
    file = uv.ROOT / "tests" / "benchmarks" / f"bench_{environment.name}.py"
    if not file.exists():
        return True
    python = install(environment, "newest")
    print(f"--- {environment.name}", flush=True)
    venv = str(environment.venv("newest"))
    env = os.environ | {name: value.format(venv=venv) for name, value in environment.environ.items()}
    command = [python, "-W", "ignore", file]
    return subprocess.run(command, cwd=uv.ROOT, env=env | {"PYTHONPATH": "."}, check=False).returncode == 0


def main(command: str = "", *wanted: str) -> None:
    """Does what the command line says; ends with 1 where a test or a type does not hold."""
    chosen = [name.rpartition("-") if name.endswith(tuple(ENDS)) else (name, "", "") for name in wanted]
    described = [(first, end) if dash else (first, None) for first, dash, end in chosen]
    pairs = [(read(name), end) for name, end in described or [(name, None) for name in names()]]
    if command == "lock":
        for environment, _ in pairs:
            lock(environment)
    elif command == "types":
        sys.exit(not all([types(environment) for environment, _ in pairs]))
    elif command == "bench":
        sys.exit(not all([bench(environment) for environment, _ in pairs]))
    elif command == "test":
        results = [
            test(environment, end) for environment, only in pairs for end in ([only] if only else ENDS)
        ]
        sys.exit(not all(results))
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main(*sys.argv[1:])
