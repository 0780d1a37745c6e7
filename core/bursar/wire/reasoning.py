"""
Output that is billed and never shown: whether a model reasons where nobody sees it.

What was seen of such a model's cut answer is only the least that it can have cost.  OpenAI shows no reasoning at all
("Reasoning models"), Anthropic a summary or nothing ("Thinking": billed "even when the thinking text isn't returned"),
Google a summary ("Thinking"), xAI nothing for Grok 4.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from bursar.wire.fields import object_at, text_at

if TYPE_CHECKING:
    from bursar.wire.fields import Json

# GPT-5's chat model and Grok's "non-reasoning" ones do not reason; the Claude models of the fifth generation and the
# previews before it think unless told not to.
_HIDING: Final = re.compile(
    r"(?:^|[/.:])(?:"
    r"o\d|gpt-(?:[5-9]|\d\d)(?!-chat)|codex-|computer-use-"
    r"|gemini-(?:2\.5|[3-9])(?!.*(?:-tts|embedding))"
    r"|grok-(?:3-mini|[4-9])(?!.*non-reasoning)"
    r"|claude-[a-z]+-(?:[5-9]|preview)"
    r")"
)
_OFF: Final = frozenset({"none", "disabled"})


def hides_reasoning(model: str) -> bool:
    """Whether *model* is known to reason unseen where the request does not say otherwise."""
    return _HIDING.search(model) is not None


def asked_reasoning(body: Json) -> bool | None:
    """Return whether *body* asks for reasoning or turns it off, or None where it leaves that to the model."""
    reasoning = object_at(body, "reasoning")
    asked = (
        text_at(body, "reasoning_effort")
        or text_at(reasoning, "effort")
        or text_at(object_at(body, "thinking"), "type")
    )
    if asked is not None:
        return asked not in _OFF
    enabled = reasoning.get("enabled")
    return enabled if isinstance(enabled, bool) else None
