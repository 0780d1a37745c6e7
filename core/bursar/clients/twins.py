"""
Twins: what is guarded is a copy of the user's own object, of a subclass that goes by the name of its class.

What was put in place of a method of the object after it was made, as instrumentation does, calls that very object: on
a twin it would go past the budget, and so no twin has it.
"""

from __future__ import annotations

import inspect
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


def twin_of(thing: object, kind: type[Any]) -> Any:
    """Return an object of *kind* that has what *thing* has."""
    twin: Any = object.__new__(kind)
    twin.__dict__.update(own_attributes(thing))
    return twin


def own_attributes(thing: object) -> dict[str, Any]:
    """Return the attributes of *thing* but for those that stand in place of a method of its class."""
    kind = type(thing)
    return {name: value for name, value in vars(thing).items() if not is_patch(kind, name, value)}


def is_patch(kind: type, name: str, value: object) -> bool:
    """Whether *value*, an attribute of an object of *kind*, stands in place of a method of its class."""
    return callable(value) and inspect.isroutine(inspect.getattr_static(kind, name, None))


def plain_class(kind: type) -> type:
    """Return the class that the user made an object of, also of one that is guarded already."""
    return getattr(kind, "bursar_plain", kind)
