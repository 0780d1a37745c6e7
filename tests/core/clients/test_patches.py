"""What instrumentation puts on a client goes not past the budget, whichever of the two came first."""

# What an SDK returns depends on unpacked options, which its overloads do not follow.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from typing import Any

import openai
import pytest

from bursar import BudgetExceeded, guard

from .conftest import CHAT, MESSAGE, Stage


def instrument(part: Any, name: str) -> list[str]:
    """Put a function in place of a method, as instrumentation does, and return what it has seen."""
    original = getattr(part, name)
    seen: list[str] = []

    @functools.wraps(original)
    def instrumented(*args: Any, **kwargs: Any) -> Any:
        seen.append(name)
        return original(*args, **kwargs)

    setattr(part, name, instrumented)
    return seen


def chat_until_refused(client: Any, calls: int) -> None:
    """Make as many calls as the budget has, and one more."""
    for _ in range(calls):
        client.chat.completions.create(**CHAT)
    with pytest.raises(BudgetExceeded):
        client.chat.completions.create(**CHAT)


PLACES: dict[str, Callable[[Any], Any]] = {
    "request": lambda client: client,
    "post": lambda client: client,
    "chat.completions.create": lambda client: client.chat.completions,
}


@pytest.mark.parametrize("place", PLACES)
def test_a_client_that_was_instrumented_before(
    place: str, stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    """The cap holds, and the log says what is left out, whose it is, and in which order both work."""
    seen = instrument(PLACES[place](stage.openai), place.rpartition(".")[2])

    chat_until_refused(stage.guard(stage.openai, calls=2), 2)

    assert stage.sim.arrived == 2
    assert seen == []
    told = next(record for record in caplog.records if record.levelno == logging.WARNING).getMessage()
    assert f"guard() leaves out what tests put in place of {place} on this OpenAI" in told
    assert "Guard the client first" in told


@pytest.mark.parametrize("place", PLACES)
def test_a_client_that_is_instrumented_after(
    place: str, stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    """Then both see every call, and a copy with other options is as the SDK makes it."""
    client = stage.guard(stage.openai, calls=3)
    seen = instrument(PLACES[place](client), place.rpartition(".")[2])

    client.chat.completions.create(**CHAT)
    client.with_options(timeout=5).chat.completions.create(**CHAT)
    chat_until_refused(client, 1)

    assert stage.sim.arrived == 3
    assert len(seen) == 3
    assert "leaves out" not in caplog.text


def test_an_async_client_and_one_of_anthropic(stage: Stage) -> None:
    """They are no different."""
    for client in (stage.async_openai, stage.anthropic):
        instrument(client, "request")
    guarded = stage.guard(stage.anthropic, calls=1)
    guarded.messages.create(**MESSAGE)
    with pytest.raises(BudgetExceeded):
        guarded.messages.create(**MESSAGE)

    async def main() -> None:
        guarded = stage.guard(stage.async_openai, calls=1)
        await guarded.chat.completions.create(**CHAT)
        with pytest.raises(BudgetExceeded):
            await guarded.chat.completions.create(**CHAT)

    stage.run(main())
    assert stage.sim.arrived == 2


def test_a_client_that_is_as_it_was_made(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    """Of one that nothing was put on, whatever of it was used, nothing is said; nor of a guarded one."""
    for client in (stage.openai, stage.anthropic, stage.async_openai, stage.async_anthropic):
        assert client.beta is not None
        assert client.with_raw_response is not None
        stage.guard(stage.guard(client))

    assert "leaves out" not in caplog.text


class Proxy:
    """Stands for a stream, as a proxy of `wrapt` does: all that is asked of it is asked of what it wraps."""

    __slots__ = ("__wrapped__",)
    __wrapped__: Any

    def __init__(self, wrapped: Any) -> None:
        object.__setattr__(self, "__wrapped__", wrapped)

    @property
    def __class__(self) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        """What it stands for."""
        return self.__wrapped__.__class__

    @property
    def __dict__(self) -> Any:  # pyright: ignore[reportIncompatibleVariableOverride]
        """What that has."""
        return self.__wrapped__.__dict__

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__wrapped__, name)

    def __setattr__(self, name: str, value: object) -> None:
        setattr(self.__wrapped__, name, value)

    def __iter__(self) -> Any:
        return iter(self.__wrapped__)

    def __copy__(self) -> Any:
        msg = "object proxy must define __copy__()"
        raise NotImplementedError(msg)


@pytest.mark.parametrize("is_read", [True, False], ids=["read", "dropped"])
def test_a_stream_that_instrumentation_stands_for(
    is_read: bool, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What instruments the SDK's class may hand on a proxy of its stream; that is read, and dropped, as the stream."""
    request: Any = openai.OpenAI.request

    def instrumented(*args: Any, **kwargs: Any) -> Any:
        return Proxy(request(*args, **kwargs))

    monkeypatch.setattr(openai.OpenAI, "request", instrumented)
    client = stage.guard(stage.openai)

    stream = client.chat.completions.create(**CHAT, stream=True)
    seen = len(list(stream)) if is_read else 0
    del stream

    assert (seen > 0) is is_read
    assert client.bursar.reserved == 0
    assert [entry.status for entry in stage.entries()] == ["ok" if is_read else "aborted"]


class Double:
    """Passes for a client, as a mock with a specification and a proxy do."""

    @property
    def __class__(self) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        """What it stands for."""
        return openai.OpenAI


def test_what_only_stands_for_a_client() -> None:
    """It cannot be guarded in the client's place; the error says what can."""
    with pytest.raises(TypeError, match=r"Double that passes for OpenAI.*bursar\.simulator"):
        guard(Double(), budget=1)
