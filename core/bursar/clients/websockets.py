"""
WebSocket connections do not pass through an SDK's `request`: what is said on one is said past bursar.

So none opens under a budget that it could break; without one it opens, and is entered with an unknown cost.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, Final

from bursar.clients.unmetered import unmetered_plan
from bursar.meter import Meter
from bursar.wire import Receipt, Unmetered

if TYPE_CHECKING:
    from collections.abc import Callable

_ROOTS: Final = ("realtime", "live", "responses", "beta")
"""The resources of a client under which connections are opened."""

_REASON: Final = "what a connection will cost is decided by what is sent on it, past this client's requests"


def shut_sockets(client_class: type) -> dict[str, Any]:
    """Return resources of a client class so changed that no connection opens under a budget that it could break."""
    return {name: _shut(client_class, name) for name in _ROOTS if hasattr(client_class, name)}


def _shut(client_class: type, name: str) -> functools.cached_property[Any]:
    plain: Any = getattr(client_class, name)

    def resource(client: Any) -> Any:
        made: Any = (getattr(plain, "func", None) or plain.fget)(client)
        _shut_resource(made, client, name)
        return made

    prop = functools.cached_property(resource)
    prop.__set_name__(client_class, name)
    return prop


def _shut_resource(resource: Any, client: Any, path: str) -> None:
    if callable(connect := getattr(resource, "connect", None)):
        resource.connect = _asking_first(connect, client, f"{path}.connect")
    for name, child in _children(resource):
        _shut_resource(child, client, f"{path}.{name}")


def _children(resource: Any) -> list[tuple[str, Any]]:
    names = {
        name
        for base in type(resource).__mro__
        for name, value in vars(base).items()
        if isinstance(value, functools.cached_property | property) and not name.startswith(("_", "with_"))
    }
    return [(name, getattr(resource, name)) for name in sorted(names)]


def _asking_first(connect: Callable[..., Any], client: Any, path: str) -> Callable[..., Any]:
    @functools.wraps(connect)
    def ask_first(*args: Any, **kwargs: Any) -> Any:
        model = kwargs.get("model")
        meter = Meter(
            unmetered_plan(
                Unmetered(path, _REASON),
                client.bursar.booking(),
                provider=client._bursar_sdk.address(client).provider,
                model=model if isinstance(model, str) else "",
            )
        )
        meter.reserve()
        manager = connect(*args, **kwargs)
        meter.dispatch()
        meter.settle(Receipt())
        return manager

    return ask_first
