from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import Result

from bursar import prices

Bursar = Callable[..., Result]


@pytest.fixture(autouse=True)
def declarations() -> Iterator[None]:
    """Every declaration of a test ends with it."""
    with prices.temporary():
        yield


def test_shows_rates_source_and_limits(bursar: Bursar) -> None:
    """A model has its rates, the row and version they come from, context and output ceiling."""
    result = bursar("prices", "gpt-4o", "--provider", "openai")

    assert 0 == result.exit_code
    for shown in ("$2.50", "$1.25", "$10.00", "openai:gpt-4o", prices.data_version(), "128,000", "16,384"):
        assert shown in result.stdout


def test_without_a_provider_shows_everyone_who_sells_it(bursar: Bursar) -> None:
    """The maker comes first, others after it."""
    result = bursar("prices", "claude-haiku-4-5")

    assert "google" in result.stdout
    assert result.stdout.index("anthropic ") < result.stdout.index("google ")


def test_unknown_model_exits_with_the_line_to_add(bursar: Bursar) -> None:
    """A model without a price is a failure with a remedy."""
    result = bursar("prices", "acme-7b")

    assert (1, "") == (result.exit_code, result.stdout)
    assert 'bursar.prices.add("acme-7b"' in result.stderr


@pytest.mark.parametrize("columns", [60, 80])
def test_fits_the_terminal(bursar: Bursar, columns: int) -> None:
    """Narrow terminals keep the model's rates."""
    result = bursar("prices", "claude-haiku-4-5", columns=columns)

    assert "$5.00" in result.stdout
    assert max(map(len, result.stdout.splitlines())) <= columns


def test_shows_the_age_of_the_data(bursar: Bursar) -> None:
    """A price is as good as its data is fresh."""
    data = prices.price_data()
    result = bursar("prices", "gpt-4o", "-p", "openai")

    assert f"genai-prices {data.version}, " in result.stdout
    assert "old" in result.stdout or "today's" in result.stdout


def test_shows_overrides_and_discounts_in_force(bursar: Bursar, tmp_path: Path) -> None:
    """The row that holds is the declared one; a discount is in the dollars and beside them."""
    file = tmp_path / "prices.toml"
    file.write_text(
        '[models."acme-7b"]\ninput = 1\noutput = 2\n[[discounts]]\nprovider = "openai"\nfactor = 0.8\n'
        '[models.timed]\nper_second = 0.0006\n[aliases]\nprod = "gpt-4o"\n'
    )
    prices.load(file)
    openai, acme, timed = (
        bursar("prices", *of).stdout for of in (("gpt-4o", "-p", "openai"), ("acme-7b",), ("timed",))
    )

    assert "$2.00" in openai
    assert "list price x0.8, a discount" in openai
    assert "override:acme-7b, always, override prices.toml " in acme
    assert "call seconds $0.0006 each" in timed
    overview = bursar("prices")

    assert 0 == overview.exit_code
    for shown in (str(file), "acme-7b", "by the second", "is gpt-4o", "x0.8", prices.data_version()):
        assert shown in overview.stdout.replace("\n", "") or shown == str(file)
    document = json.loads(bursar("prices", "--format", "json").stdout)

    assert [str(file)] == document["price_files"]
    assert [("price", "acme-7b"), ("price", "timed"), ("alias", "prod"), ("discount", None)] == [
        (one["kind"], one["model"]) for one in document["declarations"]
    ]
    assert prices.data_version() == document["data"]["version"]


def test_rates_for_programs_are_exact(bursar: Bursar) -> None:
    """Both formats hold the same lines, one for each rate."""
    document = json.loads(bursar("prices", "gpt-4o", "-p", "openai", "--format", "json").stdout)
    lines = list(
        csv.DictReader(io.StringIO(bursar("prices", "gpt-4o", "-p", "openai", "--format", "csv").stdout))
    )
    found = {(line["tier"], line["unit"]): line["usd"] for line in lines}

    assert len(document["rates"]) == len(lines)
    assert ("2.5", "1.25", "0.01") == (
        found["standard", "input_tokens"],
        found["batch", "input_tokens"],
        found["standard", "web_searches"],
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("-p", "openai"), "name the MODEL"),
        (("update", "--from", "x", "--bundled"), "two different wishes"),
        (("gpt-4o", "--colour"), "No such option"),
        (("gpt-4o", "extra"), "unexpected extra argument"),
    ],
)
def test_command_line_that_makes_no_sense_exits_with_two(
    bursar: Bursar, arguments: tuple[str, ...], words: str
) -> None:
    """What cannot be meant is told, and nothing is done."""
    result = bursar("prices", *arguments)

    assert (2, "") == (result.exit_code, result.stdout)
    assert words in result.stderr


def test_update_stores_what_it_checked(
    bursar: Bursar, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From a file to the user's data folder, with what changed; a bad file is an error, and --bundled goes back."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    source = tmp_path / "data.json"
    model = {"id": "m-1", "match": {"equals": "m-1"}, "prices": {"input_mtok": 1, "output_mtok": 2}}
    provider = {"id": "openai", "name": "x", "api_pattern": "x", "models": [model]}
    source.write_text(json.dumps([provider]))
    done = bursar("prices", "update", "--from", str(source))

    assert (0, True) == (done.exit_code, "models with a price that had none: 1; " in done.stdout)
    assert "calls to these are refused from now on" in done.stderr
    source.write_text("[]")
    failed = bursar("prices", "update", "--from", str(source))

    assert (1, "") == (failed.exit_code, failed.stdout)
    assert "cannot be used: it has no models" in failed.stderr
    assert "genai-prices" in bursar("prices", "update", "--bundled").stdout


def test_bad_price_file_is_told(bursar: Bursar, tmp_path: Path) -> None:
    """The command fails as a program would, with the place of the mistake."""
    from click.testing import CliRunner

    from bursar.cli import main
    from bursar.prices.overrides import STATE

    file = tmp_path / "prices.toml"
    file.write_text("[models.x]\ninptu = 1")
    vars(STATE).pop("now", None)
    result = CliRunner(env={"BURSAR_PRICES": str(file)}).invoke(main, ["prices", "gpt-4o"])

    assert (1, "") == (result.exit_code, result.stdout)
    assert '[models."x"]: unknown key "inptu"' in result.stderr
    del bursar


def test_price_declared_for_one_provider_is_shown_without_naming_it(bursar: Bursar) -> None:
    """Who declared it need not say again whose it is."""
    prices.add("acme-7b", provider="acme", input=1, output=2)
    prices.add("gpt-4o", provider="acme", input=3, output=4)

    assert "override:acme-7b" in bursar("prices", "acme-7b").stdout
    assert all(row in bursar("prices", "gpt-4o").stdout for row in ("openai:gpt-4o", "override:gpt-4o"))
