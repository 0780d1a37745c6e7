"""What arrived, kept in memory only: no key, few headers, and no more than a set number of requests."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from threading import Condition
from typing import TYPE_CHECKING, Any, Final, cast

from bursar.simulator.script import AGENT_HEADER

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from bursar.simulator.faults import Billed, FaultKind
    from bursar.usage import Usage

_KEPT_HEADERS: Final = frozenset(
    {"accept", "anthropic-beta", "anthropic-version", "content-type", "host", "idempotency-key", "user-agent"}
    | {AGENT_HEADER, "x-request-id"}
)
_KEPT_PREFIX: Final = "x-stainless-"

# Where a body itself may carry a key: remote tools that the provider signs in to.
_SECRET_FIELDS: Final = frozenset({"authorization", "authorization_token", "headers"})


@dataclass(slots=True, kw_only=True)
class RequestRecord:
    """
    One request that arrived, and what became of it; final once `finished`.

    Attributes:
        arrived_at: When its last byte was read, in UTC.

        headers: A harmless few, in lower case. Never a key.

        agent: The scripted agent that answered, or the `x-agent` header, or `""`.

        model: The model asked for; at Azure, the model behind the deployment. `""` where the body named none.

        status: The HTTP status answered; `None` while none was sent, and after a reset.

        usage: What was billed; `None` when nothing was.

        cost_nanousd: What it was billed at.

        billed: Whether nothing, what was generated so far, or the whole answer was billed.

        streamed: Whether the answer was a stream.

        aborted: Whether the client went away before the end.

        fault: The fault that hit this request.

        attempt: 1 for a first send, more for the SDK's own retries.
    """

    index: int
    arrived_at: datetime
    method: str
    path: str
    headers: Mapping[str, str]
    body: dict[str, Any]
    agent: str = ""
    model: str = ""
    status: int | None = None
    usage: Usage | None = None
    cost_nanousd: int = 0
    billed: Billed = "nothing"
    streamed: bool = False
    aborted: bool = False
    finished: bool = False
    fault: FaultKind | None = None
    attempt: int = 1


class RequestLog:
    """
    The newest requests in order of arrival, and how many are in flight; thread-safe.

    Args:
        keep: How many requests are kept; the oldest go first.
    """

    def __init__(self, keep: int) -> None:
        # Reentrant inside, because a dropped stream ends in the garbage collector, wherever that happens to run.
        self._changed = Condition()
        self._kept: deque[RequestRecord] = deque(maxlen=keep)
        self._arrived = 0
        self._in_flight = 0
        self._most_in_flight = 0

    @property
    def in_flight(self) -> int:
        """How many requests are being answered now."""
        return self._in_flight

    @property
    def most_in_flight(self) -> int:
        """The most requests that were ever being answered at once."""
        return self._most_in_flight

    @property
    def arrived(self) -> int:
        """How many requests arrived, those no longer kept included."""
        return self._arrived

    def kept(self) -> list[RequestRecord]:
        """Return the requests kept, oldest first."""
        with self._changed:
            return list(self._kept)

    def open(
        self, *, at: datetime, method: str, path: str, headers: Mapping[str, str], body: dict[str, Any]
    ) -> RequestRecord:
        """Record an arrival."""
        with self._changed:
            record = RequestRecord(
                index=self._arrived, arrived_at=at, method=method, path=path, headers=headers, body=body
            )
            self._arrived += 1
            self._in_flight += 1
            self._most_in_flight = max(self._most_in_flight, self._in_flight)
            self._kept.append(record)
            return record

    def close(self, record: RequestRecord) -> None:
        """Mark *record* as finished; once is enough."""
        with self._changed:
            if not record.finished:
                record.finished = True
                self._in_flight -= 1
                self._changed.notify_all()

    def wait_idle(self, timeout_s: float) -> bool:
        """Wait until nothing is in flight, and tell whether that came to be."""
        with self._changed:
            return self._changed.wait_for(lambda: self._in_flight == 0, timeout_s)

    def clear(self) -> None:
        """Forget what is kept; counts of what is in flight stay."""
        with self._changed:
            self._kept.clear()
            self._arrived = 0
            self._most_in_flight = self._in_flight


def harmless_headers(headers: Iterable[tuple[str, str]], also: frozenset[str]) -> dict[str, str]:
    """Return the few of *headers* that may be kept, and those named in *also*, in lower case."""
    return {
        name.lower(): value
        for name, value in headers
        if name.lower() in _KEPT_HEADERS or name.lower() in also or name.lower().startswith(_KEPT_PREFIX)
    }


def harmless_body(body: dict[str, Any]) -> dict[str, Any]:
    """Return *body* without the keys that remote tools are given."""
    remote = {name: body[name] for name in ("tools", "mcp_servers") if isinstance(body.get(name), list)}
    return {**body, **{name: [_without_keys(item) for item in items] for name, items in remote.items()}}


def _without_keys(item: object) -> object:
    if not isinstance(item, dict):
        return item
    fields = cast("dict[str, object]", item)
    # A function's schema may well have a field of such a name; only remote tools have it at this level.
    return {name: value for name, value in fields.items() if name not in _SECRET_FIELDS}
