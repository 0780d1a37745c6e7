"""A price file declares what a program can, and is never passed over."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from bursar import prices
from bursar.errors import BursarError
from bursar.usage import Usage

MILLION = Usage(input_tokens=1_000_000)
WHOLE = """
[models."acme-7b"]
input = "$0.20"
output = 0.6
cached_input = 0.02
per = 1_000_000
context = 32_000
output_limit = 4_096
fees = { web_searches = 0.01 }

[[models."acme-13b"]]
provider = "acme"
input = 1
output = 2

[[models."acme-13b"]]
provider = "acme"
input = 3
output = 4
since = 2027-01-01

[models."llama-local"]
free = true

[models."qwen-local"]
per_second = "$0.0006"
longest_s = 600

[aliases]
prod-chat = "gpt-4o"
fast = { model = "claude-haiku-4-5", provider = "anthropic" }

[[discounts]]
provider = "openai"
factor = 0.8

[[discounts]]
provider = "openai"
model = "gpt-4o-mini"
factor = 0.5
since = 2027-01-01
"""


@pytest.fixture(autouse=True)
def declarations() -> Iterator[None]:
    """Every declaration of a test ends with it."""
    with prices.temporary():
        yield


def cost(provider: str | None, model: str, at: datetime | None = None) -> Decimal:
    """What a million input tokens cost, in dollars."""
    return Decimal(prices.price(provider, model, at=at).cost_nanousd(MILLION)).scaleb(-9)


def written(folder: Path, text: str) -> Path:
    """A price file."""
    path = folder / "prices.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_everything_that_can_be_declared_can_be_written(tmp_path: Path) -> None:
    """Prices, days, free and timed models, aliases and discounts, with exact amounts."""
    prices.load(written(tmp_path, WHOLE))
    acme, local = prices.price("acme", "acme-7b"), prices.price(None, "qwen-local")
    day = datetime(2027, 1, 1, tzinfo=UTC)

    assert (Decimal("0.2"), 1, 3) == (
        cost("acme", "acme-7b"),
        cost("acme", "acme-13b"),
        cost("acme", "acme-13b", day),
    )
    assert (32_000, 4_096, 10_000_000_000) == (
        acme.context_window,
        acme.output_limit,
        acme.fee_pico("web_searches"),
    )
    assert 600_000_000 == acme.cost_nanousd(Usage(output_tokens=1_000_000))
    assert prices.price(None, "llama-local").is_free
    assert (True, 600) == (local.is_by_the_second, local.longest_s)
    assert (Decimal("2.5"), "anthropic") == (
        cost("azure", "prod-chat"),
        prices.price("gateway", "fast").provider,
    )
    assert (2, Decimal("0.12")) == (
        cost("openai", "gpt-4o"),
        cost("openai", "gpt-4o-mini", day.replace(year=2026)),
    )
    assert Decimal("0.075") == cost("openai", "gpt-4o-mini", day)


def test_row_says_which_file_and_which_state_of_it(tmp_path: Path) -> None:
    """Provenance changes with the file's content."""
    path = written(tmp_path, WHOLE)
    prices.load(path)
    first = prices.price("acme", "acme-7b").provenance()
    path.write_text(WHOLE.replace("$0.20", "$0.30"), encoding="utf-8")
    prices.load(path)
    second = prices.price("acme", "acme-7b").provenance()

    assert first.startswith("override:acme-7b (prices.toml ")
    assert first != second
    assert len("override:acme-7b (prices.toml 01234567)") == len(second)


def test_program_stands_above_the_file(tmp_path: Path) -> None:
    """What is declared later replaces what the file says, and the rest of the file stays."""
    prices.load(written(tmp_path, WHOLE))
    prices.add("acme-7b", input=9, output=9)

    assert (9, Decimal("2.5")) == (cost("acme", "acme-7b"), cost("azure", "prod-chat"))


