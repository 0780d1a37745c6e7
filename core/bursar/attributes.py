"""Looking at what a framework's object has, which may be nothing: it differs from version to version."""

from __future__ import annotations

from functools import lru_cache
from typing import Any


def attribute(thing: Any, name: str, *, kind: type | None = None) -> Any:  # noqa: ANN401 - whatever it is
    """
    Return the attribute of *thing* that is called *name*, or None.

    Args:
        kind: See `attributes`.
    """
    own: dict[str, Any] | None = getattr(thing, "__dict__", None)
    if own is not None and name in own:
        return own[name]
    return attributes(thing, frozenset((name,)), kind=kind).get(name)


def attributes(thing: object, names: frozenset[str], *, kind: type | None = None) -> dict[str, Any]:
    """
    Return those attributes of *thing* that are called *names*.

    Of a pydantic model, to ask for what is not there takes as long as ten attributes that are: its class is looked at
    once.

    Args:
        kind: The class to look at and remember, where that of *thing* was made for it alone.
    """
    own: dict[str, Any] | None = getattr(thing, "__dict__", None)
    if own is None:
        return {name: getattr(thing, name, None) for name in names}
    found: dict[str, Any] = {}
    for name in own.keys() & names:
        found[name] = own[name]
    extra: dict[str, Any] | None = getattr(thing, "__pydantic_extra__", None)
    if extra:
        found = {name: extra[name] for name in extra.keys() & names} | found
    for name in _of_class(kind or type(thing), names):
        if name not in found:
            found[name] = getattr(thing, name, None)
    return found


@lru_cache(maxsize=4096)
def _of_class(kind: type, names: frozenset[str]) -> tuple[str, ...]:
    """Return those of *names* that an object of *kind* may have besides what it keeps itself."""
    return tuple(name for name in names if _may_have(kind, name))


def _may_have(kind: type, name: str) -> bool:
    return any(
        name in vars(base)
        or name in vars(base).get("__private_attributes__", ())
        or ("__getattr__" in vars(base) and not base.__module__.startswith("pydantic."))
        for base in kind.__mro__
    )
