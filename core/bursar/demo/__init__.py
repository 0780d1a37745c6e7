"""
A team of agents on a budget: a planner, five researchers at once, a writer and a reviewer.

Real SDK clients call a local provider over HTTP, so it needs no key and no network.  Every figure shown is read back
from the ledger, and at the end the ledger is held against what the provider billed.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from bursar.demo.board import Board
from bursar.demo.cast import Cast
from bursar.demo.ending import show_ending
from bursar.demo.stage import DemoFailed, Stage, live_stage, rehearsal_stage
from bursar.demo.story import Story

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["DemoFailed", "run_demo"]


def run_demo(console: Console, *, is_live: bool = False, is_fast: bool = False) -> bool:
    """
    Show the demo on *console*; return whether the ledger agrees with the bill of the provider.

    Args:
        is_live: Call the real APIs with the keys of the environment, for at most $0.05.

        is_fast: Let the local provider answer without delay.

    Raises:
        DemoFailed: An SDK or a key is missing, or a real API did not answer.
    """
    logger = logging.getLogger("bursar")
    # The board tells what happens; without a handler, warnings would be written across it.
    quiet = logging.NullHandler()
    logger.addHandler(quiet)
    try:
        with live_stage() if is_live else rehearsal_stage(is_fast=is_fast) as stage:
            return _play(console, stage)
    finally:
        logger.removeHandler(quiet)


def _play(console: Console, stage: Stage) -> bool:
    cast = Cast.of(stage)
    budget = cast.budget()
    console.print(f"{cast.summary()} {stage.introduction}")
    console.print()
    with budget.run("demo") as run, Board(console, run, budget, cast.names) as board:
        Story(stage, cast, on_done=board.note_done).play()
    return show_ending(console, run, stage)
