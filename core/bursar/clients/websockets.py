"""WebSocket connections do not pass through an SDK's `request`: they are shut where a budget could not be kept."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, Final

from bursar.errors import UnmeteredEndpoint

if TYPE_CHECKING:
    from collections.abc import Callable

_ROOTS: Final = ("realtime", "live", "responses", "beta")
"""The resources of a client under which connections are opened."""


def shut_sockets(client_class: type) -> dict[str, Any]:
    """Return resources of a client class so changed that no connection opens under a budget that it could break."""
    return {name: _shut(client_class, name) for name in _ROOTS if hasattr(client_class, name)}


def _shut(client_class: type, name: str) -> functools.cached_property[Any]:
    plain: Any = getattr(client_class, name)

    def resource(client: Any) -> Any:
        made: Any = (getattr(plain, "func", None) or plain.fget)(client)
        _shut_resource(made, client)
        return made

    prop = functools.cached_property(resource)
    prop.__set_name__(client_class, name)
    return prop


def _shut_resource(resource: Any, client: Any) -> None:
    if callable(connect := getattr(resource, "connect", None)):
        resource.connect = _asking_first(connect, client)
    for child in _children(resource):
        _shut_resource(child, client)


def _children(resource: Any) -> list[Any]:
    names = {
        name
        for base in type(resource).__mro__
        for name, value in vars(base).items()
        if isinstance(value, functools.cached_property | property) and not name.startswith(("_", "with_"))
    }
    return [getattr(resource, name) for name in sorted(names)]


def _asking_first(connect: Callable[..., Any], client: Any) -> Callable[..., Any]:
    @functools.wraps(connect)
    def ask_first(*args: Any, **kwargs: Any) -> Any:
        _, _, chain = client.bursar.booking()
        if chain.limits_money or chain.limits_tokens:
            msg = (
                "the connection was not opened: realtime connections are not metered yet, and a budget in dollars or "
                "tokens cannot be kept for what is not metered. Open it with a client that is not guarded, and book "
                "what it cost with run.record(...)"
            )
            raise UnmeteredEndpoint(msg)
        return connect(*args, **kwargs)

    return ask_first
