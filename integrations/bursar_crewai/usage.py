"""What CrewAI is told that a call has used, in the words of whichever provider it is."""

# CrewAI's own types differ from version to version.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from pydantic import BaseModel

from bursar.tokens import count_tokens
from bursar.usage import Usage
from bursar.wire.fields import is_mapping, number_at

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_INPUT: Final = ("prompt_tokens", "prompt_token_count", "inputTokens")
_APART: Final = ("input_tokens",)
_OUTPUT: Final = ("completion_tokens", "output_tokens", "candidates_token_count", "outputTokens")
_CACHED: Final = (
    "cached_prompt_tokens",
    "cached_tokens",
    "cache_read_input_tokens",
    "cached_content_token_count",
    "cacheReadInputTokens",
)
_WRITTEN: Final = ("cache_creation_tokens", "cache_creation_input_tokens", "cacheWriteInputTokens")
_REASONING: Final = ("reasoning_tokens", "thoughts_token_count")
_DETAILS: Final = (
    "prompt_tokens_details",
    "completion_tokens_details",
    "input_tokens_details",
    "output_tokens_details",
)


def usage_of(told: object) -> Usage | None:
    """Return one provider's usage as usage, or None where it counts nothing that is known here."""
    flat = _flat(told)
    read, written = _count(flat, _CACHED), _count(flat, _WRITTEN)
    output, reasoning = _count(flat, _OUTPUT), _count(flat, _REASONING)
    known = [name for name in (*_INPUT, *_APART, *_OUTPUT) if name in flat]
    if not known:
        return None
    into = _count(flat, _INPUT)
    if not into:
        # Anthropic counts what was cached apart from the rest.
        apart = _count(flat, _APART)
        into = apart + read + written if "cache_read_input_tokens" in flat else apart
    if "candidates_token_count" in flat:
        output += reasoning
    return Usage(
        input_tokens=into,
        cache_read_tokens=min(read, into),
        cache_write_tokens=min(written, into),
        output_tokens=output,
        reasoning_tokens=min(reasoning, output),
    )


def text_of(answer: object) -> str:
    """Return all the output that an answer shows, as one text to be counted."""
    if isinstance(answer, str):
        return answer
    if isinstance(answer, BaseModel):
        return answer.model_dump_json()
    try:
        return json.dumps(answer, default=str)
    except (TypeError, ValueError):
        return str(answer)


def tokens_in(model: str, text: str) -> int:
    """Count output that was seen, high where no tokenizer is at hand."""
    counted = count_tokens(model, text)
    return len(text.encode(errors="surrogatepass")) if counted is None else counted


def _flat(told: object) -> Mapping[str, Any]:
    if isinstance(told, BaseModel):
        told = told.model_dump(exclude_none=True)
    if not is_mapping(told):
        return {}
    flat = {str(name): value for name, value in told.items()}
    for name in _DETAILS:
        if (details := flat.get(name)) is None:
            continue
        if isinstance(details, BaseModel):
            details = details.model_dump(exclude_none=True)
        if is_mapping(details):
            flat = {**{str(key): value for key, value in details.items()}, **flat}
    return flat


def _count(counts: Mapping[str, Any], names: Iterable[str]) -> int:
    return next((count for name in names if (count := number_at(counts, name))), 0)
