"""Names: who sells a model, and what it is called."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from datetime import UTC, datetime

import pytest

from bursar import prices
from bursar.bound import bound
from bursar.errors import BursarError, UnknownPrice
from bursar.wire import COHERE_RERANK

AT = datetime(2026, 11, 23, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("provider", "model", "expected"),
    [
        ("openai", "gpt-4o", "openai:gpt-4o"),
        ("openai", "GPT-4o-2024-08-06", "openai:gpt-4o"),
        ("openai", "openai/gpt-4o", "openai:gpt-4o"),
        (None, "gpt-4o", "openai:gpt-4o"),
        (None, "openai/gpt-4o", "openai:gpt-4o"),
        ("litellm", "openai/gpt-4o", "openai:gpt-4o"),
        ("azure", "gpt-4o", "openai:gpt-4o"),
        ("openai", "azure/gpt-4o", "openai:gpt-4o"),
        ("azure.ai.openai", "gpt-35-turbo", "openai:gpt-3.5-turbo"),
        ("openai", "gpt-5.2-20251211", "openai:gpt-5.2"),
        ("openai", "ft:gpt-4o-2024-08-06:org::x", "openai:ft:gpt-4o"),
        ("openai", "ft:gpt-4o-mini-2024-07-18:org::x", "openai:ft:gpt-4o-mini"),
        (None, "gemini/gemini-2.5-flash", "google:gemini-2.5-flash"),
        ("gemini", "models/gemini-2.5-flash", "google:gemini-2.5-flash"),
        (None, "models/gemini-2.5-flash", "google:gemini-2.5-flash"),
        ("vertex_ai", "publishers/google/models/gemini-2.5-flash", "google:gemini-2.5-flash"),
        ("google", "projects/p/locations/l/publishers/google/models/gemini-2.5-pro", "google:gemini-2.5-pro"),
        ("google", "claude-sonnet-4-5@20250929", "google:claude-sonnet-4-5"),
        ("anthropic", "claude-sonnet-4-5-20250929", "anthropic:claude-sonnet-4-5"),
        ("anthropic", "anthropic/claude-sonnet-4-5", "anthropic:claude-sonnet-4-5"),
        (
            "bedrock",
            "us.anthropic.claude-sonnet-4-5-20250929-v1:0",
            "aws:regional.anthropic.claude-sonnet-4-5-20250929-v1:0",
        ),
        (
            "aws.bedrock",
            "arn:aws:bedrock:us-east-1:123456789012:inference-profile/"
            "us.anthropic.claude-sonnet-4-5-20250929-v1:0",
            "aws:regional.anthropic.claude-sonnet-4-5-20250929-v1:0",
        ),
        ("aws", "eu.amazon.nova-lite-v1:0", "aws:amazon.nova-lite-v1:0"),
        ("openrouter", "openai/gpt-4o", "openrouter:openai/gpt-4o"),
        (None, "openrouter/openai/gpt-4o", "openrouter:openai/gpt-4o"),
        ("groq", "openai/gpt-oss-120b", "groq:openai/gpt-oss-120b"),
        ("xai", "grok-4", "x-ai:grok-4-0709"),
    ],
)
def test_name_finds_its_row(provider: str | None, model: str, expected: str) -> None:
    """However a framework calls a provider and its model, the row is the one that bills."""
    row = prices.price(provider, model, at=AT).row

    assert expected == row.partition("@")[0]


@pytest.mark.parametrize(
    ("provider", "model"),
    [
        ("openai", "gpt-99"),
        ("openai", "gpt-4o-2099-01-01"),
        ("openai", "ft:gpt-4.1-mini-2025-04-14:org::x"),
        ("openrouter", "openai/gpt-4o:nitro"),
        ("acme", "gpt-4o"),
        ("acme", "openai/gpt-4o"),
        ("groq", "openai/gpt-4o"),
        ("aws", "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc"),
        ("azure", "prod-chat"),
        ("anthropic", "claude-nonexistent-9"),
        (None, "llama-local"),
        ("openai", ""),
        ("", "/"),
    ],
)
def test_unknown_name_has_no_price(provider: str | None, model: str) -> None:
    """A name that nobody priced, or that another seller did, finds nothing instead of something near."""
    assert prices.find_price(provider, model, at=AT) is None


def test_unknown_price_says_what_to_add() -> None:
    """The message has the provider, the model, the date and the line that adds the price."""
    with pytest.raises(UnknownPrice) as caught:
        prices.price("acme", "acme-7b", at=AT)

    assert (
        'no price for model "acme-7b" at provider "acme" on 2026-11-23; add one with '
        'bursar.prices.add("acme-7b", input="$0.20", output="$0.60", per=1_000_000), '
        'or say bursar.prices.free("acme-7b") if it costs nothing'
    ) == str(caught.value)
    assert isinstance(caught.value, BursarError)


def test_the_line_to_add_can_be_copied() -> None:
    """Whatever is in a name, the line is code; and no name at all is said to be that."""
    with pytest.raises(UnknownPrice) as caught:
        prices.price("acme", 'a"b\\c\x1b')
    line = re.search(r"bursar\.prices\.free\((.*?)\) if", str(caught.value))

    assert line is not None
    assert 'a"b\\c\x1b' == ast.literal_eval(line[1])
    with pytest.raises(UnknownPrice, match="names no model"):
        prices.price("acme", "")


@pytest.mark.parametrize(
    ("provider", "model"),
    [("azure", "prod-chat"), ("openai", "ft:gpt-99:org::1"), ("aws", "arn:aws:bedrock:x")],
)
def test_unknown_price_of_a_deployment_says_to_alias_it(provider: str, model: str) -> None:
    """What somebody named himself is another name for a model whose price is known."""
    with pytest.raises(UnknownPrice, match=rf'bursar\.prices\.alias\("{model}", "gpt-4o"\), or add one'):
        prices.price(provider, model)


def test_line_in_the_message_works() -> None:
    """Running the line of the message makes the price known."""
    with prices.temporary():
        with pytest.raises(UnknownPrice) as caught:
            prices.price("acme", "acme-7b")
        line = str(caught.value).partition("add one with ")[2].partition(", or say")[0]
        eval(line, {"bursar": __import__("bursar.prices")})  # noqa: S307 - the test is that it runs

        assert prices.price("acme", "acme-7b").model == "acme-7b"


def test_line_in_the_message_about_a_reranker_bounds_its_calls() -> None:
    """Cohere bills rerankers by the search: the line says so, and a call can be bounded with it."""
    with prices.temporary():
        with pytest.raises(UnknownPrice) as caught:
            prices.price("cohere", "rerank-v9")
        line = str(caught.value).partition("add one with ")[2].partition(", or say")[0]
        eval(line, {"bursar": __import__("bursar.prices")})  # noqa: S307 - the test is that it runs
        ask = COHERE_RERANK.read_request({"model": "rerank-v9", "query": "q", "documents": ["a"] * 101})
        held = bound(ask, provider="cohere", model="rerank-v9", min_output_tokens=1)

        assert 2 * 2_000_000 == held.amounts.nanousd


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://api.openai.com/v1", "openai"),
        ("https://api.anthropic.com", "anthropic"),
        ("https://prod.openai.azure.com/openai/deployments/x", "azure"),
        ("https://generativelanguage.googleapis.com/v1beta/openai/", "google"),
        ("https://api.groq.com/openai/v1", "groq"),
        ("https://openrouter.ai/api/v1", "openrouter"),
        ("https://api.deepseek.com", "deepseek"),
        ("https://api.mistral.ai/v1", "mistral"),
        ("https://bedrock-runtime.us-east-1.amazonaws.com/model/x/invoke", "aws"),
        ("http://localhost:8000/v1", None),
        ("http://127.0.0.1:8000/v1", None),
        ("http://[::1]:8000/v1", None),
        ("https://llm.example.com/v1", None),
        ("https://evil.example.com/https://api.openai.com/v1", None),
        ("", None),
        ("not a url", None),
        ("http://[broken", None),
    ],
)
def test_address_names_its_provider(url: str, expected: str | None) -> None:
    """A provider is told by its API's address; a local or unknown one is none."""
    assert expected == prices.provider_of_url(url)


