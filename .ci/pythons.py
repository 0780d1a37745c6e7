"""
Runs the tests on the other Pythons that bursar supports, as far as this machine has them.

```text
python3 .ci/pythons.py                  the core's tests, on each
python3 .ci/pythons.py tests/stores     some of them; what is given goes to pytest
```

Those on the PATH and those of pyenv are found.  Each has an environment of its own in `.uv/pythons/`, of what
`uv.lock` pins; the one that `make test` uses is left alone.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

from uv import ROOT

SUPPORTED: Final = [(3, minor) for minor in range(11, 15)]


def main() -> int:
    """Test on each Python that is found, and return on how many the tests fail."""
    others = {version: python for version in SUPPORTED if (python := find(version)) is not None}
    others.pop(sys.version_info[:2], None)
    if not others:
        print("no other Python that bursar supports is on this machine: none is tested")
    return sum(not passes(version, python, sys.argv[1:]) for version, python in others.items())


def find(version: tuple[int, int]) -> str | None:
    """The newest Python of *version* on this machine, or None."""
    name = "python{}.{}".format(*version)
    pyenv = Path(os.environ.get("PYENV_ROOT", "~/.pyenv")).expanduser() / "versions"
    candidates = [
        shutil.which(name),
        *sorted(pyenv.glob(f"*/bin/{name}"), key=lambda path: path.stat().st_mtime),
    ]
    # On the PATH there may be a shim of pyenv's for a version that is not chosen, which does not run.
    return next((str(found) for found in reversed(candidates) if found and runs(str(found))), None)


def runs(python: str) -> bool:
    """Whether *python* can be used."""
    return not subprocess.run([python, "-c", "import venv"], check=False, capture_output=True).returncode


def passes(version: tuple[int, int], python: str, tests: list[str]) -> bool:
    """Whether the tests pass on *python*."""
    folder = ROOT / ".uv" / "pythons" / "{}.{}".format(*version)
    env = {
        **os.environ,
        "UV_PYTHON": python,
        "UV_PROJECT_ENVIRONMENT": str(folder),
        "VIRTUAL_ENV": str(folder),
    }
    sync = [sys.executable, ROOT / ".ci" / "sync.py", "--all-extras", "--no-dev", "--group", "test"]
    subprocess.run(sync, check=True, cwd=ROOT, env=env)
    print(f"--- Python {version[0]}.{version[1]}", flush=True)
    command = [folder / "bin" / "python", "-m", "pytest", *tests]
    return not subprocess.run(command, check=False, cwd=ROOT).returncode


if __name__ == "__main__":
    sys.exit(main())
