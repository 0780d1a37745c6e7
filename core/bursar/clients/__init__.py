"""
`guard(client)`: a client of a provider's SDK, with every call paid before it is sent.

The guarded client is of the same type as the one it was made from, over the same connections.  It sees every call at
one choke point, whatever helper made it, and every HTTP attempt below that.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Final, TypeVar, overload

from bursar.budget import Budget
from bursar.budget.arguments import parse_name, parse_store
from bursar.clients.bedrock import guard_bedrock, is_bedrock
from bursar.clients.cohere import guard_cohere, is_cohere
from bursar.clients.google import guard_google, is_google
from bursar.clients.guarded import guard_client
from bursar.clients.mistral import guard_mistral, is_mistral
from bursar.clients.sdk import sdk_of
from bursar.payer import Payer
from bursar.scope import run_around
from bursar.stores.opening import open_store

if TYPE_CHECKING:
    from collections.abc import Callable

    import anthropic
    import openai

    from bursar.clients.typed import (
        GuardedAnthropic,
        GuardedAsyncAnthropic,
        GuardedAsyncAzureOpenAI,
        GuardedAsyncOpenAI,
        GuardedAzureOpenAI,
        GuardedOpenAI,
    )
    from bursar.money import Money
    from bursar.store import Store

__all__ = ["Payer", "guard"]

ClientT = TypeVar("ClientT")

_OTHERS: Final[tuple[tuple[Callable[[object], bool], Callable[[object, Payer], object]], ...]] = (
    (is_google, guard_google),
    (is_bedrock, guard_bedrock),
    (is_mistral, guard_mistral),
    (is_cohere, guard_cohere),
)
"""SDKs whose clients are made of other parts than OpenAI's and Anthropic's."""


@overload
def guard(  # type: ignore[overload-overlap]
    client: openai.AzureOpenAI,
    budget: Money | Budget | None = None,
    *,
    label: str | None = None,
    agent: str | None = None,
    store: Store | str | None = None,
) -> GuardedAzureOpenAI: ...
@overload
def guard(  # type: ignore[overload-overlap]
    client: openai.AsyncAzureOpenAI,
    budget: Money | Budget | None = None,
    *,
    label: str | None = None,
    agent: str | None = None,
    store: Store | str | None = None,
) -> GuardedAsyncAzureOpenAI: ...
@overload
def guard(
    client: openai.OpenAI,
    budget: Money | Budget | None = None,
    *,
    label: str | None = None,
    agent: str | None = None,
    store: Store | str | None = None,
) -> GuardedOpenAI: ...
@overload
def guard(
    client: openai.AsyncOpenAI,
    budget: Money | Budget | None = None,
    *,
    label: str | None = None,
    agent: str | None = None,
    store: Store | str | None = None,
) -> GuardedAsyncOpenAI: ...
@overload
def guard(
    client: anthropic.Anthropic,
    budget: Money | Budget | None = None,
    *,
    label: str | None = None,
    agent: str | None = None,
    store: Store | str | None = None,
) -> GuardedAnthropic: ...
@overload
def guard(
    client: anthropic.AsyncAnthropic,
    budget: Money | Budget | None = None,
    *,
    label: str | None = None,
    agent: str | None = None,
    store: Store | str | None = None,
) -> GuardedAsyncAnthropic: ...
@overload
def guard(
    client: ClientT,
    budget: Money | Budget | None = None,
    *,
    label: str | None = None,
    agent: str | None = None,
    store: Store | str | None = None,
) -> ClientT: ...
def guard(
    client: object,
    budget: Money | Budget | None = None,
    *,
    label: str | None = None,
    agent: str | None = None,
    store: Store | str | None = None,
) -> object:
    """
    Return a client like *client* whose every call is paid from a budget before it is sent.

    ```python
    planner = guard(openai.OpenAI(), budget=1.00, label="planner")
    planner.bursar.spent
    ```

    It pays from *budget*, from the run around the call (`with budget.run(...)`), and from the runs around that, all
    or nothing. A client made inside a run also pays from it in threads that do not see the run. Outside any run its
    label names both the agent and the workflow that its calls are booked to.

    Args:
        client: A client of the OpenAI, Anthropic or Groq SDK, sync or async, Azure and Bedrock included; a
            `google.genai.Client` or its `.aio`; boto3's client of `bedrock-runtime`; a client of Mistral's or of
            Cohere's SDK. It is not changed.

        budget: Dollars that this client may spend as long as it lives, or a `Budget`; None to pay only from the run
            around the call, and to be metered without a limit where there is none.

        label, agent: Who the calls are booked to. With *label* the workflow outside any run is named so as well.

        store: Where to keep accounts and ledger outside any run; see `Budget`.

    Raises:
        TypeError: *client* is not a client that can be guarded.
        ValueError: The budget makes no sense.
        UnknownAgent: The run around this code has no allotment for the agent.
    """
    guard_own = next((guard_one for is_of, guard_one in _OTHERS if is_of(client)), None)
    sdk = None if guard_own is not None else sdk_of(client)
    own = budget if isinstance(budget, Budget) or budget is None else Budget(budget, store=store)
    is_async = any(base.__name__.startswith("Async") for base in type(client).__mro__)
    if own is not None and inspect.iscoroutinefunction(own.policy.on_exceed) and not is_async:
        msg = "on_exceed is an async function, but the client is not async; use an async client or a plain function"
        raise TypeError(msg)
    kept_in = parse_store(store)
    named_store = open_store(kept_in) if isinstance(kept_in, str) else kept_in
    label, agent = parse_name(label, "label"), parse_name(agent, "agent")
    payer = Payer(
        own,
        agent=agent if agent is not None else label,
        workflow=label if label is not None else agent,
        made_in=run_around(),
        outer=getattr(client, "bursar", None),
        store=named_store,
    )
    payer.check_agent()
    if sdk is not None:
        return guard_client(client, sdk, payer)
    assert guard_own is not None  # noqa: S101 (a client that is of no SDK has raised)
    return guard_own(client, payer)
