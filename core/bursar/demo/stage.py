"""Where the demo plays: before the local provider, or before the real ones."""

from __future__ import annotations

import os
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final

from bursar.simulator import Answer, Fault, Simulator

if TYPE_CHECKING:
    from collections.abc import Generator

    import anthropic
    import openai

    from bursar.demo.cast import Seller

_KEYS: Final[dict[Seller, str]] = {"openai": "OPENAI_API_KEY", "anthropic": "ANTHROPIC_API_KEY"}
_RETRIES: Final = 3


class DemoFailed(Exception):
    """The demo cannot be shown; the message says why and what helps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """
    A provider and clients for it.

    Attributes:
        sellers: Who sells here, the preferred first; there is a client of each.

        simulator: The local provider; None before the real ones.

        notes_times: How often the notes are repeated in a prompt, which makes it longer.

        answer_tokens: The most output of a researcher's call.
    """

    sellers: tuple[Seller, ...]
    openai: openai.OpenAI | None
    anthropic: anthropic.Anthropic | None
    simulator: Simulator | None
    introduction: str
    notes_times: int
    answer_tokens: int

    @property
    def is_live(self) -> bool:
        """Whether real money is spent."""
        return self.simulator is None


@contextmanager
def rehearsal_stage(*, is_fast: bool) -> Generator[Stage]:
    """
    Start the local provider, and clients for it.

    Raises:
        DemoFailed: An SDK is not installed.
    """
    _require("openai", "anthropic")
    import anthropic
    import openai

    pace_s = 0.0 if is_fast else 0.45
    with ExitStack() as stack:
        simulator = stack.enter_context(
            Simulator(
                script=_script(retry_after_s=0.001 if is_fast else 0.7),
                latency_s=pace_s,
                token_latency_s=0.0 if is_fast else 0.0025,
            )
        )
        # A proxy of the environment is no way to this machine.
        yield Stage(
            sellers=("openai", "anthropic"),
            openai=stack.enter_context(
                openai.OpenAI(
                    base_url=simulator.openai_base_url,
                    api_key="simulated",
                    max_retries=_RETRIES,
                    http_client=openai.DefaultHttpxClient(trust_env=False),
                )
            ),
            anthropic=stack.enter_context(
                anthropic.Anthropic(
                    base_url=simulator.anthropic_base_url,
                    api_key="simulated",
                    max_retries=_RETRIES,
                    http_client=anthropic.DefaultHttpxClient(trust_env=False),
                )
            ),
            simulator=simulator,
            introduction="The SDK clients are real; the provider is local and costs nothing.",
            notes_times=4,
            answer_tokens=700,
        )


@contextmanager
def live_stage() -> Generator[Stage]:
    """
    Make clients for the real APIs that the environment has keys for.

    Raises:
        DemoFailed: There is no key, or an SDK is not installed.
    """
    sellers: list[Seller] = [seller for seller, name in _KEYS.items() if os.environ.get(name)]
    if not sellers:
        msg = f"bursar demo --live needs a key: set {' or '.join(_KEYS.values())}, or leave --live out"
        raise DemoFailed(msg)
    _require(*sellers)
    with ExitStack() as stack:
        openai_client = anthropic_client = None
        if "openai" in sellers:
            import openai

            openai_client = stack.enter_context(openai.OpenAI(max_retries=_RETRIES))
        if "anthropic" in sellers:
            import anthropic

            anthropic_client = stack.enter_context(anthropic.Anthropic(max_retries=_RETRIES))
        yield Stage(
            sellers=tuple(sellers),
            openai=openai_client,
            anthropic=anthropic_client,
            simulator=None,
            introduction=f"This is live: {' and '.join(sellers)} will bill it.",
            notes_times=1,
            answer_tokens=300,
        )


def _require(*sellers: Seller) -> None:
    missing = [seller for seller in sellers if find_spec(seller) is None]
    if missing:
        msg = f'the demo calls with the SDKs of {" and ".join(missing)}: pip install "bursar[{",".join(sellers)}]"'
        raise DemoFailed(msg)


def _script(*, retry_after_s: float) -> dict[str, Answer | list[Answer]]:
    """Return what each agent is answered, found by the name in its system prompt."""
    failed = Answer(fault=Fault.status(500, retry_after_s=retry_after_s))
    return {
        "planner": Answer(text="Five questions: supply, pipes, demand, money, law.", output_tokens=420),
        "researcher-1": Answer(text='{"finding": "Supply is steady."}', output_tokens=520),
        # Two errors that the SDK retries, two answers that are not JSON, and one that is.
        "researcher-2": [
            failed,
            failed,
            Answer(text="Let me think about pipes.", output_tokens=610),
            Answer(text="Pipes, as I said.", output_tokens=590),
            Answer(text='{"finding": "Pipes are the dear part."}'),
        ],
        "researcher-3": Answer(text="Not conclusive; search again.", output_tokens=560),
        "researcher-4": Answer(text='{"finding": "Subsidies decide."}', output_tokens=540),
        "researcher-5": Answer(text='{"finding": "The law allows it."}', output_tokens=480),
        "writer": Answer(text="Waste heat is worth piping where homes are near.", output_tokens=1_150),
        "reviewer": Answer(text="Sound; name the distance.", output_tokens=260),
    }
