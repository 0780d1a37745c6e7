"""A provider, a store, real chat models of LangChain's over real SDKs, and models that answer from a script."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from langchain_anthropic import ChatAnthropic
from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_openai import ChatOpenAI
from pydantic import Field, SecretStr

from bursar import Budget
from bursar.dropped import dropped
from bursar.entry import Entry
from bursar.run import Run
from bursar.simulator import Simulator
from bursar.store import Where
from bursar.stores.memory import MemoryStore
from bursar_langchain.calls import CALLS
from bursar_langchain.tree import TREE

INPUT, OUTPUT = 10, 20
USAGE: Any = {"input_tokens": INPUT, "output_tokens": OUTPUT, "total_tokens": INPUT + OUTPUT}


class Scripted(BaseChatModel):
    """
    A chat model that answers with *script*, one after the other, then with its last word again.

    It counts what would have been sent, and can bind tools as any model can.
    """

    script: list[Any] = Field(default_factory=list[Any])
    model: str = "gpt-4o-mini"
    max_tokens: int | None = 50
    delay_s: float = 0.0
    sent: list[dict[str, Any]] = Field(default_factory=list[dict[str, Any]])

    @property
    def _llm_type(self) -> str:
        return "scripted"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        return {"model": self.model}

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> Any:
        params: Any = {
            "ls_provider": "openai",
            "ls_model_name": kwargs.get("model", self.model),
            "ls_model_type": "chat",
        }
        limit = kwargs.get("max_tokens", self.max_tokens)
        return params | ({"ls_max_tokens": limit} if limit is not None else {})

    def bind_tools(self, tools: Any, **kwargs: Any) -> Any:
        """Take tools as every model does, and ignore them."""
        return self.bind(**{key: value for key, value in kwargs.items() if key in {"model", "max_tokens"}})

    def _answer(self, kwargs: dict[str, Any]) -> AIMessage:
        said = self.script[min(len(self.sent), len(self.script) - 1)] if self.script else AIMessage("done")
        self.sent.append(kwargs)
        if isinstance(said, Exception):
            raise said
        about = {"model_name": kwargs.get("model", self.model), "finish_reason": "stop"}
        return said.model_copy(update={"usage_metadata": USAGE, "response_metadata": about})

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return ChatResult(generations=[ChatGeneration(message=self._answer(kwargs))])

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        message = self._answer(kwargs)
        await asyncio.sleep(self.delay_s)
        return ChatResult(generations=[ChatGeneration(message=message)])


class Streaming(Scripted):
    """The same, in ten pieces; its usage comes with the last."""

    def _pieces(self, kwargs: dict[str, Any]) -> Iterator[ChatGenerationChunk]:
        message = self._answer(kwargs)
        for index in range(10):
            end: Any = {"usage_metadata": USAGE} if index == 9 else {}
            yield ChatGenerationChunk(message=AIMessageChunk(f"{message.content} ", **end))

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        for piece in self._pieces(kwargs):
            if run_manager is not None:
                run_manager.on_llm_new_token(piece.text, chunk=piece)
            yield piece

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        for piece in self._pieces(kwargs):
            await asyncio.sleep(self.delay_s)
            if run_manager is not None:
                await run_manager.on_llm_new_token(piece.text, chunk=piece)
            yield piece


def calls_tool(name: str, **arguments: Any) -> AIMessage:
    """What a model says to call a tool."""
    return AIMessage("", tool_calls=[{"name": name, "args": arguments, "id": f"call-{name}"}])


def openai_model(sim: Simulator, **options: Any) -> ChatOpenAI:
    """A real `ChatOpenAI` that calls the simulator."""
    options = {"model": "gpt-4o-mini", "max_tokens": 100, "max_retries": 0, **options}
    return ChatOpenAI(base_url=sim.openai_base_url, api_key=SecretStr("sk-planted"), **options)


def anthropic_model(sim: Simulator, **options: Any) -> ChatAnthropic:
    """A real `ChatAnthropic` that calls the simulator."""
    options = {"model_name": "claude-sonnet-4-6", "max_tokens": 100, "max_retries": 0, **options}
    return ChatAnthropic(base_url=sim.anthropic_base_url, api_key=SecretStr("sk-ant-planted"), **options)


def entries_of(run: Run) -> list[Entry]:
    """The run's lines in the ledger, oldest first."""
    return list(run.store.entries(Where(run_ids=tuple(run.family))))


@pytest.fixture
def run(store: MemoryStore) -> Iterator[Run]:
    """A run with room for everything."""
    with Budget(5, store=store).run("job") as run:
        yield run


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let LangChain's models leave the connections of their clients to the garbage collector, as they do."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.filterwarnings("ignore::ResourceWarning"))
            item.add_marker(pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"))


@pytest.fixture
def sim() -> Iterator[Simulator]:
    """The provider that real models call."""
    with Simulator(output_tokens=20) as sim:
        yield sim


@pytest.fixture
def store() -> MemoryStore:
    """An empty store."""
    return MemoryStore()


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    """After every test, no run and no call is followed any more."""
    yield
    if len(CALLS) or len(TREE):
        gc.collect()
        dropped.do_all()
    assert 0 == len(CALLS), "a call is still followed"
    assert 0 == len(TREE), "a run is still followed"
