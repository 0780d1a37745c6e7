"""What an object has is found wherever it keeps it; what it has not is None."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict, PrivateAttr

from bursar.attributes import attribute


class Settings(BaseModel):
    """What a framework's model looks like."""

    model_config = ConfigDict(extra="allow")
    name: str = "field"
    _hidden: str = PrivateAttr(default="private")

    @property
    def told(self) -> str:
        """Say something."""
        return "property"

    @cached_property
    def once(self) -> str:
        """Say it once."""
        return "cached"


class Delegating:
    """What asks another for all that it has not."""

    own = "class"

    def __getattr__(self, name: str) -> Any:
        if name == "there":
            return "delegated"
        raise AttributeError(name)


class Slotted:
    """What has no dict."""

    __slots__ = ("name",)

    def __init__(self) -> None:
        self.name = "slot"


@pytest.mark.parametrize(
    ("thing", "name", "found"),
    [
        (Settings(), "name", "field"),
        (Settings(more="extra"), "more", "extra"),  # type: ignore[call-arg]
        (Settings(), "_hidden", "private"),
        (Settings(), "told", "property"),
        (Settings(), "once", "cached"),
        (Settings(), "missing", None),
        (Delegating(), "own", "class"),
        (Delegating(), "there", "delegated"),
        (Delegating(), "missing", None),
        (Slotted(), "name", "slot"),
        (None, "name", None),
    ],
)
def test_what_is_there(thing: object, name: str, found: str | None) -> None:
    """Fields, extras, what is private, properties, what is delegated."""
    assert attribute(thing, name) == found
