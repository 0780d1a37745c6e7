"""
The most output tokens that a model can produce for one choice, reasoning included.

genai-prices has no such limits.  These are the figures of the providers' own model pages, as the open price lists
repeat them, the largest that any of them gives for the family.  A ceiling too low would let a call cost more than was
held for it, so they err upwards, and a family that is not listed has none.
"""

from __future__ import annotations

import re
from typing import Final

from bursar.prices.lookup import declared_output_limit, resolve_alias
from bursar.prices.names import bare_name, routes
from bursar.prices.overrides import STATE

_EVERYWHERE: Final = None
_KNOWN_MOST: Final = 4_096

# Provider or any; the beginning of the bare name; the limit.  The first that fits holds.
# Kept as text: compiling them all would take longer than the rest of this package's import.
_CEILINGS: Final[tuple[tuple[str | None, str, int], ...]] = (
    # OpenAI's model pages.
    (_EVERYWHERE, r"text-embedding-|omni-moderation|text-moderation", 0),
    (_EVERYWHERE, r"gpt-3\.?5-turbo-16k", 16_384),
    (_EVERYWHERE, r"gpt-3\.?5-turbo-instruct", 4_097),
    (_EVERYWHERE, r"gpt-3\.?5", 4_096),
    (_EVERYWHERE, r"gpt-4-32k", 32_768),
    (_EVERYWHERE, r"gpt-4-(?:turbo|vision|1106|0125)", 4_096),
    (_EVERYWHERE, r"gpt-4(?:-0314|-0613)?$", 8_192),
    (_EVERYWHERE, r"gpt-4\.1(?![0-9])", 32_768),
    (_EVERYWHERE, r"gpt-4\.5", 16_384),
    (_EVERYWHERE, r"gpt-4o(?::extended|-64k)", 65_536),
    (_EVERYWHERE, r"(?:chat)?gpt-4o|gpt-audio", 16_384),
    (_EVERYWHERE, r"gpt-5(?:\.[12])?-chat", 16_384),
    (_EVERYWHERE, r"gpt-5[0-9.]*-pro", 272_000),
    (_EVERYWHERE, r"gpt-5(?![0-9])", 128_000),
    (_EVERYWHERE, r"gpt-6(?![0-9])", 131_072),
    (_EVERYWHERE, r"gpt-oss", 131_072),
    (_EVERYWHERE, r"gpt-chat-latest|gpt-daybreak", 128_000),
    (_EVERYWHERE, r"o1-mini", 65_536),
    (_EVERYWHERE, r"o1-preview", 32_768),
    (_EVERYWHERE, r"o[134](?![0-9])|codex-mini", 100_000),
    (_EVERYWHERE, r"computer-use-preview", 8_192),
    (_EVERYWHERE, r"(?:babbage|davinci)-002", 16_384),
    # Anthropic's model overview; 3.7 with its output beta.
    (_EVERYWHERE, r"claude-(?:instant|v?[12](?![0-9]))", 8_191),
    (_EVERYWHERE, r"claude-3[.-]7|claude-3-7", 128_000),
    (_EVERYWHERE, r"claude-3[.-]5", 16_384),
    (_EVERYWHERE, r"claude-3-(?:haiku|sonnet|opus)", 4_096),
    (
        _EVERYWHERE,
        r"claude-(?:opus-4(?:[.-][01](?![0-9]))?|4-opus)(?:[@:-](?:v|20|latest|default)|$)",
        32_000,
    ),
    (
        _EVERYWHERE,
        r"claude-(?:sonnet-4(?:[.-]0(?![0-9]))?|4-sonnet)(?:[@:-](?:v|20|latest|default)|$)",
        64_000,
    ),
    (_EVERYWHERE, r"claude-(?:opus|sonnet|haiku)-4[.-]5", 64_000),
    (_EVERYWHERE, r"claude-(?:opus|sonnet|haiku)-4[.-][6-8]", 128_000),
    (_EVERYWHERE, r"claude-(?:opus|sonnet|haiku|fable|mythos)-(?:5(?![0-9])|preview)", 128_000),
    # Google's model pages; thinking is output.
    (_EVERYWHERE, r"gemini-embedding|text-embedding", 0),
    (_EVERYWHERE, r"gemini-(?:1\.[05]|pro$|pro-vision)", 8_192),
    (_EVERYWHERE, r"gemini-2\.0-flash(?!-thinking)", 8_192),
    (_EVERYWHERE, r"gemini-(?:2\.|3(?![0-9])|flash|pro-latest|exp|omni|robotics)", 65_536),
    (_EVERYWHERE, r"gemini-4(?![0-9])", 1_048_576),
    # Cohere's model overview ("8k" is taken for 8 192).
    ("cohere", r"command-a-reasoning", 32_768),
    ("cohere", r"command-a-(?:03-2025|translate|vision)", 8_192),
    ("cohere", r"command-r|command(?:-light|-nightly)?$|c4ai-aya|command-light", 4_096),
    ("cohere", r"embed-|rerank-", 0),
    # The model cards of Amazon Bedrock and Amazon Nova.
    ("aws", r"nova-(?:micro|lite|pro)-v1", 10_240),
    ("aws", r"nova-premier-v1", 32_768),
    ("aws", r"nova-2-lite", 65_536),
    ("aws", r"titan-text-", 8_192),
    ("aws", r"titan-embed-|embed-|rerank-", 0),
    ("aws", r"llama[23](?![0-9])", 8_192),
    ("aws", r"mistral-7b|mixtral|mistral-(?:large|small)-24", 8_192),
    # Open weights are limited by who serves them: the maker's or Groq's own pages.
    ("deepseek", r"deepseek", 393_216),
    ("groq", r"llama|qwen|gemma|kimi|deepseek|compound", 131_072),
    ("mistral", r"mistral-large-(?:4|latest)", 1_048_576),
    ("mistral", r"mistral-embed|codestral-embed", 0),
    (
        "mistral",
        r"(?:open-)?(?:mistral|mixtral)|ministral|magistral|devstral|codestral|pixtral|voxtral",
        262_144,
    ),
)


def output_ceiling(provider: str | None, model: str) -> int | None:
    """
    Return the most output tokens that *model* can produce for one choice, or None where that is not known.

    What was declared with `add(output_limit=...)` comes first; an alias has the ceiling of what it stands for.
    An upper bound: a family's largest member decides.  A model that answers in vectors has zero.
    """
    known = STATE.now.ceilings
    try:
        return known[provider, model]
    except KeyError:
        if len(known) >= _KNOWN_MOST:
            known.clear()
        ceiling = known[provider, model] = _look_up(provider, model)
        return ceiling


def _look_up(provider: str | None, model: str) -> int | None:
    declared = declared_output_limit(provider, model)
    if declared is not None:
        return declared
    meant_by, meant = resolve_alias(provider, model)
    name = bare_name(meant)
    providers = {route.provider for route in routes(meant_by, meant)}
    for seller, pattern, limit in _CEILINGS:
        if (seller is None or seller in providers) and re.match(pattern, name):
            return limit
    return None
