"""
Installs what uv.lock names into `.venv`; the arguments are those of `uv sync`.

From the public index this is `uv sync --locked`.  uv.lock holds that index's addresses, so where another index
takes its place (UV_DEFAULT_INDEX, PIP_INDEX_URL, pip.conf) the same versions are installed from there by their
hashes.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import uv


def main() -> None:
    """Brings uv, then the environment."""
    program, env = uv.bring(), uv.environment()

    def run(*args: str | Path) -> None:
        done = subprocess.run([program, *args], env=env, cwd=uv.ROOT, check=False)
        if done.returncode:
            sys.exit(done.returncode)

    if not uv.mirror():
        run("sync", "--quiet", "--locked", *sys.argv[1:])
        return
    options = [argument for argument in sys.argv[1:] if argument != "--inexact"]
    with tempfile.TemporaryDirectory() as folder:
        locked = Path(folder, "locked.txt")
        run("export", "--quiet", "--frozen", "--no-emit-project", *options, "--output-file", locked)
        run("venv", "--quiet", "--allow-existing")
        run("pip", "install", "--quiet", "--require-hashes", "--requirements", locked)
        run("pip", "install", "--quiet", "--no-deps", "--editable", ".")


if __name__ == "__main__":
    main()
