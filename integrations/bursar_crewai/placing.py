"""From the place of a call to what it is booked to and paid from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bursar.scope import run_around
from bursar_crewai.identity import agent_of

if TYPE_CHECKING:
    from bursar.payer import Booking
    from bursar.payer.rooted import RootedPayer
    from bursar_crewai.identity import Place


def booking_at(place: Place, payers: list[RootedPayer]) -> Booking:
    """Return what a call made at *place* is booked to, and paid from: by each of *payers*, innermost first."""
    first, *besides = payers
    run = run_around()
    known: list[str] = []
    for paying in (run, *payers):
        if paying is not None and paying.budget is not None:
            known += paying.budget.agents
    return first.booking_in(place.root, agent_of(place, known=known), besides)
