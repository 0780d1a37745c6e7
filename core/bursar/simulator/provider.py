"""Reads requests, decides the answers and bills them: the simulator without its sockets."""

from __future__ import annotations

import json
from collections import OrderedDict, deque
from dataclasses import dataclass, replace
from functools import partial
from itertools import count
from threading import Lock
from typing import TYPE_CHECKING, Any, Final, cast
from urllib.parse import urlsplit

from bursar.simulator import (
    anthropic_messages,
    cohere,
    decisions,
    embeddings,
    gemini,
    media,
    openai_chat,
    openai_completions,
    openai_responses,
    others,
    prompts,
)
from bursar.simulator.batches import Batches
from bursar.simulator.billing import Bill, PriceBook
from bursar.simulator.errors import WireError, encode, error_body, fault_headers
from bursar.simulator.exchange import Charge, Exchange, Plan, refusal_body
from bursar.simulator.generation import Generation, Habits, generate
from bursar.simulator.prompts import Prompt
from bursar.simulator.records import RequestLog, harmless_body, harmless_headers
from bursar.simulator.routes import Route, find_route
from bursar.simulator.script import AGENT_HEADER, Answer, Request, Script
from bursar.usage import Usage

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
    from datetime import datetime

    from bursar.simulator.exchange import Step
    from bursar.simulator.faults import Billed, Fault
    from bursar.simulator.records import RequestRecord
    from bursar.simulator.sse import Event

_CHOICES_MOST: Final = 128
_OTHERS: Final = frozenset({"google", "aws", "cohere"})
"""The dialects that are neither OpenAI's nor Anthropic's."""
_USUAL_MODELS: Final[Mapping[str, str]] = {
    "moderations": "omni-moderation-latest",
    "image_variations": "dall-e-2",
    "videos": "sora-2",
}

