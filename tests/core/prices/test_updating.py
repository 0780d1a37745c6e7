"""Price data is refreshed when asked, checked before it is stored, and used by later processes."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from bursar.prices import data as price_data_module
from bursar.prices.data import (
    STALE_DAYS,
    BrokenPriceData,
    PriceData,
    bundled,
    newest_start,
    read_stored,
    warn_if_stale,
)
from bursar.prices.updating import UpdateFailed, default_source, forget, update

# Today, because stored data gives way to that of a package published after it.
NOW = datetime.now(UTC).replace(hour=12)
DOCUMENT: list[dict[str, Any]] = [
    {
        "id": "openai",
        "name": "OpenAI",
        "api_pattern": "https://api\\.openai\\.com",
        "model_match": {"starts_with": "gpt-"},
        "models": [
            {
                "id": "gpt-4o",
                "match": {"starts_with": "gpt-4o"},
                "prices": {"input_mtok": 7.1, "output_mtok": 9},
            },
            {
                "id": "gpt-99",
                "match": {"equals": "gpt-99"},
                "context_window": 9,
                "prices": [
                    {
                        "prices": {
                            "input_mtok": 1,
                            "output_mtok": {"base": 2, "tiers": [{"start": 5, "price": 3}]},
                        }
                    },
                    {
                        "constraint": {"start_date": "2026-03-13"},
                        "prices": {"input_mtok": 4, "output_mtok": 5},
                    },
                ],
            },
        ],
    }
]
PAYLOAD = json.dumps(DOCUMENT).encode()


@contextmanager
def served(answers: dict[str, tuple[int, dict[str, str], bytes]]) -> Generator[str]:
    """Run a server on this machine that answers each path as told."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, headers, body = answers[self.path.partition("?")[0]]
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            del format, args

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the data is stored, in this process and its children; nothing is stored yet."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    path = price_data_module.stored_path()
    if tmp_path not in path.parents:
        monkeypatch.setattr(price_data_module, "stored_path", lambda: tmp_path / "bursar" / "price-data.json")
    return price_data_module.stored_path()


def child(code: str) -> subprocess.CompletedProcess[str]:
    """Run code in a process of its own, in the environment of this one."""
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, env=os.environ
    )


PRICE = (
    "from bursar import prices; print(prices.price('openai', 'gpt-4o').provenance(), prices.data_version())"
)


def test_refreshed_data_is_used_by_later_processes(stored: Path) -> None:
    """Fetched from a server, it is stored with its day and its checksum; this process keeps what it had."""
    with served({"/data.json": (200, {}, PAYLOAD)}) as address:
        done = update(f"{address}/data.json?token=planted", now=NOW)
    later = child(PRICE)
    version = done.after.version

    assert ("", f"openai:gpt-4o ({version}) {version}\n") == (later.stderr, later.stdout)
    assert version.startswith(f"{NOW.date()} ")
    assert (f"{address}/data.json", NOW.date()) == (done.after.source, done.after.day)
    assert ("openai:gpt-99", "openai:gpt-4o") == (done.added[0], done.changed[0])
    assert "anthropic:claude-haiku-4-5" in done.gone
    assert "planted" not in stored.read_text()
    assert bundled().version == price_data_module.version_in_use() or stored.exists()


def test_copy_is_as_old_as_its_file(stored: Path, tmp_path: Path) -> None:
    """What is read today may have been downloaded long ago."""
    copy = tmp_path / "copy.json"
    copy.write_bytes(PAYLOAD)
    changed = NOW - timedelta(days=5)
    os.utime(copy, (changed.timestamp(), changed.timestamp()))

    assert (changed.date(), 5) == ((after := update(str(copy), now=NOW).after).day, after.age_days(NOW))
    assert stored.exists()


def test_file_is_a_source_too_and_bundled_data_comes_back(stored: Path, tmp_path: Path) -> None:
    """Without a network the document is copied; `forget` removes what was stored."""
    copy = tmp_path / "copy.json"
    copy.write_bytes(PAYLOAD)
    done = update(str(copy), now=NOW)

    assert (str(copy), stored) == (done.after.source, done.path)
    assert [stored.name] == [path.name for path in stored.parent.iterdir()]
    assert bundled() == forget()
    assert not stored.exists()
    assert f"({bundled().version})" in child(PRICE).stdout
    forget()


