"""
Runs the tests of guarded clients with the oldest SDKs that `pyproject.toml` allows, those between, and the newest.

```text
python3 .ci/floors.py            every pair
python3 .ci/floors.py oldest     one of them; what follows goes to pytest
```

Each pair has an environment of its own in `.uv/floors/`, made anew every time from the package index; the one that
`make test` uses is left alone.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from typing import Final

from uv import ROOT, bring, environment

PAIRS: Final = {
    "oldest": (
        "openai==2.0.*",
        "anthropic==0.80.*",
        "groq==1.0.*",
        "google-genai==1.60.*",
        "boto3==1.42.*",
        "mistralai==2.0.*",
        "cohere==5.20.*",
    ),
    "between": ("openai==2.54.*", "anthropic==1.*"),
    "newest": ("openai<4", "anthropic<3", "groq<2", "google-genai<4", "boto3", "mistralai<4", "cohere<8"),
}
"""Openai 2 speaks `httpx`, openai 3 and anthropic 2 speak `httpx2`; the oldest are the floors that are declared."""

TESTS: Final = ("clients", "wire", "simulator", "budget")


def main() -> int:
    """Run the pairs that are asked for, and return how many of them fail."""
    asked = sys.argv[1:2] if sys.argv[1:2] and sys.argv[1] in PAIRS else list(PAIRS)
    more = sys.argv[2:] if asked == sys.argv[1:2] else sys.argv[1:]
    failed = [name for name in asked if not passes(name, more)]
    print(f"failed: {', '.join(failed)}" if failed else f"passed: {', '.join(asked)}")
    return len(failed)


def passes(name: str, more: list[str]) -> bool:
    """Whether the tests pass with one pair of SDKs."""
    folder = ROOT / ".uv" / "floors" / name
    python = folder / "bin" / "python"
    shutil.rmtree(folder, ignore_errors=True)
    uv, env = bring(), {**environment(), "VIRTUAL_ENV": str(folder)}
    make = [uv, "venv", "--quiet", "--python", sys.executable, folder]
    install = [uv, "pip", "install", "--quiet", "--group", "test", "--editable", ".[tokenizer]", *PAIRS[name]]
    for command in (make, install):
        subprocess.run(command, check=True, cwd=ROOT, env=env)
    print(f"--- {name}: {', '.join(PAIRS[name])}", flush=True)
    tests = [f"tests/core/{part}" for part in TESTS]
    return not subprocess.run([python, "-m", "pytest", *(more or tests)], check=False, cwd=ROOT).returncode


if __name__ == "__main__":
    sys.exit(main())
