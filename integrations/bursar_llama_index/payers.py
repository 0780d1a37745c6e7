"""Who pays for a call: the budget of the guard or of the handler, in LlamaIndex's run, and the run around the code."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from bursar.payer.rooted import Root, RootedPayer, close_root
from bursar.scope import run_around
from bursar_llama_index.identity import FRAMES, AgentSpans, agent_of, follow, unfollow

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bursar.budget import Budget
    from bursar.entry import Agent
    from bursar.money import Money
    from bursar.payer import Booking
    from bursar.run import Run
    from bursar_llama_index.identity import Frame


class LlamaIndexPayer(RootedPayer):
    """
    Pays for a model's calls as LlamaIndex's runs say that they are made in.

    Args:
        budget, agent: See `guard`.
    """

    def __init__(self, budget: Money | Budget | None, *, agent: str | None = None) -> None:
        super().__init__(budget, agent=agent, workflow="llama_index", made_in=run_around())

    def booking_inside(self, frames: tuple[Frame, ...], besides: Sequence[RootedPayer] = ()) -> Booking:
        """Return what a call inside of *frames* is booked to and paid from; see `RootedPayer.booking_in`."""
        if not frames and not besides:
            return super().booking()
        return self.booking_in(_root_of(frames), agent_of(frames), besides)

    def booking(self, named: Agent | None = None, *, run: Run | None = None) -> Booking:
        """See `Payer.booking`; asked by an SDK's client that makes a call of its own."""
        frames = FRAMES.get()
        return super().booking(named or agent_of(frames), run=run or self._run_in(_root_of(frames)))


def _root_of(frames: tuple[Frame, ...]) -> Root | None:
    return Root(frames[0].run_id, frames[0].workflow) if frames else None


SPANS: Final = AgentSpans(close_root)
"""The one span handler of this process."""


def follow_runs() -> None:
    """Have LlamaIndex tell of its runs and agents."""
    follow(SPANS)


def unfollow_runs() -> None:
    """Leave LlamaIndex as it was; calls are booked to the names that their guards were given."""
    unfollow(SPANS)
