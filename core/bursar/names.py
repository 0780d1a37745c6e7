"""Names that come from elsewhere: of agents, of models, of workflows."""

from __future__ import annotations


def writable(name: str) -> str:
    r"""
    Return *name* with its code in place of whatever can be written to no file: half of a surrogate pair.

    A name that a model made up, or a JSON text that was cut, may have one: it becomes `writer\ud83d`, in ASCII.
    """
    if name.isascii():
        return name
    return name.encode("utf-8", "backslashreplace").decode("utf-8")
