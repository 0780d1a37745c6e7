"""A provider, a store, real LLMs of LlamaIndex's over real SDKs, and models that answer from a script."""

from __future__ import annotations

import gc
import inspect
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponse,
    CompletionResponse,
    LLMMetadata,
    MessageRole,
    ToolCallBlock,
)
from llama_index.core.llms.function_calling import FunctionCallingLLM
from llama_index.core.llms.llm import ToolSelection
from llama_index.core.tools import function_tool
from llama_index.llms.anthropic import Anthropic
from llama_index.llms.openai import OpenAI
from pydantic import Field

from bursar.dropped import dropped
from bursar.entry import Entry
from bursar.run import Run
from bursar.simulator import Simulator
from bursar.store import Where
from bursar.stores.memory import MemoryStore
from bursar_llama_index.payers import SPANS

INPUT, OUTPUT = 10, 20
SONNET, HAIKU = "claude-sonnet-4-20250514", "claude-3-5-haiku-20241022"
"""Models that both ends of the range know."""

SYNC_TOOLS_KEEP_CONTEXT = "copy_context" in inspect.getsource(function_tool)
"""Whether LlamaIndex runs sync tools in threads that know what is around them; older versions do not."""

HELLO = [ChatMessage("hello")]


def calls_tool(name: str, **arguments: Any) -> ToolCallBlock:
    """What a model says to call a tool."""
    return ToolCallBlock(tool_call_id=f"call-{name}", tool_name=name, tool_kwargs=arguments)


class Scripted(FunctionCallingLLM):
    """
    An LLM that answers with *script*, one after the other, then with `done`.

    An item is a text, an exception, or calls of tools. It counts what would have been sent.
    """

    model: str = "gpt-4o-mini"
    max_tokens: int | None = 50
    script: list[Any] = Field(default_factory=list[Any])
    sent: list[dict[str, Any]] = Field(default_factory=list[dict[str, Any]])

    @property
    def metadata(self) -> LLMMetadata:
        """See `LLM`."""
        return LLMMetadata(
            model_name=self.model, is_chat_model=True, is_function_calling_model=True, num_output=50
        )

    def _answer(self, **kwargs: Any) -> ChatResponse:
        said = self.script[len(self.sent)] if len(self.sent) < len(self.script) else "done"
        self.sent.append({**kwargs, "max_tokens": self.max_tokens})
        if isinstance(said, Exception):
            raise said
        blocks = said if isinstance(said, list) else []
        content = said if isinstance(said, str) else None
        message = ChatMessage(role=MessageRole.ASSISTANT, content=content)
        if blocks:
            message = ChatMessage(role=MessageRole.ASSISTANT, blocks=blocks)
        usage = {"prompt_tokens": INPUT, "completion_tokens": OUTPUT}
        return ChatResponse(message=message, raw={"model": self.model, "usage": usage}, delta=content)

    def chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        """See `LLM`."""
        return self._answer(**kwargs)

    async def achat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        """See `LLM`."""
        return self._answer(**kwargs)

    def stream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> Any:
        """See `LLM`."""

        def parts() -> Iterator[ChatResponse]:
            yield self._answer(**kwargs)

        return parts()

    async def astream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> Any:
        """See `LLM`."""

        async def parts() -> AsyncIterator[ChatResponse]:
            yield self._answer(**kwargs)

        return parts()

    def complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        """See `LLM`."""
        answer = self._answer(**kwargs)
        return CompletionResponse(text=answer.message.content or "", raw=answer.raw)

    async def acomplete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        """See `LLM`."""
        return self.complete(prompt, formatted, **kwargs)

    def stream_complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> Any:
        """See `LLM`."""

        def parts() -> Iterator[CompletionResponse]:
            yield self.complete(prompt, formatted, **kwargs)

        return parts()

    async def astream_complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> Any:
        """See `LLM`."""

        async def parts() -> AsyncIterator[CompletionResponse]:
            yield self.complete(prompt, formatted, **kwargs)

        return parts()

    def _prepare_chat_with_tools(
        self, tools: Any, user_msg: Any = None, chat_history: Any = None, **kwargs: Any
    ) -> dict[str, Any]:
        messages = list(chat_history or [])
        if user_msg is not None:
            messages.append(ChatMessage(user_msg) if isinstance(user_msg, str) else user_msg)
        return {"messages": messages, "tools": [tool.metadata.to_openai_tool() for tool in tools]}

    def get_tool_calls_from_response(
        self, response: ChatResponse, error_on_no_tool_call: bool = True, **kwargs: Any
    ) -> list[ToolSelection]:
        """See `FunctionCallingLLM`."""
        calls = [block for block in response.message.blocks if isinstance(block, ToolCallBlock)]
        return [
            ToolSelection(
                tool_id=call.tool_call_id or "", tool_name=call.tool_name, tool_kwargs=dict(call.tool_kwargs)
            )
            for call in calls
        ]


def openai_llm(sim: Simulator, **options: Any) -> OpenAI:
    """A real `OpenAI` that calls the simulator."""
    options = {"model": "gpt-4o-mini", "max_tokens": 100, "max_retries": 0, **options}
    return OpenAI(api_base=sim.openai_base_url, api_key="sk-planted", **options)


def anthropic_llm(sim: Simulator, **options: Any) -> Anthropic:
    """A real `Anthropic` that calls the simulator."""
    options = {"model": SONNET, "max_tokens": 100, "max_retries": 0, **options}
    return Anthropic(base_url=sim.anthropic_base_url, api_key="sk-ant-planted", **options)


def entries_of(run: Run) -> list[Entry]:
    """The run's lines in the ledger, oldest first."""
    return list(run.store.entries(Where(run_ids=tuple(run.family))))


def all_entries(store: MemoryStore) -> list[Entry]:
    """Every line of the ledger, oldest first."""
    return list(store.entries(Where()))


def agents_of(entries: list[Entry]) -> list[str]:
    """The agents of *entries*, with the paths to them."""
    return [entry.subject.agent.path for entry in entries]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let LlamaIndex leave the connections of its clients to the garbage collector, and use what others deprecate."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.timeout(60))
            for ignored in _NOT_OURS:
                item.add_marker(pytest.mark.filterwarnings(f"ignore::{ignored}"))


_NOT_OURS = (
    "ResourceWarning",
    "pytest.PytestUnraisableExceptionWarning",
    "pydantic.warnings.PydanticDeprecatedSince20",
    "pydantic.warnings.PydanticDeprecatedSince211",
    "DeprecationWarning",
)


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
    """After every test, no run of LlamaIndex's is followed any more, and its connections are closed."""
    yield
    gc.collect()
    dropped.do_all()
    assert 0 == len(SPANS), "a run is still followed"
