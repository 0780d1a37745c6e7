"""Every fault, as a real client meets it, and what it is billed."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import anthropic
import openai
import pytest

from bursar.simulator import Answer, Fault
from bursar.simulator.faults import Billed
from bursar.usage import Usage

if TYPE_CHECKING:
    from tests.core.simulator.conftest import Start


def read(stream: Iterable[Any]) -> list[Any]:
    """Return all that a stream yields."""
    return list(stream)


@pytest.mark.parametrize(
    ("status", "error"),
    [(500, openai.InternalServerError), (429, openai.RateLimitError), (401, openai.AuthenticationError)],
)
def test_status_is_openais_error_and_free(start: Start, status: int, error: type[Exception]) -> None:
    """An error status raises the SDK's own exception and is not billed."""
    stage = start(faults=[Fault.status(status)])
    with pytest.raises(error):
        stage.chat()

    assert stage.sim.bill.calls == 0
    assert (stage.sim.requests[0].status, stage.sim.requests[0].billed) == (status, "nothing")
    assert stage.sim.requests[0].fault == "status"


def test_overload_is_anthropics_error_and_free(start: Start) -> None:
    """529 comes in Anthropic's shape."""
    stage = start(faults=[Fault.overloaded()])
    with pytest.raises(anthropic.APIStatusError) as refused:
        stage.message()

    assert refused.value.status_code == 529
    assert json.loads(refused.value.response.text)["error"]["type"] == "overloaded_error"
    assert stage.sim.bill.calls == 0


def test_faults_hit_the_first_requests_and_sdks_retry(start: Start) -> None:
    """A 429 with retry-after and a 500 are retried; only the third attempt is billed."""
    faults = [Fault.rate_limited(retry_after_s=0.001), Fault.status(500, retry_after_s=0.001)]
    stage = start(max_retries=2, faults=faults)
    stage.chat()

    assert [r.status for r in stage.sim.requests] == [429, 500, 200]
    assert [r.attempt for r in stage.sim.requests] == [1, 2, 3]
    assert stage.sim.bill.calls == 1


def test_retry_after_is_in_both_units(start: Start) -> None:
    """`retry-after` is in whole seconds, rounded up, and `retry-after-ms` exact."""
    stage = start(faults=[Fault.rate_limited(retry_after_s=1.5)])
    with pytest.raises(openai.RateLimitError) as refused:
        stage.chat()

    assert refused.value.response.headers["retry-after"] == "2"
    assert refused.value.response.headers["retry-after-ms"] == "1500"


def test_none_lets_a_request_pass(start: Start) -> None:
    """Faults are for the requests in order; `None` is for one that goes well."""
    stage = start()
    stage.sim.fail_next(None, Fault.status(500))
    stage.chat()
    with pytest.raises(openai.InternalServerError):
        stage.chat()
    stage.chat()

    assert stage.sim.bill.calls == 2


def test_what_is_no_fault_is_refused_where_it_is_written(start: Start) -> None:
    """A status alone is no fault."""
    status: Any = 500
    with pytest.raises(TypeError, match=r"such as Fault.status\(500\), not 500"):
        start().sim.fail_next(status)


def test_failed_request_does_not_advance_the_script(start: Start) -> None:
    """A queued status comes before the model; a scripted one is a step of the script."""
    scripted = [Answer(fault=Fault.status(500)), Answer(text="second")]
    stage = start(script={"gpt-4o": scripted}, faults=[Fault.status(503)])
    statuses: list[int] = []
    for _ in range(2):
        with pytest.raises(openai.InternalServerError) as refused:
            stage.chat()
        statuses.append(refused.value.status_code)

    assert statuses == [503, 500]
    assert stage.chat().choices[0].message.content == "second"


@pytest.mark.parametrize(("bill", "calls"), [("nothing", 0), ("all", 1)])
def test_reset_comes_before_any_response(start: Start, bill: Billed, calls: int) -> None:
    """The connection is reset; whether the provider bills it is the fault's to say."""
    stage = start(faults=[Fault.reset(bill=bill)])
    with pytest.raises(openai.APIConnectionError):
        stage.chat()

    assert stage.sim.requests[0].status is None
    assert stage.sim.bill.calls == calls
    assert stage.chat().choices


@pytest.mark.parametrize("events", [0, 1, 3])
def test_cut_stream_is_billed_in_full(start: Start, events: int) -> None:
    """The connection closes after that many events, and the answer is billed to its end."""
    stage = start(output_tokens=400, faults=[Fault.cut(after_events=events)])
    seen: list[Any] = []
    with pytest.raises((openai.APIConnectionError, *transport_errors())):
        seen.extend(chunk for chunk in stage.chat(stream=True))
    record = stage.sim.requests[0]

    assert record.billed == "all"
    assert (record.usage or Usage()).output_tokens == 400
    assert not record.aborted


def transport_errors() -> tuple[type[Exception], ...]:
    """Return what older SDKs let through when a body breaks off."""
    import importlib
    from importlib.util import find_spec

    names = [name for name in ("httpx", "httpx2") if find_spec(name)]
    return tuple(importlib.import_module(name).RemoteProtocolError for name in names)


