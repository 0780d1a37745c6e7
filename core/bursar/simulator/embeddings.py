"""OpenAI embeddings and moderations on the wire, and the lists of models."""

from __future__ import annotations

import base64
import sys
from array import array
from random import Random
from typing import TYPE_CHECKING, Any, Final

from bursar.simulator.openai_chat import whole_number

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_DIMENSIONS: Final = {"text-embedding-3-large": 3_072}
_DIMENSIONS_ELSE: Final = 1_536

_CATEGORIES: Final = (
    "harassment",
    "harassment/threatening",
    "hate",
    "hate/threatening",
    "illicit",
    "illicit/violent",
    "self-harm",
    "self-harm/instructions",
    "self-harm/intent",
    "sexual",
    "sexual/minors",
    "violence",
    "violence/graphic",
)


def embeddings(
    model: str, body: Mapping[str, Any], inputs: list[tuple[str, int]], *, input_tokens: int, with_usage: bool
) -> dict[str, Any]:
    """Return a vector of length one for each input; the same text has the same vector."""
    dimensions = whole_number(body, "dimensions", least=1) or _DIMENSIONS.get(model, _DIMENSIONS_ELSE)
    in_base64 = body.get("encoding_format") == "base64"
    data: list[dict[str, Any]] = []
    for index, (text, _) in enumerate(inputs):
        vector = _vector(text, dimensions)
        written = _base64(vector) if in_base64 else vector.tolist()
        data.append({"object": "embedding", "index": index, "embedding": written})
    usage = {"prompt_tokens": input_tokens, "total_tokens": input_tokens}
    return {"object": "list", "data": data, "model": model} | ({"usage": usage} if with_usage else {})


def moderations(model: str, inputs: list[tuple[str, int]], *, id_: str) -> dict[str, Any]:
    """Return a moderation that flags nothing."""
    result = {
        "flagged": False,
        "categories": dict.fromkeys(_CATEGORIES, False),
        "category_scores": dict.fromkeys(_CATEGORIES, 0.0),
        "category_applied_input_types": {name: ["text"] for name in _CATEGORIES},
    }
    return {"id": id_, "model": model, "results": [result for _ in inputs]}


def openai_models(names: Iterable[str]) -> dict[str, Any]:
    """Return the list of models as OpenAI writes it."""
    return {"object": "list", "data": [openai_model(name) for name in names]}


def openai_model(name: str) -> dict[str, Any]:
    """Return one model as OpenAI writes it."""
    return {"id": name, "object": "model", "created": 0, "owned_by": "simulator"}


def anthropic_models(names: Iterable[str]) -> dict[str, Any]:
    """Return the list of models as Anthropic writes it."""
    data = [anthropic_model(name) for name in names]
    first, last = (data[0]["id"], data[-1]["id"]) if data else (None, None)
    return {"data": data, "has_more": False, "first_id": first, "last_id": last}


def anthropic_model(name: str) -> dict[str, Any]:
    """Return one model as Anthropic writes it."""
    return {"type": "model", "id": name, "display_name": name, "created_at": "1970-01-01T00:00:00Z"}


def _vector(text: str, dimensions: int) -> array[float]:
    # Seeded with the text itself, because Python's own hash differs from process to process.
    draw = Random(text).random  # noqa: S311 - a stand-in for meaning, not a secret
    raw = [draw() - 0.5 for _ in range(dimensions)]
    length = sum(value * value for value in raw) ** 0.5
    return array("f", [value / length for value in raw])


def _base64(vector: array[float]) -> str:
    if sys.byteorder == "big":
        vector.byteswap()
    return base64.b64encode(vector.tobytes()).decode()
