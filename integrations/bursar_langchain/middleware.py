"""
`BudgetMiddleware`: what a callback cannot do for an agent of `create_agent`.

A callback can stop a call.  A middleware can also change it: send it to a cheaper model, lower its output limit, or
answer in its place.  It reserves the call itself and hands it down to the callback that follows it to its end.
"""

from __future__ import annotations

from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Final, cast

from langchain.agents.middleware import AgentMiddleware, hook_config
from langchain.agents.structured_output import AutoStrategy, ProviderStrategy, ToolStrategy
from langchain_core.messages import AIMessage, BaseMessage, SystemMessage
from langchain_core.utils.function_calling import convert_to_openai_tool

from bursar.budget.arguments import parse_name
from bursar.entry import Agent
from bursar.errors import BudgetExceeded
from bursar.meter import plan_request, takes_limit
from bursar_langchain.calls import ModelCall
from bursar_langchain.guarding import with_seen_attempts
from bursar_langchain.handler import BudgetCallbackHandler
from bursar_langchain.identity import agent_of, graph_of
from bursar_langchain.payers import booking_of, place_of
from bursar_langchain.request import chat_request
from bursar_langchain.starting import OFFERED

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator

    from langchain.agents.middleware import ModelRequest, ModelResponse

    from bursar.budget import Budget
    from bursar.meter import Held
    from bursar.money import Money
    from bursar_langchain.tree import Node

_STOPPED: Final = "stopped_by_budget"


class BudgetMiddleware(AgentMiddleware[Any, Any]):
    """
    Pays for the model calls of one agent, and changes them where its budget says so.

    ```python
    agent = create_agent(model, tools, name="researcher", middleware=[BudgetMiddleware(budget)])
    ```

    Past its downgrade threshold, calls go to the cheaper model, by the same client. A call that the budget can afford
    in part gets a lower output limit. With `on_exceed="stop"` the agent ends with a message that says why, also where
    a `response_format` was asked for; otherwise `BudgetExceeded` is raised. The HTTP retries of OpenAI's and
    Anthropic's clients are seen one by one.

    Put it last in the list of middleware, so that each retry of another one passes it.

    Args:
        budget: Dollars that each run may spend, or a `Budget`; None to pay from the run around the code, or from the
            handlers that were given to it.

        agent: Who the calls are booked to; it wins over every name that LangChain knows.

    Raises:
        ValueError: The budget or the name makes no sense.
    """

    def __init__(self, budget: Budget | Money | None = None, *, agent: str | None = None) -> None:
        super().__init__()
        self.agent = parse_name(agent, "agent")
        self._handler = BudgetCallbackHandler(budget)
        self.budget = self._handler.budget

    @hook_config(can_jump_to=["end"])
    def before_model(self, state: Any, runtime: Any) -> dict[str, Any] | None:
        """Name the graph, and end the agent where the last answer was that its budget is spent."""
        del runtime
        self._settle_in()
        messages = state.get("messages") or ()
        return {"jump_to": "end"} if messages and _is_stop(messages[-1]) else None

    @hook_config(can_jump_to=["end"])
    async def abefore_model(self, state: Any, runtime: Any) -> dict[str, Any] | None:
        """Do as `before_model` does."""
        return self.before_model(state, runtime)

    def wrap_model_call(
        self, request: ModelRequest, handler: Callable[[ModelRequest], ModelResponse]
    ) -> ModelResponse | AIMessage:
        """Hold what the call may cost, and make it as it was granted."""
        call = self._call(request, is_async=False)
        try:
            if call is None:
                return handler(request)
            held = call.meter.reserve()
            with _offered(call):
                return handler(_fitted(request, call, held))
        except BudgetExceeded as exceeded:
            return _stop_message(call, exceeded)

    async def awrap_model_call(
        self, request: ModelRequest, handler: Callable[[ModelRequest], Awaitable[ModelResponse]]
    ) -> ModelResponse | AIMessage:
        """Do as `wrap_model_call` does, in a task, which alone waits."""
        call = self._call(request, is_async=True)
        try:
            if call is None:
                return await handler(request)
            held = await call.meter.areserve()
            with _offered(call):
                return await handler(_fitted(request, call, held))
        except BudgetExceeded as exceeded:
            return _stop_message(call, exceeded)

    def _settle_in(self) -> Node | None:
        """Let the graph that this is part of pay, under the name that the user gave; return the run it happens in."""
        place = place_of(None)
        graph = None if place is None else graph_of(place, place.metadata)
        if graph is not None:
            graph.agent = self.agent or graph.agent
            if self._handler not in graph.handlers:
                graph.handlers.append(self._handler)
        return place

    def _call(self, request: ModelRequest, *, is_async: bool) -> ModelCall | None:
        place = self._settle_in()
        agent = agent_of(place, None if place is None else place.metadata)
        if self.agent is not None and agent.name != self.agent:
            agent = Agent(name=self.agent, path=self.agent, framework=agent.framework)
        root = None if place is None else place.root
        booking = booking_of(
            agent,
            place,
            [self._handler],
            root_id=str(id(self)) if root is None else root.run_id,
            workflow=(root.name if root is not None else "") or "langchain",
        )
        if booking is None:
            return None
        if self.agent is not None and self.budget is None:
            _check_agent(self.agent, booking.run.budget)
        settings: dict[str, Any] = request.model_settings or {}
        model: Any = request.model
        params = {**model._get_invocation_params(**settings), **_asked_besides(request)}
        endpoint, body, provider = chat_request(
            _messages_of(request), params, model._get_ls_params(**settings), model._serialized
        )
        plan = plan_request(
            endpoint,
            body,
            booking,
            provider=provider,
            can_shrink=partial(takes_limit, endpoint, body, ""),
            is_async=is_async,
        )
        # What a chat model adds to its own parameters is seen only when it is called.
        plan = plan._replace(ask=plan.ask._replace(input_tokens_most=plan.ask.input_tokens_most + _SLACK))
        return ModelCall(plan, endpoint, handlers=[self._handler])


