"""A provider, a store, crews over real SDKs, and LLMs that answer from a script."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from crewai import LLM, Agent, Crew, Task
from crewai.llms.base_llm import BaseLLM
from pydantic import PrivateAttr

from bursar.dropped import dropped
from bursar.entry import Entry
from bursar.run import Run
from bursar.simulator import Simulator
from bursar.store import Where
from bursar.stores.memory import MemoryStore
from bursar_crewai.frames import EXECUTIONS

HERE = Path(__file__).parent
INPUT, OUTPUT = 100, 20


class Scripted(BaseLLM):
    """
    An LLM of the user's own that answers with *script*, one after the other, then with `done`.

    An item is a text, an exception, or calls of tools. `sent` holds what would have been sent.
    """

    _script: list[Any] = PrivateAttr(default_factory=list[Any])
    _sent: list[dict[str, Any]] = PrivateAttr(default_factory=list[dict[str, Any]])
    _tells_usage: bool = PrivateAttr(default=True)

    @classmethod
    def of(
        cls, *script: Any, model: str = "gpt-4o-mini", tells_usage: bool = True, **options: Any
    ) -> Scripted:
        """An LLM with this script."""
        llm = cls(model=model, **options)
        llm._script, llm._tells_usage = list(script), tells_usage
        return llm

    @property
    def sent(self) -> list[dict[str, Any]]:
        """What was sent, oldest first."""
        return self._sent

    def call(self, messages: Any, *args: Any, **kwargs: Any) -> Any:
        """See `BaseLLM`."""
        said = self._script[len(self._sent)] if len(self._sent) < len(self._script) else "done"
        self._sent.append({"model": self.model, "max_tokens": self.max_tokens, "messages": messages})
        if isinstance(said, BaseException):
            raise said
        if self._tells_usage:
            self._track_token_usage_internal({"prompt_tokens": INPUT, "completion_tokens": OUTPUT})
        return said

    async def acall(self, *args: Any, **kwargs: Any) -> Any:
        """See `BaseLLM`."""
        return self.call(*args, **kwargs)

    def supports_function_calling(self) -> bool:
        """Whether tools are called by the provider's own means."""
        return False


def openai_llm(sim: Simulator, **options: Any) -> Any:
    """A real native LLM of OpenAI's that calls the simulator."""
    options = {"model": "gpt-4o-mini", "max_tokens": 100, "max_retries": 0, **options}
    return LLM(base_url=sim.openai_base_url, api_key="sk-planted", **options)


def anthropic_llm(sim: Simulator, **options: Any) -> Any:
    """A real native LLM of Anthropic's that calls the simulator."""
    options = {"model": "anthropic/claude-sonnet-4-6", "max_tokens": 100, "max_retries": 0, **options}
    return LLM(base_url=sim.anthropic_base_url, api_key="sk-ant-planted", **options)


def agent(role: str, llm: Any, **options: Any) -> Agent:
    """An agent that is asked once for an answer, whatever happens."""
    return Agent(role=role, goal="Answer.", backstory="You answer.", llm=llm, max_retry_limit=0, **options)


def crew(*agents: Agent, **options: Any) -> Crew:
    """A crew in which each agent has one task."""
    tasks = [Task(description="Say hello.", expected_output="A word.", agent=each) for each in agents]
    return Crew(agents=list(agents), tasks=tasks, **options)


def entries_of(run: Run) -> list[Entry]:
    """The run's lines in the ledger, oldest first."""
    return list(run.store.entries(Where(run_ids=tuple(run.family))))


def all_entries(store: MemoryStore) -> list[Entry]:
    """Every line of the ledger, oldest first."""
    return list(store.entries(Where()))


def agents_of(entries: list[Entry]) -> list[str]:
    """The agents of *entries* that were answered, with the paths to them."""
    return [entry.subject.agent.path for entry in entries if entry.status == "ok"]


_IGNORED = (
    "ResourceWarning",
    "DeprecationWarning",
    "UserWarning",
    "RuntimeWarning",
    "pytest.PytestUnraisableExceptionWarning",
    "pytest.PytestUnhandledThreadExceptionWarning",
)
"""What CrewAI and its libraries warn of."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let CrewAI leave its connections to the garbage collector, and use what others deprecate; nothing may hang."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.timeout(100))
            for ignored in _IGNORED:
                item.add_marker(pytest.mark.filterwarnings(f"ignore::{ignored}"))


@pytest.fixture(autouse=True)
def own_folders(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Have CrewAI write below the test's own folder; that only this machine is ever called, all tests are held to."""
    monkeypatch.setenv("HOME", str(tmp_path))


@pytest.fixture
def sim() -> Iterator[Simulator]:
    """The provider that real LLMs call."""
    with Simulator(output_tokens=20) as sim:
        yield sim


@pytest.fixture
def store() -> MemoryStore:
    """An empty store."""
    return MemoryStore()


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    """After every test, no execution is followed any more."""
    yield
    gc.collect()
    dropped.do_all()
    assert 0 == len(EXECUTIONS), "an execution is still followed"
