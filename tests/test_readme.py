"""Every fence of README.md runs: Python against the simulator, `$ bursar ...` as a user would type it."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

README: Final = Path(__file__).resolve().parents[1] / "README.md"
OPENING: Final = re.compile(r"^```(?P<language>\w+)(?P<words>[^\n`]*)$")
COMMAND: Final = "import sys; from bursar.cli import main; sys.exit(main())"

# Fence after fence in one namespace, as a reader would type them into one file; a line number in a traceback is the
# README's.  A fence may `await` outside of a function, as in a notebook.
PROGRAM: Final = """
import ast, asyncio, inspect, json, sys
namespace = {"__name__": "__main__"}
with asyncio.Runner() as runner:
    for line, text in json.load(sys.stdin):
        code = compile("\\n" * line + text, sys.argv[1], "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        outcome = eval(code, namespace)
        if inspect.iscoroutine(outcome):
            runner.run(outcome)
"""


class Fence(NamedTuple):
    """A fenced block: its language, what else its opening says, the line it opens at, and its text."""

    language: str
    words: tuple[str, ...]
    line: int
    text: str


def fences(markdown: str) -> Iterator[Fence]:
    """The fenced blocks that name a language, in order."""
    lines = markdown.splitlines()
    at = 0
    while at < len(lines):
        opening = OPENING.match(lines[at])
        if not opening:
            at += 1
            continue
        end = lines.index("```", at + 1)
        text = "\n".join(lines[at + 1 : end])
        yield Fence(opening["language"], tuple(opening["words"].split()), at + 1, text)
        at = end + 1


def run(arguments: Sequence[str], *, env: dict[str, str], cwd: Path, stdin: str = "") -> None:
    """Runs this interpreter with *arguments*, and fails with all that it said when it does."""
    done = subprocess.run(
        [sys.executable, *arguments],
        env=env,
        cwd=cwd,
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        pytest.fail(
            f"{shlex.join(arguments[-3:])} ended with {done.returncode}\n{done.stdout}\n{done.stderr}"
        )


def test_readme_runs(tmp_path: Path, offline_env: dict[str, str]) -> None:
    """What README.md shows works when it is typed in, from the first fence to the last."""
    from bursar.simulator import Simulator

    blocks = list(fences(README.read_text()))
    python = [(b.line, b.text) for b in blocks if b.language == "python" and "notest" not in b.words]
    typed = [line for b in blocks if b.language == "console" for line in b.text.splitlines()]
    commands = [line.removeprefix("$ ").partition(" #")[0] for line in typed if line.startswith("$ bursar")]
    with Simulator() as simulator:
        env = {
            **offline_env,
            "BURSAR_STORE": f"sqlite:///{tmp_path}/ledger.db",
            "OPENAI_API_KEY": "not-a-key",
            "OPENAI_BASE_URL": simulator.openai_base_url,
            "ANTHROPIC_API_KEY": "not-a-key",
            "ANTHROPIC_BASE_URL": simulator.anthropic_base_url,
        }
        run(["-c", PROGRAM, str(README)], env=env, cwd=tmp_path, stdin=json.dumps(python))
        for command in commands:
            run(["-c", COMMAND, *shlex.split(command)[1:]], env=env, cwd=tmp_path)

    assert python
    assert {"bursar demo", "bursar report"} <= set(map(str.strip, commands))


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
