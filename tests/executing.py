"""Runs what README.md and the notebooks show: in the core's tests, and in each framework's for what is about it."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

import nbformat
import pytest
from nbclient import NotebookClient

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

ROOT: Final = Path(__file__).resolve().parents[1]
README: Final = ROOT / "README.md"
NOTEBOOKS: Final = ROOT / "notebooks"
FRAMEWORKS: Final = frozenset({"autogen", "crewai", "langchain", "llama_index", "pytest"})
"""The word after `python` at the opening of a fence that needs this framework, and the name of its notebook."""

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


def python_of(framework: str | None) -> list[tuple[int, str]]:
    """The README's Python for *framework*, or what needs none: the line and the text of each fence."""
    blocks = [block for block in fences(README.read_text()) if block.language == "python"]
    return [
        (block.line, block.text)
        for block in blocks
        if "notest" not in block.words
        and next((word for word in block.words if word in FRAMEWORKS), None) == framework
    ]


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


def run_python(python: list[tuple[int, str]], *, env: dict[str, str], cwd: Path) -> None:
    """Runs fences of the README, one after the other, in one namespace."""
    run(["-c", PROGRAM, str(README)], env=env, cwd=cwd, stdin=json.dumps(python))


def against_simulator(simulator: Any, offline_env: dict[str, str], folder: Path) -> dict[str, str]:  # noqa: ANN401
    """The environment of a process whose SDK clients call *simulator*, and whose ledger lies in *folder*."""
    return {
        **offline_env,
        "BURSAR_STORE": f"sqlite:///{folder}/ledger.db",
        "OPENAI_API_KEY": "not-a-key",
        "OPENAI_BASE_URL": simulator.openai_base_url,
        # As LlamaIndex calls it.
        "OPENAI_API_BASE": simulator.openai_base_url,
        "GEMINI_API_KEY": "not-a-key",
        "GOOGLE_GEMINI_BASE_URL": simulator.openai_base_url.removesuffix("/v1"),
        "AWS_ACCESS_KEY_ID": "not-a-key",
        "AWS_SECRET_ACCESS_KEY": "not-a-key",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL_BEDROCK_RUNTIME": simulator.openai_base_url.removesuffix("/v1"),
        "ANTHROPIC_API_KEY": "not-a-key",
        "ANTHROPIC_BASE_URL": simulator.anthropic_base_url,
    }


def read_notebook(path: Path) -> Any:  # noqa: ANN401  # nbformat has no types for a notebook
    """The notebook at *path*, in the newest format."""
    return cast("Any", nbformat.read(path, as_version=4))  # pyright: ignore[reportUnknownMemberType]


def execute_notebook(notebook: Any, folder: Path, env: Mapping[str, str]) -> None:  # noqa: ANN401
    """Runs every cell of *notebook* in *folder*; the first that raises ends it with an error."""
    client = NotebookClient(
        notebook, timeout=100, kernel_name="python3", resources={"metadata": {"path": str(folder)}}
    )
    client.execute(env=dict(env))
