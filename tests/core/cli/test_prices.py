from __future__ import annotations

from collections.abc import Callable

import pytest
from click.testing import Result

from bursar import prices

Bursar = Callable[..., Result]


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
