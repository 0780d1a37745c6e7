"""The providers that speak neither OpenAI's format nor Anthropic's: Google, AWS and Cohere."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from bursar.simulator import bedrock, cohere, gemini
from bursar.simulator.errors import encode
from bursar.simulator.prompts import Prompt
from bursar.simulator.tokens import count_tokens

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bursar.simulator.exchange import Plan
    from bursar.simulator.generation import Generation
    from bursar.simulator.routes import Route
    from bursar.simulator.script import Request


def plan(base: Plan, request: Request, generation: Generation, number: int, *, with_usage: bool) -> Plan:
    """Return *base* with the answer to *request*."""
    id_ = f"sim{number:08d}"
    if base.dialect == "cohere":
        if request.stream:
            events = cohere.events(request.endpoint, generation, id_=id_, with_usage=with_usage)
            return replace(
                base, events=events, content_type=cohere.LINES if request.endpoint == "chat_v1" else None
            )
        whole = cohere.response(request.endpoint, generation, id_=id_, with_usage=with_usage)
        return replace(base, body=encode(whole))
    if request.endpoint == "generate":
        if request.stream:
            return replace(base, events=gemini.events(generation, id_=id_, with_usage=with_usage))
        return replace(base, body=encode(gemini.response(generation, id_=id_, with_usage=with_usage)))
    if request.stream:
        events = bedrock.events(request, generation, id_=id_, with_usage=with_usage)
        return replace(base, events=events, content_type=bedrock.CONTENT_TYPE)
    return replace(base, body=encode(bedrock.response(request, generation, id_=id_, with_usage=with_usage)))


def read(route: Route, model: str, body: Mapping[str, Any]) -> tuple[Prompt, int | None, int]:
    """
    Return the prompt, the output limit and how many answers are asked for.

    Raises:
        WireError: The provider would refuse it.
    """
    if route.dialect == "cohere":
        return cohere.read(route.endpoint, model, body), cohere.output_limit(body), 1
    if route.endpoint == "embeddings":
        texts = gemini.embedded(body)
        return Prompt(messages=tuple(texts), tokens=sum(map(count_tokens, texts))), None, 1
    if route.dialect == "google":
        return gemini.read(body), gemini.output_limit(body), gemini.candidates(body)
    limit = bedrock.output_limit(route.endpoint, body)
    return bedrock.read(route.endpoint, model, body), limit, 1
