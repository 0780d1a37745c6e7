"""
The price data in use: what genai-prices ships, or what `bursar prices update` stored in the user's data folder.

It is chosen once, when a price is first asked for, and holds to the end of the process: a price that changed while a
run is paid from it could not be told by its version.  Stored data that is broken is passed over with a warning.
"""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, NoReturn, cast

from bursar.folders import data_path

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from genai_prices.types import ModelInfo, Provider

STALE_DAYS: Final = 90
"""
Data older than this is warned of, once in a process.

Prices of a model that is on sale change a few times a year (genai-prices lists 302 changes since 2023 for 2,330
models); a new model is unknown, and so refused, however old the data.
"""

_PUBLISHED: Final[Mapping[str, date]] = MappingProxyType({"0.2.3": date(2026, 11, 10)})
"""When releases of genai-prices were published (PyPI)."""

_logger: Final = logging.getLogger("bursar")


class BrokenPriceData(ValueError):
    """Price data is not what it should be; the message says what."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceData:
    """
    Price data, and where it is from.

    Attributes:
        version: `"0.2.3"`, the release of genai-prices; or `"2026-11-25 3f2a9c1b"`, the day of a refresh and the
            beginning of the data's SHA-256.

        day: When it was published or fetched, or when a file of it last changed; where a release's day is not known,
            when its newest price began.

        source: The package, or the address or file that a refresh was from.
    """

    version: str
    day: date
    source: str
    providers: tuple[Provider, ...]

    def age_days(self, now: datetime) -> int:
        """Return how many days ago it was published or fetched; never below zero."""
        return max((now.astimezone(UTC).date() - self.day).days, 0)

    def is_stale(self, now: datetime) -> bool:
        """Whether it is older than `STALE_DAYS`."""
        return self.age_days(now) > STALE_DAYS


def stored_path() -> Path:
    """Return where refreshed data is kept."""
    return data_path("price-data.json")


@cache
def price_data() -> PriceData:
    """Return the data in use; says once, in the log, if it is stale or if stored data had to be passed over."""
    data = _stored_or_none(stored_path()) or bundled()
    warn_if_stale(data, datetime.now(UTC))
    return data


def version_in_use() -> str:
    """Return the version of the data in use, without reading it where there is only one that it can be."""
    if price_data.cache_info().currsize or stored_path().exists():
        return price_data().version
    return package_version()


def warn_if_stale(data: PriceData, now: datetime) -> bool:
    """Say in the log how old *data* is, if it is stale; return whether it is."""
    if data.is_stale(now):
        _logger.warning(
            "the price data is %d days old (%s, %s): prices may have changed since; refresh it with "
            '"bursar prices update", or upgrade genai-prices',
            data.age_days(now),
            data.source,
            data.version,
        )
    return data.is_stale(now)


@cache
def bundled() -> PriceData:
    """Return the data that is installed with genai-prices."""
    from genai_prices.data import providers

    version = package_version()
    day = _PUBLISHED.get(version) or newest_start(providers, datetime.now(UTC).date())
    return PriceData(version=version, day=day, source="genai-prices", providers=tuple(providers))


@cache
def package_version() -> str:
    """Return the release of genai-prices that is installed."""
    # Imported here because it pulls in `email`, which is a third of the time that `import bursar` may take.
    from importlib.metadata import version

    return version("genai-prices")


def newest_start(providers: Iterable[Provider], today: date) -> date:
    """Return the newest day, up to *today*, on which any price began: the data is no older than that."""
    starts = [
        start
        for provider in providers
        for model in provider.models
        for start in _starts(model)
        if start <= today
    ]
    return max(starts, default=date(2024, 1, 1))


def read_stored(path: Path) -> PriceData:
    """
    Return the data stored at *path*.

    Raises:
        OSError: It cannot be read.
        BrokenPriceData: It is damaged, or was not stored by a version of bursar that this one understands.
    """
    header_line, _, payload = path.read_bytes().partition(b"\n")
    try:
        header: dict[str, Any] = json.loads(header_line)
        digest, day, source = (
            str(header["sha256"]),
            date.fromisoformat(header["fetched"]),
            str(header["source"]),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise BrokenPriceData("its first line is not what bursar writes") from error
    if hashlib.sha256(payload).hexdigest() != digest:
        raise BrokenPriceData("it is damaged: its content does not have the checksum that it was stored with")
    return PriceData(
        version=version_of(day, digest), day=day, source=source, providers=parse_providers(payload)
    )


def to_stored(payload: bytes, *, source: str, day: date) -> bytes:
    """Return the content of the file that `read_stored` reads."""
    header = {
        "fetched": day.isoformat(),
        "source": source,
        "sha256": hashlib.sha256(payload).hexdigest(),
        "genai_prices": package_version(),
    }
    return json.dumps(header).encode() + b"\n" + payload


def version_of(day: date, digest: str) -> str:
    """Return the name of data that was fetched on *day*."""
    return f"{day} {digest[:8]}"


def parse_providers(payload: bytes) -> tuple[Provider, ...]:
    """
    Return the providers in a document such as genai-prices publishes.

    Raises:
        BrokenPriceData: It is no such document.
    """
    # The package's own door to its published format, which its updater uses; it has no public one for bytes at hand.
    from genai_prices.types import _providers_from_raw  # pyright: ignore[reportPrivateUsage]

    def refuse(constant: str) -> NoReturn:
        raise BrokenPriceData(f"it holds {constant}, which is no price")

    try:
        raw: object = json.loads(payload, parse_constant=refuse)
    except (ValueError, RecursionError) as error:
        raise BrokenPriceData(f"it is not JSON: {error}") from error
    if not isinstance(raw, list):
        raise BrokenPriceData(f"it is no list of providers, but a JSON {type(raw).__name__}")
    try:
        providers = _providers_from_raw(raw)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        first = str(error).partition("\n")[0]
        raise BrokenPriceData(
            f"it is not in the format of genai-prices {package_version()}: {first}"
        ) from error
    if not any(provider.models for provider in providers):
        raise BrokenPriceData("it has no models")
    return tuple(providers)


def _stored_or_none(path: Path) -> PriceData | None:
    try:
        stored = read_stored(path)
    except FileNotFoundError:
        return None
    except (OSError, BrokenPriceData) as error:
        _logger.warning(
            'the price data stored in "%s" cannot be used, so that of genai-prices %s is: %s; store it anew with '
            '"bursar prices update", or remove it with "bursar prices update --bundled"',
            path,
            package_version(),
            error,
        )
        return None
    # After an upgrade of the package its data may be the newer one.
    published = _PUBLISHED.get(package_version())
    return None if published is not None and published > stored.day else stored


def _starts(model: ModelInfo) -> Iterable[date]:
    constraints = [price.constraint for price in model.prices] if isinstance(model.prices, list) else []
    for constraint in constraints:
        start = cast("date | None", getattr(constraint, "start_date", None))
        if start is not None:
            yield start
