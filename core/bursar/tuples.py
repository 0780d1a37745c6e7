"""
Named tuples made without their constructors, for what is made of every call.

A constructor of a named tuple is a Python function, and takes three times as long as this: between the calls of an
SDK, when nothing of ours is in the processor's caches, 2 µs in place of 0.6, a dozen times a call.  Every field must
be given, in its place; a test counts them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

T = TypeVar("T", bound=tuple[Any, ...])

if TYPE_CHECKING:

    def make(kind: type[T], fields: tuple[object, ...]) -> T:
        """Return the named tuple of *kind* with all of its *fields*."""
        ...

else:
    make = tuple.__new__
