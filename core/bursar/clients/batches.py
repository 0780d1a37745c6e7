"""
Batches: created now, answered within a day at batch rates, and billed for what was answered.

- **Creating** one holds the most that all of its requests may cost at batch rates, and is entered as a call that costs
  nothing.  Anthropic's requests are in the body; OpenAI's are in a file, which bursar has seen if this process uploaded
  it with a guarded client.  A batch whose requests it has not seen is refused under a budget in dollars or tokens; with
  none it is sent, and entered with an unknown cost.
- The hold lives for 26 hours, two more than the provider takes.  It is **settled when the results are read** with a
  guarded client on the same store, in any process: `messages.batches.results`, or `files.content` of the output file
  after the batch itself was retrieved, which is what tells whose file it is.  Results that were answered are billed;
  errors are not.  Reading them again books nothing.
- Results that are never read are never settled: the hold is then presumed spent, at its bound, and settled late if they
  are read after all.  So are results whose batch this process did not retrieve; they are booked beside it, as too much
  rather than too little.
- A batch that failed, or ended without an answer, gives its hold back when it is retrieved.
- Results of a batch that nobody created by bursar are booked to who reads them first.
- One entry stands for all requests of a batch; where they went to several models, it names them all.
- A store in memory forgets what is held for which batch after 10,000 further entries, and other stores after 31 days;
  results that are read later are booked beside the hold.
"""

from __future__ import annotations

import re
import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from bursar.bound import Bound, amounts_of, bound
from bursar.clients.answer import parse_json
from bursar.clients.batch_results import book_results, give_back, note_of
from bursar.clients.bodies import file_content, files_of
from bursar.clients.call import GuardedCall
from bursar.clients.transport import read_through
from bursar.clients.unmetered import never, unmetered_plan
from bursar.errors import ReservationConflict, StoreError, UnknownPrice, UnmeteredEndpoint
from bursar.meter import Meter, Plan
from bursar.policy import logger
from bursar.prices import find_price
from bursar.reservation import Shrink
from bursar.wire import Ask, Free, Unmetered
from bursar.wire.batches import asks_in_body, asks_in_file, holds_results, read_results
from bursar.wire.fields import is_mapping, objects_at, text_at
from bursar.wire.routes import matched_part

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from bursar.clients.sdk import Sdk
    from bursar.payer import Booking, Payer
    from bursar.wire import Endpoint
    from bursar.wire.fields import Json

_LEASE_S: Final = 26 * 3600.0
_REMEMBERED: Final = 10_000
_CREATE: Final = frozenset({"batches", "messages/batches"})
_WATCHED: Final = re.compile(
    r"files/(?P<file>[^/]+)/content|messages/batches/(?P<message>[^/]+)/results|batches(?:/[^/]+(?:/cancel)?)?"
)
_OVER: Final = frozenset({"failed", "expired", "cancelled", "completed"})


class _Most(NamedTuple):
    """The most that all requests of a batch may cost, or why that is not known."""

    nanousd: int
    tokens: int
    models: tuple[str, ...]
    unknown: str | None = None


