"""
The choke point: `call` and `acall` of every class of LLMs, those that are imported later included.

CrewAI's hooks miss calls, and let through what they cannot stop.  These methods miss none.
"""

# CrewAI's own types differ from version to version.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

import functools
from typing import Any, Final

from crewai.llms.base_llm import BaseLLM

from bursar.scope import current_run
from bursar_crewai.calls import apaid, note_usage, paid
from bursar_crewai.frames import follow, unfollow
from bursar_crewai.payers import ATTACHED
from bursar_crewai.usage import usage_of

_PLAIN: Final = "bursar_plain"
_METHODS: Final = ("call", "acall", "_track_token_usage_internal")
_INIT: Final = "__init_subclass__"
_plain_init: Final[list[Any]] = []


def install() -> None:
    """Pay for every LLM of CrewAI's from now on; once, however often it is asked."""
    follow()
    if _plain_init:
        return
    _plain_init.append(BaseLLM.__dict__.get(_INIT, None))
    for each in _all_of(BaseLLM):
        _wrap(each)
    plain = _plain_init[0]

    def __init_subclass__(cls: Any, **kwargs: Any) -> None:
        inherited: Any = super(BaseLLM, cls).__init_subclass__ if plain is None else plain.__get__(None, cls)
        inherited(**kwargs)
        _wrap(cls)

    setattr(BaseLLM, _INIT, classmethod(__init_subclass__))


def uninstall() -> None:
    """Leave CrewAI as it was: its calls are paid for by nobody."""
    unfollow()
    if not _plain_init:
        return
    plain = _plain_init.pop()
    if plain is None:
        delattr(BaseLLM, _INIT)
    else:
        setattr(BaseLLM, _INIT, plain)
    for each in _all_of(BaseLLM):
        for name in _METHODS:
            method = vars(each).get(name)
            if hasattr(method, _PLAIN):
                setattr(each, name, getattr(method, _PLAIN))


def _all_of(base: type) -> list[type]:
    found = [base]
    for each in base.__subclasses__():
        found += [other for other in _all_of(each) if other not in found]
    return found


def _wrap(llm_class: type) -> None:
    for name, make in (("call", _paying), ("acall", _apaying), ("_track_token_usage_internal", _noting)):
        method: Any = vars(llm_class).get(name)
        if (
            callable(method)
            and not hasattr(method, _PLAIN)
            and not getattr(method, "__isabstractmethod__", False)
        ):
            wrapped: Any = functools.update_wrapper(make(method), method)
            setattr(wrapped, _PLAIN, method)
            setattr(llm_class, name, wrapped)


def _paying(plain: Any) -> Any:
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        if not ATTACHED and current_run.get() is None:
            return plain(self, *args, **kwargs)
        return paid(plain, self, args, kwargs)

    return call


def _apaying(plain: Any) -> Any:
    async def acall(self: Any, *args: Any, **kwargs: Any) -> Any:
        if not ATTACHED and current_run.get() is None:
            return await plain(self, *args, **kwargs)
        return await apaid(plain, self, args, kwargs)

    return acall


def _noting(plain: Any) -> Any:
    def track(self: Any, usage: Any, *args: Any, **kwargs: Any) -> Any:
        note_usage(usage_of(usage))
        return plain(self, usage, *args, **kwargs)

    return track