@pytest.mark.parametrize(
    ("provider", "model", "expected"),
    [
        ("openai", "gpt-3.5-turbo", 4_096),
        ("azure", "gpt-35-turbo", 4_096),
        ("openai", "gpt-4", 8_192),
        ("openai", "gpt-4-turbo-2024-04-09", 4_096),
        ("openai", "gpt-4o-mini", 16_384),
        ("openai", "openai/gpt-4o", 16_384),
        ("openai", "chatgpt-4o-latest", 16_384),
        ("openai", "gpt-4.1-nano", 32_768),
        ("openai", "ft:gpt-4.1-mini-2025-04-14:org::x", 32_768),
        ("openai", "o1-mini", 65_536),
        ("openai", "o1-preview", 32_768),
        ("openai", "o3", 100_000),
        ("openai", "gpt-5", 128_000),
        ("openai", "gpt-5-chat-latest", 16_384),
        ("openai", "text-embedding-3-small", 0),
        ("anthropic", "claude-3-haiku-20240307", 4_096),
        ("anthropic", "claude-3-7-sonnet-latest", 128_000),
        ("anthropic", "claude-opus-4-20250514", 32_000),
        ("anthropic", "claude-opus-4-1-20250805", 32_000),
        ("anthropic", "claude-sonnet-4-0", 64_000),
        ("anthropic", "claude-sonnet-4-5", 64_000),
        ("anthropic", "claude-opus-4-6", 128_000),
        ("aws", "us.anthropic.claude-sonnet-4-5-20250929-v1:0", 64_000),
        ("openrouter", "anthropic/claude-3.5-sonnet", 16_384),
        ("google", "models/gemini-2.5-flash", 65_536),
        ("groq", "llama-3.3-70b-versatile", 131_072),
        (None, "groq/llama-3.3-70b-versatile", 131_072),
        ("openai", "gpt-99", None),
        ("openai", "gpt-50", None),
        ("anthropic", "claude-opus-9", None),
        ("together", "llama-3.3-70b", None),
    ],
)
def test_output_ceiling_of_each_family(provider: str | None, model: str, expected: int | None) -> None:
    """A model's ceiling is its family's; a family that is not listed has none."""
    assert expected == prices.output_ceiling(provider, model)


