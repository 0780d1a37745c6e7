"""
What images and videos cost that are sold by the piece; kept apart from `bursar.prices`, because it is the check of it.

The figures are typed in anew from OpenAI's price page as others repeat it (read 2026-11-25).
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

_CENTS: Final = {
    "dall-e-2": {"image 256x256": "1.6", "image 512x512": "1.8", "image 1024x1024": "2"},
    "dall-e-3": {
        "image 1024x1024": "4",
        "image 1024x1792": "8",
        "image 1792x1024": "8",
        "image hd 1024x1024": "8",
        "image hd 1024x1792": "12",
        "image hd 1792x1024": "12",
    },
    "sora-2": {"second of 720x1280": "10", "second of 1280x720": "10"},
    "sora-2-pro": {
        "second of 720x1280": "30",
        "second of 1280x720": "30",
        "second of 1024x1792": "50",
        "second of 1792x1024": "50",
    },
}


def sells_by_piece(model: str) -> bool:
    """Tell whether *model* is sold by the piece."""
    return model in _CENTS


def usd_by_piece(model: str, pieces: Mapping[str, int]) -> Decimal:
    """
    Return the dollars for *pieces*.

    Raises:
        KeyError: It is not sold in that size.
    """
    return sum((Decimal(_CENTS[model][kind]) * count for kind, count in pieces.items()), Decimal(0)) / 100
