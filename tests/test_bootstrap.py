"""`.ci/uv.py` and `.ci/sync.py`: how a machine with nothing but Python and an index gets a uv."""

from __future__ import annotations

import hashlib
import importlib.util
import platform
import shutil
import subprocess
import sys
import threading
import zipfile
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

CI: Final = Path(__file__).resolve().parents[1] / ".ci"
MACHINE: Final = platform.machine()
# A uv that tells its version and, asked anything else, what it was asked and told.
UV: Final = """#!/bin/sh
if [ "$1" = --version ]; then echo "uv {version} (test)"; exit; fi
echo "$@ python=$UV_PYTHON_DOWNLOADS index=$UV_DEFAULT_INDEX"
"""

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the wheels made here are named for Linux")


class Handler(SimpleHTTPRequestHandler):
    """Serves a folder and notes the credentials that were sent."""

    authorizations: Final[list[str | None]] = []

    def do_GET(self) -> None:
        """Answers as the base class does."""
        self.authorizations.append(self.headers["authorization"])
        super().do_GET()

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing."""


@pytest.fixture
def index(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """An empty package index: its folder, and its address."""
    folder = tmp_path / "index"
    (folder / "simple" / "uv").mkdir(parents=True)
    Handler.authorizations.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield folder, f"http://127.0.0.1:{server.server_port}/simple"
        server.shutdown()
        thread.join()


@pytest.fixture
def checkout(tmp_path: Path, index: tuple[Path, str]) -> Path:
    """A clone of a project whose lock names uv 0.99.0, as that index has it."""
    project = tmp_path / "clone"
    shutil.copytree(CI, project / ".ci", ignore=shutil.ignore_patterns("__pycache__"))
    (project / "pyproject.toml").write_text('[tool.uv]\nrequired-version = ">=0.8"\n')
    folder, url = index
    wheel = make_wheel(folder / "simple" / "uv")
    (folder / "simple" / "uv" / "index.html").write_text(
        f'<a href="{wheel.name}#sha256=of-no-interest">{wheel.name}</a>'
    )
    sha256 = hashlib.sha256(wheel.read_bytes()).hexdigest()
    write_lock(project, registry=url, wheel_url=f"{url}/uv/{wheel.name}", sha256=sha256)
    return project


def write_lock(project: Path, *, registry: str, wheel_url: str, sha256: str) -> None:
    """Writes the part of a uv.lock that is read."""
    (project / "uv.lock").write_text(
        f'[[package]]\nname = "uv"\nversion = "0.99.0"\nsource = {{ registry = "{registry}" }}\n'
        f'wheels = [{{ url = "https://elsewhere.invalid/uv-0.99.0-py3-none-win_amd64.whl", hash = "sha256:0" }},\n'
        f'{{ url = "{wheel_url}", hash = "sha256:{sha256}" }}]\n'
    )


def lock_elsewhere(project: Path) -> None:
    """Has the lock name an index that does not answer."""
    lock = project / "uv.lock"
    lock.write_text(lock.read_text().replace("127.0.0.1", "127.0.0.2"))


def make_wheel(folder: Path) -> Path:
    """A wheel of uv for this machine, that pip would take too."""
    libc = "manylinux" if platform.libc_ver()[0] == "glibc" else "musllinux"
    path = folder / f"uv-0.99.0-py3-none-{libc}_1_1_{MACHINE}.{libc}_2_17_{MACHINE}.whl"
    info = "uv-0.99.0.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        program = zipfile.ZipInfo("uv-0.99.0.data/scripts/uv")
        program.external_attr = 0o100755 << 16
        archive.writestr(program, UV.format(version="0.99.0"))
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: uv\nVersion: 0.99.0\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return path


def put(folder: Path, version: str) -> Path:
    """A uv of *version* in *folder*."""
    folder.mkdir(parents=True, exist_ok=True)
    uv = folder / "uv"
    uv.write_text(UV.format(version=version))
    uv.chmod(0o755)
    return uv


def start(
    checkout: Path, *arguments: str, file: str = "uv.py", path: str = "/nowhere", **env: str
) -> subprocess.CompletedProcess[str]:
    """Runs a file of `.ci` with nothing in the environment but what is named; a pip finds nothing."""
    return subprocess.run(
        [sys.executable, checkout / ".ci" / file, *arguments],
        env={"PATH": f"{path}:/usr/bin:/bin", "HOME": str(checkout), "PIP_NO_INDEX": "1", **env},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_recent_uv_on_the_path_is_used(checkout: Path, tmp_path: Path) -> None:
    """Nothing is fetched where uv is there already."""
    put(tmp_path / "bin", "0.8.0")
    done = start(checkout, "sync", path=str(tmp_path / "bin"))

    assert "sync python=never index=\n" == done.stdout
    assert not (checkout / ".uv").exists()


@pytest.mark.parametrize("version", ["0.7.22", "0.0.9"])
def test_an_old_uv_is_passed_over(checkout: Path, tmp_path: Path, version: str) -> None:
    """A uv below `required-version` is left alone, and one that meets it is fetched."""
    put(tmp_path / "bin", version)
    done = start(checkout, "--version", path=str(tmp_path / "bin"))

    assert "uv 0.99.0 (test)\n" == done.stdout


def test_uv_is_fetched_once(checkout: Path, index: tuple[Path, str]) -> None:
    """The second run uses the copy that the first one made."""
    first = start(checkout, "--version")
    shutil.rmtree(index[0])
    second = start(checkout, "--version")

    assert ("uv 0.99.0 (test)\n", "uv 0.99.0 (test)\n") == (first.stdout, second.stdout)
    assert "bringing uv 0.99.0" in first.stderr
    assert "" == second.stderr


def test_a_wheel_with_another_hash_is_not_used(checkout: Path, index: tuple[Path, str]) -> None:
    """What the lock does not name is not run, wherever it came from."""
    (wheel,) = (index[0] / "simple" / "uv").glob("*.whl")
    with zipfile.ZipFile(wheel, "a") as archive:
        archive.writestr("more", "than was locked")
    done = start(checkout, "--version")

    assert 1 == done.returncode
    assert "its sha256 differs" in done.stderr
    assert not (checkout / ".uv" / "bin" / "uv").exists()


@pytest.mark.parametrize("name", ["UV_DEFAULT_INDEX", "UV_INDEX_URL", "PIP_INDEX_URL"])
def test_another_index_is_used_by_name(checkout: Path, index: tuple[Path, str], name: str) -> None:
    """An index in the environment takes the place of the locked one, for bringing uv and for uv itself."""
    lock_elsewhere(checkout)
    done = start(checkout, "sync", **{name: index[1]})

    assert f"sync python=never index={index[1]}\n" == done.stdout


@pytest.mark.parametrize("file", [".config/pip/pip.conf", ".pip/pip.conf"])
def test_the_index_of_pip_conf_is_used(checkout: Path, index: tuple[Path, str], file: str) -> None:
    """A machine that was set up for pip is set up for uv."""
    lock_elsewhere(checkout)
    conf = checkout / file
    conf.parent.mkdir(parents=True)
    conf.write_text(f"[global]\nindex-url = {index[1]}/\n")
    done = start(checkout, "sync")

    assert f"sync python=never index={index[1]}/\n" == done.stdout


def test_pip_brings_uv_where_there_is_one(checkout: Path, index: tuple[Path, str]) -> None:
    """A machine's pip is asked before anything is downloaded without it, and holds the wheel to the same hash."""
    ensurepip = importlib.util.find_spec("ensurepip")
    bundled = sorted(Path(ensurepip.origin or "").parent.glob("_bundled/pip-*.whl")) if ensurepip else []
    if not bundled:
        pytest.skip("this Python was installed without the pip that belongs to it")
    lock_elsewhere(checkout)
    pip = {"PYTHONPATH": str(bundled[0]), "PIP_NO_INDEX": "0"}
    done = start(checkout, "--version", UV_DEFAULT_INDEX=index[1], **pip)

    assert ("uv 0.99.0 (test)\n", 0) == (done.stdout, done.returncode), done.stderr
    assert [] != list((checkout / ".uv").glob("uv-0.99.0.dist-info"))


