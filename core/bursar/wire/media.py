"""Ceilings for what a request sends besides text: images, audio, documents."""

from __future__ import annotations

import binascii
import re
import zlib
from functools import lru_cache
from typing import Final

# The most tokens one image can be billed as.  OpenAI ("Images and vision"): tiles, base + 8 x tile for what scales to
# 768 x 2048; or patches of 32 x 32, 1 536 times a factor.  Anthropic ("Vision"): patches of 28 x 28 within 1 568
# pixels, 4 784 of them since Opus 4.7.  Google ("Image understanding"): 258 a tile of at least 256 pixels, of which a
# picture within 3 072 has 24; since Gemini 3 the highest resolution that can be asked for.  First match counts,
# longest names first.
_IMAGE_MOST: Final = (
    (r"gpt-4o-mini", 2_833 + 8 * 5_667),
    (r"gpt-4\.1-mini", 2_489),
    (r"gpt-4\.1-nano", 3_779),
    (r"gpt-4o|chatgpt-4o|gpt-4\.1|gpt-4\.5|gpt-4-(turbo|vision)", 85 + 8 * 170),
    (r"o4-mini|codex-mini", 2_642),
    (r"o[13](?=$|-)|computer-use-preview", 75 + 8 * 150),
    (r"gpt-5(\.1)?-mini", 2_489),
    (r"gpt-5(\.1)?-nano", 3_779),
    (r"gpt-5(\.1)?(?=$|-)", 70 + 8 * 140),
    # Up to 10 000 patches with detail "original", at the highest factor known, 2.46.
    (r"gpt-[5-9]", 24_600),
    (r"claude-([23]|instant|(sonnet|haiku|opus)-4(-[0-6])?(?=$|-20|-latest|@))", 1_640),
    (r"claude", 4_860),
    (r"gemini-[3-9]", 2_240),
    (r"gemini-[12]", 24 * 258),
)
_IMAGE_MOST_UNKNOWN: Final = 2_833 + 8 * 5_667
"""For other models, the highest of all: an Azure deployment of any name may be gpt-4o-mini."""

_PAGE_TEXT_MOST: Final = 3_000
"""Tokens of text on one page of a PDF, the upper end that Anthropic's "PDF support" gives."""
_AUDIO_TOKENS_PER_S: Final = 32
"""Of the providers known, Google counts most; OpenAI counts 10, Mistral 12.5."""
_AUDIO_BYTES_PER_S: Final = 1_000
"""8 kbit/s, the lowest rate at which speech is commonly encoded."""
_INFLATED_MOST: Final = 8_000_000


@lru_cache(maxsize=1024)
def image_tokens_most(model: str) -> int:
    """Return the most tokens one image can be billed as by *model*, in any detail."""
    bare = model.rsplit("/", 1)[-1].removeprefix("ft:")
    return next((most for family, most in _IMAGE_MOST if re.match(family, bare)), _IMAGE_MOST_UNKNOWN)


def audio_tokens_most(data: str) -> int:
    """Return the most tokens that base64 audio can be, by the rate in its WAV header, else by its size."""
    size = len(data) * 3 // 4
    head = _decoded(data[:64])
    rate = _AUDIO_BYTES_PER_S
    if head is not None and head[:4] == b"RIFF" and head[8:16] == b"WAVEfmt " and len(head) >= 32:
        rate = max(int.from_bytes(head[28:32], "little"), _AUDIO_BYTES_PER_S)
    return (size // rate + 1) * _AUDIO_TOKENS_PER_S


def document_tokens_most(data: str, media_type: str, model: str) -> int | None:
    """
    Return the most tokens that a base64 document can be, or None where it cannot be told.

    A text is as many tokens as bytes at most.  A PDF is its pages times a page's text and image; its pages are
    counted in the file.  Other formats are compressed, and nothing bounds what is in them.
    """
    if media_type.startswith("text/") or media_type in {"application/json", "application/xml"}:
        return len(data) * 3 // 4
    if media_type != "application/pdf":
        return None
    document = _decoded(data)
    pages = None if document is None else pdf_pages(document)
    return None if pages is None else pages * (_PAGE_TEXT_MOST + image_tokens_most(model))


_PAGE: Final = rb"/Type\s*/Page(?![A-Za-z])"
_COUNT: Final = rb"/Count\s+(\d{1,6})"
_STREAM: Final = rb"(?s)/ObjStm\b.{0,400}?stream\r?\n"


def pdf_pages(document: bytes) -> int | None:
    """Return no fewer pages than *document* has, or None where they cannot be counted (encrypted, damaged)."""
    if b"/Encrypt" in document:
        return None
    bodies = [document]
    for match in re.finditer(_STREAM, document):
        # The page objects of newer files are in compressed streams.
        inflated = _inflated(document[match.end() :])
        if inflated is None:
            return None
        bodies.append(inflated)
    pages = sum(len(re.findall(_PAGE, body)) for body in bodies)
    stated = (int(count) for body in bodies for count in re.findall(_COUNT, body))
    return max(pages, *stated, 0) or None


def _inflated(data: bytes) -> bytes | None:
    inflater = zlib.decompressobj()
    try:
        body = inflater.decompress(data, _INFLATED_MOST)
    except zlib.error:
        return None
    return None if inflater.unconsumed_tail else body


def _decoded(data: str) -> bytes | None:
    try:
        return binascii.a2b_base64(data)
    except (binascii.Error, ValueError):
        return None
