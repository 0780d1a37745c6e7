"""Tokens: counted, cut and dealt out."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bursar.simulator import tokens
from bursar.simulator.tokens import FILLER, count_tokens, cut_text, deal_text

TEXTS = st.text(alphabet=st.characters(codec="utf-8"), max_size=200)


@pytest.fixture(params=["exact", "approximate"])
def counting(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Count with the tokenizer, and as without it."""
    if request.param == "approximate":
        monkeypatch.setattr(tokens, "_encoding", lambda: None)
    elif not tokens.is_exact():
        pytest.skip("needs the tokenizer extra")
    return str(request.param)


@pytest.mark.usefixtures("counting")
class TestBothWays:
    def test_filler_is_one_token_each(self) -> None:
        """Filler of N is N tokens long, beyond the encoder's own limit too."""
        assert count_tokens(FILLER * 30_000) == 30_000
        assert cut_text(FILLER * 30_000, 25_000) == FILLER * 25_000

    @pytest.mark.parametrize(
        "text", ["", "a", "Füße 🙂🙂", "<|endoftext|>", "1234567", "\n\n\t x", "日本語のテキスト", "a" * 500]
    )
    def test_count_never_exceeds_the_bytes(self, text: str) -> None:
        """A token has at least one byte."""
        assert count_tokens(text) <= len(text.encode())
        assert (count_tokens(text) == 0) == (text == "")

    def test_cut_is_a_prefix_without_half_characters(self) -> None:
        """A cut text is the beginning of the text, whatever the cut hits."""
        text = "Füße 🙂🙂 und 日本語" * 5

        for length in range(count_tokens(text) + 2):
            assert text.startswith(cut_text(text, length))
        assert cut_text(text, 10_000) == text


@given(text=TEXTS, per_event=st.integers(1, 9))
def test_dealt_text_is_whole(text: str, per_event: int) -> None:
    """The pieces join to the text, and the tokens only grow, up to the count."""
    total = max(1, count_tokens(text))
    pieces = list(deal_text(text, total, tokens_per_event=per_event))
    generated = [done for _, done in pieces]

    assert "".join(piece for piece, _ in pieces) == text
    assert generated == sorted(generated)
    assert not pieces or generated[-1] == total
