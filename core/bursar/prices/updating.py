"""
Refreshing the price data: fetched when somebody asks for it, checked, and stored for later processes.

The document is the one that genai-prices' own updater fetches.  Nothing is stored that cannot be used, and what was
stored before stays until the new file is whole.
"""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from bursar.errors import BursarError
from bursar.prices.catalogue import compile_model
from bursar.prices.data import (
    BrokenPriceData,
    PriceData,
    bundled,
    parse_providers,
    price_data,
    read_stored,
    stored_path,
    to_stored,
)

if TYPE_CHECKING:
    from collections.abc import Iterable
    from email.message import Message
    from urllib.request import Request

    from genai_prices.types import Provider

    from bursar.prices.price import Price

TIMEOUT_S: Final = 30.0
BYTES_MOST: Final = 50_000_000
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})


class UpdateFailed(BursarError):
    """The price data was not refreshed; what was in use before still is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Update:
    """
    A refresh, against the data that was in use before.

    Attributes:
        before, after: The data.

        added, changed, gone: The models, as `provider:model`, that have a price now and had none; that have another
            now; and that have none any more, so that calls to them are refused.
    """

    before: PriceData
    after: PriceData
    path: Path
    added: tuple[str, ...]
    changed: tuple[str, ...]
    gone: tuple[str, ...]


def default_source() -> str:
    """Return the address that genai-prices publishes its data at."""
    from genai_prices.update_prices import DEFAULT_UPDATE_URL

    return DEFAULT_UPDATE_URL


def update(source: str | None = None, *, now: datetime | None = None) -> Update:
    """
    Fetch price data, check it, and store it for the processes that start from now on.

    Args:
        source: A file, or an address that begins with `https://` (with `http://` on this machine only); None is
            where genai-prices publishes its data.

    Raises:
        UpdateFailed: It cannot be fetched, is not in genai-prices' format, holds a price that cannot be used, or
            cannot be stored; nothing has changed then.
    """
    source = source or default_source()
    instant = datetime.now(UTC) if now is None else now.astimezone(UTC)
    day = instant.date()
    if "://" in source:
        payload = _fetch(source)
    else:
        payload, changed = _read(source)
        # A copy is no fresher for being read today.
        day = min(day, changed)
    before = price_data()
    try:
        providers = parse_providers(payload)
        prices_after = _current_prices(providers, instant)
    except BrokenPriceData as error:
        raise UpdateFailed(f'the price data from "{source}" cannot be used: {error}') from error
    if not prices_after:
        raise UpdateFailed(f'the price data from "{source}" cannot be used: no model in it has a price')
    shown = source if "://" in source else str(Path(source).expanduser().absolute())
    path = stored_path()
    _store(path, to_stored(payload, source=_without_secrets(shown), day=day))
    prices_before = _current_prices(before.providers, instant)
    return Update(
        before=before,
        after=read_stored(path),
        path=path,
        added=tuple(sorted(prices_after.keys() - prices_before.keys())),
        changed=tuple(
            sorted(
                name
                for name in prices_after.keys() & prices_before.keys()
                if _rates_of(prices_after[name]) != _rates_of(prices_before[name])
            )
        ),
        gone=tuple(sorted(prices_before.keys() - prices_after.keys())),
    )


def forget() -> PriceData:
    """
    Remove the stored data, so that processes use what genai-prices ships from now on; return that.

    Raises:
        UpdateFailed: It cannot be removed.
    """
    path = stored_path()
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise UpdateFailed(f'the price data in "{path}" cannot be removed: {error.strerror}') from error
    return bundled()


def _current_prices(providers: Iterable[Provider], instant: datetime) -> dict[str, Price]:
    """Return each model's price at *instant*; compiling all of them shows that all can be used."""
    prices: dict[str, Price] = {}
    for provider in providers:
        for model in provider.models:
            name = f"{provider.id}:{model.id}"
            try:
                price = compile_model(provider, model).at(instant)
            except (
                ValueError,
                TypeError,
                ArithmeticError,
                LookupError,
                AttributeError,
                StopIteration,
            ) as error:
                raise BrokenPriceData(f"the price of {name} cannot be used: {error}") from error
            if price is not None and any(
                rate < 0
                for rates in (price.rates, *price.tier_rates.values())
                for band in rates.bands
                for rate in band.rates.values()
            ):
                raise BrokenPriceData(f"the price of {name} is negative")
            if price is not None:
                prices[name] = price
    return prices


