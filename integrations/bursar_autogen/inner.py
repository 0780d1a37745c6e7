"""
The client below: which model it asks, who bills for that, what it can do, and what of its requests can be seen.

AutoGen's clients keep their model and the SDK's client to themselves, so this is the one module that looks there.
Where there is nothing to be found, the model is what `dump_component` says, and its usage what AutoGen says.
"""

# The one seam to what is not public in AutoGen's clients.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportPrivateUsage=false

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Final

from autogen_core.models import ChatCompletionClient

from bursar.clients.guarded import guard_client
from bursar.clients.sdk import sdk_of
from bursar.payer import Payer
from bursar.scope import current_meter
from bursar.wire import OLLAMA, chat_format

if TYPE_CHECKING:
    from collections.abc import Mapping

    from autogen_core.models import ModelInfo

    from bursar.wire import Endpoint

_FAMILIES: Final = {
    "BaseOpenAIChatCompletionClient": "openai",
    "BaseAnthropicChatCompletionClient": "anthropic",
    "BaseOllamaChatCompletionClient": "ollama",
}
_PROVIDERS: Final = {
    "AzureAIChatCompletionClient": "azure",
    "LlamaCppChatCompletionClient": "llama_cpp",
}
_DEFAULT_LIMITS: Final = {"anthropic": 4096}
"""Output tokens that a family of clients allows where neither the client nor the call says how many."""

_DEPLOYED: Final = ("azure_deployment", "_azure_deployment")


class Inner:
    """
    What is known about one client, and the clients that it wraps.

    Attributes:
        client: The client that calls go to.

        bottom: The one at the end of its `.client` attributes, that sends the request.

        family: `"openai"`, `"anthropic"` or `"ollama"` where the bottom is one of AutoGen's own, else None.

        is_watched: Whether every HTTP request and the provider's own usage are seen.

        has_cache: Whether a `ChatCompletionCache` stands before the bottom.

        is_replay: Whether the bottom replays what a test wrote.
    """

    def __init__(
        self, client: ChatCompletionClient, *, model: str | None = None, provider: str | None = None
    ) -> None:
        self.client = client
        chain = _chain(client)
        self.bottom = chain[-1]
        names = [base.__name__ for base in type(self.bottom).__mro__]
        self.family = next((_FAMILIES[name] for name in names if name in _FAMILIES), None)
        self.has_cache = any(type(each).__name__ == "ChatCompletionCache" for each in chain[:-1])
        self.is_replay = "ReplayChatCompletionClient" in names
        self.is_watched = _watch(self.bottom)
        self._sdk_client: Any = getattr(self.bottom, "_client", None)
        self._model = model
        self._args: Mapping[str, Any] = _args_of(self.bottom)
        self.provider = provider or self._provider(names)
        self._endpoints: dict[str, Endpoint] = {}

    def look_again(self) -> None:
        """Watch the SDK's client, should another one have come in its place: AutoGen makes one for every copy."""
        if self._sdk_client is not getattr(self.bottom, "_client", None):
            self.is_watched = _watch(self.bottom)
            self._sdk_client = getattr(self.bottom, "_client", None)

    def model(self, extra: Mapping[str, Any]) -> str:
        """Return the model that a call with *extra* arguments asks."""
        named = extra.get("model") or self._model or self._args.get("model")
        return named if isinstance(named, str) else type(self.bottom).__name__

    def endpoint(self, model: str) -> Endpoint:
        """Return the format in which its requests are weighed."""
        known = self._endpoints.get(model)
        if known is None:
            found = OLLAMA if self.family == "ollama" else chat_format(self.provider, model)
            known = self._endpoints[model] = found
        return known

    def arguments(self, extra: Mapping[str, Any]) -> dict[str, Any]:
        """Return what goes with every request, *extra* before what the client was made with."""
        known = {**self._args, **extra}
        limit = _DEFAULT_LIMITS.get(self.family or "")
        if limit is not None and known.get("max_tokens") is None:
            known["max_tokens"] = limit
        return known

    @property
    def asks_for_usage(self) -> bool:
        """
        Whether a stream must be told to state its usage, and can be: OpenAI's family alone knows the argument.

        Before a cache it would make another key of every request; there, what is seen of the request will do.
        """
        return self.family == "openai" and not (self.has_cache and self.is_watched)

    def tools_sent_anyway(self) -> list[Any]:
        """Return the tools that the client sends again with tool results, if the call has none of its own."""
        last: Any = getattr(self.bottom, "_last_used_tools", None) if self.family == "anthropic" else None
        return list(last) if last else []

    @property
    def writes_names_into_texts(self) -> bool:
        """Whether the name of who says something is put before it."""
        return bool(getattr(self.bottom, "_add_name_prefixes", False))

    @property
    def tokens_so_far(self) -> int:
        """All that it has ever counted, which does not move where a cache before it answers."""
        total = self.bottom.total_usage()
        return total.prompt_tokens + total.completion_tokens

    @property
    def host(self) -> str:
        """Where its requests go, as far as that is known."""
        url = getattr(getattr(self.bottom, "_client", None), "base_url", None)
        return str(getattr(url, "host", ""))

    def info_of(self, model: str) -> ModelInfo | None:
        """Return what *model* can do if this client is asked for it by name, or None where that cannot be."""
        if self._model is not None or self.family is None:
            return None
        sdk_client: Any = getattr(self.bottom, "_client", None)
        if any(getattr(sdk_client, name, None) for name in _DEPLOYED):
            # The deployment is part of the address.
            return None
        try:
            known = importlib.import_module(f"autogen_ext.models.{self.family}._model_info")
            info: Any = known.get_info(model)
        except (ImportError, AttributeError, KeyError, ValueError):
            return _TEXT_ALONE
        return info

    def _provider(self, names: list[str]) -> str:
        sdk_client: Any = getattr(self.bottom, "_client", None)
        if self.is_watched:
            return sdk_of(sdk_client).address(sdk_client).provider
        known = next((_PROVIDERS[name] for name in names if name in _PROVIDERS), None)
        return known or self.family or ""