class _Memory:
    """What this process has seen of files and batches, the newest ten thousand of each; thread-safe."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self._inputs: OrderedDict[tuple[str, str], _Most] = OrderedDict()
        self._batches: OrderedDict[tuple[str, str], str | None] = OrderedDict()

    def keep_input(self, host: str, file_id: str, most: _Most) -> None:
        """Remember what the requests in an uploaded file may cost."""
        with self.lock:
            self._inputs[host, file_id] = most
            _trim(self._inputs)

    def input(self, host: str, file_id: object) -> _Most | None:
        """Return what the requests in a file may cost, if this process has seen it."""
        return self._inputs.get((host, str(file_id)))

    def keep_files(self, host: str, batch: Json) -> None:
        """Remember which batch wrote which files; a file of errors is of none."""
        with self.lock:
            for key in ("output_file_id", "error_file_id"):
                if (file_id := text_at(batch, key)) is not None:
                    self._batches[host, file_id] = text_at(batch, "id") if key == "output_file_id" else None
            _trim(self._batches)

    def batch_of(self, host: str, file_id: str) -> str | None:
        """Return the batch whose output a file is; itself where that is not known, None for a file of errors."""
        return self._batches.get((host, file_id), file_id)


def _trim(kept: OrderedDict[tuple[str, str], Any]) -> None:
    while len(kept) > _REMEMBERED:
        kept.popitem(last=False)


_memory: Final = _Memory()


def batch_call(
    client: Any, sdk: Sdk, payer: Payer, options: Any, found: Free | Unmetered
) -> BatchCreation | BatchWatch | None:
    """Return the call to follow where *options* create a batch, or read what one left, else None."""
    method = options.method.upper()
    part = matched_part(method, str(options.url))
    if method == "POST" and part in _CREATE:
        # A rule says of them that they cost money, so that they are never free.
        assert not isinstance(found, Free)  # noqa: S101
        return BatchCreation(client, sdk, payer, options, found)
    if method == "POST" and part == "files":
        fields: object = options.json_data
        is_input = is_mapping(fields) and fields.get("purpose") == "batch"
        return BatchWatch(client, sdk, payer, options, part) if is_input else None
    if (method == "GET" or part.endswith("/cancel")) and _WATCHED.fullmatch(part):
        return BatchWatch(client, sdk, payer, options, part)
    return None


class BatchCreation(GuardedCall):
    """The call that creates a batch: it holds what the batch may cost, and does not settle it."""

    def _plan(
        self,
        found: Endpoint | Unmetered,
        body: Json,
        booking: Booking,
        *,
        provider: str,
        host: str = "",
        is_async: bool,
        timeout_s: Callable[[], float | None] | None = None,
    ) -> Plan:
        # It works for a day, whatever the client waits.
        del host, timeout_s
        if "input_file_id" in body:
            seen = _memory.input(self._address.text, body["input_file_id"])
            most = seen or _Most(
                0, 0, (), "its input file was not uploaded by a guarded client of this process"
            )
        else:
            most = _most_of(asks_in_body(body), provider)
        name = "openai.batches" if "input_file_id" in body else "anthropic.batches"
        model = " + ".join(most.models)
        if most.unknown is not None:
            unmetered = Unmetered(name, most.unknown)
            return unmetered_plan(unmetered, booking, provider=provider, model=model, is_async=is_async)
        shrink = Shrink(most.nanousd * 1_000, most.tokens, 0, 0, 0, 0)
        return Plan(
            *booking,
            provider=provider,
            operation=name,
            ask=Ask(model=model, input_tokens_most=most.tokens, generates=False, tier="batch"),
            can_downgrade=False,
            can_shrink=never,
            fixed_bound=Bound(
                model,
                find_price(provider, most.models[0]),
                shrink,
                most.tokens,
                amounts_of(shrink.fixed_picousd, most.tokens),
            ),
            is_async=is_async,
        )

    def received(self, response: Any, *, is_stream: bool) -> None:
        """Take the batch that was made, and leave its hold to its results."""
        batch = parse_json(response.content) if response.is_success and response.is_stream_consumed else None
        if batch is None or not isinstance(self.meter, Meter) or not self.meter.plan.is_metered:
            super().received(response, is_stream=is_stream)
            return
        self.meter.leave_held(_LEASE_S, note_of(str(batch.get("id"))))


class BatchWatch:
    """
    Follows a request that costs nothing, and looks at what it brings: a file's id, a batch's state, results.

    It has what the choke point asks of a call.
    """

    has_failure = True
    is_being_read = False

    def __init__(self, client: Any, sdk: Sdk, payer: Payer, options: Any, part: str) -> None:
        self._payer = payer
        self._address = sdk.address(client)
        self._options = options
        self._match = _WATCHED.fullmatch(part)

    def reserve(self) -> Any:
        """Return the options as they are: nothing is held."""
        return self._options

    async def areserve(self) -> Any:
        """Do as `reserve` does."""
        return self._options

    def sending(self) -> None:
        """Nothing is booked for an attempt."""

    async def asending(self) -> None:
        """Nothing is booked for an attempt."""

    def note_failure(self, response: Any, error: BaseException | None) -> None:
        """Nothing is booked for a failure."""

    def returned(self) -> None:
        """Nothing is left open."""

    def raised(self, error: BaseException) -> None:
        """Nothing is left open."""

    def without_usage(self, error: Exception) -> Any:
        """Change nothing: no usage was asked for."""
        del error

    def stop_answer(self, exceeded: Any, request_of: Any) -> Any:
        """Nothing is refused."""
        del exceeded, request_of

    def received(self, response: Any, *, is_stream: bool) -> None:
        """Look at a successful answer, now or when it has been read."""
        del is_stream
        if not response.is_success:
            return
        if response.is_stream_consumed or response.is_closed:
            self.take(response.content)
        else:
            read_through(response, _Whole(self))

    def take(self, content: bytes) -> None:
        """Look at the whole of what came; the caller has it, whatever becomes of the booking."""
        try:
            self._take(content)
        except (StoreError, ReservationConflict) as error:
            logger.error(
                "the results of a batch are not booked (%s); what is held for it counts until they are read again",
                error,
            )

    def _take(self, content: bytes) -> None:
        if self._match is None:
            self._take_upload(content)
        elif (file_id := self._match["file"]) is not None:
            batch_id = _memory.batch_of(self._address.text, file_id)
            if batch_id is not None and holds_results(content):
                book_results(self._payer.booking(), self._address.provider, batch_id, read_results(content))
        elif (batch_id := self._match["message"]) is not None:
            book_results(self._payer.booking(), self._address.provider, batch_id, read_results(content))
        else:
            self._take_batches(content)

    def _take_upload(self, content: bytes) -> None:
        made = parse_json(content)
        for key, file in files_of(self._options):
            if made is None or key != "file":
                continue
            given = file_content(file)
            asks = asks_in_file(given) if given is not None else "its input file can be read only once"
            _memory.keep_input(
                self._address.text, str(made.get("id")), _most_of(asks, self._address.provider)
            )

    def _take_batches(self, content: bytes) -> None:
        body = parse_json(content) or {}
        for batch in (body, *objects_at(body, "data")):
            if batch.get("object") != "batch":
                continue
            _memory.keep_files(self._address.text, batch)
            if batch.get("status") in _OVER and not batch.get("output_file_id"):
                give_back(self._payer.booking(), str(batch.get("id")), str(batch.get("status")))


class _Whole:
    """Keeps an answer that comes in pieces until it is whole; results that are left halfway stay unread."""

    loop: asyncio.AbstractEventLoop | None = None

    def __init__(self, watch: BatchWatch) -> None:
        self._watch = watch
        self._pieces: list[bytes] = []

    def feed(self, chunk: bytes) -> bytes:
        """Let a piece pass."""
        self._pieces.append(chunk)
        return chunk

    def end(self) -> bytes:
        """Hand over the whole."""
        self._watch.take(b"".join(self._pieces))
        return b""

    def cut(self, error: BaseException) -> None:
        """Nothing is known of the rest."""

    def closed(self) -> None:
        """Nothing is known of the rest."""


def _most_of(asks: tuple[Ask, ...] | str, provider: str) -> _Most:
    if isinstance(asks, str):
        return _Most(0, 0, (), asks)
    models = tuple(dict.fromkeys(ask.model for ask in asks))
    nanousd = tokens = 0
    for ask in asks:
        try:
            one = bound(ask, provider=provider, model=ask.model, min_output_tokens=0)
        except (UnmeteredEndpoint, UnknownPrice) as error:
            return _Most(0, 0, models, f"of one of its requests: {error}")
        if one.price is None:
            return _Most(0, 0, models, f'there is no price for "{ask.model}"')
        nanousd += one.amounts.nanousd
        tokens += one.amounts.tokens
    return _Most(nanousd, tokens, models)
