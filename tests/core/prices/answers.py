"""Answers of each provider that tests put together, and what they cost."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from bursar import prices

AT = datetime(2026, 11, 23, 2, tzinfo=UTC)
MESSAGES = "/v1/messages"


def chat(model: str, usage: dict[str, Any], *, provider: str = "openai", **fields: Any) -> prices.Cost:
    """Return the cost of a chat completion of *model* that used *usage*."""
    body: dict[str, Any] = {
        "object": "chat.completion",
        "model": model,
        "choices": [],
        "usage": usage,
        **fields,
    }
    return prices.cost_of(provider=provider, path="/v1/chat/completions", response=body, at=AT)


def response(model: str, usage: dict[str, Any], **fields: Any) -> prices.Cost:
    """Return the cost of a Responses answer of *model* that used *usage*."""
    body: dict[str, Any] = {
        "object": "response",
        "status": "completed",
        "model": model,
        "output": [],
        "usage": usage,
        **fields,
    }
    return prices.cost_of(provider="openai", path="/v1/responses", response=body, at=AT)


def message(
    usage: dict[str, Any], *, model: str = "claude-sonnet-4-5", tier: str | None = None
) -> prices.Cost:
    """Return the cost of an Anthropic message of *model* that used *usage*."""
    body: dict[str, Any] = {
        "type": "message",
        "model": model,
        "content": [],
        "stop_reason": "end_turn",
        "usage": usage,
    }
    return prices.cost_of(provider="anthropic", path=MESSAGES, response=body, at=AT, tier=tier)


def gemini(usage: dict[str, Any], *, model: str = "gemini-2.5-flash", **fields: Any) -> prices.Cost:
    """Return the cost of a Gemini answer of *model* that used *usage*."""
    candidate = {"content": {"parts": [{"text": "ok"}], "role": "model"}, "finishReason": "STOP", **fields}
    body: dict[str, Any] = {"candidates": [candidate], "usageMetadata": usage, "modelVersion": model}
    path = f"/v1beta/models/{model}:generateContent"
    return prices.cost_of(provider="google", path=path, response=body, at=AT)


def converse(model: str, usage: dict[str, Any], **fields: Any) -> prices.Cost:
    """Return the cost of a Converse answer of *model* that used *usage*."""
    body: dict[str, Any] = {"output": {}, "stopReason": "end_turn", "usage": usage, **fields}
    return prices.cost_of(provider="aws", path=f"/model/{model}/converse", response=body, at=AT)