_TEXT_ALONE: Final[Any] = {
    "vision": False,
    "function_calling": False,
    "json_output": False,
    "structured_output": False,
    "family": "unknown",
}
"""What a model is taken to be able to do that AutoGen does not know."""


def _chain(client: ChatCompletionClient) -> list[ChatCompletionClient]:
    """Return *client* and the clients that it wraps, outermost first."""
    chain = [client]
    while (
        isinstance(below := getattr(chain[-1], "client", None), ChatCompletionClient) and below not in chain
    ):
        chain.append(below)
    return chain


def _args_of(bottom: ChatCompletionClient) -> Mapping[str, Any]:
    """Return what *bottom* sends with every request: its model, its limit and the like."""
    args: Any = getattr(bottom, "_create_args", None)
    if isinstance(args, dict):
        return args
    try:
        config = bottom.dump_component().config
    except Exception:  # noqa: BLE001 (a client need not be a component; then its model must be told)
        return {}
    return {key: config[key] for key in ("model", "max_tokens") if isinstance(config.get(key), str | int)}


_NOBODY: Final = Payer(None, agent=None, workflow="autogen", made_in=None, outer=None, store=None)


def _watch(bottom: ChatCompletionClient) -> bool:
    """
    Let the SDK client inside *bottom* tell the meter around a call what it sees; return whether there is one.

    It is put in the place of the one that was there, is of the same type and has the same connections.  Outside of a
    metered call it does nothing that the other would not do.
    """
    client: Any = getattr(bottom, "_client", None)
    try:
        sdk = sdk_of(client)
    except TypeError:
        return False
    if hasattr(client, "bursar_plain"):
        # Watched already, or guarded by the user: that one tells the meter too.
        return True
    watched: Any = guard_client(client, sdk, _NOBODY)
    guarded_class: Any = type(watched)
    follow = guarded_class._bursar_call

    def _bursar_call(self: Any, options: Any) -> Any:
        return follow(self, options) if current_meter.get() is not None else None

    # The class was made for this one client.
    guarded_class._bursar_call = _bursar_call
    bottom._client = watched  # type: ignore[attr-defined]
    return True