def test_temporary_file_stands_in_the_place_of_all_others(tmp_path: Path) -> None:
    """In the block only the file holds; after it, what held before."""
    prices.add("before", input=1, output=1)
    with prices.temporary(written(tmp_path, WHOLE)):
        assert (None, Decimal("0.2")) == (prices.find_price(None, "before"), cost("acme", "acme-7b"))

    assert (1, None) == (cost(None, "before"), prices.find_price("acme", "acme-7b"))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[aliases]\nx = = 1", r"is not TOML: .*line 2"),
        ("[model.x]\ninput = 1", r'unknown table or key "model"; there are aliases, discounts, models'),
        ('[models."x"]\ninptu = 1', r'\[models\."x"\]: unknown key "inptu"; there are audio, '),
        (
            "[models.gpt-4.1]\ninput = 1\noutput = 1",
            r'unknown key "1"; .*a name with a dot is written in quotes',
        ),
        (
            '[models."x"]\ninput = -1\noutput = 1',
            r'\[models\."x"\]: the input price of "x" must not be negative',
        ),
        (
            '[models."x"]\ninput = true\noutput = 1',
            r'\[models\."x"\]: the input price of "x" must be dollars',
        ),
        ('[models."x"]\ninput = [1]\noutput = 1', r'the input price of "x" must be dollars'),
        ('[models."x"]\ninput = nan\noutput = 1', r'the input price of "x" must be finite'),
        ('[models."x"]\ninput = 0\noutput = 0', r'"x" has no price above zero'),
        ('[models."x"]\ninput = 1\noutput = 1\nsince = 5', r"since must be a date"),
        ('[models."x"]\ninput = 1\noutput = 1\nprovider = 5', r"a provider must be a name"),
        ('[models."x"]\ninput = 1\noutput = 1\nfees = 5', r'\[models\."x"\]: fees must be'),
        (
            '[[models."x"]]\ninput = 1\noutput = 1\n[[models."x"]]\ninput = 1',
            r'\[\[models\."x"\]\] number 2: "x" needs',
        ),
        ("models = 5", r"\[models\]: must be a table"),
        ("[models]\nx = 5", r'\[models\."x"\]: must be a table'),
        ("[aliases]\nx = 5", r'\[aliases\] "x": is a model'),
        ('[aliases]\nx = "X"', r'\[aliases\] "x": "x" cannot be an alias of itself'),
        ('[aliases]\nx = { provider = "aws" }', r'\[aliases\] "x": needs the key "model"'),
        ('[discounts]\nprovider = "x"', r"\[discounts\]: is a list; write \[\[discounts\]\]"),
        ('[[discounts]]\nprovider = "x"', r'\[\[discounts\]\] number 1: needs the key "factor"'),
        ('[[discounts]]\nprovider = "x"\nfactor = 80', r"\[\[discounts\]\] number 1: factor must be above 0"),
        ('[[discounts]]\nprovider = "x"\nfactr = 1', r'unknown key "factr"'),
    ],
)
def test_what_cannot_be_meant_names_file_table_and_key(tmp_path: Path, text: str, words: str) -> None:
    """The error says where to look, and nothing of the file is declared."""
    path = written(
        tmp_path,
        '[models."first"]\ninput = 1\noutput = 1\n' + text if text[1:].startswith("models.") else text,
    )
    with pytest.raises(prices.PriceFileError, match=words) as raised:
        prices.load(path)

    assert str(path) in str(raised.value)
    assert isinstance(raised.value, BursarError)
    assert prices.find_price(None, "first") is None


def test_missing_file_and_file_of_other_bytes_are_errors(tmp_path: Path) -> None:
    """What was named is there and is text, or it is an error."""
    with pytest.raises(prices.PriceFileError, match="cannot be read: No such file"):
        prices.load(tmp_path / "nowhere.toml")
    with pytest.raises(prices.PriceFileError, match="cannot be read"):
        prices.load(tmp_path)
    path = tmp_path / "bytes.toml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(prices.PriceFileError, match="is not TOML"):
        prices.load(path)


def child(code: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Run code in a process of its own."""
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, env={**os.environ, **env}
    )


PRICE = (
    "from bursar import prices; from bursar.usage import Usage\n"
    "print(prices.price('acme', 'acme-7b').cost_nanousd(Usage(input_tokens=1_000_000)))"
)


def test_environment_names_the_file(tmp_path: Path) -> None:
    """`BURSAR_PRICES` is read on first use, and what the program adds comes on top."""
    done = child(PRICE, BURSAR_PRICES=str(written(tmp_path, WHOLE)))

    assert ("200000000\n", "") == (done.stdout, done.stderr)


def test_default_place_is_the_configuration_folder(tmp_path: Path) -> None:
    """Without a name the file is `bursar/prices.toml` there, if it exists."""
    folder = tmp_path / "bursar"
    folder.mkdir()
    written(folder, WHOLE)
    environment = {"XDG_CONFIG_HOME": str(tmp_path), "HOME": str(tmp_path)}
    where = child(
        "from bursar.prices.files import default_path; print(default_path())", **environment
    ).stdout.strip()
    if where != str(folder / "prices.toml"):
        pytest.skip(f"this system keeps configuration elsewhere: {where}")

    assert "200000000\n" == child(PRICE, **environment).stdout


@pytest.mark.parametrize("text", [None, "[models"])
def test_bad_file_of_the_environment_stops_the_first_price_and_every_one_after(
    tmp_path: Path, text: str | None
) -> None:
    """It is an error each time a price is asked for, and none when bursar is imported."""
    path = tmp_path / "prices.toml" if text is None else written(tmp_path, text)
    done = child(
        "from bursar import prices\n"
        "for ask in (lambda: prices.price('openai', 'gpt-4o'), lambda: prices.add('x', input=1, output=1)) * 2:\n"
        "    try: ask()\n"
        "    except prices.PriceFileError as error: print(error)\n",
        BURSAR_PRICES=str(path),
    )
    lines = done.stdout.splitlines()

    assert (4, "") == (len(lines), done.stderr)
    assert all(f'the price file "{path}" (named by BURSAR_PRICES)' in line for line in lines)
