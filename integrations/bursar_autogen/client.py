"""The budgeted client: any `ChatCompletionClient` of AutoGen's, with every call paid before it is sent."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any, Final, Literal

from autogen_core import Component, ComponentModel
from autogen_core.models import ChatCompletionClient, CreateResult, RequestUsage
from pydantic import BaseModel

from bursar.budget.arguments import parse_name
from bursar.errors import BudgetExceeded
from bursar.payer import Payer
from bursar.scope import run_around
from bursar_autogen.budgets import budget_named, name_to_dump, taken
from bursar_autogen.call import Call, current_call
from bursar_autogen.identity import asker_of, caller
from bursar_autogen.inner import Inner
from bursar_autogen.planning import Planner, Wanted

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping, Sequence
    from typing import Self

    from autogen_core import CancellationToken
    from autogen_core.models import LLMMessage, ModelInfo
    from autogen_core.tools import Tool, ToolSchema

    from bursar.budget import Budget
    from bursar.money import Money
    from bursar.run import Run

ToolChoice = Any
_NO_ARGUMENTS: Final[dict[str, Any]] = {}


class BudgetedClientConfig(BaseModel):
    """What a `BudgetedChatCompletionClient` is written down as: its budget by name, its clients as they are."""

    client: ComponentModel
    budget: str | None = None
    agent: str | None = None
    fallback: list[ComponentModel] | None = None
    on_exceed: Literal["raise", "stop"] | None = None
    model: str | None = None
    provider: str | None = None


class BudgetedChatCompletionClient(ChatCompletionClient, Component[BudgetedClientConfig]):
    """
    A chat completion client whose every call is paid from a budget before it is sent.

    ```python
    client = BudgetedChatCompletionClient(OpenAIChatCompletionClient(model="gpt-4o"), budget)
    ```

    Use it as `model_client` anywhere. Calls are booked to the agent as AutoGen names it, in the run of its team; they
    pay from *budget*, and from the runs around them (`with budget.run(...)`). What it does not have itself is asked of
    the client it wraps. The SDK client inside that one is replaced by another of the same type, over the same
    connections, which tells what the provider says that AutoGen drops: cached and reasoning tokens, retries.

    Args:
        client: Any `ChatCompletionClient`, a `ChatCompletionCache` included: what a cache answers costs nothing.

        budget: A `Budget`, or dollars that all calls may spend; None to pay only from the runs around a call.

        agent: Who the calls are booked to, before whatever AutoGen would say.

        fallback: Cheaper clients that stand in for *client*, in order, where the budget asks for that and what is
            known of their models (`model_info`) is enough for the call.

        on_exceed: `"raise"` raises BudgetExceeded where a call does not fit; `"stop"` returns an answer that says so,
            and a team goes on; None does what the budget says.

        model: What the model is called, for a client that does not say.

        provider: Who bills for it, in the words of the price data, where that is not known from the client.

    Raises:
        TypeError: *client* or *fallback* is no `ChatCompletionClient`.
        ValueError: An argument makes no sense.
        UnknownAgent: The budget has no allotment for *agent*.
    """

    component_type = "model"
    component_provider_override = "bursar_autogen.BudgetedChatCompletionClient"
    component_config_schema = BudgetedClientConfig
    component_description = "A chat completion client whose every call is paid from a budget."

    def __init__(
        self,
        client: ChatCompletionClient,
        budget: Money | Budget | None = None,
        agent: str | None = None,
        fallback: ChatCompletionClient | Sequence[ChatCompletionClient] | None = None,
        on_exceed: Literal["raise", "stop"] | None = None,
        *,
        model: str | None = None,
        provider: str | None = None,
    ) -> None:
        others = [fallback] if isinstance(fallback, ChatCompletionClient) else list(fallback or ())
        for each in (client, *others):
            if not isinstance(each, ChatCompletionClient):  # pyright: ignore[reportUnnecessaryIsInstance]
                msg = (
                    f"a BudgetedChatCompletionClient wraps a ChatCompletionClient of AutoGen's, not {each!r}"
                )
                raise TypeError(msg)
        if on_exceed not in (None, "raise", "stop"):
            msg = (
                f'on_exceed must be "raise" or "stop", not {on_exceed!r}; '
                '"warn" and functions are for Budget(on_exceed=)'
            )
            raise ValueError(msg)
        self.client = client
        self.fallback = tuple(others)
        self._on_exceed: Literal["raise", "stop"] | None = on_exceed
        self._model = parse_name(model, "model")
        self._given_provider = parse_name(provider, "provider")
        self._inner = Inner(client, model=self._model, provider=self._given_provider)
        self._others = tuple(Inner(other) for other in others)
        self._pay(taken(budget), parse_name(agent, "agent"), run_around())

    def _pay(self, budget: Budget | None, agent: str | None, made_in: Run | None) -> None:
        self._made_in = made_in
        self.bursar = _payer(budget, agent, made_in=made_in)
        self._planner = Planner(self._inner, self._others, self.bursar, made_in=made_in)

    def for_agent(self, name: str) -> BudgetedChatCompletionClient:
        """
        Return the same client, with its calls booked to the agent *name*.

        For calls where AutoGen cannot tell: in tasks and threads of an agent's own.

        Raises:
            UnknownAgent: The budget has no allotment for it.
        """
        twin = type(self)(
            self.client,
            None,
            None,
            self.fallback,
            self._on_exceed,
            model=self._model,
            provider=self._given_provider,
        )
        twin._pay(self.bursar.budget, parse_name(name, "agent"), run_around() or self._made_in)
        return twin

    async def create(
        self,
        messages: Sequence[LLMMessage],
        *,
        tools: Sequence[Tool | ToolSchema] = (),
        tool_choice: Tool | Literal["auto", "required", "none"] = "auto",
        json_output: bool | type[BaseModel] | None = None,
        extra_create_args: Mapping[str, Any] = _NO_ARGUMENTS,
        cancellation_token: CancellationToken | None = None,
    ) -> CreateResult:
        """
        Return one answer; see `ChatCompletionClient.create`.

        Raises:
            BudgetExceeded: No budget is left for it; nothing was sent.
            UnknownPrice: A budget in dollars is to be kept and its model has no price; nothing was sent.
            StoreError: The store does not answer, and the budget fails closed; nothing was sent.
        """
        arguments = _arguments(tools, tool_choice, json_output, extra_create_args, cancellation_token)
        if _is_paid_above():
            return await self.client.create(messages, **arguments)
        call = self._call(messages, arguments, stream=False)
        try:
            await call.hold(cancellation_token)
            return await call.whole()
        except BudgetExceeded as exceeded:
            if (stopped := call.stop_answer(exceeded)) is None:
                raise
            return stopped

    def create_stream(
        self,
        messages: Sequence[LLMMessage],
        *,
        tools: Sequence[Tool | ToolSchema] = (),
        tool_choice: Tool | Literal["auto", "required", "none"] = "auto",
        json_output: bool | type[BaseModel] | None = None,
        extra_create_args: Mapping[str, Any] = _NO_ARGUMENTS,
        cancellation_token: CancellationToken | None = None,
        **more: Any,
    ) -> AsyncGenerator[str | CreateResult, None]:
        """
        Return one answer in pieces, and as the last the whole; see `ChatCompletionClient.create_stream`.

        It is held for when the first piece is asked for, which may raise what `create` raises.

        Args:
            more: What only the client below knows, as `include_usage` of OpenAI's.
        """
        arguments = _arguments(tools, tool_choice, json_output, extra_create_args, cancellation_token) | more
        if _is_paid_above():
            return self.client.create_stream(messages, **arguments)
        call = self._call(messages, arguments, stream=True)
        stream = _stream(call, cancellation_token)
        weakref.finalize(stream, call.note_dropped).atexit = False
        return stream

    def _call(self, messages: Sequence[LLMMessage], arguments: dict[str, Any], *, stream: bool) -> Call:
        asker = asker_of(caller(2))
        plan, request = self._planner.plan(Wanted(messages, arguments, stream), asker)
        return Call(plan, request, on_exceed=self._on_exceed)

    async def close(self) -> None:
        """Close the clients that it wraps."""
        for client in (self.client, *self.fallback):
            await client.close()

    def actual_usage(self) -> RequestUsage:
        """Return what AutoGen has counted of the clients that it wraps."""
        return _sum(client.actual_usage() for client in (self.client, *self.fallback))

    def total_usage(self) -> RequestUsage:
        """Return what AutoGen has counted of the clients that it wraps; `.bursar.report()` knows more."""
        return _sum(client.total_usage() for client in (self.client, *self.fallback))

    def count_tokens(self, messages: Sequence[LLMMessage], *, tools: Sequence[Tool | ToolSchema] = ()) -> int:
        """Return what the client that it wraps counts; no budget depends on it."""
        return self.client.count_tokens(messages, tools=tools)

    def remaining_tokens(
        self, messages: Sequence[LLMMessage], *, tools: Sequence[Tool | ToolSchema] = ()
    ) -> int:
        """Return what the client that it wraps says."""
        return self.client.remaining_tokens(messages, tools=tools)

    @property
    def capabilities(self) -> Any:
        """What the client that it wraps says; AutoGen has replaced it by `model_info`."""
        return self.client.capabilities

    @property
    def model_info(self) -> ModelInfo:
        """What the model of the client that it wraps can do."""
        return self.client.model_info

    def __getattr__(self, name: str) -> Any:
        # Only what is public: copying and pickling ask for much that a half-made object must not answer.
        if name.startswith("_") or name == "client":
            msg = f"{type(self).__name__!r} object has no attribute {name!r}"
            raise AttributeError(msg)
        return getattr(self.client, name)

    def _to_config(self) -> BudgetedClientConfig:
        return BudgetedClientConfig(
            client=self.client.dump_component(),
            budget=name_to_dump(self.bursar.budget),
            agent=self.bursar.agent,
            fallback=[other.dump_component() for other in self.fallback] or None,
            on_exceed=self._on_exceed,
            model=self._model,
            provider=self._given_provider,
        )

    @classmethod
    def _from_config(cls, config: BudgetedClientConfig) -> Self:
        return cls(
            ChatCompletionClient.load_component(config.client),
            budget_named(config.budget),
            config.agent,
            [ChatCompletionClient.load_component(other) for other in config.fallback or ()],
            config.on_exceed,
            model=config.model,
            provider=config.provider,
        )


async def _stream(call: Call, token: CancellationToken | None) -> AsyncGenerator[str | CreateResult, None]:
    pieces: Any = call.pieces()
    try:
        await call.hold(token)
        async for piece in pieces:
            yield piece
    except BudgetExceeded as exceeded:
        if (stopped := call.stop_answer(exceeded)) is None:
            raise
        yield str(stopped.content)
        yield stopped
    finally:
        await pieces.aclose()


def _is_paid_above() -> bool:
    """Whether a budgeted client above this one is making this very call, and pays for it."""
    call = current_call.get()
    if call is None or call.has_inner or not call.meter.is_open:
        return False
    call.has_inner = True
    return True


def _payer(budget: Budget | None, agent: str | None, *, made_in: Any) -> Payer:
    if agent is not None and budget is not None and budget.agents and agent not in budget.agents:
        raise budget.unknown_agent(agent)
    payer = Payer(budget, agent=agent, workflow="autogen", made_in=made_in, outer=None, store=None)
    payer.check_agent()
    return payer


def _arguments(
    tools: Any, tool_choice: Any, json_output: Any, extra: Mapping[str, Any], token: CancellationToken | None
) -> dict[str, Any]:
    return {
        "tools": tools,
        "tool_choice": tool_choice,
        "json_output": json_output,
        "extra_create_args": extra,
        "cancellation_token": token,
    }


def _sum(usages: Any) -> RequestUsage:
    total = RequestUsage(prompt_tokens=0, completion_tokens=0)
    for usage in usages:
        total.prompt_tokens += usage.prompt_tokens
        total.completion_tokens += usage.completion_tokens
    return total
