"""
One request and its answer, step by step, without a socket.

An exchange is a generator of steps; the HTTP server and the in-process transports carry them out.  Closing it before
its end says that the client went away, and that is when an aborted request is billed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

from bursar.simulator.errors import encode, error_body
from bursar.simulator.sse import Event, named, unnamed

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Mapping

    from bursar.simulator.errors import Dialect
    from bursar.simulator.faults import Billed, Fault
    from bursar.simulator.records import RequestRecord
    from bursar.simulator.script import Endpoint
    from bursar.usage import Usage

JSON_HEADERS: Final = [("content-type", "application/json")]
_SSE_HEADERS: Final = [("content-type", "text/event-stream; charset=utf-8"), ("cache-control", "no-cache")]


@dataclass(frozen=True, slots=True)
class Pause:
    """Wait, and close the exchange if the client goes away meanwhile."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Head:
    """Start the response; without a *length* the body is chunked."""

    status: int
    headers: list[tuple[str, str]]
    length: int | None


@dataclass(frozen=True, slots=True)
class Data:
    """Send a part of the body."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Break:
    """Drop the connection, before the response or within it."""

    kind: Literal["reset", "cut"]


Step = Pause | Head | Data | Break


@dataclass(frozen=True, slots=True, kw_only=True)
class Charge:
    """What a request will be billed for; `None` in a plan is a request that costs nothing."""

    usage: Usage
    model: str
    provider: str
    context: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """
    How a request is going to be answered.

    Attributes:
        body: The whole response, where it is not streamed.

        content_type: What it is, where it is not JSON.

        is_billed_whole: Whether a stream that is left, or ends in an error, is billed as if it had come to its end.

        events: The stream.
    """

    endpoint: Endpoint
    dialect: Dialect
    status: int = 200
    headers: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    body: bytes = b""
    content_type: str | None = None
    is_billed_whole: bool = False
    events: Iterator[Event] | None = None
    charge: Charge | None = None
    latency_s: float = 0.0
    token_latency_s: float = 0.0
    fault: Fault | None = None


class Exchange:
    """
    Plays a plan.

    Args:
        pay: Bills a usage and returns its cost in nano-dollars.

        bill_aborted: What a stream that the client leaves is billed for.
    """

    def __init__(
        self,
        record: RequestRecord,
        *,
        pay: Callable[[Charge, Usage, RequestRecord], int],
        bill_aborted: Billed,
    ) -> None:
        self._record = record
        self._pay = pay
        self._bill_aborted: Billed = bill_aborted
        self._generated = 0
        self._is_billed = False
        self._is_broken = False

    def play(self, plan: Plan) -> Generator[Step, None, None]:
        """Yield the steps of *plan*; the bill is written before the client can know that the answer is complete."""
        self._record.fault = plan.fault.kind if plan.fault else None
        self._record.streamed = plan.events is not None
        try:
            yield from self._steps(plan, plan.fault)
        except GeneratorExit:
            if self._is_broken:
                # The connection is gone by our own doing, and everything is billed as the fault says.
                raise
            self._record.aborted = True
            # What was asked for in one piece is generated to the end, whether or not somebody waits for it.
            self._bill(plan, "all" if plan.events is None else self._bill_aborted)
            raise

    def _steps(self, plan: Plan, fault: Fault | None) -> Generator[Step, None, None]:
        if fault and fault.kind == "reset":
            self._bill(plan, fault.bill)
            self._is_broken = True
            yield Break("reset")
            return
        if plan.latency_s:
            yield Pause(plan.latency_s)
        if fault and fault.kind == "stall" and fault.after_events == 0:
            yield Pause(fault.stall_s)
        if plan.events is None:
            yield from self._whole(plan, fault)
        else:
            yield from self._stream(plan, plan.events, fault)

    def _whole(self, plan: Plan, fault: Fault | None) -> Generator[Step, None, None]:
        self._bill(plan, fault.bill if fault else "all")
        half = plan.body[: len(plan.body) // 2]
        is_malformed = fault is not None and fault.kind == "malformed"
        body = half if is_malformed else plan.body
        yield self._head(plan, len(body))
        if fault and fault.kind == "cut":
            yield Data(half)
            self._is_broken = True
            yield Break("cut")
        else:
            yield Data(body)

    def _stream(
        self, plan: Plan, events: Iterator[Event], fault: Fault | None
    ) -> Generator[Step, None, None]:
        yield self._head(plan, None)
        for sent, event in enumerate(events):
            fresh = event.output_tokens - self._generated
            if plan.token_latency_s and fresh > 0:
                yield Pause(plan.token_latency_s * fresh)
            if fault and sent == fault.after_events:
                if fault.kind == "stall" and sent:
                    yield Pause(fault.stall_s)
                elif fault.kind in ("cut", "malformed", "error_event"):
                    self._bill(plan, fault.bill)
                    self._is_broken = fault.kind == "cut"
                    yield _last_step(plan, fault, event, sent)
                    return
            if event.ends:
                self._bill(plan, "all")
            self._generated = event.output_tokens
            yield Data(event.data)

    def _head(self, plan: Plan, length: int | None) -> Head:
        self._record.status = plan.status
        plain = JSON_HEADERS if plan.content_type is None else [("content-type", plan.content_type)]
        is_sse = length is None and plan.content_type is None
        return Head(plan.status, [*(_SSE_HEADERS if is_sse else plain), *plan.headers], length)

    def _bill(self, plan: Plan, billed: Billed) -> None:
        if self._is_billed or plan.charge is None:
            return
        self._is_billed = True
        if billed == "generated" and plan.is_billed_whole:
            billed = "all"
        self._record.billed = billed
        if billed == "nothing":
            return
        usage = plan.charge.usage
        if billed == "generated" and plan.events is not None:
            reasoning = min(usage.reasoning_tokens, self._generated)
            usage = usage._replace(output_tokens=self._generated, reasoning_tokens=reasoning)
        self._record.usage = usage
        self._record.cost_nanousd = self._pay(plan.charge, usage, self._record)


def _last_step(plan: Plan, fault: Fault, event: Event, sequence: int) -> Step:
    if fault.kind == "cut":
        return Break("cut")
    if fault.kind == "malformed":
        return Data(event.data[: len(event.data) // 2].rstrip() + b"\n\n")
    body = error_body(plan.dialect, fault.status_code, fault.message)
    if plan.dialect == "anthropic":
        return Data(named(body))
    if plan.endpoint == "responses":
        error = body["error"]
        flat = {"code": error["code"] or error["type"], "message": error["message"], "param": None}
        return Data(named({"type": "error", **flat, "sequence_number": sequence}))
    return Data(unnamed(body))


def refusal_body(dialect: Dialect, fault: Fault) -> bytes:
    """Return the body of a status that a fault answers with."""
    return encode(error_body(dialect, fault.status_code, fault.message))
