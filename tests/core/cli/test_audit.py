"""The ledger at other prices: what differs, and what cannot be said."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import openai
import pytest
from click.testing import CliRunner, Result

from bursar import Budget, guard, prices
from bursar.cli import main
from bursar.simulator import Simulator
from bursar.usage import Usage

if TYPE_CHECKING:
    from tests.core.cli.conftest import Book

Bursar = Callable[..., Result]
MILLION = Usage(input_tokens=1_000_000)
CENT = 10_000_000


@pytest.fixture(autouse=True)
def declarations() -> Iterator[None]:
    """Every declaration of a test ends with it."""
    with prices.temporary():
        yield


def audited(bursar: Bursar, *arguments: str) -> dict[str, Any]:
    """The audit as a document."""
    result = bursar("audit", *arguments, "--format", "json")

    assert 0 == result.exit_code, result.stderr
    document: dict[str, Any] = json.loads(result.stdout)
    return document


def test_difference_by_model_day_and_agent_and_in_total(book: Book, bursar: Bursar) -> None:
    """A million tokens of gpt-4o cost $2.50 today; booked were three and two dollars, on two days, by two agents."""
    book.call("r", "w", 3 * 10**9, agent="writer", served="gpt-4o-2024-08-06", usage=MILLION)
    book.now_s += 86_400
    book.call("r", "w", 2 * 10**9, agent="reader", served="gpt-4o-2024-08-06", usage=MILLION)
    book.call("r", "w", 150_000_000, agent="reader", asked="gpt-4o-mini", usage=MILLION)
    found = audited(bursar)

    def rows(by: str) -> dict[str, tuple[str, str, str]]:
        return {
            row[by]: (row["booked_usd"], row["repriced_usd"], row["difference_usd"])
            for row in found[f"by_{by}"]
        }

    assert ("5.15", "5.15", "0.00", 3) == (
        *(found["total"][name] for name in ("booked_usd", "repriced_usd", "difference_usd")),
        found["total"]["entries"],
    )
    assert {"gpt-4o-2024-08-06": ("5.00", "5.00", "0.00"), "gpt-4o-mini": ("0.15", "0.15", "0.00")} == rows(
        "model"
    )
    assert {"2026-09-21": ("3.00", "2.50", "-0.50"), "2026-09-22": ("2.15", "2.65", "0.50")} == rows("day")
    assert {"writer": ("3.00", "2.50", "-0.50"), "reader": ("2.15", "2.65", "0.50")} == rows("agent")
    assert [] == found["not_repriced"]
    table = bursar("audit").stdout

    assert all(shown in table for shown in ("by model", "by day", "by agent", "-$0.50", "+$0.50", "-16.7%"))


def test_what_cannot_be_priced_anew_is_listed_and_in_no_difference(book: Book, bursar: Bursar) -> None:
    """Stated, estimated and bound costs, parts, unknown usage, unknown prices and kinds without a rate."""
    book.call("r", "w", CENT, usage=MILLION, source="stated")
    book.call("r", "w", CENT, usage=MILLION, source="estimated", status="aborted")
    book.call("r", "w", CENT, source="bound", status="aborted")
    book.call("r", "w", CENT, usage=MILLION, price="openai:gpt-4o [parts] (0.2.3)")
    book.call("r", "w", None, source="unknown")
    book.call("r", "w", CENT)
    book.call("r", "w", CENT, asked="acme-7b", usage=MILLION)
    book.call("r", "w", CENT, usage=Usage(input_tokens=1, other={"video_seconds": 3}))
    book.call("r", "w", 0, source="none", status="error")
    book.call("r", "w", 0, source="none", status="refused")
    found = audited(bursar)
    reasons = {
        (row["model"], row["reason"].partition(":")[0].partition(",")[0]) for row in found["not_repriced"]
    }

    assert 0 == found["total"]["entries"]
    assert {
        ("gpt-4o", "stated"),
        ("gpt-4o", "estimated from what was seen"),
        ("gpt-4o", "booked at its bound"),
        ("gpt-4o", "billed in parts"),
        ("gpt-4o", "the usage is not known"),
        ("acme-7b", f'no price at provider "openai" on {_today()}'),
        ("gpt-4o", "no rate for video_seconds"),
    } == reasons
    assert 8 == sum(row["entries"] for row in found["not_repriced"])
    assert 1 == sum(row["unknown_price_entries"] for row in found["not_repriced"])
    table = bursar("audit", columns=140).stdout

    assert "not priced anew" in table
    assert "+ ?" in table
    lines = list(csv.DictReader(io.StringIO(bursar("audit", "--format", "csv").stdout)))

    assert ["total", *["not repriced"] * 7] == [line["kind"] for line in lines]


def _today() -> str:
    from datetime import UTC, datetime

    return f"{datetime.now(UTC):%Y-%m-%d}"


def test_other_table_stands_in_the_place_of_our_own(book: Book, bursar: Bursar, tmp_path: Path) -> None:
    """Rows, aliases and discounts of the file apply; ours do not; after the audit ours hold again."""
    file = tmp_path / "other.toml"
    file.write_text(
        '[models."acme-7b"]\ninput = 4\noutput = 4\n[[discounts]]\nprovider = "openai"\nfactor = 0.5\n'
    )
    prices.add("gpt-4o", input=100, output=100)
    book.call("r", "w", 2_500_000_000, usage=MILLION)
    book.call("r", "w", None, asked="acme-7b", source="unknown", usage=MILLION)
    found = audited(bursar, "--prices", str(file), "--by", "model")

    # A discount for the provider is for every computed cost of its, declared ones, too.
    assert {"gpt-4o": "-1.25", "acme-7b": "2.00"} == {
        row["model"]: row["difference_usd"] for row in found["by_model"]
    }
    assert (1, "0.75", str(file)) == (
        found["total"]["newly_priced"],
        found["total"]["difference_usd"],
        found["prices"],
    )
    assert "by_day" not in found
    assert "97.50" == audited(bursar)["total"]["difference_usd"]


def test_tier_is_kept(book: Book, bursar: Bursar) -> None:
    """A batch is priced anew at batch rates, a priority call at its own."""
    row = prices.price("openai", "gpt-4o").provenance(tier="batch")
    book.call("r", "w", 1_250_000_000, usage=MILLION, price=row)
    book.call("r", "w", 4_250_000_000, usage=MILLION, price=row.replace("[batch]", "[priority]"))

    assert ("5.50", "0.00") == tuple(
        audited(bursar)["total"][name] for name in ("repriced_usd", "difference_usd")
    )


def test_rows_of_a_day_are_those_in_force_then(book: Book, bursar: Bursar) -> None:
    """Today's, the call's own day's, or any day's; the hour stays that of the call."""
    prices.add("gpt-4o", input=1, output=1, since="2026-09-22")
    prices.add("gpt-4o", input=7, output=7, since="2999-01-01")
    book.call("r", "w", 2_500_000_000, usage=MILLION)
    book.now_s += 86_400
    book.call("r", "w", 1_000_000_000, usage=MILLION)

    assert ["-1.50", "0.00", "10.50"] == [
        audited(bursar, *of)["total"]["difference_usd"]
        for of in ((), ("--as-of", "call"), ("--as-of", "2999-01-01"))
    ]


def test_time_is_priced_by_the_second_and_not_otherwise(book: Book, bursar: Bursar) -> None:
    """A call that kept its time costs that; one that did not costs its duration; by the token time is nothing."""
    prices.add("gpt-4o", per_second="0.001", longest_s=60)
    timed = Usage(input_tokens=1_000_000, other={"call_milliseconds": 2_000})
    book.call("r", "w", 2_000_000, usage=timed)
    book.call("r", "w", 1_200_000, usage=MILLION)

    assert "0.00" == audited(bursar)["total"]["difference_usd"]
    prices.remove("gpt-4o")
    assert "5.00" == audited(bursar)["total"]["repriced_usd"]


def test_real_calls_come_to_what_was_booked(tmp_path: Path) -> None:
    """Whatever an SDK client spent is priced anew to the same nano-dollar, and its row is in the ledger."""
    url = f"sqlite:///{tmp_path}/real.db"
    with Simulator() as sim, openai.OpenAI(base_url=sim.openai_base_url, api_key="sk-planted") as client:
        prices.discount(provider="openai", factor="0.7")
        guarded: Any = guard(client, Budget(5, store=url), label="writer")
        for model in ("gpt-4o", "gpt-4o-mini"):
            messages = [{"role": "user", "content": "hello"}]
            guarded.chat.completions.create(model=model, messages=messages)
            list(guarded.chat.completions.create(model=model, messages=messages, stream=True))
        guarded.embeddings.create(model="text-embedding-3-small", input="hello")
        spent = guarded.bursar.spent
    runner = CliRunner(env={"BURSAR_STORE": url})
    found = json.loads(runner.invoke(main, ["audit", "--as-of", "call", "--format", "json"]).stdout)
    run = json.loads(runner.invoke(main, ["runs", "--format", "json"]).stdout)["runs"][0]["run"]
    entries = json.loads(runner.invoke(main, ["run", run, "--format", "json"]).stdout)["entries"]
    lines = list(csv.DictReader(io.StringIO(runner.invoke(main, ["run", run, "--format", "csv"]).stdout)))

    assert (5, f"{spent:f}", "0.00", []) == (
        found["total"]["entries"],
        found["total"]["repriced_usd"],
        found["total"]["difference_usd"],
        found["not_repriced"],
    )
    assert all(f" x0.7 ({prices.data_version()})" in entry["price"] for entry in entries)
    assert {"priced"} == {entry["source"] for entry in entries}
    assert [(entry["entry"], entry["price"], entry["cost_usd"]) for entry in entries] == [
        (line["entry"], line["price"], line["cost_usd"]) for line in lines
    ]
    assert (
        f"x0.7 ({prices.data_version()})" in runner.invoke(main, ["run", run], env={"COLUMNS": "200"}).stdout
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--prices", "nowhere.toml"), "does not exist"),
        (("--as-of", "soon"), "neither today, nor call, nor a date"),
        (("--by", "colour"), "Invalid value"),
    ],
)
def test_command_line_that_makes_no_sense(bursar: Bursar, arguments: tuple[str, ...], words: str) -> None:
    """What cannot be meant is told, and exits with two."""
    result = bursar("audit", *arguments)

    assert (2, "") == (result.exit_code, result.stdout)
    assert words in result.stderr


def test_bad_table_and_empty_ledger(book: Book, bursar: Bursar, tmp_path: Path) -> None:
    """A file that cannot be used is an error; a ledger without calls has nothing to say."""
    del book
    file = tmp_path / "bad.toml"
    file.write_text("[models.x]\ninptu = 1")
    failed = bursar("audit", "--prices", str(file))

    assert (1, True) == (failed.exit_code, 'unknown key "inptu"' in failed.stderr)
    assert "nothing to price" in bursar("audit").stdout
