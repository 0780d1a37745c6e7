"""Every fence of README.md runs: Python against the simulator, `$ bursar ...` as a user would type it."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest

from .executing import (
    COMMAND,
    FRAMEWORKS,
    PROGRAM,
    README,
    Fence,
    against_simulator,
    fences,
    python_of,
    run,
    run_python,
)


def test_readme_runs(tmp_path: Path, offline_env: dict[str, str]) -> None:
    """What README.md shows works when it is typed in, from the first fence to the last."""
    from bursar.simulator import Simulator

    blocks = list(fences(README.read_text()))
    typed = [line for b in blocks if b.language == "console" for line in b.text.splitlines()]
    commands = [line.removeprefix("$ ").partition(" #")[0] for line in typed if line.startswith("$ bursar")]
    python = python_of(None)
    with Simulator() as simulator:
        env = against_simulator(simulator, offline_env, tmp_path)
        run_python(python, env=env, cwd=tmp_path)
        for command in commands:
            run(["-c", COMMAND, *shlex.split(command)[1:]], env=env, cwd=tmp_path)

    assert python
    assert {"bursar demo", "bursar report"} <= set(map(str.strip, commands))


def test_every_fence_is_run_somewhere() -> None:
    """A Python fence runs here or in the environment of the one framework it names."""
    blocks = [block for block in fences(README.read_text()) if block.language == "python"]

    assert [] == [block for block in blocks if not set(block.words) <= FRAMEWORKS or len(block.words) > 1]


def test_fences_are_found() -> None:
    """A fence is known by its language; text outside of fences and unnamed fences are no code."""
    markdown = "a\n```python notest\nx = 1\n```\n`python`\n```console\n$ bursar demo\n```\n"

    assert [
        Fence("python", ("notest",), 2, "x = 1"),
        Fence("console", (), 6, "$ bursar demo"),
    ] == list(fences(markdown))


def test_a_failing_fence_fails(tmp_path: Path, offline_env: dict[str, str]) -> None:
    """A fence that raises fails the test and names its line in the README."""
    source = json.dumps([(1, "x = 1"), (4, "await __import__('asyncio').sleep(0)\nassert x == 2")])
    with pytest.raises(pytest.fail.Exception) as failure:
        run(["-c", PROGRAM, str(README)], env=offline_env, cwd=tmp_path, stdin=source)

    assert 'README.md", line 6' in str(failure.value)
