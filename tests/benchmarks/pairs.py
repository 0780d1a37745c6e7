"""Two calls timed in turns, in CPU time of this process, so that no noise counts for one of them alone."""

from __future__ import annotations

import gc
import statistics
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

_STRETCHES: Final = 8


def cpu_us(call: Callable[[], object]) -> float:
    """Return the CPU microseconds of one call."""
    began_ns = time.process_time_ns()
    call()
    return (time.process_time_ns() - began_ns) / 1_000


def overhead_us(
    bare: Callable[[], object], metered: Callable[[], object], *, rounds: int = 400
) -> tuple[float, float]:
    """
    Return the median of the *bare* call, and the median of what the *metered* one takes longer.

    A machine that is shared is disturbed for seconds at a time, and its caches with it: of eight stretches of pairs
    the half counts in which the bare call was quickest, whatever the metered one took in them.
    """
    for _ in range(50):
        bare()
        metered()
    gc.collect()
    gc.disable()
    try:
        stretches = [
            [(cpu_us(bare), cpu_us(metered)) for _ in range(rounds // _STRETCHES)] for _ in range(_STRETCHES)
        ]
    finally:
        gc.enable()
    stretches.sort(key=lambda pairs: statistics.median(first for first, _ in pairs))
    pairs = [pair for stretch in stretches[: _STRETCHES // 2] for pair in stretch]
    floor = statistics.median(first for first, _ in pairs)
    return floor, statistics.median(second - first for first, second in pairs)


def report(name: str, floor_us: float, over_us: float, target_us: float) -> bool:
    """Print what was measured beside what is asked for, and return whether it is met."""
    print(f"{name:28} bare {floor_us:7.1f} µs  +{over_us:6.1f} µs  (target +{target_us:.0f} µs)")
    return over_us <= target_us
