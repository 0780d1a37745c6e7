"""
Exact token counts of OpenAI models, offline.

Counting needs the extra `tokenizer` (the package `bpe-openai`, whose tables are in its wheel).  It is imported on
the first count, which takes about half a second once; each table then takes about 70 ms, and 200 kB of text 6 ms.
Where it is not installed, or the model is not known to use one of its tables, the answer is None: a caller then
keeps the bound in bytes, which holds for every byte-level tokenizer.
"""

from __future__ import annotations

import importlib
import re
import threading
import warnings
from collections.abc import Callable
from functools import lru_cache
from typing import Final

# Families whose counts were compared with what the provider billed.  A later family may bring another table, and a
# count that is too low is worse than none, so it is added when it has been seen.
_ENCODINGS: Final = (
    (r"(gpt-4o|chatgpt-4o|gpt-4\.[15]|gpt-5|o[134]|codex-mini|computer-use-preview)(?=$|[-.])", "o200k_base"),
    (r"(gpt-4(-turbo|-32k|-vision|-\d{4})?|gpt-3\.5-turbo)(?=$|-)", "cl100k_base"),
    (r"text-embedding-(3-small|3-large|ada-002)(?=$|-)", "cl100k_base"),
)
_TEXT_MOST: Final = 999_999
"""The longest text, in characters, that the tokenizer takes in one piece."""

Counter = Callable[[str], int | None]
"""A function that counts the tokens of a text, or answers None where it cannot."""


def count_tokens(model: str, text: str) -> int | None:
    """
    Return how many tokens *text* is for *model*, or None where it cannot be told exactly.

    What looks like a special token (`<|endoftext|>`) counts as the ordinary text that a provider takes it for.
    Lone surrogates count as the replacement character, which is what can be sent in their place.

    Args:
        model: A model id of OpenAI's, with or without `openai/` before it or `ft:` around it.

        text: Any text below a million characters and 200 000 tokens; None is the answer for a longer one.
    """
    counter = token_counter(model)
    return None if counter is None else counter(text)


def token_counter(model: str) -> Counter | None:
    """Return a function that counts the tokens of a text for *model*, or None where nothing can count them."""
    name = encoding_name(model)
    if name is None:
        return None
    if name not in _loaded:
        with _loading:
            _loaded.setdefault(name, _load(name))
    return _loaded[name]


@lru_cache(maxsize=1024)
def encoding_name(model: str) -> str | None:
    """Return the table that *model* is known to use, `o200k_base` or `cl100k_base`, or None."""
    bare = model.removeprefix("openai/").removeprefix("ft:")
    return next((name for family, name in _ENCODINGS if re.match(family, bare)), None)


_loading = threading.Lock()
_loaded: dict[str, Counter | None] = {}


def _load(name: str) -> Counter | None:
    try:
        # Here and by name: it takes half a second, most calls need no count, and it may not be installed.
        with warnings.catch_warnings():
            # It opens its tables in a way that newer Pythons deprecate, which is nothing to its callers.
            warnings.simplefilter("ignore", DeprecationWarning)
            bpe_openai = importlib.import_module("bpe_openai")
    except ModuleNotFoundError:
        return None
    encoding = bpe_openai.get_encoding(name)

    def count(text: str) -> int | None:
        if len(text) > _TEXT_MOST:
            return None
        try:
            return len(encoding.encode_ordinary(text))
        except bpe_openai.TokenLimitError:
            # It stops at 200 000 tokens of one text, which few models take at all.
            return None

    return count