def test_cut_stream_shows_what_came_before(start: Start) -> None:
    """The events before the cut arrive."""
    stage = start(output_tokens=400, faults=[Fault.cut(after_events=3)])
    stream = stage.chat(stream=True)
    seen = [next(stream) for _ in range(3)]
    with pytest.raises((openai.APIConnectionError, *transport_errors())):
        next(stream)

    assert [chunk.choices[0].delta.content for chunk in seen] == ["", " word" * 4, " word" * 4]


def test_cut_json_is_billed_in_full(start: Start) -> None:
    """Half of the body arrives, and all of it is billed."""
    stage = start(faults=[Fault.cut()])
    with pytest.raises((openai.APIConnectionError, *transport_errors())):
        stage.chat()

    assert stage.sim.requests[0].billed == "all"


def test_malformed_json_is_billed_in_full(start: Start) -> None:
    """The body is no JSON, in a response of the right length."""
    stage = start(faults=[Fault.malformed()])
    raw = None
    try:
        raw = stage.openai.chat.completions.with_raw_response.create(
            model="gpt-4o", messages=[{"role": "user", "content": "hello"}]
        )
        raw.parse()
    except (json.JSONDecodeError, openai.OpenAIError):
        pass
    else:
        pytest.fail("the SDK read half a body")

    assert stage.sim.requests[0].billed == "all"


def test_malformed_event_breaks_the_stream(start: Start) -> None:
    """One event is no JSON, after that many good ones."""
    stage = start(faults=[Fault.malformed(after_events=2)])
    stream = stage.chat(stream=True)
    seen = [next(stream), next(stream)]
    with pytest.raises((json.JSONDecodeError, openai.OpenAIError)):
        read(stream)

    assert len(seen) == 2
    assert stage.sim.requests[0].billed == "all"


def test_error_event_ends_a_chat_stream(start: Start) -> None:
    """OpenAI's error comes within the stream; what came before it is billed."""
    stage = start(output_tokens=400, faults=[Fault.error_event(after_events=3, message="it broke")])
    with pytest.raises(openai.APIError, match="it broke"):
        read(stage.chat(stream=True))

    assert stage.sim.requests[0].billed == "generated"
    assert (stage.sim.requests[0].usage or Usage()).output_tokens == 8


def test_error_event_ends_a_responses_stream(start: Start) -> None:
    """Responses have an error event of their own."""
    stage = start(faults=[Fault.error_event(after_events=2, status_code=500)])
    stream = stage.openai.responses.create(model="gpt-4o", input="hello", stream=True)
    kinds = [next(stream).type, next(stream).type]
    try:
        kinds.append(next(stream).type)
    except openai.APIError:
        # Newer SDKs raise it, older ones hand it out.
        kinds.append("error")

    assert kinds == ["response.created", "response.in_progress", "error"]


def test_error_event_ends_an_anthropic_stream(start: Start) -> None:
    """Anthropic's `event: error` raises in the SDK."""
    stage = start(faults=[Fault.error_event(after_events=3)])
    with pytest.raises(anthropic.APIStatusError, match="Overloaded"):
        read(stage.message(stream=True))

    assert stage.sim.requests[0].billed == "generated"


def test_error_event_without_a_stream_is_a_status(start: Start) -> None:
    """A response in one piece has no events: the fault is its status, and free."""
    stage = start(faults=[Fault.error_event()])
    with pytest.raises(anthropic.APIStatusError):
        stage.message()

    assert stage.sim.bill.calls == 0


def test_usage_can_be_missing(start: Start) -> None:
    """The response lacks its usage, and is billed all the same."""
    stage = start(faults=[Fault.no_usage()] * 5)
    chat = stage.chat()
    chunks = read(stage.chat(stream=True, stream_options={"include_usage": True}))
    response = stage.openai.responses.create(model="gpt-4o", input="hello")
    *_, last = stage.openai.responses.create(model="gpt-4o", input="hello", stream=True)
    embedded = stage.openai.embeddings.with_raw_response.create(model="text-embedding-3-small", input="a")

    assert chat.usage is None
    assert [chunk.usage for chunk in chunks] == [None] * len(chunks)
    assert (response.usage, last.response.usage) == (None, None)
    assert "usage" not in json.loads(embedded.text if isinstance(embedded.text, str) else embedded.text())
    assert [r.billed for r in stage.sim.requests] == ["all"] * 5


def test_stall_ends_in_the_clients_own_timeout(start: Start) -> None:
    """A client that gives up on a stalled response is an aborted request, billed in full."""
    stage = start(faults=[Fault.stall(60)])
    began = time.monotonic()
    with pytest.raises(openai.APITimeoutError):
        stage.chat(timeout=0.2)

    assert stage.sim.wait_idle()
    assert time.monotonic() - began < 10
    assert stage.sim.requests[0].aborted
    assert stage.sim.requests[0].billed == "all"


def test_stall_goes_on_for_who_waits(start: Start) -> None:
    """A stall within a stream ends, and the rest comes."""
    stage = start(faults=[Fault.stall(0.05, after_events=2)])
    text = "".join(chunk.choices[0].delta.content or "" for chunk in stage.chat(stream=True))

    assert text == "This is a simulated answer."


@pytest.mark.parametrize(
    "make", [lambda: Fault.status(200), lambda: Fault.cut(after_events=-1), lambda: Fault.stall(-1)]
)
def test_impossible_faults_are_refused(make: Callable[[], Fault]) -> None:
    """A fault that cannot be is refused where it is written."""
    with pytest.raises(ValueError, match="must"):
        make()
