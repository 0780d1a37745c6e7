"""What OpenAI's formats share: overheads around a prompt, and exact counts of plain prompts."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Final, Literal

from bursar.tokens import token_counter
from bursar.wire.fields import Json, count_at, is_array, is_mapping, objects_at, text_at
from bursar.wire.weigh import schema_tokens_most

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from bursar.tokens import Counter
    from bursar.wire.weigh import Weight

_OWN: Final = re.compile(r"(openai/)?(ft:)?(gpt-(?!oss)|chatgpt-|o\d|codex-|computer-use-|text-embedding-)")
_REASONING: Final = re.compile(r"(openai/)?(ft:)?(o\d|gpt-[5-9]|gpt-\d\d|codex-|computer-use-)")

# OpenAI's models add 3 tokens to a prompt; the first Responses of March 2025 added 18 more.
_BASE_OWN: Final = 32
# Models of others behind this format come with system prompts that nobody sees: about 70 tokens for gpt-oss, some
# hundreds for Grok.
HIDDEN_PROMPT: Final = 1_024
# These were never billed more than the bytes of what was sent, in any recorded exchange.
_PLAIN: Final = re.compile(
    r"(mistral(ai)?/|deepseek/)?(mistral|ministral|codestral|open-mi[sx]|pixtral|deepseek)-"
)
_BASE_PLAIN: Final = 128
_TOOLS_OWN: Final = 64
_TOOLS_OTHER: Final = 1_024
_PER_TOOL: Final = 48

_PER_MESSAGE: Final = 3
_PER_NAME: Final = 1
_PRIMING: Final = 3
_PER_REASONING_ANSWER: Final = 2
_NOT_PROMPT: Final = frozenset({"type", "id", "status"})
_TEXT_PARTS: Final = frozenset({"text", "input_text", "output_text"})


def is_reasoning(model: str) -> bool:
    """Whether *model* is of a family that takes `max_completion_tokens` and refuses `max_tokens`."""
    return _REASONING.match(model) is not None


@lru_cache(maxsize=1024)
def base_tokens_most(model: str) -> int:
    """Return the most tokens that the provider of *model* puts around a prompt."""
    if _OWN.match(model) is not None:
        return _BASE_OWN
    return _BASE_PLAIN if _PLAIN.match(model) else HIDDEN_PROMPT


def add_overheads(weight: Weight, tools: Sequence[object], schemas: Iterable[object]) -> None:
    """Add to *weight* the tools, the other schemas, and what the provider puts around a prompt."""
    weight.tokens += base_tokens_most(weight.model)
    add_schemas(weight, tools, schemas)


def add_schemas(weight: Weight, tools: Sequence[object], schemas: Iterable[object]) -> None:
    """Add to *weight* the tools and the other schemas of a request."""
    if tools:
        own = _OWN.match(weight.model) is not None
        weight.tokens += (_TOOLS_OWN if own else _TOOLS_OTHER) + _PER_TOOL * len(tools)
        weight.add_schema(tools)
    for schema in schemas:
        if is_mapping(schema):
            weight.tokens += _TOOLS_OWN
            weight.add_schema(schema)


def longest_ttl(ttls: set[str]) -> Literal["5m", "1h"] | None:
    """Return the longer of the cache times asked for; one that is not known counts as the longer."""
    if not ttls:
        return None
    return "5m" if ttls == {"5m"} else "1h"


def least(one: int | None, other: int | None) -> int | None:
    """Return the lower of two limits, of those that are set, or None."""
    if one is None or other is None:
        return other if one is None else one
    return min(one, other)


def at_most(body: Json, key: str, tokens: int) -> int:
    """Return the limit under *key*, lowered to *tokens*."""
    limit = count_at(body, key)
    return tokens if limit is None else min(limit, tokens)


def count_messages(model: str, messages: Sequence[object], schemas: Sequence[object]) -> int | None:
    """
    Return the tokens of *messages* and *schemas* for *model*, or None where they cannot be counted.

    The formula is the one of OpenAI's cookbook: 3 per message, the tokens of its role, content and name, 1 for the
    name, 3 for the answer's start.  It was compared with 250 billed prompts: equal for every model that does not
    reason; those that do bill 1 less, and 2 more for each answer of the assistant's.  Schemas and the calls of tools
    are counted in bytes, so that a count with them is above what is billed.
    """
    if _OWN.match(model) is None:
        return None
    count = token_counter(model)
    if count is None:
        return None
    total = _PRIMING
    for message in messages:
        tokens = _count_message(message, count, _PER_REASONING_ANSWER if is_reasoning(model) else 0)
        if tokens is None:
            return None
        total += tokens
    present = [schema for schema in schemas if schema]
    if present:
        total += _TOOLS_OWN + sum(schema_tokens_most(schema) for schema in present)
        total += sum(_PER_TOOL * len(schema) for schema in present if is_array(schema))
    return total


def _count_message(message: object, count: Counter, per_answer: int) -> int | None:
    if not is_mapping(message):
        return None
    kind = message.get("type", "message")
    if kind not in {"message", "function_call", "function_call_output"}:
        return None
    role = text_at(message, "role") or ""
    total = _PER_MESSAGE + (per_answer if role != "user" else 0)
    for key, value in message.items():
        if key in _NOT_PROMPT or value is None:
            continue
        tokens = (
            _count_content(value, count) if key in {"role", "content"} else _count_other(key, value, count)
        )
        if tokens is None:
            return None
        total += tokens
    return total


def _count_other(key: str, value: object, count: Counter) -> int | None:
    if key == "name" and isinstance(value, str):
        tokens = count(value)
        return None if tokens is None else tokens + _PER_NAME
    return schema_tokens_most(value)


def _count_content(content: object, count: Counter) -> int | None:
    if isinstance(content, str):
        return count(content)
    if not is_array(content):
        return None
    total = 0
    for part in content:
        text = text_at(part, "text") if is_mapping(part) and part.get("type") in _TEXT_PARTS else None
        tokens = None if text is None else count(text)
        if tokens is None:
            return None
        total += tokens
    return total


def texts_in(node: object, keys: frozenset[str]) -> Iterable[str]:
    """Yield every text under one of *keys*, at any depth below *node*."""
    if is_mapping(node):
        for key, value in node.items():
            if isinstance(value, str):
                if key in keys:
                    yield value
            else:
                yield from texts_in(value, keys)
    elif is_array(node):
        for item in node:
            yield from texts_in(item, keys)


def tool_types(tools: Json) -> list[str]:
    """Return the types of the tools that a body names, in their order."""
    return [text_at(tool, "type") or "function" for tool in objects_at(tools, "tools")]
