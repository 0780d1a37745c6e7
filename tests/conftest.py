"""What holds for every test: no network, no key, no ledger outside of memory, no deadline but pytest's."""

from __future__ import annotations

import ipaddress
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

import pytest
from hypothesis import settings

from .servers import postgres_ledger

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT: Final = Path(__file__).resolve().parents[1]

# Two cores shared with other work: a slow example is no failure, a hang is caught by pytest-timeout.
settings.register_profile("bursar", deadline=None, print_blob=True)
settings.load_profile("bursar")


def forbid_network(event: str, args: tuple[object, ...]) -> None:
    """Fails the test that opens a connection to, or looks up, any host but this one."""
    if event == "socket.connect":
        # A path in place of a tuple is a Unix socket.
        address = cast("tuple[object, ...] | str | bytes", args[1])
        host = address[0] if isinstance(address, tuple) else None
    elif event == "socket.getaddrinfo":
        host = args[0]
    else:
        return
    if isinstance(host, bytes):
        host = host.decode("ascii", "replace")
    if isinstance(host, str) and not is_loopback(host):
        # Not an Exception: an SDK would take it for a failed connection and try again.
        pytest.fail(f'a test reached for the network: "{host}"')


def is_loopback(host: str) -> bool:
    """True for the names and addresses of this machine's loopback interface."""
    if host in {"", "localhost"}:
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


sys.addaudithook(forbid_network)


# For the session, not for each test: hypothesis refuses function-scoped fixtures around its examples.
@pytest.fixture(scope="session", autouse=True)
def bare_environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """An environment that names no key, no provider and no proxy, a ledger in memory and empty user folders."""
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.startswith(("OPENAI_", "ANTHROPIC_", "AZURE_", "BURSAR_STORE")) or name.lower().endswith(
                "_proxy"
            ):
                patch.delenv(name)
        patch.setenv("BURSAR_STORE", "memory:")
        patch.delenv("BURSAR_PRICES", raising=False)
        # A developer's own price file and refreshed price data would change what tests come to.
        for kind in ("CONFIG", "DATA"):
            patch.setenv(f"XDG_{kind}_HOME", str(tmp_path_factory.mktemp(f"user-{kind.lower()}")))
        yield


@pytest.fixture(scope="session")
def offline_env() -> dict[str, str]:
    """The environment for a child process, whose only reachable hosts are this machine's."""
    nowhere = "http://127.0.0.1:9"
    proxies = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy"), nowhere)
    loopback = dict.fromkeys(("NO_PROXY", "no_proxy"), "127.0.0.1,localhost")
    return {**os.environ, **proxies, **loopback}


@pytest.fixture(scope="session")
def corpus() -> Path:
    """The folder of recorded exchanges; where it is not checked out beside this repository, the test is skipped."""
    folder = ROOT.parent / "shared" / "corpus"
    if not folder.is_dir():
        pytest.skip("the corpus of recorded exchanges is not beside this repository")
    return folder


@pytest.fixture
def jupyter(tmp_path: Path, offline_env: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The environment for a kernel of this interpreter that leaves no file outside of a temporary folder."""
    own = {
        "BURSAR_STORE": f"sqlite:///{tmp_path}/ledger.db",
        "IPYTHONDIR": str(tmp_path / "ipython"),
        "JUPYTER_PLATFORM_DIRS": "1",
        "JUPYTER_PREFER_ENV_PATH": "1",
        "JUPYTER_RUNTIME_DIR": str(tmp_path / "runtime"),
    }
    for name, value in own.items():
        monkeypatch.setenv(name, value)
    return {**offline_env, **own}


@pytest.fixture
def postgres() -> Iterator[str]:
    """The URL of a ledger in PostgreSQL for this test alone; where no server answers, the test is skipped."""
    with postgres_ledger() as url:
        yield url
