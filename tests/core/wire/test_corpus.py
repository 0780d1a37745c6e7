"""What real providers were sent and answered, against what is read from it; skipped where the records are absent."""

from __future__ import annotations

import functools
import json
import statistics
from datetime import UTC, datetime
from decimal import ROUND_CEILING, Decimal
from pathlib import Path
from typing import Any

import genai_prices
import pytest

from bursar.wire import (
    ANTHROPIC_MESSAGES,
    OPENAI_CHAT,
    OPENAI_EMBEDDINGS,
    OPENAI_RESPONSES,
    Endpoint,
    Part,
    Receipt,
    endpoint_of,
)

_CORPUS = Path(__file__).resolve().parents[4] / "shared" / "corpus"
_PRICED_AT = datetime(2026, 11, 23, tzinfo=UTC)
_NAMES = {"reasoning_tokens": "output_reasoning_tokens"}
# The day the Responses endpoint appeared, prompts were billed 18 tokens more, and never since.
_FIRST_DAY_OF_RESPONSES = "resp_67cee263c6e0819184efdc0fe2624cc8"

_ENDPOINTS = (OPENAI_CHAT, OPENAI_RESPONSES, OPENAI_EMBEDDINGS, ANTHROPIC_MESSAGES)

Row = dict[str, Any]

pytestmark = pytest.mark.skipif(not _CORPUS.is_dir(), reason="the corpus of recorded exchanges is not here")


@functools.cache
def exchanges() -> dict[tuple[str, int], Row]:
    """Return every exchange in OpenAI's and Anthropic's formats, by its id; `test_cost_of_corpus` has them all."""
    lines = (_CORPUS / "exchanges.jsonl").read_text().splitlines()
    rows: list[Row] = [json.loads(line) for line in lines]
    return {(row["id"], row["idx"]): row for row in rows if found(row) in _ENDPOINTS}


@functools.cache
def goldens() -> list[tuple[Row, Row]]:
    """Return the expected costs of those exchanges, each with its exchange."""
    lines = (_CORPUS / "goldens.jsonl").read_text().splitlines()
    rows: list[Row] = [json.loads(line) for line in lines]
    return [(row, known) for row in rows if (known := exchanges().get((row["id"], row["idx"]))) is not None]


def found(row: Row) -> object:
    """Return whatever answers for the path of *row*."""
    return endpoint_of("POST", row["path"] or "/")


def endpoint(row: Row) -> Endpoint:
    """Return the endpoint that *row* went to."""
    answer = found(row)
    assert isinstance(answer, Endpoint)
    return answer


def request(row: Row) -> Row:
    """Return the request of *row*, with the model that Azure may have in the path alone."""
    return {"model": row["request_model"], **row["request_body"]}


def receipt(row: Row) -> Receipt:
    """Read the response of *row*, streamed or not."""
    if row["response_kind"] == "json":
        return endpoint(row).read_response(row["response"])
    return endpoint(row).read_events(events(row))


def events(row: Row) -> list[Row]:
    """Return the data of the events of *row*, a stream."""
    return [event["data"] for event in row["response"]["events"] if isinstance(event["data"], dict)]


def billed_input(row: Row) -> int:
    """Return the input tokens of *row* by the raw usage, with what Anthropic keeps apart."""
    usage: Row = row["usage"]
    apart = ("cache_read_input_tokens", "cache_creation_input_tokens") if row["kind"] == "messages" else ()
    total: int = usage.get("prompt_tokens", usage.get("input_tokens", 0))
    return total + sum(usage.get(key) or 0 for key in apart)


def is_elided(row: Row) -> bool:
    """Whether parts of the request of *row* were left out of the records."""
    return "<elided:" in json.dumps(row["request_body"])


def test_every_response_states_its_usage() -> None:
    """No recorded response of a metered endpoint is unknown: each states its usage, and all but one their end."""
    receipts = [receipt(row) for row in exchanges().values()]

    assert 770 < len(receipts)
    assert [] == [one for one in receipts if one.usage is None or one.model is None]
    assert 1 == sum(not one.finished for one in receipts)


def test_a_whole_chat_says_what_it_would_say_as_an_event() -> None:
    """What is usual in a completion is read at once, and is read as if it came in a stream."""
    bodies = [
        row["response"]
        for row in exchanges().values()
        if row["response_kind"] == "json" and endpoint(row) is OPENAI_CHAT
    ]

    assert 100 < len(bodies)
    assert [] == [
        body for body in bodies if OPENAI_CHAT.read_response(body) != OPENAI_CHAT.read_events((body,))
    ]


