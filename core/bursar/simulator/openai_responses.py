"""OpenAI Responses on the wire."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from bursar.simulator.errors import WireError
from bursar.simulator.openai_chat import whole_number
from bursar.simulator.prompts import compact
from bursar.simulator.sse import Event, named

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from bursar.simulator.generation import Generation
    from bursar.simulator.script import Request

_ECHOED: Final[Mapping[str, Any]] = {
    "instructions": None,
    "max_output_tokens": None,
    "max_tool_calls": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "previous_response_id": None,
    "prompt_cache_key": None,
    "safety_identifier": None,
    "store": True,
    "temperature": 1.0,
    "tool_choice": "auto",
    "tools": [],
    "top_logprobs": 0,
    "top_p": 1.0,
    "truncation": "disabled",
    "user": None,
}


def output_limit(body: Mapping[str, Any]) -> int | None:
    """Return the most output tokens; OpenAI refuses less than 16."""
    return whole_number(body, "max_output_tokens", least=16)


def check(body: Mapping[str, Any]) -> None:
    """Refuse what OpenAI refuses, and what the simulator does not simulate."""
    if body.get("input") is None and body.get("prompt") is None:
        msg = "Missing required parameter: 'input'."
        raise WireError(400, msg, code="missing_required_parameter", param="input")
    for name in ("background", "conversation", "prompt"):
        if body.get(name):
            msg = f"The simulator does not know '{name}'."
            raise WireError(400, msg, code="unsupported_parameter", param=name)


def response(request: Request, generation: Generation, *, id_: str, created: int) -> dict[str, Any]:
    """Return the whole response."""
    is_cut = generation.finish == "length"
    return {
        **_shell(request, generation, id_=id_, created=created),
        "status": "incomplete" if is_cut else "completed",
        "completed_at": created,
        "incomplete_details": {"reason": "max_output_tokens"} if is_cut else None,
        "output": [item for item, _ in _items(generation, id_)],
        "service_tier": generation.service_tier,
        "usage": usage_body(generation),
    }


def usage_body(generation: Generation) -> dict[str, Any]:
    """Return the usage as Responses state it."""
    usage = generation.usage
    return {
        "input_tokens": usage.input_tokens,
        "input_tokens_details": {
            "cached_tokens": usage.cache_read_tokens,
            "cache_write_tokens": usage.cache_write_tokens,
        },
        "output_tokens": usage.output_tokens,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
        "total_tokens": usage.total_tokens,
    }


def events(
    request: Request, generation: Generation, *, id_: str, created: int, with_usage: bool
) -> Iterator[Event]:
    """Yield every typed event from `response.created` to the last; the usage is in the last."""
    sequence = 0

    def event(kind: str, tokens: int, **fields: Any) -> Event:  # noqa: ANN401 - any JSON value
        nonlocal sequence
        body = {"type": kind, "sequence_number": sequence, **fields}
        sequence += 1
        return Event(named(body), tokens)

    shell = _shell(request, generation, id_=id_, created=created)
    yield event("response.created", 0, response=shell)
    yield event("response.in_progress", 0, response=shell)
    tokens = 0
    for index, (item, status) in enumerate(_items(generation, id_)):
        place: dict[str, Any] = {"output_index": index, "item_id": item["id"]}
        if item["type"] == "reasoning":
            tokens = generation.reasoning_tokens
            yield event("response.output_item.added", 0, output_index=index, item=item)
        elif item["type"] == "message":
            opened: dict[str, Any] = {**item, "content": [], "status": "in_progress"}
            yield event("response.output_item.added", tokens, output_index=index, item=opened)
            place["content_index"] = 0
            part = {**item["content"][0], "text": ""}
            yield event("response.content_part.added", tokens, **place, part=part)
            for text, visible in generation.pieces():
                tokens = generation.reasoning_tokens + visible
                yield event("response.output_text.delta", tokens, **place, delta=text, logprobs=[])
            yield event("response.output_text.done", tokens, **place, text=generation.text, logprobs=[])
            yield event("response.content_part.done", tokens, **place, part=item["content"][0])
        else:
            tokens = generation.usage.output_tokens
            opened = {**item, "arguments": "", "status": "in_progress"}
            yield event("response.output_item.added", tokens, output_index=index, item=opened)
            arguments = item["arguments"]
            yield event("response.function_call_arguments.delta", tokens, **place, delta=arguments)
            called = {"arguments": arguments, "name": item["name"]}
            yield event("response.function_call_arguments.done", tokens, **place, **called)
        done = item if status is None else {**item, "status": status}
        yield event("response.output_item.done", tokens, output_index=index, item=done)
    whole = response(request, generation, id_=id_, created=created)
    if not with_usage:
        whole["usage"] = None
    last = event(f"response.{whole['status']}", generation.usage.output_tokens, response=whole)
    yield Event(last.data, last.output_tokens, ends=True)


def _shell(request: Request, generation: Generation, *, id_: str, created: int) -> dict[str, Any]:
    """Return the response as it is before anything was generated."""
    body = request.body
    text: dict[str, Any] = {"format": {"type": "text"}, "verbosity": "medium", **(body.get("text") or {})}
    return {
        "id": id_,
        "object": "response",
        "created_at": created,
        "status": "in_progress",
        "background": False,
        "completed_at": None,
        "error": None,
        "incomplete_details": None,
        "model": generation.model,
        "output": [],
        "reasoning": {"effort": None, "summary": None, **(body.get("reasoning") or {})},
        "service_tier": "auto",
        "text": text,
        "usage": None,
        **{name: body.get(name, usual) for name, usual in _ECHOED.items()},
    }


def _items(generation: Generation, id_: str) -> list[tuple[dict[str, Any], str | None]]:
    """Return the output items as they end, each with its final status, if its kind has one."""
    key = id_.removeprefix("resp_")
    items: list[tuple[dict[str, Any], str | None]] = []
    if generation.reasoning_tokens:
        items.append(({"id": f"rs_{key}", "type": "reasoning", "summary": []}, None))
    status = "incomplete" if generation.finish == "length" else "completed"
    if generation.text or not generation.tool_calls:
        part: dict[str, Any] = {
            "type": "output_text",
            "text": generation.text,
            "annotations": [],
            "logprobs": [],
        }
        message: dict[str, Any] = {
            "id": f"msg_{key}",
            "type": "message",
            "role": "assistant",
            "content": [part],
        }
        items.append(({**message, "status": status}, status))
    for position, call in enumerate(generation.tool_calls):
        called = {
            "id": f"fc_{key}_{position}",
            "type": "function_call",
            "call_id": f"call_{key[-6:]}_{position}",
            "name": call.name,
            "arguments": compact(dict(call.arguments)),
            "status": "completed",
        }
        items.append((called, "completed"))
    return items
