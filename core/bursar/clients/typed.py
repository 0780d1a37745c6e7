"""
What a type checker sees of a guarded client: the SDK's own class, and `.bursar`.

Nothing here exists at run time, where a guarded client is of a subclass made for it, and no SDK is imported.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import anthropic
    import openai

    from bursar.payer import Payer

    class GuardedOpenAI(openai.OpenAI):
        """A guarded `OpenAI`."""

        bursar: Payer

    class GuardedAsyncOpenAI(openai.AsyncOpenAI):
        """A guarded `AsyncOpenAI`."""

        bursar: Payer

    class GuardedAzureOpenAI(openai.AzureOpenAI):
        """A guarded `AzureOpenAI`."""

        bursar: Payer

    class GuardedAsyncAzureOpenAI(openai.AsyncAzureOpenAI):
        """A guarded `AsyncAzureOpenAI`."""

        bursar: Payer

    class GuardedAnthropic(anthropic.Anthropic):
        """A guarded `Anthropic`."""

        bursar: Payer

    class GuardedAsyncAnthropic(anthropic.AsyncAnthropic):
        """A guarded `AsyncAnthropic`."""

        bursar: Payer
