"""`bursar demo`: a team of agents on a budget."""

from __future__ import annotations

import click

from bursar.cli.output import console


@click.command(name="demo")
@click.option(
    "--live",
    "is_live",
    is_flag=True,
    help="Call the real APIs, with OPENAI_API_KEY or ANTHROPIC_API_KEY, for at most $0.05.",
)
@click.option("--fast", "is_fast", is_flag=True, help="Let the local provider answer without delay.")
def command(*, is_live: bool, is_fast: bool) -> None:
    """
    Watch a planner, five researchers, a writer and a reviewer work on a budget.

    Real SDK clients call a local provider, so no key and no network is needed.  One agent is killed at its cap, one
    is downgraded, one retries; the rest finish.  At the end the ledger is held against the provider's bill.
    """
    from bursar.demo import DemoFailed, run_demo

    try:
        is_right = run_demo(console(), is_live=is_live, is_fast=is_fast)
    except DemoFailed as failure:
        raise click.ClickException(str(failure)) from failure
    if not is_right:
        msg = "the ledger and the bill differ"
        raise click.ClickException(msg)
