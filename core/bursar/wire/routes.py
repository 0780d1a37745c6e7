"""Which endpoint a request goes to, what it is called, and whether it costs money."""

from __future__ import annotations

import re
from functools import cache, lru_cache
from typing import Final
from urllib.parse import quote, unquote

from bursar.wire.endpoint import Endpoint, Free, Unmetered
from bursar.wire.free_routes import ADMINISTRATION, READS, WRITES
from bursar.wire.metered_routes import METERED
from bursar.wire.unmetered_routes import SOCKET, SOCKETS, UNMETERED

# A path counts from its end, as every host and gateway has prefixes of its own; the line that names most of it holds,
# and the first of several that name as much.

_Answer = Endpoint | Free | Unmetered

_ID: Final = r"[^/]+"

_UNKNOWN: Final = "this endpoint is not known, so that what it costs is not known"

_READING: Final = frozenset({"GET", "DELETE"})
_HARMLESS: Final = frozenset({"HEAD", "OPTIONS"})


@cache
def _reading_rules() -> tuple[tuple[re.Pattern[str], _Answer], ...]:
    # On first use: compiling them takes longer than importing everything else here.
    return (
        *((_compiled(pattern), Unmetered(pattern, SOCKET)) for pattern in SOCKETS),
        *((_compiled(pattern), Free(pattern)) for pattern in (*READS, *ADMINISTRATION)),
    )


@cache
def _writing_rules() -> tuple[tuple[re.Pattern[str], _Answer], ...]:
    return (
        *((_compiled(pattern), Free(pattern)) for pattern in WRITES),
        *((_compiled(pattern), endpoint) for pattern, endpoint in METERED),
        *((_compiled(pattern), Unmetered(pattern, reason)) for pattern, reason in UNMETERED),
        *((_compiled(pattern), Free(pattern)) for pattern in ADMINISTRATION),
    )


def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(rf"(?:^|.*?/)({pattern.replace('{}', _ID)})$")


def endpoint_of(method: str, path: str) -> Endpoint | Free | Unmetered:
    """
    Return the endpoint that a request goes to, or why it is free, or why it is not metered.

    A path is free only where a rule says so, whatever its method; anything unknown is unmetered.  What only asks for
    headers is free.

    Args:
        method: The HTTP method, in any case.  A WebSocket is opened by GET.

        path: A path or a whole URL, with any prefix (`/v1`, `/openai/deployments/x`, `/api/v1`) and any query.
    """
    return _endpoint_of(method, path.partition("?")[0] if "?" in path else path)


@lru_cache(maxsize=1024)
def _endpoint_of(method: str, path: str) -> _Answer:
    # A query is not remembered: it may hold a key.
    verb = method.upper()
    if verb in _HARMLESS:
        return _HEADERS
    return _find(path.partition("#")[0].rstrip("/"), verb in _READING)


_HEADERS: Final = Free("reading headers")


def matched_part(method: str, path: str) -> str:
    """Return the end of *path* that the rule for it names; empty where there is no rule."""
    bare = path.partition("?")[0].rstrip("/")
    found = _match(bare, method.upper() in _READING)
    return "" if found is None else bare[found[0] :]


@lru_cache(maxsize=1024)
def _match(bare: str, reads: bool) -> tuple[int, _Answer] | None:
    """Return the rule that names most of *bare*, and where that begins: files of a vector store are not files."""
    rules = _reading_rules() if reads else _writing_rules()
    matches = ((match.start(1), answer) for rule, answer in rules if (match := rule.match(bare)))
    return min(matches, key=lambda found: found[0], default=None)


def _find(path: str, reads: bool) -> _Answer:
    # Without its host: a host may be called what an endpoint is called.
    bare = re.sub(r"^[a-z][a-z0-9+.-]*://[^/]*", "", path, flags=re.IGNORECASE)
    matched = _match(bare, reads)
    name = bare or "/"
    if matched is None:
        return Unmetered(name, _UNKNOWN)
    found = matched[1]
    if isinstance(found, Unmetered):
        return Unmetered(name, found.reason)
    return Free(name) if isinstance(found, Free) else found


_GOOGLE: Final = r"(?:models|tunedModels|endpoints)"
_MODEL_IN_PATH: Final = re.compile(
    rf"(?:^|/)(?:{_GOOGLE}/(?P<google>[^/:]+(?::[^/:]+)*):[A-Za-z]+"
    r"|model/(?P<aws>.+)/(?:invoke|converse|count-tokens)[a-z-]*"
    r"|(?:deployments|engines)/(?P<azure>[^/]+)/.+)$"
)


@lru_cache(maxsize=1024)
def model_in_path(path: str) -> str | None:
    """
    Return the model that *path* names, or None: Google's, Bedrock's, or an Azure deployment's own name.

    It is returned as it reads, without the quoting of an address.
    """
    match = _MODEL_IN_PATH.search(path.partition("?")[0].rstrip("/"))
    return None if match is None else unquote(next(name for name in match.groups() if name is not None))


def path_with_model(path: str, model: str) -> str:
    """Return *path* with *model* in place of the model that it names, quoted; without one, *path* as it is."""
    bare, mark, query = path.partition("?")
    match = _MODEL_IN_PATH.search(bare)
    if match is None:
        return path
    group = next(name for name, found in match.groupdict().items() if found is not None)
    start, end = match.span(group)
    return (
        f"{bare[:start]}{quote(model, safe='@.-_~:' if group == 'google' else '')}{bare[end:]}{mark}{query}"
    )