def test_input_and_output_equal_the_raw_usage() -> None:
    """Input and output are the raw counts, with the parts that a dialect leaves out of them."""
    wrong: list[str] = []
    for row in exchanges().values():
        usage, raw = receipt(row).usage, row["usage"]
        assert usage is not None
        given = (
            raw.get("completion_tokens", raw.get("output_tokens", 0)) if row["kind"] != "embeddings" else 0
        )
        if usage.input_tokens != billed_input(row) or usage.output_tokens != given:
            wrong.append(row["id"])

    assert [] == wrong


def test_usage_costs_what_is_expected() -> None:
    """Priced by the price library itself, every usage costs exactly what the records expect."""
    wrong: list[str] = []
    for golden, row in goldens():
        got = receipt(row)
        assert got.usage is not None
        total = Decimal(0)
        for part in got.parts or (Part(model=None, usage=got.usage),):
            counts = {_NAMES.get(name, name): count for name, count in part.usage.counts().items()}
            total += genai_prices.calc_price(
                genai_prices.Usage(**counts),
                model_ref=part.model or golden["response_model"] or golden["request_model"],
                provider_id=golden["provider"],
                genai_request_timestamp=_PRICED_AT,
                price_context={"service_tier": got.tier} if got.tier else None,
            ).total_price
        if Decimal(golden["expected_usd"]) != total:
            wrong.append(f"{golden['id']}: {golden['expected_usd']} expected, got {total}")

    assert [] == wrong
    assert 770 < len(goldens())


def test_stated_costs_are_read() -> None:
    """What OpenRouter and xAI state is read to the nano-dollar, and nothing is read where nothing is stated."""
    expected = [
        None
        if golden["provider_stated_usd"] is None
        else int((Decimal(golden["provider_stated_usd"]) * 10**9).to_integral_value(ROUND_CEILING))
        for golden, _ in goldens()
    ]

    assert expected == [receipt(row).stated_nanousd for _, row in goldens()]
    assert 30 < sum(stated is not None for stated in expected)


def test_input_bound_holds() -> None:
    """No provider billed more input than the bound, in any request that is recorded in full or sends images."""
    ratios: list[float] = []
    low: list[str] = []
    for row in exchanges().values():
        ask = endpoint(row).read_request(request(row))
        if ask.input_unseen or (is_elided(row) and not ask.has_images):
            continue
        ratios.append(ask.input_tokens_most / billed_input(row))
        if ratios[-1] < 1:
            low.append(row["id"])

    assert [] == low
    assert 730 < len(ratios)
    # Loose on purpose for tiny prompts to unknown models; most calls are prompts of some hundred tokens.
    assert statistics.median(ratios) < 6


def test_exact_counts_are_never_below_the_bill() -> None:
    """Where input is counted, the provider billed no more, and exactly that for plain prompts."""
    pytest.importorskip("bpe_openai")
    low: list[str] = []
    plain: list[bool] = []
    for row in exchanges().values():
        body = request(row)
        count = None if is_elided(row) else endpoint(row).count_input_tokens(body)
        if count is None or row["response"].get("id") == _FIRST_DAY_OF_RESPONSES:
            continue
        if count < billed_input(row):
            low.append(row["id"])
        if row["request_model"].startswith(("gpt-4", "gpt-3.5", "text-")) and not (
            {"tools", "functions", "response_format", "text"} & body.keys() or "_call" in json.dumps(body)
        ):
            plain.append(count == billed_input(row))

    assert [] == low
    assert 215 < len(plain)
    assert all(plain)


def test_exact_counts_are_within_the_bound() -> None:
    """A count is never above the cheap bound, so that the lower of the two is always the count."""
    pytest.importorskip("bpe_openai")
    over = [
        row["id"]
        for row in exchanges().values()
        if (count := endpoint(row).count_input_tokens(request(row))) is not None
        and count > endpoint(row).read_request(request(row)).input_tokens_most
    ]

    assert [] == over


def test_streams_show_the_output_they_bill() -> None:
    """Every recorded stream that bills more output than reasoning and a few tokens shows some."""
    silent: list[str] = []
    for row in exchanges().values():
        usage = receipt(row).usage
        if row["response_kind"] != "sse" or usage is None:
            continue
        if usage.output_tokens - usage.reasoning_tokens > 5 and not endpoint(row).output_seen(events(row)):
            silent.append(row["id"])

    assert [] == silent


def test_events_that_matter_are_enough() -> None:
    """A stream's receipt is the same from only the events that hold usage, a model or a finish reason."""
    for row in exchanges().values():
        if row["response_kind"] != "sse":
            continue
        texts = [(event, json.dumps(event)) for event in events(row)]
        few = [
            event
            for event, text in texts
            if '"usage": {' in text or '"finish_reason": "' in text or '"stop_reason": "' in text
        ]

        assert receipt(row) == endpoint(row).read_events(few)