def test_describe_has_every_rate_of_every_tier() -> None:
    """A table has a row for each service tier and band, with dollars for a million."""
    rows = prices.describe("claude-sonnet-4-5", "anthropic", at=AT)
    standard = [row for row in rows if row.tier == "standard"]

    assert [-1, 200_000] == [row.above_input_tokens for row in standard]
    assert ["3", "6"] == [str(row.usd_per_million["input_tokens"]) for row in standard]
    assert "0.01" == str(standard[0].usd_each["web_searches"])
    assert (64_000, "genai-prices", prices.data_version()) == (
        standard[0].output_ceiling,
        standard[0].source,
        standard[0].data_version,
    )
    assert "batch" in {row.tier for row in rows}


def test_describe_lists_every_seller_its_maker_first() -> None:
    """Without a provider, everyone who sells a model of that name is listed."""
    rows = prices.describe("gpt-4o", at=AT)

    assert "openai" == rows[0].provider
    assert "github-copilot" in {row.provider for row in rows}
    assert [] == prices.describe("gpt-99", at=AT)


def test_describe_history_marks_the_current_row() -> None:
    """The past and the future are listed on demand, and one row of the standard tier is current."""
    rows = [row for row in prices.describe("gpt-4o", "openai", at=AT, history=True) if row.tier == "standard"]

    assert len(rows) > 1
    assert [prices.price("openai", "gpt-4o", at=AT).row] == [row.row for row in rows if row.is_current]


def test_import_and_overrides_do_not_load_genai_prices() -> None:
    """Half a second is spent only when a price is asked for that nobody declared."""
    code = (
        "import sys, bursar.prices as p\n"
        "p.add('acme-7b', input=1, output=2); p.price('acme', 'acme-7b')\n"
        "p.provider_of_url('https://api.openai.com/v1'); p.provider_of_url('http://localhost:1/v1')\n"
        "p.output_ceiling('openai', 'gpt-4o'); p.data_version()\n"
        "assert not any(name.startswith(('genai_prices', 'pydantic', 'httpx')) for name in sys.modules)\n"
        "p.price('openai', 'gpt-4o')\n"
        "assert 'genai_prices' in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert (0, "") == (done.returncode, done.stderr)