def _rates_of(price: Price) -> object:
    return price.rates, dict(price.tier_rates)


def _read(source: str) -> tuple[bytes, date]:
    """Return the content of a file, and the day on which it was last changed."""
    try:
        path = Path(source).expanduser()
        status = path.stat()
        if status.st_size > BYTES_MOST:
            raise UpdateFailed(f'"{source}" is larger than {BYTES_MOST:,} bytes, so it is no price data')
        return path.read_bytes(), datetime.fromtimestamp(status.st_mtime, UTC).date()
    except (OSError, RuntimeError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise UpdateFailed(f'the price data cannot be read from "{source}": {reason}') from error


def _fetch(source: str) -> bytes:
    from http.client import HTTPException
    from urllib.error import HTTPError, URLError
    from urllib.request import HTTPRedirectHandler, Request, build_opener

    class CheckedRedirects(HTTPRedirectHandler):
        """Follows a redirect only to where the first request might have gone."""

        def redirect_request(  # noqa: PLR0917 - the base class's own
            self, req: Request, fp: object, code: int, msg: str, headers: Message, newurl: str
        ) -> Request | None:
            _check_address(newurl)
            return super().redirect_request(req, fp, code, msg, headers, newurl)  # type: ignore[arg-type]

    _check_address(source)
    shown = _without_secrets(source)
    try:
        request = Request(source, headers={"User-Agent": "bursar", "Accept": "application/json"})  # noqa: S310 (checked above)
        with build_opener(CheckedRedirects).open(request, timeout=TIMEOUT_S) as response:
            payload: bytes = response.read(BYTES_MOST + 1)
    except HTTPError as error:
        error.close()
        raise UpdateFailed(
            f'the price data was not fetched: "{shown}" answered with status {error.code}; the data in use stays'
        ) from error
    except (URLError, OSError, HTTPException, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        raise UpdateFailed(
            f'the price data was not fetched from "{shown}": {reason}; the data in use stays. Without a network, copy '
            "the document from a machine that has one: bursar prices update --from FILE"
        ) from error
    if len(payload) > BYTES_MOST:
        raise UpdateFailed(f'"{shown}" answered with more than {BYTES_MOST:,} bytes, so it is no price data')
    return payload


def _check_address(address: str) -> None:
    parts = urlsplit(address)
    if "@" in parts.netloc:
        raise UpdateFailed(
            f'price data is not fetched from "{_without_secrets(address)}" with a user and password: download it with '
            "a program that can, and name the file"
        )
    if parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOOPBACK):
        return
    raise UpdateFailed(
        f'price data is not fetched from "{_without_secrets(address)}": whoever is on the way could change the '
        "prices; write an address that begins with https://, or a file"
    )


def _without_secrets(source: str) -> str:
    """Return an address without user, password and query, which may hold a key; a file's path as it is."""
    if "://" not in source:
        return source
    parts = urlsplit(source)
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}{parts.path}"


def _store(path: Path, content: bytes) -> None:
    """Replace the file at *path* as a whole, or not at all."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(name, path)
        except BaseException:  # Whatever it is, no half-written file is left; raised again.
            with suppress(FileNotFoundError):
                os.unlink(name)
            raise
    except OSError as error:
        raise UpdateFailed(f'the price data cannot be stored in "{path}": {error.strerror}') from error
