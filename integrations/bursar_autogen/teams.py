"""
Runs of teams: each `run` and `run_stream` of a team is a run of its own, inside the run around it.

A team has an id for as long as its object lives, and nothing of AutoGen's tells one of its runs from the next: no
event, no id, no context.  So `run_stream`, through which every run of a team goes, is wrapped to note where one
begins and ends.  What is kept of a run is found by the id of its team, which the runtime hands to every handler: also
in tasks, and in a runtime that was started before.
"""

# The id of a team is not public, though it is a part of the public ids of all its agents.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false

from __future__ import annotations

import functools
import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakKeyDictionary

from autogen_agentchat.teams import BaseGroupChat

from bursar.payer.roots import pays_from
from bursar.run import Run
from bursar.scope import run_around
from bursar_autogen.identity import agent_of, asker_of, caller

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from bursar.budget import Budget
    from bursar_autogen.identity import Handled

_ENDED_MOST: Final = 256
"""Runs that are remembered after their end, for calls of theirs that are still in flight."""

_UNSEEN_MOST: Final = 10_000
"""Teams whose runs are not seen to begin, as they are run by another process."""


class TeamRun:
    """
    One run of a team, and the bursar runs that stand for it: one for each budget that its clients pay from.

    Attributes:
        id: The id of the team and the number of the run; the team's id alone where the run's begin was not seen.

        team_id: The id of the team.

        workflow: The name of the team.

        around: The team run that this one is inside of.

        under: The path of the agents that the team works for, empty for an outermost one.
    """

    def __init__(
        self, team_id: str, number: int, workflow: str, *, around: TeamRun | None, under: str
    ) -> None:
        self.id = f"{team_id}.{number}" if number else team_id
        self.team_id = team_id
        self.workflow = workflow
        self.around = around
        self.under = under
        self._scope = run_around()
        self._lock = threading.Lock()
        self._runs: dict[int, tuple[Budget | None, Run]] = {}

    def run(self, budget: Budget | None, made_in: Run | None = None) -> Run:
        """
        Return the run that calls which pay from *budget* are booked to; opened on first use.

        It pays from *budget* itself where no run around it does, and from the runs around it in any case.

        Args:
            made_in: The run that the client was made in, for code that sees no run around it.
        """
        known = self._runs.get(id(budget))
        if known is not None:
            return known[1]
        outer = self._scope or made_in
        if self.around is not None:
            # A run that was entered inside a tool is nearer than the team that the tool belongs to.
            team = self.around.run(budget, made_in)
            outer = self._scope if _is_nearer(self._scope, team) else team
        is_paid = outer is not None and budget is not None and pays_from(outer, budget)
        run = Run(None if is_paid else budget, self.workflow, id=self.id)
        run.open(outer)
        with self._lock:
            # Of two tasks that open it at once, both get what the first one opened.
            return self._runs.setdefault(id(budget), (budget, run))[1]

    def close(self) -> None:
        """Note that it has ended; calls still in flight are booked to it all the same."""
        for _, run in list(self._runs.values()):
            run.close()


_running: Final[dict[str, TeamRun]] = {}
_ended: Final[OrderedDict[str, TeamRun]] = OrderedDict()
_unseen: Final[OrderedDict[str, TeamRun]] = OrderedDict()
_counts: Final[WeakKeyDictionary[BaseGroupChat, int]] = WeakKeyDictionary()
_lock: Final = threading.Lock()


def team_run(team_id: str, name: str) -> TeamRun:
    """
    Return the run of a team that goes on, or else its last one.

    Args:
        name: What to call it where its begin was not seen.
    """
    known = _running.get(team_id)
    if known is not None:
        return known
    with _lock:
        known = _ended.get(team_id) or _unseen.get(team_id)
        if known is None:
            known = _unseen[team_id] = TeamRun(team_id, 0, name, around=None, under="")
            if len(_unseen) > _UNSEEN_MOST:
                _unseen.popitem(last=False)
    return known


def run_of(handled: Handled | None, budget: Budget | None, made_in: Run | None) -> Run | None:
    """
    Return the run that a call made here and now is booked to, or None where no team makes it.

    Args:
        handled: The agent whose message is being handled.

        budget, made_in: See `TeamRun.run`.
    """
    if handled is None or handled.team_id is None:
        return None
    run = team_run(handled.team_id, handled.name).run(budget, made_in)
    entered = run_around()
    return None if _is_nearer(entered, run) else run


def under(handled: Handled | None) -> str:
    """Return the path of the agents that the team works for whose member is at work; empty where there is none."""
    if handled is None or handled.team_id is None:
        return ""
    return team_run(handled.team_id, handled.name).under


def _is_nearer(entered: Run | None, team: Run) -> bool:
    """Whether the run around this code was entered inside the run of the team."""
    return entered is not None and entered.is_open_in_store and entered not in team.lineage


def _begin(team: BaseGroupChat) -> TeamRun | None:
    """Note that a run of *team* begins; None where AutoGen keeps no id for it any more."""
    team_id: Any = getattr(team, "_team_id", None)
    if not isinstance(team_id, str):
        return None
    asker = asker_of(caller(2))
    around = None
    if asker.handled is not None and asker.handled.team_id is not None:
        around = team_run(asker.handled.team_id, asker.handled.name)
    under = ""
    if asker.handled is not None or asker.named is not None:
        under = agent_of(asker, under=around.under if around is not None else "").path
    number = _counts[team] = _counts.get(team, 0) + 1
    run = _running[team_id] = TeamRun(team_id, number, team.name, around=around, under=under)
    return run


def _end(run: TeamRun) -> None:
    run.close()
    with _lock:
        if _running.get(run.team_id) is run:
            del _running[run.team_id]
        _ended[run.team_id] = run
        _ended.move_to_end(run.team_id)
        if len(_ended) > _ENDED_MOST:
            _ended.popitem(last=False)


def watch_teams() -> None:
    """Wrap `run_stream` of all teams, once."""
    original: Any = BaseGroupChat.run_stream
    if hasattr(original, "bursar_plain"):
        return

    @functools.wraps(original)
    async def run_stream(self: BaseGroupChat, *args: Any, **kwargs: Any) -> AsyncGenerator[Any, None]:
        if getattr(self, "_is_running", False):
            # AutoGen refuses that, and the run that goes on stays the newest.
            async for event in original(self, *args, **kwargs):
                yield event
            return
        begun = _begin(self)
        events = original(self, *args, **kwargs)
        try:
            async for event in events:
                yield event
        finally:
            await events.aclose()
            if begun is not None:
                _end(begun)

    run_stream.bursar_plain = original  # pyright: ignore[reportAttributeAccessIssue]
    BaseGroupChat.run_stream = run_stream


watch_teams()
