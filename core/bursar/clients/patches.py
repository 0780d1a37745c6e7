"""
What was put in place of a client's own methods after it was made, as instrumentation does.

Such a function sends what it is given through the very client that it was put on: on a twin it would go past the
budget.  So it is left out of a twin, and whoever guards the client is told in which order both work.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, Final

from bursar.policy import logger

if TYPE_CHECKING:
    from collections.abc import Iterator

_DEPTH_MOST: Final = 4
"""As deep as the SDKs' parts lie: `client.beta.chat.completions`."""
_NAMED_MOST: Final = 4
_WRAPS_ITSELF: Final = "cohere"
"""The SDK that puts something in place of some methods of its own clients."""


def own_attributes(thing: object) -> dict[str, Any]:
    """Return the attributes of *thing* but for those that stand in place of a method of its class."""
    kind = type(thing)
    return {name: value for name, value in vars(thing).items() if not _is_patch(kind, name, value)}


def tell_patches(client: object) -> None:
    """Say in the log what `guard()` leaves out of a twin of *client*, if anything was put on it."""
    packages = {_package(base) for base in type(client).__mro__}
    names = {".".join(path): by for path, by in _patches(client, packages, {id(client)})}
    if not names:
        return
    by = ", ".join(sorted(set(names.values()) - {"", "builtins"})) or "whoever changed it"
    first, more = list(names)[:_NAMED_MOST], len(names) - _NAMED_MOST
    logger.warning(
        "guard() leaves out what %s put in place of %s on this %s: it would send calls past the budget. Guard the "
        "client first, then instrument or change what guard() returns",
        by,
        ", ".join(first) + (f" and {more} more" if more > 0 else ""),
        type(client).__name__,
    )


def _patches(
    part: object, packages: set[str], seen: set[int], path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield where a patch is, and whose, in *part* of a client and in the parts below it."""
    kind = type(part)
    for name, value in tuple(vars(part).items()):
        if _is_patch(kind, name, value):
            by = _author(value)
            if by != _WRAPS_ITSELF:
                yield (*path, name), by
        elif len(path) < _DEPTH_MOST and _is_part(value, packages) and id(value) not in seen:
            seen.add(id(value))
            yield from _patches(value, packages, seen, (*path, name))


def _is_patch(kind: type, name: str, value: object) -> bool:
    return callable(value) and inspect.isroutine(inspect.getattr_static(kind, name, None))


def _is_part(value: object, packages: set[str]) -> bool:
    return hasattr(value, "__dict__") and not isinstance(value, type) and _package(type(value)) in packages


def _author(patch: Any) -> str:
    """Return the package whose code *patch* is; its name and module are often made to look like what it replaces."""
    function = getattr(patch, "__func__", patch)
    module = getattr(function, "__globals__", {}).get("__name__")
    return module.partition(".")[0] if isinstance(module, str) else _package(type(patch))


def _package(thing: Any) -> str:
    module: object = getattr(thing, "__module__", None)
    return module.partition(".")[0] if isinstance(module, str) else ""
