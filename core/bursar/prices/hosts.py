"""Which provider an address belongs to."""

from __future__ import annotations

import re
from functools import lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from bursar.prices.catalogue import provider_patterns

if TYPE_CHECKING:
    from collections.abc import Mapping

# These need no price data, and so no half second, to be told.
_KNOWN_HOSTS: Final[Mapping[str, str]] = MappingProxyType(
    {"api.openai.com": "openai", "api.anthropic.com": "anthropic", "openrouter.ai": "openrouter"}
)


def provider_of_url(url: str) -> str | None:
    """
    Return the provider whose API *url* belongs to, or None: a local server's, or one that nobody knows.

    Only the scheme, the host and the path are looked at; what else the address holds is not kept.
    """
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        return None
    if host in _KNOWN_HOSTS:
        return _KNOWN_HOSTS[host]
    if not host or host == "localhost" or "." not in host or host.replace(".", "").isdigit():
        return None
    return _provider_of(f"{parts.scheme}://{host}{parts.path}")


@lru_cache(maxsize=1024)
def _provider_of(address: str) -> str | None:
    return next((provider for provider, pattern in provider_patterns() if re.match(pattern, address)), None)
