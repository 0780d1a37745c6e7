"""What LangChain says that a call has used: the provider's own figures where it keeps them, else LangChain's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from bursar.usage import Usage
from bursar.wire import ANTHROPIC_MESSAGES, Receipt
from bursar.wire.fields import is_array, is_mapping, number_at
from bursar.wire.receipt import told_receipt

if TYPE_CHECKING:
    from collections.abc import Mapping
    from uuid import UUID

    from langchain_core.outputs import LLMResult

    from bursar.wire import Endpoint

_TIERS: Final = ("priority", "flex")
_MODELS: Final = ("model_name", "model", "model_id")
_ENDS: Final = ("finish_reason", "stop_reason", "done_reason", "stopReason", "status")
_OWN_ID: Final = "lc_run--"
_RUN_ID: Final = slice(len(_OWN_ID), len(_OWN_ID) + 36)


def first_of(result: LLMResult) -> Any:
    """Return the first generation of *result*, or None."""
    for generations in result.generations:
        if generations:
            return generations[0]
    return None


def receipt_of(result: LLMResult, generation: Any, endpoint: Endpoint) -> Receipt:
    """
    Return what *result* says about the cost of its call.

    Args:
        generation: Its first one, which has a message unless the model completes texts.

        endpoint: The format in which the call was weighed, which is also that of the usage its provider states.
    """
    message = getattr(generation, "message", None)
    about: Mapping[str, Any] = (
        getattr(message, "response_metadata", None) or getattr(generation, "generation_info", None) or {}
    )
    output: Mapping[str, Any] = result.llm_output or {}
    model = tier = None
    finished = False
    if about or output:
        model = _text(about, _MODELS) or _text(output, _MODELS)
        stated: Any = about.get("token_usage") or about.get("usage")
        stated = stated or output.get("token_usage") or output.get("usage")
        finished = _text(about, _ENDS) is not None
        tier = about.get("service_tier") or output.get("service_tier")
        if stated and is_mapping(stated):
            raw = endpoint.read_response(_raw(endpoint, stated, model, tier))
            if raw.usage is not None:
                return raw._replace(finished=True)
    told: Mapping[str, Any] | None = getattr(message, "usage_metadata", None)
    if not told:
        return Receipt(model=model, finished=finished)
    if tier is None and not told.get("input_token_details") and not told.get("output_token_details"):
        into, out = told.get("input_tokens"), told.get("output_tokens")
        if type(into) is not int or type(out) is not int or into < 0 or out < 0:
            into, out = number_at(told, "input_tokens"), number_at(told, "output_tokens")
        return told_receipt(into, out, model=model)
    usage, told_tier = _usage_of(told)
    return Receipt(usage=usage, model=model, finished=True).with_tier(told_tier or tier)


def is_from_cache(generation: Any, run_id: UUID) -> bool:
    """
    Whether LangChain's own cache answered, so that nothing was sent.

    It says so by a cost of zero beside the usage; an answer without usage still carries the id of the run that had it
    from the provider.

    Args:
        generation: The answer.
    """
    message = getattr(generation, "message", None)
    if message is None:
        # The cache of text models marks nothing, and leaves out what only the provider can have said.
        return False
    usage: Mapping[str, Any] = getattr(message, "usage_metadata", None) or {}
    if usage.get("total_cost") == 0:
        return True
    made_by = getattr(message, "id", None)
    if not isinstance(made_by, str) or not made_by.startswith(_OWN_ID):
        return False
    try:
        # Quicker than to write this run's id out.
        return int(made_by[_RUN_ID].replace("-", ""), 16) != run_id.int
    except ValueError:
        return True


def text_of(result: LLMResult | None) -> str:
    """Return all the output that *result* shows, as one text to be counted."""
    if result is None:
        return ""
    parts: list[str] = []
    for generations in result.generations:
        for generation in generations:
            message = getattr(generation, "message", None)
            if message is None:
                parts.append(generation.text)
                continue
            _add_texts(message.content, parts)
            _add_texts(message.additional_kwargs, parts)
            for key in ("tool_calls", "invalid_tool_calls", "tool_call_chunks"):
                _add_texts(getattr(message, key, None), parts)
    return "".join(parts)


def _add_texts(node: Any, parts: list[str]) -> None:
    if isinstance(node, str):
        parts.append(node)
    elif is_mapping(node):
        for value in node.values():
            _add_texts(value, parts)
    elif is_array(node):
        for item in node:
            _add_texts(item, parts)


def _raw(endpoint: Endpoint, usage: Mapping[str, Any], model: str | None, tier: object) -> dict[str, Any]:
    body: dict[str, Any] = {"usage": usage}
    if model is not None:
        body["model"] = model
    if isinstance(tier, str):
        body["service_tier"] = tier
    if endpoint is ANTHROPIC_MESSAGES:
        body |= {"type": "message", "role": "assistant", "content": []}
    return body


def _usage_of(told: Mapping[str, Any]) -> tuple[Usage, str | None]:
    """Return LangChain's `usage_metadata` as usage, and the tier that its details are named after."""
    into: Mapping[str, Any] = told.get("input_token_details") or {}
    out: Mapping[str, Any] = told.get("output_token_details") or {}
    tier = next((tier for tier in _TIERS if tier in into or tier in out), None)
    hour = _count(into, "ephemeral_1h_input_tokens", None)
    written = _count(into, "cache_creation", tier)
    written = max(written, hour + _count(into, "ephemeral_5m_input_tokens", None))
    output = _count(told, "output_tokens", None)
    other = {
        "input_audio_tokens": _count(into, "audio", None),
        "output_audio_tokens": _count(out, "audio", None),
    }
    usage = Usage(
        input_tokens=_count(told, "input_tokens", None),
        cache_read_tokens=_count(into, "cache_read", tier),
        cache_write_tokens=written,
        cache_write_1h_tokens=hour,
        output_tokens=output,
        reasoning_tokens=min(_count(out, "reasoning", tier), output),
        other={name: count for name, count in other.items() if count},
    )
    return usage, tier


def _count(counts: Mapping[str, Any], name: str, tier: str | None) -> int:
    found = number_at(counts, name)
    return number_at(counts, f"{tier}_{name}") if not found and tier is not None else found


def _text(about: Mapping[str, Any], names: tuple[str, ...]) -> str | None:
    for name in names if about else ():
        value = about.get(name)
        if isinstance(value, str) and value:
            return value
    return None
