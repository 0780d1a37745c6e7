"""The ledger beside what a provider says was used."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import Result

from bursar import prices
from bursar.usage import Usage

if TYPE_CHECKING:
    from tests.core.cli.conftest import Book

Bursar = Callable[..., Result]
DAY_S = 86_400
MIDNIGHT = 1_789_948_800
"""2026-09-21 00:00 UTC; the ledger begins on that day at 14:13."""

OPENAI_COSTS = (
    "start_time,end_time,start_time_iso,end_time_iso,amount_value,amount_currency,quantity,quantity_unit,line_item,"
    "user_id,api_key_id,project_id,organization_id,project_name,organization_name,user_email,api_source\n"
)
OPENAI_USAGE = (
    "start_time,end_time,start_time_iso,end_time_iso,project_id,num_model_requests,user_id,api_key_id,model,batch,"
    "input_tokens,output_tokens,input_cached_tokens,input_audio_tokens,output_audio_tokens\n"
)
ANTHROPIC_COST = (
    "usage_date_utc,model,workspace,api_key,usage_type,context_window,token_type,cost_usd,list_price_usd,cost_type,"
    "inference_geo,speed\n"
)
ANTHROPIC_TOKENS = (
    "usage_date_utc,model_version,api_key,workspace,usage_type,context_window,usage_input_tokens_no_cache,"
    "usage_input_tokens_cache_write_5m,usage_input_tokens_cache_write_1h,usage_input_tokens_cache_read,"
    "usage_output_tokens,web_search_count,inference_geo,speed\n"
)


@pytest.fixture(autouse=True)
def declarations() -> Iterator[None]:
    """Every declaration of a test ends with it."""
    with prices.temporary():
        yield


@pytest.fixture
def reconcile(bursar: Bursar, tmp_path: Path) -> Bursar:
    """Compare the ledger with the text of an invoice."""

    def compared(text: str, *arguments: str) -> Result:
        path = tmp_path / "invoice.csv"
        path.write_text(text, encoding="utf-8")
        return bursar("reconcile", "--invoice", str(path), *arguments, columns=120)

    return compared


def openai_cost(day: int, amount: str, item: str, currency: str = "usd") -> str:
    """One line of OpenAI's export of costs, *day* days after the ledger's first."""
    start = MIDNIGHT + day * DAY_S
    return f'{start},{start + DAY_S},,,{amount},{currency},,,"{item}",,,,org,,,,\n'


def rows(result: Result) -> list[tuple[str, str, str]]:
    """Day, model and state of each row."""
    return [(row["day"], row["model"], row["state"]) for row in csv.DictReader(io.StringIO(result.stdout))]


def document(result: Result) -> dict[str, Any]:
    """What was written as JSON."""
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def test_openai_costs_by_day_and_model(book: Book, reconcile: Bursar) -> None:
    """Line items of a model are added up; snapshots are the model; empty days are covered and other providers not."""
    book.call("r", "w", 2_000_000_000, served="gpt-4o-2024-08-06")
    book.call("r", "w", 500_000_000, served="gpt-4o")
    book.call("r", "w", 70_000_000, asked="gpt-4o-mini")
    book.call("r", "w", 9_000_000_000, asked="claude-haiku-4-5", provider="anthropic")
    book.call("r", "w", 0, status="error", source="none")
    book.now_s += DAY_S
    book.call("r", "w", 40_000_000, asked="gpt-4o-mini")
    book.now_s += 2 * DAY_S
    book.call("r", "w", 1_000_000_000)
    text = OPENAI_COSTS + (
        openai_cost(0, "1.4000000000000000000001", "gpt-4o-2024-08-06, input")
        + openai_cost(0, "1.1", "gpt-4o-2024-08-06, output")
        + openai_cost(0, "0.07", "gpt-4o-mini-2024-07-18, input")
        + openai_cost(1, "0.09", "gpt-4o-mini-2024-07-18, input")
        + openai_cost(2, "", "", "")
    )
    result = reconcile(text, "--format", "csv")

    assert 1 == result.exit_code
    assert [
        ("2026-09-21", "gpt-4o", "equal"),
        ("2026-09-21", "gpt-4o-mini", "equal"),
        ("2026-09-22", "gpt-4o-mini", "differs"),
    ] == rows(result)
    table = reconcile(text)

    assert all(
        shown in table.stdout
        for shown in (
            "OpenAI costs, 2026-09-21 to 2026-09-23 UTC",
            "-$0.05",
            "1 of 3 figures differ",
            "$2.66",
        )
    )
    found = document(reconcile(text, "--format", "json", "--tolerance", "$0.05"))

    assert (True, "openai") == (found["is_within_tolerance"], found["provider"])
    assert ["equal", "equal", "within"] == [row["state"] for row in found["rows"]]
    assert ("2.66", "2.61", "-0.05") == tuple(
        found["total"][0][name] for name in ("invoice", "ledger", "difference")
    )
    assert [0, 1, 0] == [
        reconcile(text, "--tolerance", tolerance).exit_code for tolerance in ("0.05", "10%", "56%")
    ]


def test_one_side_alone_is_no_match(book: Book, reconcile: Bursar) -> None:
    """A model that only the invoice or only the ledger has is a difference of all of it."""
    book.call("r", "w", 2_000_000_000, asked="gpt-4o")
    book.call("r", "w", None, asked="acme-7b", source="unknown")
    result = reconcile(OPENAI_COSTS + openai_cost(0, "1", "o3, input"), "--format", "csv")

    assert 1 == result.exit_code
    assert {"gpt-4o": "not on invoice", "o3": "not in ledger", "acme-7b": "unknown cost"} == {
        model: state for _, model, state in rows(result)
    }


def test_unknown_cost_is_never_equal(book: Book, reconcile: Bursar) -> None:
    """However wide the tolerance: what is not known may be anything."""
    book.call("r", "w", 10_000_000)
    book.call("r", "w", None, source="unknown")
    result = reconcile(OPENAI_COSTS + openai_cost(0, "0.01", "gpt-4o, input"), "--tolerance", "$100")

    assert 1 == result.exit_code
    assert "unknown cost" in result.stdout
    assert "without a known price: 1" in result.stdout


def test_costs_without_models_are_compared_by_day(book: Book, reconcile: Bursar) -> None:
    """The dashboard's default export names no line item."""
    book.call("r", "w", 10_000_000)
    book.call("r", "w", 20_000_000, asked="gpt-4o-mini")
    text = OPENAI_COSTS + openai_cost(0, "0.03", "")
    result = reconcile(text, "--format", "csv", "--tolerance", "0")

    assert (0, [("2026-09-21", "", "equal")]) == (result.exit_code, rows(result))
    assert "names no model" in reconcile(text, "--by", "model").stderr
    short = "start_time,end_time,amount_value,amount_currency\n" + f"{MIDNIGHT},{MIDNIGHT + DAY_S},0.03,usd\n"

    assert 0 == reconcile(short).exit_code


