"""OpenAI's decisions on the wire, billed for their input alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bursar.simulator.prompts import compact
from bursar.simulator.tokens import count_tokens
from bursar.usage import Usage

if TYPE_CHECKING:
    from collections.abc import Mapping

PROVIDER = "openai-decisions"
"""Under which genai-prices lists them."""


def decision(model: str, body: Mapping[str, Any]) -> tuple[dict[str, Any], Usage]:
    """Return a response that finds everything as likely as not, and what it is billed for."""
    questions: list[Any] = body.get("questions") or []
    tokens = count_tokens(str(body.get("input"))) + sum(count_tokens(compact(one)) for one in questions)
    usage = {
        "input_tokens": tokens,
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": len(questions),
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": tokens + len(questions),
    }
    answers = [{"type": "predicate", "probability": 0.5, "name": None} for _ in questions]
    return {"answers": answers, "model": model, "usage": usage}, Usage(input_tokens=tokens)
