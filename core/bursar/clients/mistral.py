"""
Guarded clients of Mistral's SDK: a twin of the user's client and of its parts, over a twin of each HTTP client.

Every call of every part goes through `do_request` or `do_request_async`.
"""

# The one seam to what is not public in the SDK, and has no types that hold from version to version.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

import copy
import re
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

from bursar.clients.patches import tell_patches
from bursar.clients.sent import Sending, guarded_http
from bursar.clients.twins import own_attributes, twin_class
from bursar.errors import UnmeteredEndpoint
from bursar.prices import provider_of_url
from bursar.wire import Unmetered, endpoint_of

if TYPE_CHECKING:
    from bursar.payer import Payer
    from bursar.wire import Endpoint, Free

ClientT = TypeVar("ClientT")

if TYPE_CHECKING:
    SdkPart = Any
else:
    SdkPart = object

_PROVIDERS: Final = {
    "Mistral": "mistral",
    "MistralAzure": "azure",
    "MistralGoogleCloud": "google",
    "MistralGCP": "google",
}
_SOCKETS: Final = ("realtime", "realtime_speech")

# What OpenAI has for free under the same path, or by the token where Mistral keeps the prompt.
_OWN: Final = (
    (r"agents/completions", "the model and the prompt of an agent are kept by the provider"),
    (r"conversations(/.+)?", "what a conversation holds, and which tools it runs, is kept by the provider"),
    (r"(chat/)?(moderations|classifications)", "what a classifier bills for is not stated before"),
    (r"ocr", "how many pages a document has is not in the request"),
)


def is_mistral(client: object) -> bool:
    """Whether *client* is of Mistral's SDK."""
    return any(
        base.__module__.startswith("mistralai.") and base.__name__ in _PROVIDERS
        for base in type(client).__mro__
    )


def guard_mistral(client: ClientT, payer: Payer) -> ClientT:
    """Return a twin of *client* whose calls *payer* pays for."""
    given: Any = client
    tell_patches(client)
    config = copy.copy(given.sdk_configuration)
    for name, is_async in (("client", False), ("async_client", True)):
        http = getattr(config, name)
        if http is not None:
            setattr(config, name, guarded_http(http, is_async=is_async))
    twin: Any = _twin(given, config, payer, None)
    # Its connections are closed when it goes.
    vars(twin)["_bursar_kept"] = client
    return cast("ClientT", twin)


def _twin(part: Any, config: Any, payer: Payer, parent: Any) -> Any:
    twin: Any = object.__new__(_guarded_class(type(part), payer))
    for name, value in own_attributes(part).items():
        if name == "sdk_configuration":
            vars(twin)[name] = config
        elif name == "parent_ref":
            vars(twin)[name] = None if value is None else parent
        elif _is_part(value):
            vars(twin)[name] = _twin(value, config, payer, twin)
        elif name.strip("_") not in _SOCKETS:
            vars(twin)[name] = value
    return twin


def _is_part(value: object) -> bool:
    return any(base.__name__ == "BaseSDK" for base in type(value).__mro__)


def _guarded_class(kind: type, payer: Payer) -> type:
    sockets = {
        name: property(_refuse) for name in _SOCKETS if isinstance(getattr(kind, name, None), property)
    }
    return twin_class(kind, _GuardedPart, bursar=payer, **sockets)


def _refuse(_: object) -> Any:
    msg = (
        "a realtime connection of a guarded Mistral client was not opened: what it will cost is decided by what is "
        "said on it. Use a client that is not guarded"
    )
    raise UnmeteredEndpoint(msg)


class _GuardedPart(SdkPart):
    """The choke point of a client, sync and async, and of each of its parts."""

    bursar: Payer

    def __getattr__(self, name: str) -> Any:
        # Newer versions make a part when it is first asked for.
        found = super().__getattr__(name) if hasattr(super(), "__getattr__") else _missing(self, name)
        if _is_part(found) and not isinstance(found, _GuardedPart):
            found = self.__dict__[name] = _twin(found, self.sdk_configuration, self.bursar, self)
        return found

    def do_request(self, *args: Any, **kwargs: Any) -> Any:
        sending = _sending_of(self, is_async=False)
        with sending:
            sending.response = super().do_request(*args, **kwargs)
        return sending.taken(is_stream=bool(kwargs.get("stream")))

    async def do_request_async(self, *args: Any, **kwargs: Any) -> Any:
        sending = _sending_of(self, is_async=True)
        with sending:
            sending.response = await super().do_request_async(*args, **kwargs)
        return sending.taken(is_stream=bool(kwargs.get("stream")))


def _missing(part: object, name: str) -> Any:
    msg = f"'{type(part).__name__}' object has no attribute '{name}'"
    raise AttributeError(msg)


def _sending_of(part: Any, *, is_async: bool) -> Sending:
    named = next(
        (_PROVIDERS[base.__name__] for base in type(part).__mro__ if base.__name__ in _PROVIDERS), None
    )
    module = type(part).__module__
    if named is None:
        named = "azure" if ".azure" in module else "google" if ".gcp" in module else "mistral"
    url = part.sdk_configuration.get_server_details()[0]
    provider = provider_of_url(url) or named if named == "mistral" else named
    return Sending(part.bursar, provider, _endpoint_of, is_async=is_async)


def _endpoint_of(method: str, url: str) -> Endpoint | Free | Unmetered:
    """Return what a request of Mistral's SDK goes to; see `endpoint_of`."""
    path = re.sub(r"^[a-z]+://[^/]*", "", url).partition("?")[0].partition("#")[0].rstrip("/")
    if method.upper() == "POST":
        for pattern, reason in _OWN:
            if re.fullmatch(rf"(?:.*/)?v1/{pattern}", path):
                return Unmetered(path, reason)
    return endpoint_of(method, url)