def test_openai_usage_compares_tokens(book: Book, reconcile: Bursar) -> None:
    """Cached input is part of the input, audio is not; tokens must be equal, unless a share is tolerated."""
    usage = Usage(
        input_tokens=1_100, cache_read_tokens=400, output_tokens=250, other={"input_audio_tokens": 100}
    )
    book.call("r", "w", 1, usage=usage)
    line = f"{MIDNIGHT},{MIDNIGHT + DAY_S},,,p,1,,,gpt-4o-2024-08-06,false,"
    right, wrong = (
        OPENAI_USAGE + line + counts for counts in ("1000,200,400,100,50\n", "1000,199,400,100,50\n")
    )

    assert 0 == reconcile(right).exit_code
    result = reconcile(wrong, "--format", "csv", "--tolerance", "$50")

    assert (1, ["equal", "differs"]) == (result.exit_code, [state for _, _, state in rows(result)])
    assert 0 == reconcile(wrong, "--tolerance", "1%").exit_code
    assert "+1" in reconcile(wrong).stdout


def test_anthropic_cost_names_models_for_people(book: Book, reconcile: Bursar) -> None:
    """What the console calls "Claude Haiku 4.5" the ledger calls by its id."""
    book.call("r", "w", 70_000_000, asked="claude-haiku-4-5-20251001", provider="anthropic")
    book.call("r", "w", 30_000_000, asked="claude-sonnet-4-5", provider="anthropic")
    text = ANTHROPIC_COST + (
        "2026-09-21,Claude Haiku 4.5,Default,key,message,≤ 200k,input_no_cache,0.05,0.05,token,,\n"
        "2026-09-21,Claude Haiku 4.5,Default,key,message,≤ 200k,output,0.02,0.02,token,,\n"
        "2026-09-21,Claude Sonnet 4.5,Default,key,message,≤ 200k,output,0.03,0.30,token,,\n"
    )
    result = reconcile(text, "--format", "csv", "--tolerance", "0")

    assert 0 == result.exit_code, result.stdout
    assert ["claude-haiku-4-5", "claude-sonnet-4-5"] == [model for _, model, _ in rows(result)]
    searched = text + "2026-09-21,,Default,key,,,,0.01,0.01,web_search,,\n"
    assert [("2026-09-21", "(no model)", "not in ledger")] == rows(
        reconcile(searched, "--format", "csv", "--tolerance", "0")
    )[:1]
    assert 1 == reconcile(searched, "--tolerance", "0", "--by", "day").exit_code


