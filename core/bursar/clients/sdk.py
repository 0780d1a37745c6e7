"""Which SDK a client is of, and which provider bills for what it sends."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from bursar.prices import provider_of_url

if TYPE_CHECKING:
    from collections.abc import Mapping

_PROVIDERS: Final[Mapping[str, str]] = {
    "AzureOpenAI": "azure",
    "AsyncAzureOpenAI": "azure",
    "AnthropicBedrock": "aws",
    "AsyncAnthropicBedrock": "aws",
    "AnthropicBedrockMantle": "aws",
    "AsyncAnthropicBedrockMantle": "aws",
    "AnthropicVertex": "google",
    "AsyncAnthropicVertex": "google",
    "AnthropicFoundry": "azure",
    "AsyncAnthropicFoundry": "azure",
}
_SDKS: Final = ("openai", "anthropic", "groq")
"""SDKs that one generator makes: their clients have the same parts."""


class Sdk(NamedTuple):
    """
    The SDK of a client.

    Attributes:
        name: Its package, which is also the provider where nothing tells of another.
    """

    name: str
    is_async: bool

    def provider(self, client: Any) -> str:
        """Return who bills for what *client* sends, in the words of the price data."""
        for base in type(client).__mro__:
            if base.__name__ in _PROVIDERS:
                return _PROVIDERS[base.__name__]
        return provider_of_url(str(client.base_url)) or self.name


def sdk_of(client: object) -> Sdk:
    """
    Return the SDK that *client* is of.

    Raises:
        TypeError: It is of none that can be guarded.
    """
    for name in _SDKS:
        # A client of an SDK cannot exist unless that SDK is imported, so nothing is imported here.
        base_client = sys.modules.get(f"{name}._base_client")
        if base_client is None:
            continue
        if isinstance(client, base_client.SyncAPIClient):
            return Sdk(name, is_async=False)
        if isinstance(client, base_client.AsyncAPIClient):
            return Sdk(name, is_async=True)
    if isinstance(client, type):
        msg = f"guard() takes a client, not the class {client.__name__}; write guard({client.__name__}())"
        raise TypeError(msg)
    kind = f"{type(client).__module__}.{type(client).__qualname__}"
    msg = (
        "guard() takes a client of the OpenAI, Anthropic, Groq or google-genai SDK, or boto3's of bedrock-runtime, "
        f"not {kind}; a framework's model is guarded by its adapter, such as bursar_langchain"
    )
    raise TypeError(msg)
