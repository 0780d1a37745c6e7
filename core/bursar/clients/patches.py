"""Telling whoever guards a client what a twin of it is without: what instrumentation put on it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from bursar.clients.twins import is_patch
from bursar.policy import logger

if TYPE_CHECKING:
    from collections.abc import Iterator

_DEPTH_MOST: Final = 4
"""As deep as the SDKs' parts lie: `client.beta.chat.completions`."""
_NAMED_MOST: Final = 4
_OF_PYTHON: Final = {"builtins", "abc", "typing"}
"""Where classes come from that are no SDK's: of these are functions and modules, which hold everything else."""
_WRAPS_ITSELF: Final = "cohere"
"""The SDK that puts something in place of some methods of its own clients."""


def tell_patches(client: object) -> None:
    """Say in the log what `guard()` leaves out of a twin of *client*, if anything was put on it."""
    packages = {_package(base) for base in type(client).__mro__} - _OF_PYTHON
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
        if is_patch(kind, name, value):
            by = _author(value)
            if by != _WRAPS_ITSELF:
                yield (*path, name), by
        elif len(path) < _DEPTH_MOST and _is_part(value, packages) and id(value) not in seen:
            seen.add(id(value))
            yield from _patches(value, packages, seen, (*path, name))


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
