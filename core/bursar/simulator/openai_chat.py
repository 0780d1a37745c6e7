"""OpenAI chat completions on the wire."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bursar.simulator.errors import WireError
from bursar.simulator.prompts import compact, part_of
from bursar.simulator.sse import Event, unnamed

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from bursar.simulator.generation import Generation
    from bursar.simulator.script import Request


def output_limit(model: str, body: Mapping[str, Any]) -> int | None:
    """
    Return the most output tokens of one choice.

    Raises:
        WireError: Both limits are set, or the older one on a reasoning model, as OpenAI refuses it.
    """
    older, newer = body.get("max_tokens"), body.get("max_completion_tokens")
    if older is not None and newer is not None:
        msg = "Setting 'max_tokens' and 'max_completion_tokens' at the same time is not supported."
        raise WireError(400, msg, code="invalid_parameter_combination", param="max_tokens")
    if older is not None and _reasons(model):
        msg = (
            "Unsupported parameter: 'max_tokens' is not supported with this model. "
            "Use 'max_completion_tokens' instead."
        )
        raise WireError(400, msg, code="unsupported_parameter", param="max_tokens")
    return whole_number(body, "max_tokens" if newer is None else "max_completion_tokens", least=1)


def whole_number(body: Mapping[str, Any], name: str, *, least: int) -> int | None:
    """
    Return an optional whole number of *body*.

    Raises:
        WireError: It is no whole number, or less than *least*.
    """
    value = body.get(name)
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool):
        msg = f"Invalid type for '{name}': expected an integer."
        raise WireError(400, msg, code="invalid_type", param=name)
    if value < least:
        msg = f"Invalid '{name}': integer below minimum value. Expected a value >= {least}, but got {value}."
        raise WireError(400, msg, code="integer_below_min_value", param=name)
    return value


def check(body: Mapping[str, Any]) -> None:
    """Refuse what OpenAI refuses of a chat completion besides its limits."""
    if body.get("stream_options") is not None and not body.get("stream"):
        msg = "The 'stream_options' parameter is only allowed when 'stream' is enabled."
        raise WireError(400, msg, param="stream_options")
    if not body.get("messages"):
        msg = "Invalid 'messages': empty array. Expected an array with minimum length 1."
        raise WireError(400, msg, code="empty_array", param="messages")


def completion(generation: Generation, *, id_: str, created: int) -> dict[str, Any]:
    """Return the whole response."""
    message: dict[str, Any] = {
        "role": "assistant",
        "content": generation.text or (None if generation.tool_calls else ""),
        "refusal": None,
        "annotations": [],
    }
    if generation.tool_calls:
        message["tool_calls"] = [call for call, _ in _calls(generation, id_)]
    choices = [
        {"index": index, "message": message, "logprobs": None, "finish_reason": generation.finish}
        for index in range(generation.choices)
    ]
    return {
        "id": id_,
        "object": "chat.completion",
        "created": created,
        "model": generation.model,
        "choices": choices,
        "usage": usage_body(generation),
        "service_tier": generation.service_tier,
        "system_fingerprint": "fp_simulated",
    }


def usage_body(generation: Generation) -> dict[str, Any]:
    """Return the usage as chat completions state it."""
    usage = generation.usage
    return {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.total_tokens,
        "prompt_tokens_details": {
            "cached_tokens": usage.cache_read_tokens,
            "cache_write_tokens": usage.cache_write_tokens,
            "audio_tokens": 0,
        },
        "completion_tokens_details": {
            "reasoning_tokens": usage.reasoning_tokens,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def events(
    request: Request,
    generation: Generation,
    *,
    id_: str,
    created: int,
    with_usage: bool,
    is_told_last: bool = False,
) -> Iterator[Event]:
    """
    Yield the chunks; the usage comes in one of its own, and only where the request asks for it.

    Args:
        is_told_last: Whether the last chunk of the answer states it unasked, as Mistral's does.
    """
    asked = bool(part_of(request.body, "stream_options").get("include_usage"))
    head: dict[str, Any] = {
        "id": id_,
        "object": "chat.completion.chunk",
        "created": created,
        "model": generation.model,
        "service_tier": generation.service_tier,
        "system_fingerprint": "fp_simulated",
    }

    def chunk(
        index: int, delta: dict[str, Any], finish: str | None = None, used: dict[str, Any] | None = None
    ) -> bytes:
        choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish}
        body = {**head, "choices": [choice]}
        return unnamed({**body, "usage": used} if asked or used else body)

    everyone = range(generation.choices)
    thought = generation.reasoning_tokens * generation.choices
    for index in everyone:
        yield Event(chunk(index, {"role": "assistant", "content": "", "refusal": None}), 0)
    before = 0
    for text, tokens in generation.pieces():
        for index in everyone:
            done = thought + before * generation.choices + (tokens - before) * (index + 1)
            yield Event(chunk(index, {"content": text}), done)
        before = tokens
    total = generation.usage.output_tokens
    for position, (call, arguments) in enumerate(_calls(generation, id_)):
        opening = {**call, "index": position, "function": {**call["function"], "arguments": ""}}
        rest = {"index": position, "function": {"arguments": arguments}}
        for index in everyone:
            yield Event(chunk(index, {"tool_calls": [opening]}), total)
            yield Event(chunk(index, {"tool_calls": [rest]}), total)
    for index in everyone:
        is_last = index == generation.choices - 1
        used = usage_body(generation) if is_told_last and is_last and with_usage else None
        yield Event(chunk(index, {}, generation.finish, used), total, ends=is_last)
    if asked and with_usage:
        yield Event(unnamed({**head, "choices": [], "usage": usage_body(generation)}), total, ends=True)
    yield Event(b"data: [DONE]\n\n", total, ends=True)


def _calls(generation: Generation, id_: str) -> list[tuple[dict[str, Any], str]]:
    calls: list[tuple[dict[str, Any], str]] = []
    for position, call in enumerate(generation.tool_calls):
        arguments = compact(dict(call.arguments))
        function = {"name": call.name, "arguments": arguments}
        calls.append(
            ({"id": f"call_{id_[-6:]}_{position}", "type": "function", "function": function}, arguments)
        )
    return calls


def _reasons(model: str) -> bool:
    if model.startswith("gpt-5-chat"):
        return False
    return model.startswith(("gpt-5", "gpt-6", "o1", "o3", "o4"))
