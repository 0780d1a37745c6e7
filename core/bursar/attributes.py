"""Looking at what a framework's object has, which may be nothing: it differs from version to version."""

from __future__ import annotations

from functools import lru_cache
from typing import Any


def attribute(thing: Any, name: str, *, kind: type | None = None) -> Any:  # noqa: ANN401 - whatever it is
    """
    Return the attribute of *thing* that is called *name*, or None.

    Of a pydantic model, to ask for what is not there takes as long as ten attributes that are: its class is looked at
    once.

    Args:
        kind: The class to look at and remember, where that of *thing* was made for it alone.
    """
    own: dict[str, Any] | None = getattr(thing, "__dict__", None)
    if own is not None and name in own:
        return own[name]
    return attributes(thing, (name,), kind=kind)[0]


def attributes(thing: object, names: tuple[str, ...], *, kind: type | None = None) -> list[Any]:
    """Return the attributes of *thing* that are called *names*, each as `attribute` does."""
    own: dict[str, Any] | None = getattr(thing, "__dict__", None)
    if own is None:
        return [getattr(thing, name, None) for name in names]
    extra: dict[str, Any] = getattr(thing, "__pydantic_extra__", None) or own
    elsewhere = _of_class(kind or type(thing), names)
    return [
        own[name]
        if name in own
        else extra[name]
        if name in extra
        else getattr(thing, name, None)
        if name in elsewhere
        else None
        for name in names
    ]


@lru_cache(maxsize=4096)
def _of_class(kind: type, names: tuple[str, ...]) -> frozenset[str]:
    """Return those of *names* that an object of *kind* may have though it does not keep them itself."""
    return frozenset(name for name in names if _may_have(kind, name))


def _may_have(kind: type, name: str) -> bool:
    return any(
        name in vars(base)
        or name in vars(base).get("__private_attributes__", ())
        or ("__getattr__" in vars(base) and not base.__module__.startswith("pydantic."))
        for base in kind.__mro__
    )