_SLACK: Final = 64


@contextmanager
def _offered(call: ModelCall) -> Generator[None]:
    """Hand *call* to the start event below, and see that it is over afterwards."""
    token = OFFERED.set(call)
    try:
        yield
    except BaseException as error:  # Booked, and raised again: a call that was cancelled is paid, too.
        if not call.is_taken:
            call.release()
        else:
            call.fail(error, None)
        raise
    finally:
        OFFERED.reset(token)
    if not call.is_taken:
        # Another middleware answered in its place.
        call.release()


def _fitted(request: ModelRequest, call: ModelCall, held: Held | None) -> ModelRequest:
    """Return *request* changed to what was granted: another model, a lower output limit."""
    settings: dict[str, Any] = dict(request.model_settings or {})
    if held is not None and held.bound.model != call.plan.ask.model:
        settings["model"] = held.bound.model
    if held is not None and held.output_limit is not None:
        name = "max_output_tokens" if call.plan.provider == "google" else "max_tokens"
        settings[name] = held.output_limit
    return request.override(model=with_seen_attempts(request.model), model_settings=settings)


def _stop_message(call: ModelCall | None, exceeded: BudgetExceeded) -> AIMessage:
    if call is None or not call.meter.stops_gracefully:
        raise exceeded
    text = f"[Stopped by the budget: {exceeded}]"
    return AIMessage(text, response_metadata={"finish_reason": "stop", _STOPPED: True})


def _is_stop(message: BaseMessage) -> bool:
    return bool(message.response_metadata.get(_STOPPED)) if isinstance(message, AIMessage) else False


def _messages_of(request: ModelRequest) -> list[BaseMessage]:
    system: Any = getattr(request, "system_message", None)
    if system is None and request.system_prompt:
        system = SystemMessage(request.system_prompt)
    return [*([system] if system is not None else []), *request.messages]


def _asked_besides(request: ModelRequest) -> dict[str, Any]:
    """Return the tools and the answer's schema, which `create_agent` binds to the model only when it calls it."""
    tools = [tool if isinstance(tool, dict) else convert_to_openai_tool(tool) for tool in request.tools]
    asked: dict[str, Any] = {}
    wanted: Any = request.response_format
    if isinstance(wanted, AutoStrategy):
        # Which of the two it becomes is found out only when the model is called.
        schema = cast("Any", wanted).schema
        asked |= ProviderStrategy(schema).to_model_kwargs()
        wanted = ToolStrategy(schema)
    if isinstance(wanted, ProviderStrategy):
        asked |= wanted.to_model_kwargs()
    for spec in wanted.schema_specs if isinstance(wanted, ToolStrategy) else ():
        function = {"name": spec.name, "description": spec.description, "parameters": spec.json_schema}
        tools.append({"type": "function", "function": function})
    return {**asked, "tools": tools} if tools else asked


def _check_agent(name: str, budget: Budget | None) -> None:
    if budget is not None and budget.agents and name not in budget.agents:
        raise budget.unknown_agent(name)
