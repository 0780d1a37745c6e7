"""Scripted agents: which answer a request gets."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from threading import Lock
from typing import TYPE_CHECKING, Any, Final, Literal

if TYPE_CHECKING:
    from bursar.simulator.faults import Fault

Endpoint = Literal[
    "chat",
    "chat_v1",
    "completions",
    "responses",
    "embeddings",
    "messages",
    "generate",
    "converse",
    "invoke",
    "moderations",
    "count_tokens",
    "models",
    "images",
    "image_edits",
    "image_variations",
    "speech",
    "transcriptions",
    "translations",
    "videos",
    "decisions",
    "batches",
    "unknown",
]

AGENT_HEADER: Final = "x-agent"
"""The header by which a client says which agent is calling, where neither model nor prompt tell."""

SECRET_HEADERS: Final = frozenset(
    {"authorization", "proxy-authorization", "x-api-key", "api-key", "cookie", "set-cookie"}
)
"""Headers that are never kept and never matched."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """
    What the simulator understood of one request; what rules and scripted functions see.

    Attributes:
        endpoint: The kind of call.

        model: The model asked for; at Azure, the model behind the deployment.

        body: The JSON body as sent.

        headers: The harmless headers, in lower case; never a key.

        system: The text of the system prompt: system and developer messages, instructions.

        messages: The text of every other message, in order.

        stream: Whether the answer is to be streamed.

        output_limit: The most output tokens that the request allows for one choice, or `None`.

        choices: How many answers are asked for (`n`).

        input_tokens: The prompt, counted.

        attempt: 1 for a first send, more for the SDK's own retries.
    """

    endpoint: Endpoint
    model: str
    body: Mapping[str, Any]
    headers: Mapping[str, str]
    system: str = ""
    messages: tuple[str, ...] = ()
    stream: bool = False
    output_limit: int | None = None
    choices: int = 1
    input_tokens: int = 0
    attempt: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCall:
    """A call of one of the request's tools, with its arguments."""

    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """
    What a model answers, and what it is billed for.

    Attributes:
        text: The answer. `None` is a short one, or filler where *output_tokens* says how long.

        output_tokens: Output of one choice, reasoning included, before the request's own limit cuts it. A longer
            *text* is cut to it and a shorter one is padded with filler, except beside tool calls and a JSON
            schema. `None` counts the text.

        input_tokens: All input, cached or not. `None` counts the prompt.

        cached_tokens, cache_write_tokens, cache_write_1h_tokens: Parts of the input; the 1-hour writes are a part
            of the writes. Without *input_tokens* they are lowered to what the prompt has.

        reasoning_tokens: Part of the output that is billed and not shown.

        tool_calls: What the model calls; the finish reason follows.

        model: The model that really answered and is billed, where it is not the one asked for.

        latency_s: Seconds before the first byte, in place of the simulator's own.

        fault: What goes wrong with this answer.
    """

    text: str | None = None
    output_tokens: int | None = None
    input_tokens: int | None = None
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    cache_write_1h_tokens: int = 0
    reasoning_tokens: int = 0
    tool_calls: tuple[ToolCall, ...] = ()
    model: str | None = None
    latency_s: float | None = None
    fault: Fault | None = None

    def __post_init__(self) -> None:
        """Check that the counts are counts and the parts fit their totals."""
        for name in ("output_tokens", "input_tokens", "cached_tokens", "reasoning_tokens", "latency_s"):
            value = getattr(self, name)
            if value is not None and value < 0:
                msg = f"{name} must not be negative, got {value}"
                raise ValueError(msg)
        if not 0 <= self.cache_write_1h_tokens <= self.cache_write_tokens:
            msg = "cache_write_1h_tokens must be a part of cache_write_tokens"
            raise ValueError(msg)
        if self.input_tokens is not None and self.input_tokens < self.cached_tokens + self.cache_write_tokens:
            msg = "input_tokens includes cached and cache-write tokens and must not be less than they are"
            raise ValueError(msg)


Answers = str | Answer | Sequence[Answer] | Callable[[Request], Answer]
"""One answer for every request, a sequence whose last answer repeats, or a function of the request."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """
    Which requests an agent's answers are for; every criterion given must hold.

    Without any, the rule takes a request whose `x-agent` header, model or `user` is the agent's name, or whose
    system prompt contains it as a word, whatever the case.

    Attributes:
        agent: The name that the bill is kept under.

        model: The model asked for.

        system: A text in the system prompt.

        message: A text in any message, the system prompt included.

        header: A header's name and value. Headers that carry keys cannot be matched.

        when: Any other condition.
    """

    agent: str
    answers: Answers
    model: str | None = None
    system: str | None = None
    message: str | None = None
    header: tuple[str, str] | None = None
    when: Callable[[Request], bool] | None = None

    def __post_init__(self) -> None:
        """Check that there is something to answer, and that no key is looked at."""
        if not callable(self.answers) and not isinstance(self.answers, str | Answer) and not self.answers:
            msg = f'the script of agent "{self.agent}" has no answers'
            raise ValueError(msg)
        if self.header is not None and self.header[0].lower() in SECRET_HEADERS:
            msg = f'the script of agent "{self.agent}" matches "{self.header[0]}", which carries a key'
            raise ValueError(msg)

    def matches(self, request: Request) -> bool:
        """Tell whether *request* is this agent's."""
        criteria = (self.model, self.system, self.message, self.header, self.when)
        if all(criterion is None for criterion in criteria):
            return self._names(request)
        return (
            (self.model is None or self.model == request.model)
            and (self.system is None or self.system in request.system)
            and (self.message is None or any(self.message in t for t in (request.system, *request.messages)))
            and (self.header is None or request.headers.get(self.header[0].lower()) == self.header[1])
            and (self.when is None or self.when(request))
        )

    def _names(self, request: Request) -> bool:
        spoken = (request.headers.get(AGENT_HEADER), request.model, request.body.get("user"))
        # A whole word: "researcher-1" is not "researcher-10".
        word = rf"(?<![\w-]){re.escape(self.agent)}(?![\w-])"
        return self.agent in spoken or re.search(word, request.system, re.IGNORECASE) is not None


class Script:
    """The rules in order; thread-safe."""

    def __init__(self, rules: Mapping[str, Answers] | Sequence[Rule] | None) -> None:
        if isinstance(rules, Mapping):
            rules = [Rule(agent=agent, answers=answers) for agent, answers in rules.items()]
        self._lock = Lock()
        self._rules = list(rules or ())
        self._given: dict[int, int] = {}

    def add(self, rule: Rule) -> None:
        """Append *rule*; earlier ones go first."""
        with self._lock:
            self._rules.append(rule)

    def headers(self) -> frozenset[str]:
        """Return the names of the headers that rules look at."""
        return frozenset(rule.header[0].lower() for rule in self._rules if rule.header)

    def find(self, request: Request) -> Rule | None:
        """Return the first rule that takes *request*."""
        return next((rule for rule in tuple(self._rules) if rule.matches(request)), None)

    def answer(self, rule: Rule, request: Request) -> Answer:
        """Return the next answer of *rule*; a sequence moves on by one."""
        answers = rule.answers
        if isinstance(answers, str):
            return Answer(text=answers)
        if isinstance(answers, Answer):
            return answers
        if callable(answers):
            return answers(request)
        with self._lock:
            given = self._given.get(id(rule), 0)
            self._given[id(rule)] = given + 1
        return answers[min(given, len(answers) - 1)]
