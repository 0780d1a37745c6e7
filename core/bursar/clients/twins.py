"""Twins: what is guarded is a copy of the user's own object, of a subclass that goes by the name of its class."""

from __future__ import annotations

from typing import Any


def twin_class(kind: type, *mixins: type, **attributes: Any) -> type:
    """
    Return a subclass of the class that the user knows, with *mixins* before it.

    Args:
        kind: That class, or one that was made of it here.

        attributes: What the subclass has besides.
    """
    plain = plain_class(kind)
    own = {
        "__module__": plain.__module__,
        "__qualname__": plain.__qualname__,
        "__doc__": plain.__doc__,
        "bursar_plain": plain,
    }
    return type(plain.__name__, (*mixins, plain), {**own, **attributes})


def plain_class(kind: type) -> type:
    """Return the class that the user made an object of, also of one that is guarded already."""
    return getattr(kind, "bursar_plain", kind)
