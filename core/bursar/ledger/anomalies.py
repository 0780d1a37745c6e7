"""
Runs that cost more than runs of their workflow usually do.

What runs of a workflow cost is spread widely: in the systems that this was simulated for, one run in twelve to thirty
costs three times the average, and ten times the average is ordinary life in some.  So a run is compared with the
spread of those before it, not with their average: the logarithms of costs are near a normal distribution, and with a
weak prior the predictive distribution of the next one is Student's t.  Of nine rules that were simulated it alone gives
as few false alarms as it promises from the first runs on.

An anomaly is a question, no safety net: that is the budget.
"""

from __future__ import annotations

import math
from collections import defaultdict, deque
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from bursar.ledger.families import inclusive_costs
from bursar.money import to_usd

if TYPE_CHECKING:
    from collections.abc import Sequence
    from decimal import Decimal

    from bursar.entry import RunRecord
    from bursar.store import RunTotals

UNUSUAL: Final = 0.01
"""One ordinary run in a hundred costs as much."""
ANOMALOUS: Final = 0.002
"""Two ordinary runs in a thousand do."""
RUNS_LEAST: Final = 8
"""With fewer runs before it, no run is unusual."""
FLOOR_NANOUSD: Final = 10_000_000
"""A cent: what costs less is nobody's worry."""

_WINDOW: Final = 512
# A prior as good as five runs whose costs are spread as those of the simulated systems are.
_PRIOR_RUNS: Final = 5
_PRIOR_VARIANCE: Final = 1.0
_T_LEAST: Final = 2.326
"""Below this no Student's t distribution has one in a hundred, or less, above it."""


class Anomaly(NamedTuple):
    """
    A run that cost more than runs of its workflow usually do.

    Attributes:
        cost_nanousd: What it cost with the runs inside it; so far, if it is under way.

        average_nanousd: What the runs before it cost on average, at most the newest 512.

        chance: Of an ordinary run of the workflow to cost as much, zero to 0.01.
    """

    run: RunRecord
    cost_nanousd: int
    average_nanousd: int
    chance: float

    @property
    def cost(self) -> Decimal:
        """What it cost in dollars."""
        return to_usd(self.cost_nanousd)

    @property
    def times(self) -> float:
        """How many times the average it cost."""
        return self.cost_nanousd / self.average_nanousd

    @property
    def severity(self) -> Literal["unusual", "anomaly"]:
        """`"anomaly"` if two ordinary runs in a thousand cost as much or fewer, else `"unusual"`."""
        return "anomaly" if self.chance <= ANOMALOUS else "unusual"


class Usual:
    """What runs of one workflow cost, by the newest 512 of them."""

    def __init__(self) -> None:
        self._costs: deque[int] = deque()
        self._sum_nanousd = 0
        self._sum = self._squares = 0.0

    @property
    def runs(self) -> int:
        """How many runs it is known by."""
        return len(self._costs)

    @property
    def average_nanousd(self) -> int:
        """What they cost on average."""
        return self._sum_nanousd // len(self._costs)

    def add(self, cost_nanousd: int) -> None:
        """Learn from a run that ended; what cost nothing says nothing."""
        if cost_nanousd <= 0:
            return
        self._count(cost_nanousd, 1)
        self._costs.append(cost_nanousd)
        if len(self._costs) > _WINDOW:
            self._count(self._costs.popleft(), -1)

    def chance(self, cost_nanousd: int) -> float:
        """Return the chance of another run to cost as much or more; 1 where that is more than one in a hundred."""
        count = len(self._costs)
        if count < RUNS_LEAST or cost_nanousd < FLOOR_NANOUSD:
            return 1.0
        mean = self._sum / count
        spread = max(self._squares - count * mean * mean, 0.0)
        degrees = _PRIOR_RUNS + count - 1
        scale = math.sqrt((_PRIOR_RUNS * _PRIOR_VARIANCE + spread) / degrees * (1 + 1 / count))
        t = (math.log(cost_nanousd) - mean) / scale
        return 1.0 if t < _T_LEAST else upper_tail(t, degrees)

    def _count(self, cost_nanousd: int, sign: int) -> None:
        logarithm = math.log(cost_nanousd)
        self._sum_nanousd += sign * cost_nanousd
        self._sum += sign * logarithm
        self._squares += sign * logarithm * logarithm


def find_anomalies(runs: Sequence[RunTotals]) -> list[Anomaly]:
    """
    Return the runs that cost more than those of their workflow before them usually did, the least likely first.

    Args:
        runs: All of them, oldest first; what is under way is compared, and nothing is learned from it.
    """
    usual: defaultdict[str, Usual] = defaultdict(Usual)
    found: list[Anomaly] = []
    for row, cost in inclusive_costs(runs):
        known = usual[row.run.workflow]
        chance = known.chance(cost)
        if chance <= UNUSUAL:
            found.append(Anomaly(row.run, cost, known.average_nanousd, chance))
        if row.run.ended_s is not None:
            known.add(cost)
    return sorted(found, key=lambda anomaly: (anomaly.chance, -anomaly.cost_nanousd))


def upper_tail(t: float, degrees: int) -> float:
    """
    Return how much of Student's distribution with so many *degrees* of freedom is above *t*, which is positive.

    By its finite series (Abramowitz and Stegun, 26.7.3 and 26.7.4).
    """
    angle = math.atan(t / math.sqrt(degrees))
    cosine_squared = math.cos(angle) ** 2
    is_odd = degrees % 2
    # The even series begins with 1, the odd one with the cosine.
    term = math.cos(angle) if is_odd else 1.0
    total = term if degrees > 1 else 0.0
    for n in range(2 + is_odd, degrees - 1, 2):
        term *= cosine_squared * (n - 1) / n
        total += term
    within = math.sin(angle) * total
    if is_odd:
        within = (angle + within) * 2 / math.pi
    return max((1 - within) / 2, 0.0)
