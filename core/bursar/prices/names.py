"""
The names by which providers and models are called.

`routes` lists what a name may mean, the likeliest first; it knows the spelling only, and no prices.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

# What OpenTelemetry, LiteLLM and LangChain call providers, where it differs from genai-prices' names.
_SYNONYMS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "amazon_bedrock": "aws",
        "anthropic_bedrock": "aws",
        "aws.bedrock": "aws",
        "bedrock": "aws",
        "bedrock_converse": "aws",
        "cohere_chat": "cohere",
        "deepseek-ai": "deepseek",
        "fireworks-ai": "fireworks",
        "fireworks_ai": "fireworks",
        "gcp": "google",
        "gcp.gemini": "google",
        "gcp.gen_ai": "google",
        "gcp.vertex_ai": "google",
        "gemini": "google",
        "google_genai": "google",
        "google_vertexai": "google",
        "grok": "x-ai",
        "ibm.watsonx.ai": "watsonx",
        "mistral_ai": "mistral",
        "mistralai": "mistral",
        "moonshot": "moonshotai",
        "perplexity-ai": "perplexity",
        "perplexity_ai": "perplexity",
        "together_ai": "together",
        "togetherai": "together",
        "vertex_ai": "google",
        "vertexai": "google",
        "x.ai": "x-ai",
        "x_ai": "x-ai",
        "xai": "x-ai",
        "z-ai": "zai",
        "z.ai": "zai",
        "z_ai": "zai",
    }
)
_GOOGLE_PATH: Final = re.compile(
    r"(?:projects/[^/]+/locations/[^/]+/)?(?:publishers/[^/]+/)?models/(?P<model>.+)", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class Route:
    """
    One reading of a model's name.

    Attributes:
        provider: Who bills, or None for whoever makes a model of that name.

        model: What it is called there.

        is_prefix: Whether *provider* was read from the name, and is not what the caller said.
    """

    provider: str | None
    model: str
    is_prefix: bool = False


def canonical_provider(provider: str) -> str:
    """Return genai-prices' name for *provider*; one that is not known stays as it is, in lower case."""
    name = provider.strip().lower()
    if name.startswith(("azure", "az.ai.")):
        return "azure"
    return _SYNONYMS.get(name, name)


def routes(provider: str | None, model: str) -> Iterator[Route]:
    """
    Yield what *model* at *provider* may mean: as it stands, without its path, without its provider's prefix.

    A Bedrock ARN, a region's prefix, a fine-tuned or a dated name stands for itself: the price data tells them.
    """
    asked = None if provider is None else canonical_provider(provider)
    # LiteLLM is a library, not a seller: its names begin with the seller's.
    asked = None if asked in {"", "litellm", "litellm_proxy"} else asked
    name = model.strip()
    yield Route(asked, name)
    if match := _GOOGLE_PATH.fullmatch(name):
        yield Route(asked or "google", match["model"])
        return
    prefix, slash, rest = name.partition("/")
    if slash and rest and not prefix.startswith("arn:"):
        yield Route(canonical_provider(prefix), rest, is_prefix=True)
        if match := _GOOGLE_PATH.fullmatch(rest):
            yield Route(canonical_provider(prefix), match["model"], is_prefix=True)


def bare_name(model: str) -> str:
    """
    Return the name of the model alone: no path, provider, region, vendor or fine-tuning around it, in lower case.

    `us.anthropic.claude-sonnet-4-5-20250929-v1:0` is `claude-sonnet-4-5-20250929-v1:0`, and
    `ft:gpt-4o-mini-2024-07-18:org::id` is `gpt-4o-mini-2024-07-18`.
    """
    name = model.strip().lower().rpartition("/")[2]
    if name.startswith("ft:"):
        name = name.split(":")[1]
    return re.sub(r"^(?:[a-z-]+\.)+(?=[a-z])", "", name)
