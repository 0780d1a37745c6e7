"""Tells of an agent whose allotment seems to be there under a name that was typed otherwise."""

from __future__ import annotations

import difflib
import logging
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

_logger: Final = logging.getLogger("bursar")
_NAMES_REMEMBERED: Final = 10_000


class Misnamed:
    """
    Logs once of each agent without an allotment whose name is like one that has one.

    A framework says who its agents are only when they make calls, so that `agents={"Reseacher": "20%"}` is no error
    when it is written; without a word its user would believe in a cap that nobody has.
    """

    __slots__ = ("_seen",)

    def __init__(self) -> None:
        self._seen: set[str] = set()

    def look_at(self, agent: str, known: Iterable[str]) -> None:
        """Warn if *agent*, which has no allotment, is probably meant by one of the *known* names."""
        if agent in self._seen or len(self._seen) >= _NAMES_REMEMBERED:
            return
        self._seen.add(agent)
        by_folded = {name.casefold(): name for name in known}
        alike = difflib.get_close_matches(agent.casefold(), by_folded, n=1)
        if alike:
            _logger.warning(
                'agent "%s" has no allotment and spends from what the others leave, but its budget names "%s"; '
                "if that is the same agent, correct the name in agents=",
                agent,
                by_folded[alike[0]],
            )
