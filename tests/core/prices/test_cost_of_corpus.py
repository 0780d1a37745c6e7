"""What real providers answered costs what the records expect, and no more than was reserved for it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import ROUND_CEILING, Decimal
from pathlib import Path
from typing import Any, Final

import pytest

from bursar import prices

Row = dict[str, Any]

EXCEPTIONS: Final[dict[str, str]] = {}
"""Rows, as `id:idx`, where our figure differs from the recorded one, and why it is the right one."""


@pytest.fixture(scope="module")
def exchanges(corpus: Path) -> dict[tuple[str, int], Row]:
    """Every recorded exchange by its id."""
    rows: list[Row] = [json.loads(line) for line in (corpus / "exchanges.jsonl").read_text().splitlines()]
    return {(row["id"], row["idx"]): row for row in rows}


@pytest.fixture(scope="module")
def goldens(corpus: Path, exchanges: dict[tuple[str, int], Row]) -> list[tuple[Row, Row]]:
    """Every expected cost with its exchange."""
    rows: list[Row] = [json.loads(line) for line in (corpus / "goldens.jsonl").read_text().splitlines()]
    return [(row, exchanges[row["id"], row["idx"]]) for row in rows]


def nanousd(usd: str) -> Decimal:
    """Return *usd* in nano-dollars, rounded up as a cost is."""
    return Decimal(usd).scaleb(9).to_integral_value(ROUND_CEILING)


def cost(golden: Row, row: Row) -> prices.Cost:
    """Return what *row* comes to, by its raw recorded body."""
    return prices.cost_of(
        provider=golden["provider"],
        path=golden["path"],
        request=row["request_body"],
        response=row["response"],
        at=datetime.combine(datetime.fromisoformat(golden["price_date"]), datetime.min.time(), UTC),
    )


def test_every_exchange_costs_what_is_expected(goldens: list[tuple[Row, Row]]) -> None:
    """The cost of every recorded exchange is the expected one to the nano-dollar, and known for certain."""
    wrong: list[str] = []
    for golden, row in goldens:
        key = f"{golden['id']}:{golden['idx']}"
        got = cost(golden, row)
        is_right = got.usd is not None and got.usd.scaleb(9) == nanousd(golden["expected_usd"])
        if (is_right and got.source in {"priced", "stated"}) is (key in EXCEPTIONS):
            wrong.append(f"{key} {golden['path']}: {golden['expected_usd']} expected, got {got}")

    assert [] == wrong
    assert 1_105 == len(goldens)


def test_a_stated_cost_comes_first(goldens: list[tuple[Row, Row]]) -> None:
    """Where the provider states the cost, it is booked, and nowhere else."""
    stated = [
        nanousd(golden["provider_stated_usd"]) for golden, _ in goldens if golden["provider_stated_usd"]
    ]
    booked = [
        got.usd.scaleb(9)
        for golden, row in goldens
        if (got := cost(golden, row)).source == "stated" and got.usd
    ]

    assert stated == booked
    assert 36 == len(stated)


def test_the_response_is_enough(goldens: list[tuple[Row, Row]]) -> None:
    """Without its request, an exchange costs the same, unless only the request names the model."""
    wrong: list[str] = []
    for golden, row in goldens:
        alone = prices.cost_of(
            provider=golden["provider"],
            path=golden["path"],
            response=row["response"],
            at=datetime(2026, 11, 23, tzinfo=UTC),
        )
        if alone.usd is None:
            assert "unknown" == alone.source
            if row["response_model"] or "/model" in golden["path"]:
                wrong.append(golden["path"])
        elif alone.usd.scaleb(9) != nanousd(golden["expected_usd"]):
            wrong.append(f"{golden['path']}: {golden['expected_usd']} expected, got {alone}")

    assert [] == wrong