def test_anthropic_tokens_add_up_every_kind_of_input(book: Book, reconcile: Bursar) -> None:
    """What was read from and written to a cache is input, as the ledger counts it."""
    usage = Usage(
        input_tokens=1_000,
        cache_read_tokens=500,
        cache_write_tokens=300,
        cache_write_1h_tokens=100,
        output_tokens=9,
    )
    book.call("r", "w", 1, asked="claude-haiku-4-5", provider="anthropic", usage=usage)
    text = ANTHROPIC_TOKENS + "2026-09-21,claude-haiku-4-5-20251001,k,w,api,0-200k,200,200,100,500,9,0,,\n"

    assert 0 == reconcile(text).exit_code
    assert 1 == reconcile(text.replace(",200,200,", ",200,201,")).exit_code


def test_any_other_file_by_the_names_of_its_columns(book: Book, reconcile: Bursar) -> None:
    """Semicolons, dollar signs, a byte order mark and times with a zone are read."""
    book.call("r", "w", 1_250_000_000, asked="mistral-large-latest", provider="mistral")
    text = "\ufeffWhen; What;Total\n2026-09-22T01:00:00+02:00;mistral-large-latest;$1.25\n\n"
    options = ("--day-column", "When", "--model-column", "What", "--cost-column", "Total")

    assert 0 == reconcile(text, *options, "--provider", "mistralai", "--tolerance", "0").exit_code
    assert "--provider is needed" in reconcile(text, *options).stderr
    missing = reconcile(text, "--day-column", "Day", "--cost-column", "Total", "-p", "mistral")

    assert (2, "") == (missing.exit_code, missing.stdout)
    assert 'there is no column "Day". The file has "When", "What", "Total".' in missing.stderr
    assert "--cost-column, or --input-column" in reconcile(text, "--day-column", "When").stderr


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "has no header"),
        ("a,b\n1,2\n", r'The file has "a", "b". Say which hold what: --day-column'),
        (OPENAI_COSTS, "a header and no lines"),
        (
            OPENAI_COSTS + openai_cost(0, "many", "gpt-4o"),
            'line 2: "many" in "amount_value" is not an amount',
        ),
        (OPENAI_COSTS + openai_cost(0, "nan", "gpt-4o"), '"nan" in "amount_value"'),
        (OPENAI_COSTS + openai_cost(0, "1", "gpt-4o", "eur"), 'line 2 is in "eur"'),
        (
            OPENAI_COSTS + openai_cost(0, "1", "x").replace(f"{MIDNIGHT + DAY_S}", f"{MIDNIGHT + 7 * DAY_S}"),
            "covers more than a day",
        ),
        (ANTHROPIC_COST + "soon,m,,,,,,1,,,,\n", 'line 2: "soon" in "usage_date_utc"'),
        (ANTHROPIC_TOKENS + "2026-09-21,m,k,w,a,c,1.5,0,0,0,0,0,,\n", "is not a whole number of tokens"),
    ],
)
def test_file_that_cannot_be_read_exits_with_two(reconcile: Bursar, text: str, words: str) -> None:
    """The error says which line or which columns, and which options map them."""
    result = reconcile(text)

    assert (2, "") == (result.exit_code, result.stdout)
    assert words in " ".join(result.stderr.split())


def test_days_are_utc(book: Book, reconcile: Bursar) -> None:
    """A call a second before midnight is of that day, one a second after it of the next."""
    book.now_s = MIDNIGHT + DAY_S - 1.0
    book.call("r", "w", 10_000_000)
    book.now_s = MIDNIGHT + DAY_S + 1.0
    book.call("r", "w", 20_000_000)
    text = OPENAI_COSTS + openai_cost(0, "0.01", "gpt-4o, input") + openai_cost(1, "0.02", "gpt-4o, input")

    assert 0 == reconcile(text, "--tolerance", "0").exit_code
    only_first = OPENAI_COSTS + openai_cost(0, "0.01", "gpt-4o, input")
    assert 0 == reconcile(only_first, "--tolerance", "0").exit_code


@pytest.mark.parametrize("tolerance", ["-1", "much", "%", "1 percent", "nan"])
def test_tolerance_that_is_none(reconcile: Bursar, tolerance: str) -> None:
    """Dollars or a share, or a failure."""
    result = reconcile(OPENAI_COSTS, "--tolerance", tolerance)

    assert (2, True) == (result.exit_code, "neither dollars, such as $0.01, nor a share" in result.stderr)


@pytest.mark.parametrize("columns", [60, 80])
def test_fits_the_terminal(book: Book, bursar: Bursar, tmp_path: Path, columns: int) -> None:
    """Narrow terminals keep both figures and what they mean."""
    book.call("r", "w", None, asked="acme-7b", source="unknown")
    path = tmp_path / "invoice.csv"
    path.write_text(OPENAI_COSTS + openai_cost(0, "1", "gpt-4o-mini, input"))
    result = bursar("reconcile", "--invoice", str(path), columns=columns)

    assert max(map(len, result.stdout.splitlines())) <= columns
    assert all(shown in result.stdout for shown in ("$1.00", "not in ledger", "unknown cost"))