# Fields that are objects wherever they are given; checked once, so that nothing below meets another shape.
_OBJECTS: Final = (
    "metadata",
    "output_config",
    "output_format",
    "reasoning",
    "response_format",
    "stream_options",
    "text",
    "thinking",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What a simulator was told once, at its start."""

    habits: Habits
    latency_s: float
    token_latency_s: float
    bill_aborted: Billed
    deployments: Mapping[str, str]
    clock: Callable[[], datetime]
    keep_requests: int


class Provider:
    """Answers requests; thread-safe."""

    def __init__(
        self, settings: Settings, *, script: Script, faults: Iterable[Fault | None], prices: PriceBook
    ) -> None:
        self.settings = settings
        self.script = script
        self.prices = prices
        self.bill = Bill()
        self.log = RequestLog(settings.keep_requests)
        self.failures: list[Exception] = []
        self._batches = Batches(self)
        self._lock = Lock()
        self._faults = deque(faults)
        self._ids = count(1)
        # Responses carry on from earlier ones by id: only the size of what they stand for is kept.
        self._turns: OrderedDict[str, int] = OrderedDict()

    def add_faults(self, faults: Iterable[Fault | None]) -> None:
        """Queue *faults* for the next requests, one each; `None` lets one pass."""
        with self._lock:
            self._faults.extend(faults)

    def open(
        self, method: str, target: str, headers: Iterable[tuple[str, str]], body: bytes
    ) -> Generator[Step, None, None]:
        """Record a request and return the steps of its answer; the caller must start and finish or close them."""
        path = urlsplit(target).path
        kept = harmless_headers(headers, self.script.headers())
        form = media.read_multipart(kept.get("content-type", ""), body)
        parsed = _parse(body) if form is None else form
        record = self.log.open(
            at=self.settings.clock(),
            method=method,
            path=path,
            headers=kept,
            body=harmless_body(parsed) if parsed else {},
        )
        retries = kept.get("x-stainless-retry-count", "")
        record.attempt = 1 + (int(retries) if retries.isdecimal() else 0)
        route = find_route(method, path, speaks_anthropic="anthropic-version" in kept)
        return self._steps(record, route, parsed, body)

    def _steps(
        self, record: RequestRecord, route: Route, body: dict[str, Any] | None, raw: bytes
    ) -> Generator[Step, None, None]:
        exchange = Exchange(record, pay=self._pay, bill_aborted=self.settings.bill_aborted)
        try:
            try:
                plan = self._plan(record, route, body, raw)
            except WireError as error:
                plan = _refusal(route, error.status, error.body(route.dialect))
            except Exception as error:  # noqa: BLE001 - a user's function may raise anything; kept and raised at the end
                self.failures.append(error)
                message = f"the simulator or its script raised {type(error).__name__}"
                plan = _refusal(route, 500, error_body(route.dialect, 500, message))
                plan = replace(plan, headers=[("x-should-retry", "false")])
            request_id = f"req_sim{record.index:08d}"
            name = "request-id" if route.dialect == "anthropic" else "x-request-id"
            yield from exchange.play(replace(plan, headers=[*plan.headers, (name, request_id)]))
        finally:
            self.log.close(record)

    def _plan(self, record: RequestRecord, route: Route, body: dict[str, Any] | None, raw: bytes) -> Plan:
        if route.endpoint == "unknown":
            msg = f"Unknown request URL: {record.method} {record.path}."
            raise WireError(404, msg, code="unknown_url")
        if route.endpoint == "models":
            return self._models(route)
        if route.endpoint == "batches":
            return self._batches.plan(record, route, body, raw)
        if body is None:
            msg = "We could not parse the JSON body of your request."
            raise WireError(400, msg)
        model = self.model_of(route, body)
        record.model = model
        request = self.read(record, route, body, model)
        if route.endpoint == "count_tokens":
            counted: dict[str, Any] = {"input_tokens": request.input_tokens}
            if route.dialect == "google":
                counted = {"totalTokens": request.input_tokens}
            elif route.dialect == "openai":
                counted = {"object": "response.input_tokens", **counted}
            return Plan(endpoint=route.endpoint, dialect=route.dialect, body=encode(counted))
        return self._answer(record, route, request)

    def _answer(self, record: RequestRecord, route: Route, request: Request) -> Plan:
        rule = self.script.find(request)
        record.agent = rule.agent if rule else request.headers.get(AGENT_HEADER, "")
        with self._lock:
            fault = self._faults.popleft() if self._faults else None
        if fault is not None and fault.prevents_answer:
            # The model was not asked, so its script stays where it is.
            answer = Answer(fault=fault)
        else:
            answer = self.script.answer(rule, request) if rule else Answer()
            fault = fault or answer.fault
        if answer.model is not None:
            self._known(route, answer.model)
        plan = self._generated(
            record, route, request, answer, with_usage=not (fault and fault.kind == "no_usage")
        )
        if fault and (fault.kind == "status" or (fault.kind == "error_event" and plan.events is None)):
            plan = replace(
                plan,
                status=fault.status_code,
                headers=fault_headers(fault),
                body=refusal_body(route.dialect, fault),
                events=None,
                charge=None,
            )
        latency_s = self.settings.latency_s if answer.latency_s is None else answer.latency_s
        return replace(plan, fault=fault, latency_s=latency_s, token_latency_s=self.settings.token_latency_s)

    def _generated(
        self, record: RequestRecord, route: Route, request: Request, answer: Answer, *, with_usage: bool
    ) -> Plan:
        number = next(self._ids)
        base = Plan(endpoint=route.endpoint, dialect=route.dialect)
        if request.endpoint in ("embeddings", "moderations", "decisions"):
            return self._vectors(base, route, request, answer, number, with_usage=with_usage)
        if request.endpoint in media.ENDPOINTS:
            return media.plan(
                base, route, request, answer, id_=f"{request.endpoint}_sim{number:08d}", with_usage=with_usage
            )
        generation = generate(request, answer, self.settings.habits)
        charge = Charge(
            usage=generation.usage,
            model=generation.model,
            provider=route.provider,
            context=generation.price_context,
        )
        base = replace(base, charge=charge)
        if route.dialect in _OTHERS:
            return others.plan(base, request, generation, number, with_usage=with_usage)
        created = int(record.arrived_at.timestamp())
        make_events: Callable[..., Iterator[Event]]
        make_whole: Callable[[], dict[str, Any]]
        if request.endpoint in ("chat", "completions"):
            # What Mistral fills in between two texts, it answers as a chat.
            is_chat = request.endpoint == "chat" or route.provider == "mistral"
            kind, id_ = (openai_chat, "chatcmpl-sim") if is_chat else (openai_completions, "cmpl-sim")
            id_ += f"{number:08d}"
            make_events = partial(kind.events, request, generation, id_=id_, created=created)
            if route.provider == "mistral":
                make_events = partial(make_events, is_told_last=True)
            make_whole = partial(kind.completion, generation, id_=id_, created=created)
        elif request.endpoint == "responses":
            id_ = f"resp_sim{number:08d}"
            self._remember(id_, generation)
            make_events = partial(openai_responses.events, request, generation, id_=id_, created=created)
            make_whole = partial(openai_responses.response, request, generation, id_=id_, created=created)
        else:
            id_ = f"msg_sim{number:08d}"
            make_events = partial(anthropic_messages.events, request, generation, id_=id_)
            make_whole = partial(anthropic_messages.message, request, generation, id_=id_)
        if request.stream:
            return replace(base, events=make_events(with_usage=with_usage))
        whole = make_whole()
        if not with_usage:
            whole.pop("usage")
        return replace(base, body=encode(whole))

    def _vectors(
        self, base: Plan, route: Route, request: Request, answer: Answer, number: int, *, with_usage: bool
    ) -> Plan:
        model = answer.model or request.model
        if request.endpoint == "decisions":
            whole, usage = decisions.decision(model, request.body)
            charge = Charge(usage=usage, model=model, provider=decisions.PROVIDER, context={})
            return replace(base, charge=charge, body=encode(whole))
        inputs = [] if route.dialect in _OTHERS else prompts.embedding_inputs(request.body.get("input"))
        tokens = request.input_tokens if answer.input_tokens is None else answer.input_tokens
        if request.endpoint == "embeddings":
            charge = Charge(
                usage=Usage(input_tokens=tokens), model=model, provider=route.provider, context={}
            )
            base = replace(base, charge=charge)
            if route.dialect == "cohere":
                id_ = f"sim{number:08d}"
                whole = cohere.embeddings(request.body, id_=id_, tokens=tokens, with_usage=with_usage)
                return replace(base, body=encode(whole))
            if route.dialect == "google":
                texts = gemini.embedded(request.body)
                whole = gemini.embeddings(request.body, texts, tokens=tokens, with_usage=with_usage)
                return replace(base, body=encode(whole))
            whole = embeddings.embeddings(
                model, request.body, inputs, input_tokens=tokens, with_usage=with_usage
            )
            if route.provider == "mistral":
                whole["id"] = f"sim{number:08d}"
        else:
            whole = embeddings.moderations(model, inputs, id_=f"modr-sim{number:08d}")
        return replace(base, body=encode(whole))

    def read(self, record: RequestRecord, route: Route, body: dict[str, Any], model: str) -> Request:
        """Return what the simulator understands of *body*, or refuse it as the provider would."""
        for name in _OBJECTS:
            is_free_form = route.endpoint in media.ENDPOINTS
            if body.get(name) is not None and not is_free_form and not isinstance(body[name], dict):
                msg = f"Invalid type for '{name}': expected an object."
                raise WireError(400, msg, code="invalid_type", param=name)
        if body.get("tools") is not None:
            prompts.mappings(body["tools"], "tools")
        limit: int | None = None
        choices = 1
        if route.dialect in _OTHERS:
            prompt, limit, choices = others.read(route, model, body)
        elif route.endpoint == "chat":
            openai_chat.check(body)
            limit = openai_chat.output_limit(model, body)
            choices = openai_chat.whole_number(body, "n", least=1) or 1
            if choices > _CHOICES_MOST:
                msg = f"Invalid 'n': integer above maximum value. Expected a value <= {_CHOICES_MOST}."
                raise WireError(400, msg, code="integer_above_max_value", param="n")
            prompt = prompts.read_chat(model, body)
        elif route.endpoint == "completions":
            limit, choices = openai_completions.output_limit(body), openai_completions.answers(body)
            prompt = openai_completions.read(body)
        elif route.endpoint == "decisions":
            prompt = Prompt(messages=(str(body.get("input")),))
        elif route.endpoint in media.ENDPOINTS:
            media.check(route.endpoint, body)
            prompt = Prompt(messages=(str(body.get("prompt") or body.get("input") or ""),))
        elif route.dialect == "anthropic":
            anthropic_messages.check(body)
            limit = anthropic_messages.output_limit(body) if route.endpoint == "messages" else None
            prompt = prompts.read_messages(model, body)
        elif route.endpoint in ("responses", "count_tokens"):
            openai_responses.check(body)
            limit = openai_responses.output_limit(body)
            prompt = prompts.read_responses(model, body)
            earlier = self._recall(body.get("previous_response_id"))
            prompt = replace(prompt, tokens=prompt.tokens + earlier)
        else:
            inputs = prompts.embedding_inputs(body.get("input"))
            prompt = Prompt(messages=tuple(text for text, _ in inputs), tokens=sum(n for _, n in inputs))
        return Request(
            endpoint=route.endpoint,
            model=model,
            body=record.body,
            headers=record.headers,
            system=prompt.system,
            messages=prompt.messages,
            stream=route.is_stream or body.get("stream") in (True, "true"),
            output_limit=limit,
            choices=choices,
            input_tokens=prompt.tokens,
            attempt=record.attempt,
        )

    def model_of(self, route: Route, body: Mapping[str, Any]) -> str:
        """Return the model that *body* asks for, or refuse it as the provider would."""
        usual = _USUAL_MODELS.get(route.endpoint)
        asked = route.deployment or body.get("model") or usual
        if not isinstance(asked, str):
            is_anthropic = route.dialect == "anthropic"
            msg = "model: Field required" if is_anthropic else "you must provide a model parameter"
            raise WireError(400, msg, param="model")
        model = self.settings.deployments.get(asked, asked) if route.provider == "azure" else asked
        return self._known(route, model)

    def _known(self, route: Route, model: str) -> str:
        if route.endpoint == "moderations" and "moderation" in model:
            # Moderations are free, and listed without a rate for that reason.
            return model
        if not self.prices.knows(route.provider, model):
            if route.dialect == "anthropic":
                msg = f"model: {model}"
            else:
                msg = f"The model `{model}` does not exist or you do not have access to it."
            raise WireError(404, msg, code="model_not_found", param="model")
        return model

    def _models(self, route: Route) -> Plan:
        names = self.prices.names(route.provider)
        is_anthropic = route.dialect == "anthropic"
        if route.item is None:
            listing = embeddings.anthropic_models(names) if is_anthropic else embeddings.openai_models(names)
        else:
            name = self._known(route, route.item)
            listing = embeddings.anthropic_model(name) if is_anthropic else embeddings.openai_model(name)
        return Plan(endpoint="models", dialect=route.dialect, body=encode(listing))

    def _remember(self, id_: str, generation: Generation) -> None:
        with self._lock:
            self._turns[id_] = generation.usage.total_tokens
            while len(self._turns) > self.settings.keep_requests:
                self._turns.popitem(last=False)

    def _recall(self, id_: object) -> int:
        if id_ is None:
            return 0
        tokens = self._turns.get(str(id_))
        if tokens is None:
            msg = f"Previous response with id '{id_}' not found."
            raise WireError(400, msg, code="previous_response_not_found", param="previous_response_id")
        return tokens

    def _pay(self, charge: Charge, usage: Usage, record: RequestRecord) -> int:
        cost_nanousd = self.prices.cost_nanousd(
            charge.provider, charge.model, usage, at=record.arrived_at, context=charge.context
        )
        self.bill.add(cost_nanousd=cost_nanousd, usage=usage, model=charge.model, agent=record.agent)
        return cost_nanousd


def _parse(body: bytes) -> dict[str, Any] | None:
    try:
        parsed: object = json.loads(body)
    except ValueError:
        return None
    return cast("dict[str, Any]", parsed) if isinstance(parsed, dict) else None


def _refusal(route: Route, status: int, body: Mapping[str, Any]) -> Plan:
    return Plan(endpoint=route.endpoint, dialect=route.dialect, status=status, body=encode(body))