def test_a_password_in_the_index_is_sent_and_not_shown(checkout: Path, index: tuple[Path, str]) -> None:
    """A private index gets its name and password as basic authentication; no message repeats them."""
    private = index[1].replace("http://", "http://ann:s%40crumb@")
    shutil.rmtree(index[0] / "simple")
    lock_elsewhere(checkout)
    done = start(checkout, "sync", UV_DEFAULT_INDEX=private)

    assert 1 == done.returncode
    assert "Basic YW5uOnNAY3J1bWI=" == Handler.authorizations[-1]
    assert "crumb" not in done.stdout + done.stderr


def test_an_index_without_the_wheel_is_named_as_the_reason(checkout: Path, index: tuple[Path, str]) -> None:
    """The message says what is missing and what to do."""
    (index[0] / "simple" / "uv" / "index.html").write_text("<a href='uv-0.1.tar.gz'>uv-0.1.tar.gz</a>")
    lock_elsewhere(checkout)
    done = start(checkout, "sync", UV_DEFAULT_INDEX=index[1])

    assert 1 == done.returncode
    assert "the package index has no uv-0.99.0" in done.stderr


def test_the_environment_is_synced_with_the_lock(checkout: Path, tmp_path: Path) -> None:
    """From the index that the lock names, uv installs exactly what is locked, or fails."""
    put(tmp_path / "bin", "0.8.0")
    done = start(checkout, "--all-extras", "--inexact", file="sync.py", path=str(tmp_path / "bin"))

    assert "sync --quiet --locked --all-extras --inexact python=never index=\n" == done.stdout


def test_another_index_gives_what_is_locked(checkout: Path, index: tuple[Path, str], tmp_path: Path) -> None:
    """From an index that the lock does not name, the locked versions are installed by their hashes."""
    put(tmp_path / "bin", "0.8.0")
    lock_elsewhere(checkout)
    env = {"PIP_INDEX_URL": index[1], "TMPDIR": str(tmp_path)}
    done = start(checkout, "--all-extras", "--inexact", file="sync.py", path=str(tmp_path / "bin"), **env)
    told = [line.removesuffix(f" python=never index={index[1]}") for line in done.stdout.splitlines()]
    file = told[0].rpartition(" ")[2]

    assert [
        f"export --quiet --frozen --no-emit-project --all-extras --output-file {file}",
        "venv --quiet --allow-existing",
        f"pip install --quiet --require-hashes --requirements {file}",
        "pip install --quiet --no-deps --editable .",
    ] == told
