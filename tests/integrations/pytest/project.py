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

    def run(self, source: str, *options: str, environ: dict[str, str] | None = None) -> Session:
        """Run pytest on a file that begins with `CLIENT` and goes on with *source*."""
        (self.folder / "test_agents.py").write_text(CLIENT + textwrap.dedent(source))
        results = self.folder / "results.xml"
        arguments = ["-p", "no:cacheprovider", "-W", "error", f"--junitxml={results}", *options]
        # pytest-asyncio warns where this is not set.
        arguments += ["-o", "asyncio_default_fixture_loop_scope=function"]
        done = subprocess.run(
            [sys.executable, "-m", "pytest", *arguments],
            cwd=self.folder,
            env=self.environment | (environ or {}),
            capture_output=True,
            text=True,
            check=False,
            timeout=100,
        )
        return Session(done.returncode, done.stdout + done.stderr, dict(_outcomes(results)))


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