def test_exact_rates_and_every_shape_of_the_format(stored: Path, tmp_path: Path) -> None:
    """Tiers, days and decimals come through as genai-prices itself reads them."""
    copy = tmp_path / "copy.json"
    copy.write_bytes(PAYLOAD)
    update(str(copy), now=NOW)
    out = child(
        "from bursar import prices; from bursar.usage import Usage; from datetime import datetime as d\n"
        "old = prices.price('openai', 'gpt-99', at=d(2026, 1, 1))\n"
        "print(old.cost_nanousd(Usage(input_tokens=6, output_tokens=1)), old.context_window,\n"
        "      prices.price('openai', 'gpt-99').cost_nanousd(Usage(input_tokens=1)),\n"
        "      prices.price('openai', 'gpt-4o').cost_nanousd(Usage(input_tokens=10)),\n"
        "      prices.find_price('anthropic', 'claude-haiku-4-5'))"
    )

    assert (f"{6_000 + 3_000} 9 4000 71000 None\n", "") == (out.stdout, out.stderr)
    assert stored.exists()


@pytest.mark.parametrize(
    ("payload", "words"),
    [
        (b"", "is not JSON"),
        (b"<html>", "is not JSON"),
        (b"{}", "no list of providers, but a JSON dict"),
        (b"[]", "it has no models"),
        (b'[{"id": "openai"}]', "not in the format of genai-prices"),
        (b"[NaN]", "NaN, which is no price"),
        (PAYLOAD.replace(b"7.1", b"-7.1"), "negative|not in the format"),
        (PAYLOAD.replace(b"7.1", b'"cheap"'), "not in the format"),
        (PAYLOAD.replace(b'"starts_with": "gpt-4o"', b'"begins": "x"'), "not in the format"),
        (
            b'[{"id": "x", "name": "x", "api_pattern": "x", "models": [{"id": "m", "match": {"equals": "m"}}]}]',
            "no model in it has a price|cannot be used",
        ),
        (PAYLOAD[: len(PAYLOAD) // 2], "is not JSON"),
    ],
)
def test_what_cannot_be_used_is_not_stored(stored: Path, tmp_path: Path, payload: bytes, words: str) -> None:
    """The data from before stays, to the byte."""
    copy = tmp_path / "copy.json"
    copy.write_bytes(PAYLOAD)
    update(str(copy), now=NOW)
    before = stored.read_bytes()
    copy.write_bytes(payload)
    with pytest.raises(UpdateFailed, match=words):
        update(str(copy), now=NOW)

    assert before == stored.read_bytes()
    assert [stored.name] == [path.name for path in stored.parent.iterdir()]


def test_failure_to_fetch_says_what_happened_and_shows_no_secret(stored: Path) -> None:
    """A status, a refused connection, an address that is not safe, a redirect to one that is not."""
    answers: dict[str, tuple[int, dict[str, str], bytes]] = {
        "/gone": (404, {}, b"secret"),
        "/away": (302, {"Location": "http://example.com/data.json"}, b""),
        "/moved": (302, {"Location": "/data.json"}, b""),
        "/data.json": (200, {}, PAYLOAD),
    }
    with served(answers) as address:
        for path, words in (
            ("/gone", "answered with status 404"),
            ("/away", 'not fetched from "http://example.com'),
        ):
            with pytest.raises(UpdateFailed, match=words) as raised:
                update(f"{address}{path}?key=planted")
            assert "planted" not in str(raised.value)
            assert "secret" not in str(raised.value)
        assert not stored.exists()
        assert update(f"{address}/moved", now=NOW).after.version.startswith(f"{NOW.date()} ")
    with pytest.raises(UpdateFailed, match=r"was not fetched from .*the data in use stays.*--from FILE"):
        update("https://127.0.0.1:9/data.json")
    with pytest.raises(UpdateFailed, match="with a user and password") as raised:
        update("https://user:planted@127.0.0.1:9/data.json")
    assert "planted" not in str(raised.value)
    for source in ("http://example.com/data.json", "ftp://127.0.0.1/x", "file:///etc/hostname"):
        with pytest.raises(UpdateFailed, match="begins with https://, or a file"):
            update(source)
    with pytest.raises(UpdateFailed, match="cannot be read"):
        update(str(stored.parent / "nowhere.json"))


def test_default_source_is_that_of_genai_prices() -> None:
    """Ours is the document that its own updater fetches."""
    assert default_source().startswith("https://")


@pytest.mark.parametrize("damage", ["truncated", "changed", "other", "empty", "folder"])
def test_broken_stored_data_is_passed_over_with_a_warning(stored: Path, tmp_path: Path, damage: str) -> None:
    """A process goes on with the bundled data, says so once, and imports all the same."""
    copy = tmp_path / "copy.json"
    copy.write_bytes(PAYLOAD)
    update(str(copy), now=NOW)
    content = stored.read_bytes()
    stored.unlink()
    if damage == "folder":
        stored.mkdir()
    else:
        changed = {
            "truncated": content[:-9],
            "changed": content.replace(b"7.1", b"0.1"),
            "other": b"PK",
            "empty": b"",
        }
        stored.write_bytes(changed[damage])
    done = child(f"{PRICE}; prices.price('openai', 'gpt-5')")

    assert f"({bundled().version}) {bundled().version}\n" in done.stdout
    assert 1 == done.stderr.count("cannot be used, so that of genai-prices")
    assert "bursar prices update --bundled" in done.stderr
    assert "Traceback" not in done.stderr
    if damage != "folder":
        with pytest.raises(BrokenPriceData):
            read_stored(stored)


def test_data_of_a_newer_package_comes_before_older_stored_data(stored: Path, tmp_path: Path) -> None:
    """After an upgrade the bundled data can be the newer one."""
    copy = tmp_path / "copy.json"
    copy.write_bytes(PAYLOAD)
    update(str(copy), now=datetime.combine(bundled().day - timedelta(days=1), datetime.min.time(), UTC))

    assert f"({bundled().version})" in child(PRICE).stdout
    assert stored.exists()


def test_stale_data_is_warned_of_by_its_age(caplog: pytest.LogCaptureFixture) -> None:
    """Ninety days are not stale, ninety-one are; a clock that is behind makes nothing younger than today."""
    data = PriceData(version="1", day=date(2026, 1, 1), source="genai-prices", providers=())
    last = datetime(2026, 1, 1, 23, tzinfo=UTC) + timedelta(days=STALE_DAYS)
    with caplog.at_level(logging.WARNING, logger="bursar"):
        assert [False, True] == [warn_if_stale(data, last), warn_if_stale(data, last + timedelta(days=1))]

    assert ["the price data is 91 days old"] == [record.getMessage()[:29] for record in caplog.records]
    assert 0 == data.age_days(datetime(2025, 1, 1, tzinfo=UTC))


def test_stale_data_is_warned_of_once_in_a_process(stored: Path, tmp_path: Path) -> None:
    """However many prices are asked for."""
    copy = tmp_path / "copy.json"
    copy.write_bytes(PAYLOAD)
    update(str(copy))
    later = (NOW + timedelta(days=171)).date()
    clock = (
        "import datetime, bursar.prices.data as data\n"
        "class Later(datetime.datetime):\n"
        "    @classmethod\n"
        f"    def now(cls, tz=None): return cls({later.year}, {later.month}, {later.day}, tzinfo=tz)\n"
        "data.datetime = Later\n"
    )
    done = child(f"{clock}{PRICE}\nfor model in ('gpt-99', 'gpt-4', 'x'): prices.find_price('openai', model)")

    assert 1 == done.stderr.count("the price data is 171 days old"), done.stderr
    assert f"({NOW.date()} " in done.stdout
    assert stored.exists()


def test_bundled_data_has_a_day() -> None:
    """It is the day of its release; of a release that is not known, the newest day on which a price began."""
    newest = newest_start(bundled().providers, NOW.date())

    assert date(2026, 11, 10) <= bundled().day
    assert date(2026, 10, 1) < newest <= NOW.date()
    assert newest_start(bundled().providers, newest - timedelta(days=1)) < newest
