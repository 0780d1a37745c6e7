"""Runs pytest, as a user does, in a folder of tests whose clients call a simulator."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Final
from xml.etree import ElementTree

import openai  # noqa: F401  # pyright: ignore[reportUnusedImport] - forks need not import it again
import pytest

from bursar.simulator import Simulator

# One call of one agent: ten tokens in, twenty out at most.
CLIENT: Final = """
import asyncio, concurrent.futures, os, sys, unittest
import openai, pytest
from bursar import Budget, BudgetExceeded, guard

def asks(client, times=1):
    for _ in range(times):
        answer = client.chat.completions.create(
            model="gpt-4o", messages=[{"role": "user", "content": "What moves the tides?"}], max_tokens=20
        )
    return answer.choices[0].message.content

async def aasks(client):
    await client.chat.completions.create(
        model="gpt-4o", messages=[{"role": "user", "content": "What moves the tides?"}], max_tokens=20
    )
"""


@dataclass(frozen=True)
class Outcome:
    """How one test of a session ended: `passed`, `failed`, `error` or `skipped`."""

    status: str
    said: str
    properties: dict[str, str]

    @property
    def spent(self) -> Decimal:
        """The dollars that it says it has spent."""
        return Decimal(self.properties["bursar_spent_usd"])


@dataclass(frozen=True)
class Session:
    """One run of pytest."""

    code: int
    output: str
    tests: dict[str, Outcome]

    @property
    def statuses(self) -> dict[str, str]:
        """How each test ended."""
        return {name: outcome.status for name, outcome in self.tests.items()}

    @property
    def only(self) -> Outcome:
        """How its only test ended."""
        (outcome,) = self.tests.values()
        return outcome


class Project:
    """A folder of tests, and the provider that they call."""

    def __init__(self, folder: Path, simulator: Simulator, environment: dict[str, str]) -> None:
        self.folder = folder
        self.simulator = simulator
        self.environment = environment

    @property
    def billed(self) -> Decimal:
        """What the provider has billed, in dollars."""
        return self.simulator.bill.total

    def run(
        self, source: str, *options: str, environ: dict[str, str] | None = None, is_fresh: bool = False
    ) -> Session:
        """
        Run pytest on a file that begins with `CLIENT` and goes on with *source*.

        In a fork of this process, which has imported what takes long; *is_fresh* starts another one.
        """
        (self.folder / "test_agents.py").write_text(CLIENT + textwrap.dedent(source))
        results, output = self.folder / "results.xml", self.folder.parent / "output.txt"
        # pytest-asyncio warns where its scope is not set.
        scope = ["-o", "asyncio_default_fixture_loop_scope=function"]
        arguments = ["-p", "no:cacheprovider", "-W", "error", f"--junitxml={results}", *options, *scope]
        env = self.environment | (environ or {})
        with output.open("w") as out:
            if is_fresh:
                command = [sys.executable, "-m", "pytest", *arguments]
                started = subprocess.Popen(command, cwd=self.folder, env=env, stdout=out, stderr=out)
                code = started.wait(100)
            else:
                code = os.waitstatus_to_exitcode(os.waitpid(self._fork(arguments, env, out.fileno()), 0)[1])
        return Session(code, output.read_text(), dict(_outcomes(results)))

    def _fork(self, arguments: list[str], env: dict[str, str], output: int) -> int:
        if (child := os.fork()) != 0:
            return child
        code = 70
        try:
            os.dup2(output, 1)
            os.dup2(output, 2)
            sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", closefd=False)  # noqa: SIM115
            os.environ.clear()
            os.environ.update(env)
            os.chdir(self.folder)
            code = int(pytest.main(arguments))
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            os._exit(code)


def project_environment(simulator: Simulator, folder: Path, offline_env: dict[str, str]) -> dict[str, str]:
    """The environment of a session whose user has a home of its own and has named no store."""
    kept = {name: value for name, value in offline_env.items() if not name.startswith(("BURSAR", "PYTEST"))}
    return kept | {
        "HOME": str(folder),
        "XDG_DATA_HOME": str(folder / "data"),
        "OPENAI_API_KEY": "sk-planted-key",
        "OPENAI_BASE_URL": simulator.openai_base_url,
        "PATH": os.environ["PATH"],
    }


def _outcomes(results: Path) -> Iterator[tuple[str, Outcome]]:
    if not results.exists():
        return
    # Our own file of a moment ago.
    for case in ElementTree.parse(results).getroot().iter("testcase"):  # noqa: S314
        status, said = "passed", ""
        for tag, name in (("failure", "failed"), ("error", "error"), ("skipped", "skipped")):
            if (found := case.find(tag)) is not None:
                status, said = name, f"{found.get('message')}\n{found.text}"
        properties = {p.get("name", ""): p.get("value", "") for p in case.iter("property")}
        yield case.get("name", ""), Outcome(status, said, properties)
