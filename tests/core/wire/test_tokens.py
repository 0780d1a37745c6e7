"""Tokens are counted exactly, or not at all."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bursar.tokens import count_tokens, encoding_name
from bursar.wire import ANTHROPIC_MESSAGES, OPENAI_CHAT, OPENAI_EMBEDDINGS, OPENAI_RESPONSES
from bursar.wire.weigh import text_tokens_most


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("gpt-4o", "o200k_base"),
        ("gpt-4o-mini-2024-07-18", "o200k_base"),
        ("openai/gpt-4.1-nano", "o200k_base"),
        ("ft:gpt-4o-2024-08-06:org::x", "o200k_base"),
        ("o3-mini", "o200k_base"),
        ("gpt-5.5", "o200k_base"),
        ("gpt-4", "cl100k_base"),
        ("gpt-4-0613", "cl100k_base"),
        ("gpt-4-turbo-2024-04-09", "cl100k_base"),
        ("gpt-3.5-turbo-0125", "cl100k_base"),
        ("text-embedding-3-small", "cl100k_base"),
        ("gpt-6.1", None),
        ("gpt-oss-120b", None),
        ("gpt-35-turbo", None),
        ("gpt-4omni", None),
        ("claude-sonnet-4-5", None),
        ("my-gpt-4o", None),
        ("", None),
    ],
)
def test_tables_by_family(model: str, name: str | None) -> None:
    """Only families whose counts were compared with bills have a table."""
    assert name == encoding_name(model)


@pytest.mark.usefixtures("tokenizer")
class TestCounts:
    def test_known_counts(self) -> None:
        """Counts equal those that OpenAI publishes for its tables."""
        assert 6 == count_tokens("gpt-4o", "tiktoken is great!")
        assert 6 == count_tokens("gpt-4", "tiktoken is great!")
        assert 0 == count_tokens("gpt-4o", "")

    def test_special_tokens_are_ordinary_text(self) -> None:
        """What looks like a special token is counted as the text that it is when a user sends it."""
        counted = count_tokens("gpt-4o", "<|endoftext|>")

        assert counted is not None
        assert counted > 1

    def test_other_models_have_no_count(self) -> None:
        """A count that might be too low is no count."""
        assert count_tokens("claude-sonnet-4-5", "hello") is None

    def test_very_long_text_has_no_count(self) -> None:
        """The tokenizer takes less than a million characters, and makes at most 200 000 tokens."""
        assert count_tokens("gpt-4o", "x" * 1_000_000) is None
        assert count_tokens("gpt-4o", "x " * 200_000) is None
        assert count_tokens("gpt-4o", "x " * 99_999) is not None

    @given(text=st.text())
    @pytest.mark.parametrize("model", ["gpt-4o", "gpt-4"])
    def test_bytes_are_never_fewer_than_tokens(self, model: str, text: str) -> None:
        """The length in bytes bounds the tokens of any text."""
        counted = count_tokens(model, text)

        assert counted is not None
        assert counted <= text_tokens_most(text)

    def test_lone_surrogates_are_counted(self) -> None:
        """A text that cannot be sent as it is counts as what can be sent in its place."""
        assert count_tokens("gpt-4o", "\ud800") is not None

    def test_a_plain_prompt_is_exact(self) -> None:
        """A chat prompt follows the formula of OpenAI's cookbook: 3 per message, 1 per name, 3 for the start."""
        messages = [
            {"role": "system", "content": "tiktoken is great!"},
            {"role": "user", "name": "bob", "content": [{"type": "text", "text": "tiktoken is great!"}]},
        ]

        assert 3 + (3 + 1 + 6) + (3 + 1 + 6 + 1 + 1) == OPENAI_CHAT.count_input_tokens(
            {"model": "gpt-4o", "messages": messages}
        )

    def test_a_plain_response_is_exact(self) -> None:
        """Input as text is one message of the user's, and instructions are one more."""
        plain = {"model": "gpt-4o", "input": "tiktoken is great!"}

        assert 3 + 3 + 1 + 6 == OPENAI_RESPONSES.count_input_tokens(plain)
        assert 13 + 3 + 1 + 6 == OPENAI_RESPONSES.count_input_tokens(
            {**plain, "instructions": "tiktoken is great!"}
        )

    def test_embeddings_are_exact(self) -> None:
        """Embeddings are the tokens of their texts, and nothing around them."""
        body = {"model": "text-embedding-3-small", "input": ["tiktoken is great!", "tiktoken is great!"]}

        assert 12 == OPENAI_EMBEDDINGS.count_input_tokens(body)
        assert 3 == OPENAI_EMBEDDINGS.count_input_tokens({**body, "input": [[1, 2], [3]]})

    def test_what_cannot_be_counted_is_not(self) -> None:
        """Images, hidden turns, server tools and other models have no count."""
        image = [
            {
                "role": "user",
                "content": [{"type": "image_url", "image_url": {"url": "https://x.example/a.png"}}],
            }
        ]
        hello = [{"role": "user", "content": "hello"}]

        assert OPENAI_CHAT.count_input_tokens({"model": "gpt-4o", "messages": image}) is None
        assert OPENAI_CHAT.count_input_tokens({"model": "llama-3.3-70b", "messages": hello}) is None
        assert (
            OPENAI_RESPONSES.count_input_tokens({"model": "gpt-4o", "input": "x", "conversation": "c"})
            is None
        )
        assert (
            OPENAI_RESPONSES.count_input_tokens(
                {"model": "gpt-4o", "input": "x", "tools": [{"type": "web_search"}]}
            )
            is None
        )
        assert ANTHROPIC_MESSAGES.count_input_tokens({"model": "gpt-4o", "messages": hello}) is None


@pytest.fixture
def tokenizer() -> None:
    """Skip where the extra is not installed."""
    pytest.importorskip("bpe_openai")


def test_nothing_heavy_is_imported() -> None:
    """The wire formats know no library of a provider, no price book and no tokenizer until one is needed."""
    heavy = ["openai", "anthropic", "genai_prices", "bpe_openai", "pydantic", "httpx", "httpx2"]
    code = f"import sys, bursar.wire; print([name for name in {heavy} if name in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert "[]" == run.stdout.strip()


def test_without_the_extra_nothing_is_counted() -> None:
    """Where the tokenizer is not installed, the answer is None and not an error."""
    code = (
        "import sys; sys.modules['bpe_openai'] = None\n"
        "from bursar.tokens import count_tokens\n"
        "print(count_tokens('gpt-4o', 'hello'))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert "None" == run.stdout.strip()
