"""The one shape that every wire format has here."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from bursar.wire.fields import is_mapping, parsed_object

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from bursar.wire.ask import Ask
    from bursar.wire.fields import Json
    from bursar.wire.receipt import Receipt


@dataclass(frozen=True, slots=True)
class Free:
    """An endpoint that costs nothing, whatever is sent."""

    name: str


@dataclass(frozen=True, slots=True)
class Unmetered:
    """
    An endpoint that costs money, or may, and cannot be bounded yet.

    Attributes:
        name: The path it was found by.

        reason: Why, for people: `images are not metered yet`.
    """

    name: str
    reason: str


class Endpoint(ABC):
    """
    A metered endpoint: what its requests ask for, what its responses used.

    It keeps nothing, changes no body that it is given, and raises on no body: what is missing is unknown.

    Attributes:
        name: For people and ledgers: `openai.chat`.

        is_billed_whole: Whether an answer that the caller leaves is billed as if it had come to its end.

        is_model_in_path: Whether the path names the model, and not the body.  A body is then read, and returned, with
            the path's model under `model` (`model_in_path`); whoever sends it takes it out and puts it into the path.

        billed_as: By the provider, under which name a price book has the rates of this endpoint apart from others.
    """

    name: str
    is_billed_whole: bool = False
    is_model_in_path: bool = False
    billed_as: Mapping[str, str] = MappingProxyType({})

    @abstractmethod
    def read_request(self, body: Json) -> Ask:
        """Return what *body* asks for.  One visit per node of it, nothing per character of ASCII text."""

    def count_input_tokens(self, body: Json) -> int | None:
        """
        Return how many input tokens *body* is, counted with the model's own tokenizer, or None.

        The count is never below what the provider bills: exact for plain text, exact but for tool schemas and
        tool calls where there are some, and None where it would not hold (images, other models, no tokenizer).
        """
        del body
        return None

    @abstractmethod
    def with_model(self, body: Json, model: str) -> dict[str, object]:
        """Return a shallow copy of *body* that asks *model*."""

    @abstractmethod
    def with_output_limit(
        self, body: Json, tokens: int, *, model: str, host: str
    ) -> dict[str, object] | None:
        """
        Return a shallow copy of *body* that allows at most *tokens* output tokens per choice.

        A limit that is lower already stays.  None means that the provider takes no limit that low for this
        request, so that the call must be refused rather than shortened.
        """

    def with_stream_usage(self, body: Json) -> tuple[Json, bool]:
        """
        Return *body* so that its stream states its usage, and whether anything was added for that.

        Where something was added, the caller of the API does not expect the event that it brings.
        """
        return body, False

    @abstractmethod
    def read_response(self, body: Json) -> Receipt:
        """Return what the whole response *body* says."""

    def read_content(self, content: bytes, content_type: str) -> Receipt | None:
        """
        Return what the whole *content* of a response says, or None where it is not whole, or not in a format known.

        Args:
            content_type: As the response's header has it.
        """
        if "event-stream" in content_type:
            return self.read_events(events_in(content))
        body = parsed_object(content)
        return self._read_lines(content) if body is None else self.read_response(body)

    def _read_lines(self, content: bytes) -> Receipt | None:
        """Return what a stream of JSON, one object on each line, says; Cohere's first version and Ollama send such."""
        try:
            lines: list[object] = [json.loads(line) for line in content.splitlines() if line]
        except ValueError:
            return None
        events = [line for line in lines if is_mapping(line)]
        return self.read_events(events) if len(events) > 1 else None

    def completed(self, request: Json, receipt: Receipt) -> Receipt:
        """
        Return *receipt* with what only the *request* says about its cost: what it asked for by the piece.

        Args:
            request: The body as it was sent.
        """
        del request
        return receipt

    @abstractmethod
    def read_events(self, events: Iterable[Json]) -> Receipt:
        """
        Return what *events*, the data of a stream's events in their order, say together.

        Only those that hold usage, the model or a finish reason matter; others may be left out.
        """

    def output_seen(self, events: Iterable[Json]) -> str:
        """
        Return all the output that *events* carry, of all choices, as one text to be counted.

        Answers, refusals, reasoning that is shown, and the names and arguments of tool calls.  Reasoning that the
        provider hides is billed but not here.
        """
        del events
        return ""

    def stop_response(self, body: Json, text: str) -> dict[str, object] | None:
        """
        Return an ordinary response to *body* that says *text* and used nothing, or None where none is graceful.

        Where the request asks for JSON by a schema or forces a tool, it is plain text all the same: made-up data
        would be worse.
        """
        del body, text
        return None

    def stop_events(self, body: Json, text: str) -> list[dict[str, object]] | None:
        """Return the same as a stream's events, or None where none is graceful."""
        del body, text
        return None

    def encode_events(self, events: Iterable[Json]) -> bytes:
        """Return *events* as this endpoint writes them on the wire: server-sent events, with their end mark."""
        return b"".join(
            f"event: {event.get('type')}\ndata: {json.dumps(event)}\n\n".encode() for event in events
        )


def events_in(content: bytes) -> Iterator[Json]:
    """Yield the data of the server-sent events in *content* that are JSON objects."""
    for line in content.splitlines():
        if line.startswith(b"data:"):
            try:
                data: object = json.loads(line[5:])
            except ValueError:
                # The end mark of some formats is no JSON; what is cut says nothing.
                continue
            if is_mapping(data):
                yield data
