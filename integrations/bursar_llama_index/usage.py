"""What LlamaIndex's answers say that a call has used: the provider's own words, where it keeps them in `raw`."""

# Raw answers are of whatever class the provider's own package has.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from bursar.tokens import count_tokens, encoding_name
from bursar.wire import ANTHROPIC_MESSAGES, Receipt
from bursar.wire.fields import is_mapping
from bursar.wire.receipt import told_receipt

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bursar.wire import Endpoint

_SAYS_NOTHING: Final = Receipt()
_USAGE: Final = ("usage", "usage_metadata", "usageMetadata")
_COUNTS: Final = (("prompt_tokens", "completion_tokens"), ("input_tokens", "output_tokens"))


def receipt_of(response: Any, endpoint: Endpoint) -> Receipt:
    """
    Return what *response*, a `ChatResponse` or a `CompletionResponse`, says about the cost of its call.

    Args:
        endpoint: The format in which the call was weighed, which is also that of the usage its provider states.
    """
    raw = _mapping(told) if (told := getattr(response, "raw", None)) is not None else {}
    if raw and is_mapping(whole := raw.get("response")):
        # The last event of a stream of OpenAI's Responses holds the response.
        raw = dict(whole)
    model = raw.get("model")
    name = model if isinstance(model, str) else None
    for key in _USAGE if raw else ():
        if raw.get(key) is not None and (usage := _mapping(raw[key])):
            seen = endpoint.read_response(_body(endpoint, raw, key, usage))
            if seen.usage is not None:
                return seen
    counts: Any = getattr(response, "additional_kwargs", None) or {}
    for into, out in _COUNTS if counts else ():
        if isinstance(counts.get(into), int) and isinstance(counts.get(out), int):
            return told_receipt(max(counts[into], 0), max(counts[out], 0), model=name)
    return _SAYS_NOTHING if name is None else Receipt(model=name)


def text_of(response: Any) -> str:
    """Return all the output that *response* shows, as one text to be counted."""
    message = getattr(response, "message", None)
    if message is None:
        return getattr(response, "text", None) or ""
    parts: list[str] = []
    for block in message.blocks:
        if block.block_type == "text":
            parts.append(block.text)
        elif block.block_type == "thinking":
            parts.append(block.content or "")
        else:
            parts.append(block.model_dump_json(exclude_none=True))
    if calls := message.additional_kwargs.get("tool_calls"):
        parts.extend(map(str, calls))
    return "".join(parts)


def tokens_in(model: str, texts: Iterable[str]) -> int:
    """Count output that was seen, high where no tokenizer is at hand."""
    text = "".join(texts)
    counted = None if encoding_name(model) is None else count_tokens(model, text)
    return len(text.encode(errors="surrogatepass")) if counted is None else counted


def _body(endpoint: Endpoint, raw: dict[str, Any], key: str, usage: dict[str, Any]) -> dict[str, Any]:
    body: dict[str, Any] = {
        name: value for name, value in raw.items() if isinstance(value, str | int | float)
    }
    body[key] = usage
    if endpoint is ANTHROPIC_MESSAGES:
        body |= {"type": "message", "role": "assistant", "content": []}
    return body


def _mapping(value: Any) -> dict[str, Any]:
    """Return *value* as a mapping all through: the SDKs answer with models of pydantic's."""
    if is_mapping(value):
        return {str(key): item for key, item in value.items()}
    dump = getattr(value, "model_dump", None)
    if not callable(dump):
        return {}
    dumped: Any = dump(exclude_none=True)
    return dumped if isinstance(dumped, dict) else {}
