"""Which SDK a client is of, and which provider bills for what it sends."""

from __future__ import annotations

import sys
from types import ModuleType
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
_KEPT: Final = "_bursar_address"
_SDKS: Final = ("openai", "anthropic", "groq")
"""SDKs that one generator makes: their clients have the same parts."""


class Address(NamedTuple):
    """
    Where a client sends its calls.

    Attributes:
        url: The base address, as the SDK keeps it.

        text: The same as a text.

        provider: Who bills for what is sent there, in the words of the price data.
    """

    url: Any
    text: str
    host: str
    provider: str


class Sdk(NamedTuple):
    """
    The SDK of a client.

    Attributes:
        name: Its package, which is also the provider where nothing tells of another.
    """

    name: str
    is_async: bool

    def address(self, client: Any) -> Address:
        """Return where *client* sends its calls now: a user may give it another base address at any time."""
        # Behind the property of the newest SDKs lies an import.
        url = getattr(client, "_base_url", None) or client.base_url
        attributes: dict[str, Any] = client.__dict__
        known: Address | None = attributes.get(_KEPT)
        if known is not None and known.url is url:
            # To read it anew takes a tenth of a call's whole time with us.
            return known
        text = str(url)
        kinds = (_PROVIDERS.get(base.__name__) for base in type(client).__mro__)
        provider = next(filter(None, kinds), None) or provider_of_url(text) or self.name
        address = attributes[_KEPT] = Address(url, text, str(url.host), provider)
        return address


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
        # Not isinstance(): a mock and a proxy pass for what they stand for, and cannot be guarded in its place.
        if issubclass(type(client), base_client.SyncAPIClient):
            return Sdk(name, is_async=False)
        if issubclass(type(client), base_client.AsyncAPIClient):
            return Sdk(name, is_async=True)
    if isinstance(client, type):
        msg = f"guard() takes a client, not the class {client.__name__}; write guard({client.__name__}())"
        raise TypeError(msg)
    if isinstance(client, ModuleType):
        msg = f"guard() takes a client, not the module {client.__name__}; make one, as guard(openai.OpenAI())"
        raise TypeError(msg)
    kind = f"{type(client).__module__}.{type(client).__qualname__}"
    if client.__class__ is not type(client):
        msg = (
            f"guard() takes the client itself, not what stands for it: a {kind} that passes for "
            f"{client.__class__.__name__}. Guard the client first and wrap what guard() returns; a test's client can "
            "be a real one that talks to bursar.simulator"
        )
        raise TypeError(msg)
    msg = (
        "guard() takes a client of the OpenAI, Anthropic, Groq, google-genai, Mistral or Cohere SDK, or boto3's of "
        f"bedrock-runtime, not {kind}; a framework's model is guarded by its adapter, such as bursar_langchain"
    )
    raise TypeError(msg)
