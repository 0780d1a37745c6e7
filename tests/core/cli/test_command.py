from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click
import pytest
from click.testing import Result

import bursar as package
from bursar.cli.options import parse_since, since_option

if TYPE_CHECKING:
    from tests.core.cli.conftest import Book

Bursar = Callable[..., Result]


def run_command(*arguments: str, store: str, code: str = "") -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own, and *code* after it."""
    program = (
        f"import sys\nfrom bursar.cli import main\nmain({list(arguments)!r}, standalone_mode=False)\n{code}"
    )
    environment = {**os.environ, "BURSAR_STORE": store}
    return subprocess.run(
        [sys.executable, "-c", program],
        env=environment,
        capture_output=True,
        encoding=os.environ.get("PYTHONIOENCODING", "utf-8"),
        check=False,
    )


def test_version(bursar: Bursar) -> None:
    """--version prints name and version."""
    assert f"bursar {package.__version__}\n" == bursar("--version").stdout


@pytest.mark.parametrize("name", ["report", "runs", "run", "prices", "demo"])
def test_every_command_has_help(bursar: Bursar, name: str) -> None:
    """Each command is in the list and explains itself."""
    assert name in bursar("--help").stdout
    assert bursar(name, "--help").stdout.startswith(f"Usage: main {name}")


def test_help_says_that_the_ledger_is_summed_up_by_the_hour(bursar: Bursar) -> None:
    """--since does not promise more than it does."""
    assert "by the hour" in " ".join(bursar("report", "--help").stdout.split())


def test_report_imports_neither_sdk_nor_prices(book: Book) -> None:
    """A report loads what it needs, so that it starts fast."""
    heavy = ("openai", "anthropic", "genai_prices", "httpx", "httpx2")
    book.call("r", "w", 1)

    done = run_command(
        "report", store=book.url, code=f"print('loaded', [m for m in {heavy!r} if m in sys.modules])"
    )

    assert "loaded []" == done.stdout.splitlines()[-1]


def test_closed_pipe_is_quiet(book: Book) -> None:
    """A reader that goes away, as `head` does, leaves no traceback."""
    for number in range(3_000):
        book.call(f"run-{number}", "w", 1)
    environment = {**os.environ, "BURSAR_STORE": book.url}
    command = [
        sys.executable,
        "-c",
        "from bursar.cli import main; main()",
        "report",
        "--by",
        "run",
        "--format",
        "csv",
    ]

    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        errors = process.stderr.read()

    assert b"" == errors


@pytest.mark.parametrize("form", ["table", "csv", "json"])
def test_output_that_was_closed_is_no_error(book: Book, form: str) -> None:
    """`bursar report >&-` says nothing, as whoever called it wants; so does `python -m bursar`."""
    book.call("run", "w", 1)
    done = subprocess.run(
        ["/bin/sh", "-c", f'"{sys.executable}" -m bursar report --format {form} >&-'],
        env={**os.environ, "BURSAR_STORE": book.url},
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )

    assert (0, "") == (done.returncode, done.stderr)


def test_the_package_is_the_command_too() -> None:
    """Where scripts are not on the path, `python -m bursar` is the same, and calls itself the same."""
    done = subprocess.run(
        [sys.executable, "-m", "bursar", "report", "--help"], capture_output=True, text=True, check=True
    )

    assert done.stdout.startswith("Usage: bursar report")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no /dev/full")
def test_output_that_cannot_be_written_is_told(book: Book) -> None:
    """A full disk under the output is an error without a traceback."""
    book.call("run", "w", 1)
    command = [sys.executable, "-c", "from bursar.cli import main; main()", "report"]
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            command,
            env={**os.environ, "BURSAR_STORE": book.url},
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )

    assert (1, True) == (done.returncode, done.stderr.startswith("Error: [Errno 28]"))
    assert "Traceback" not in done.stderr


class TestSince:
    @pytest.mark.parametrize(
        ("text", "seconds"), [("90m", 5_400), ("12h", 43_200), ("7d", 604_800), ("2W", 1_209_600)]
    )
    def test_a_time_ago(self, text: str, seconds: int) -> None:
        """A number and a letter count back from now."""
        found = since(text)

        assert pytest.approx(datetime.now(UTC).timestamp() - seconds, abs=5) == found

    @pytest.mark.parametrize("text", ["2026-09-21", "2026-09-21T00:00", "2026-09-21T02:00+02:00"])
    def test_a_date_is_utc_unless_it_says_otherwise(self, text: str) -> None:
        """A date without a zone is UTC."""
        assert datetime(2026, 9, 21, tzinfo=UTC).timestamp() == since(text)

    @pytest.mark.parametrize("text", ["", "7", "d", "-7d", "7y", "2026-13-01", "NaN"])
    def test_anything_else_is_refused(self, text: str) -> None:
        """What names no moment is told with examples."""
        with pytest.raises(click.BadParameter, match="7d"):
            since(text)


def since(text: str) -> float | None:
    """Parse as the option does."""
    command = since_option(click.Command("test"))
    return parse_since(click.Context(command), command.params[0], text)


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
@pytest.mark.parametrize(
    "arguments",
    [
        ["report"],
        ["report", "--format", "csv"],
        ["report", "--format", "json"],
        ["runs"],
        ["run", "r1"],
        ["audit"],
    ],
    ids=" ".join,
)
def test_names_are_written_where_their_letters_are_not_known(
    book: Book, monkeypatch: pytest.MonkeyPatch, encoding: str, arguments: list[str]
) -> None:
    """A terminal, or a file, of few letters shows the codes of others; nothing fails."""
    book.run("r1", "Übersicht → 要約")
    book.call("r1", "Übersicht → 要約", 5_000, agent="研究员")
    monkeypatch.setenv("PYTHONIOENCODING", encoding)
    ended = run_command(*arguments, store=book.url)

    assert ended.returncode == 0, ended.stderr
    assert "\\u" in ended.stdout or "audit" in arguments
    if "json" in arguments:
        assert '"Übersicht → 要約"' in json.dumps(json.loads(ended.stdout), ensure_ascii=False)
