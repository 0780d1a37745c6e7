"""
The choke points: the methods of LLMs and embedders that send something, of classes that are imported later too.

CrewAI's hooks miss calls, and let through what they cannot stop.  These methods miss none.
"""

# CrewAI's own types differ from version to version.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, Final

from crewai import Crew
from crewai.llms.base_llm import BaseLLM

from bursar.scope import run_around
from bursar_crewai.calls import apaid, note_usage, paid
from bursar_crewai.embedding import BASES, paid_embedding
from bursar_crewai.frames import follow, following, unfollow
from bursar_crewai.payers import ATTACHED
from bursar_crewai.usage import usage_of

if TYPE_CHECKING:
    from collections.abc import Mapping

_PLAIN: Final = "bursar_plain"
_INIT: Final = "__init_subclass__"
_patched: Final[list[tuple[Any, Any]]] = []
"""The classes whose subclasses are wrapped when they are made, and what they had in its place."""


def install() -> None:
    """Pay for every LLM and embedder of CrewAI's from now on; once, however often it is asked."""
    follow()
    if _patched:
        return
    for base, methods in _SEAMS:
        _patch(base, methods)


def uninstall() -> None:
    """Leave CrewAI as it was: its calls are paid for by nobody."""
    unfollow()
    while _patched:
        base, plain = _patched.pop()
        if plain is None:
            delattr(base, _INIT)
        else:
            setattr(base, _INIT, plain)
        for each in _all_of(base):
            for name, method in list(vars(each).items()):
                if callable(method) and hasattr(method, _PLAIN):
                    setattr(each, name, getattr(method, _PLAIN))


def _patch(base: Any, methods: Mapping[str, Any]) -> None:
    plain: Any = base.__dict__.get(_INIT)
    _patched.append((base, plain))
    for each in _all_of(base):
        _wrap(each, methods)

    def __init_subclass__(cls: Any, **kwargs: Any) -> None:
        inherited: Any = super(base, cls).__init_subclass__ if plain is None else plain.__get__(None, cls)
        inherited(**kwargs)
        _wrap(cls, methods)

    setattr(base, _INIT, classmethod(__init_subclass__))


def _all_of(base: type) -> list[type]:
    found = [base]
    for each in base.__subclasses__():
        found += [other for other in _all_of(each) if other not in found]
    return found


def _wrap(wrapped_class: type, methods: Mapping[str, Any]) -> None:
    for name, make in methods.items():
        method: Any = vars(wrapped_class).get(name)
        if callable(method) and not hasattr(method, _PLAIN) and not hasattr(method, "__isabstractmethod__"):
            wrapped: Any = functools.update_wrapper(make(method), method)
            setattr(wrapped, _PLAIN, method)
            setattr(wrapped_class, name, wrapped)


def _paying(plain: Any) -> Any:
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        if not ATTACHED and run_around() is None:
            return plain(self, *args, **kwargs)
        return paid(plain, self, args, kwargs)

    return call


def _apaying(plain: Any) -> Any:
    async def acall(self: Any, *args: Any, **kwargs: Any) -> Any:
        if not ATTACHED and run_around() is None:
            return await plain(self, *args, **kwargs)
        return await apaid(plain, self, args, kwargs)

    return acall


def _noting(plain: Any) -> Any:
    def track(self: Any, usage: Any, *args: Any, **kwargs: Any) -> Any:
        note_usage(usage_of(usage))
        return plain(self, usage, *args, **kwargs)

    return track


def _embedding(plain: Any) -> Any:
    def __call__(self: Any, *args: Any, **kwargs: Any) -> Any:
        if not ATTACHED and run_around() is None:
            return plain(self, *args, **kwargs)
        return paid_embedding(plain, self, args, kwargs)

    return __call__


def _following(plain: Any) -> Any:
    def run(self: Any, *args: Any, **kwargs: Any) -> Any:
        if not ATTACHED and run_around() is None:
            return plain(self, *args, **kwargs)
        with following(self):
            return plain(self, *args, **kwargs)

    return run


_SEAMS: Final[tuple[tuple[Any, Mapping[str, Any]], ...]] = (
    (BaseLLM, {"call": _paying, "acall": _apaying, "_track_token_usage_internal": _noting}),
    *((base, {"__call__": _embedding}) for base in BASES),
    # Of what these ask by themselves, CrewAI tells no boundary.
    (Crew, {"train": _following, "replay": _following}),
)
"""The classes whose methods are paid for or followed, those of their subclasses too."""
