"""
The command `bursar`: what was spent, by whom, in which run; what a model costs; a demo.

Exit codes: 0, 1 for a failure that is told on stderr, 2 for a command line that makes no sense.
"""

from __future__ import annotations

import errno
import gc
import io
import os
import sys
from contextlib import redirect_stdout
from importlib import import_module
from typing import Final

import click

import bursar
from bursar.errors import BursarError

_COMMANDS: Final = {
    "report": "what was spent, by agent, workflow, model, run or day",
    "runs": "the newest runs and what they cost",
    "run": "one run as a tree: agents, calls, attempts",
    "prices": "what a model costs, and where the price comes from; refresh the data",
    "audit": "the ledger at today's prices, or at another table's, and the difference",
    "reconcile": "the ledger against a provider's invoice, by day and model",
    "demo": "a team of agents on a budget, against a local provider",
}


class _Commands(click.Group):
    """Imports a command when it is asked for, so that none waits for what only another one needs."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        del ctx
        if cmd_name not in _COMMANDS:
            return None
        command: click.Command = import_module(f"bursar.cli.{cmd_name}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        # Written here, and not taken from the commands: `bursar --help` would have to import all of them.
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))

    def invoke(self, ctx: click.Context) -> object:
        out: object = sys.stdout
        if out is None:
            # It was closed, as in `bursar report >&-`.
            nowhere = ctx.with_resource(open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 (closed with *ctx*)
            ctx.with_resource(redirect_stdout(nowhere))
        if isinstance(out, io.TextIOWrapper):
            # A name may hold what the terminal, or the file that this goes to, has no letter for.
            out.reconfigure(errors="backslashreplace")
        # Most of what reads a large ledger is tuples that live to the end: to look for cycles among them, over and
        # over, would take as long as the reading itself.
        was_collecting = gc.isenabled()
        gc.disable()
        try:
            return super().invoke(ctx)
        except BursarError as error:
            raise click.ClickException(str(error)) from error
        except OSError as error:
            if error.errno == errno.EPIPE:
                # Who reads has seen enough: click ends quietly then.
                raise
            raise click.ClickException(str(error)) from error
        finally:
            if was_collecting:
                gc.enable()


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(bursar.__version__, prog_name="bursar", message="%(prog)s %(version)s")
def main() -> None:
    """
    Budgets for multi-agent LLM systems, and the ledger of what they spent.

    The ledger is read from BURSAR_STORE, or from a file in your data folder; --store names another one.
    """
