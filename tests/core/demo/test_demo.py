from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest
from click.testing import CliRunner
from rich.console import Console

from bursar import Budget, guard
from bursar.cli import main
from bursar.demo import DemoFailed, run_demo
from bursar.demo.ending import show_ending
from bursar.demo.stage import live_stage, rehearsal_stage
from bursar.ledger.wording import is_other_model
from bursar.simulator import Fault, Simulator
from bursar.store import Store, Where
from bursar.stores.opening import open_store


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Store:
    """The default store: a new file."""
    url = f"sqlite:///{tmp_path}/ledger.db"
    monkeypatch.setenv("BURSAR_STORE", url)
    return open_store()


@pytest.fixture
def provider(monkeypatch: pytest.MonkeyPatch) -> Iterator[Simulator]:
    """A provider at the addresses where the SDKs look for the real ones."""
    with Simulator(output_tokens=250) as simulator:
        monkeypatch.setenv("OPENAI_BASE_URL", simulator.openai_base_url)
        monkeypatch.setenv("ANTHROPIC_BASE_URL", simulator.anthropic_base_url)
        yield simulator


def test_shows_all_it_promises(store: Store) -> None:
    """One agent is killed alone, one is downgraded, one retries; all figures agree with the provider's bill."""
    result = CliRunner(env={"COLUMNS": "80"}).invoke(main, ["demo", "--fast"])

    entries = list(store.entries(Where(workflow="demo")))
    assert (0, "") == (result.exit_code, result.stderr)
    assert {"researcher-3"} == {entry.subject.agent.name for entry in entries if entry.status == "refused"}
    assert {("researcher-4", "gpt-4o", "gpt-4o-mini")} == {
        (entry.subject.agent.name, entry.subject.model, entry.model)
        for entry in entries
        if is_other_model(entry)
    }
    retries = [entry for entry in entries if entry.is_retry]
    assert {"researcher-2"} == {entry.subject.agent.name for entry in retries}
    assert ["error", "ok", "ok", "ok"] == [entry.status for entry in retries]
    finished = {entry.subject.agent.name for entry in entries if entry.status == "ok"}
    assert {"planner", *(f"researcher-{n}" for n in range(1, 6)), "writer", "reviewer"} == finished
    assert {"gpt-4o", "gpt-4o-mini", "claude-haiku-4-5", "claude-sonnet-4-6"} == {
        entry.model for entry in entries if entry.status == "ok"
    }
    assert {"openai.chat", "openai.responses", "anthropic.messages"} == {e.subject.operation for e in entries}
    assert "equal, to the nano-dollar" in result.stdout
    assert "nothing still held" in result.stdout
    assert "gpt-4o -> gpt-4o-mini" in result.stdout
    assert "on the wire" in result.stdout
    assert max(map(len, result.stdout.splitlines())) <= 80


def test_figures_are_those_of_the_ledger(store: Store) -> None:
    """The total printed is what the ledger has, and within the budget."""
    result = CliRunner().invoke(main, ["demo", "--fast"])

    total = Decimal(sum(entry.cost_nanousd or 0 for entry in store.entries(Where(workflow="demo")))).scaleb(
        -9
    )
    assert f"the ledger says     ${total.normalize():f}, of $0.25" in result.stdout
    assert 0 < total <= Decimal("0.25")


def test_twice_is_the_same(store: Store) -> None:
    """Every demo costs the same, whatever the threads do."""
    for _ in range(2):
        run_demo(Console(file=io.StringIO()), is_fast=True)

    first, second = (run.totals.cost_nanousd for run in store.runs(Where(workflow="demo")))
    assert first == second


def test_terminal_has_a_bar_for_each_agent(store: Store) -> None:
    """On a terminal the board stays, with what each agent spent of its share."""
    text = io.StringIO()

    run_demo(Console(file=text, force_terminal=True, width=100, color_system=None), is_fast=True)

    assert "of $0.0225" in text.getvalue()
    assert "█" in text.getvalue()


def test_a_bill_that_differs_is_a_failure(store: Store) -> None:
    """Where the provider billed anything else, the ending says so."""
    text = io.StringIO()
    budget = Budget("$1")
    with rehearsal_stage(is_fast=True) as stage, budget.run("demo") as run:
        client = guard(stage.openai, agent="planner")
        assert client is not None
        client.embeddings.create(model="text-embedding-3-small", input="hello")
        assert stage.openai is not None
        stage.openai.embeddings.create(model="text-embedding-3-small", input="unpaid")

        is_right = show_ending(Console(file=text), run, stage)

    assert not is_right
    assert "they differ by $" in text.getvalue()


class TestLive:
    @pytest.mark.parametrize("keys", [("OPENAI", "ANTHROPIC"), ("OPENAI",), ("ANTHROPIC",)])
    def test_plays_with_the_keys_there_are(
        self, store: Store, provider: Simulator, monkeypatch: pytest.MonkeyPatch, keys: tuple[str, ...]
    ) -> None:
        """With one key or both the story is told with cheap models, for at most five cents."""
        for key in keys:
            monkeypatch.setenv(f"{key}_API_KEY", "sk-planted")
        text = io.StringIO()

        assert run_demo(Console(file=text, width=120), is_live=True)

        totals = dict(store.totals("workflow", Where()))["demo"]
        assert provider.bill.total_nanousd == totals.cost_nanousd
        assert 0 < totals.cost_nanousd <= 50_000_000
        assert "killed" in text.getvalue()
        assert "the bill            is the providers' own" in text.getvalue()
        assert "sk-planted" not in text.getvalue()

    def test_without_a_key_says_which_to_set(self) -> None:
        """No key is a failure with a remedy."""
        result = CliRunner().invoke(main, ["demo", "--live"])

        assert 1 == result.exit_code
        assert (
            "Error: bursar demo --live needs a key: set OPENAI_API_KEY or ANTHROPIC_API_KEY, or leave --live out\n"
            == result.stderr
        )

    def test_provider_that_does_not_answer_ends_it(
        self, store: Store, provider: Simulator, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """An error of a real API is told by its kind, without its text."""
        monkeypatch.setenv("OPENAI_API_KEY", "sk-planted")
        provider.fail_next(Fault.status(401, message="bad key sk-planted"))

        with pytest.raises(DemoFailed, match=r"^planner got no answer from openai: AuthenticationError$"):
            run_demo(Console(file=io.StringIO()), is_live=True)

    def test_clients_are_closed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The stage closes the clients that it made."""
        monkeypatch.setenv("OPENAI_API_KEY", "sk-planted")
        with live_stage() as stage:
            client = stage.openai

        assert client is not None
        assert client.is_closed()


def test_missing_sdk_is_told_with_the_extra() -> None:
    """Without an SDK the demo says what to install."""
    program = "import sys; sys.modules['anthropic'] = None\nfrom bursar.cli import main\nmain(['demo'])"

    done = subprocess.run(
        [sys.executable, "-c", program], env=os.environ.copy(), capture_output=True, text=True, check=False
    )

    assert (1, "") == (done.returncode, done.stdout)
    assert 'pip install "bursar[openai,anthropic]"' in done.stderr
