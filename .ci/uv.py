"""
Runs uv with the arguments given, and brings it first where it is missing.

Needs Python 3.11 and a package index, nothing else: no pip, no venv, no git.  The first of these that works is
used: a recent enough uv on the PATH, the copy this file made in `.uv/`, `pip install --target`, and a download of
the wheel itself.  Which wheel, and its sha256, stand in uv.lock, so a fetched uv is trusted as far as this
repository is.
"""

from __future__ import annotations

import base64
import configparser
import hashlib
import html
import io
import os
import platform
import re
import shutil
import ssl
import subprocess
import sys
import tempfile
import tomllib
import urllib.error
import urllib.parse
import urllib.request
import zipfile
from pathlib import Path
from typing import Any, Final, NoReturn

ROOT: Final = Path(__file__).resolve().parents[1]
OWN: Final = ROOT / ".uv" / "bin" / "uv"


def main() -> NoReturn:
    """Replaces this process by uv, set to use this machine's Python and this machine's index."""
    uv = bring()
    os.execve(uv, [str(uv), *sys.argv[1:]], environment())


def bring() -> Path:
    """The path of a uv that can read this project; fetched if need be."""
    on_path = shutil.which("uv")
    for found in (Path(on_path) if on_path else None, OWN):
        if found and is_recent(found):
            return found
    print(f"bringing uv {locked_uv()['version']} to {OWN.parent}", file=sys.stderr)
    if not install_with_pip():
        install_from_wheel()
    if not is_recent(OWN):
        sys.exit(f"{OWN} does not run on this machine; put a uv on the PATH: https://docs.astral.sh/uv/")
    return OWN


def environment() -> dict[str, str]:
    """The environment for uv: no Python is downloaded, the system's certificates and index are used."""
    env = {"UV_PYTHON_DOWNLOADS": "never", **os.environ}
    trusted = ssl.get_default_verify_paths()
    if trusted.cafile or (trusted.capath and os.listdir(trusted.capath)):
        env.setdefault("UV_SYSTEM_CERTS", "1")
    index = mirror()
    if index:
        env["UV_DEFAULT_INDEX"] = index
    return env


def mirror() -> str | None:
    """The index this machine is told to use in place of the public one, by uv's or pip's own settings."""
    named = (os.environ.get(name) for name in ("UV_DEFAULT_INDEX", "UV_INDEX_URL", "PIP_INDEX_URL"))
    # uv lets an index be written with a name: `mirror=https://...`.
    url = next((re.sub(r"^[\w-]+=", "", url) for url in named if url), None) or pip_index()
    return None if not url or url.rstrip("/") == locked_uv()["source"]["registry"].rstrip("/") else url


def pip_index() -> str | None:
    """The `index-url` of pip's configuration files: the user's before the machine's."""
    home, config = Path.home(), os.environ.get("XDG_CONFIG_HOME")
    named = os.environ.get("PIP_CONFIG_FILE")
    files = [
        *([Path(named)] if named else []),
        (Path(config) if config else home / ".config") / "pip" / "pip.conf",
        home / ".pip" / "pip.conf",
        Path("/etc/pip.conf"),
        Path("/etc/xdg/pip/pip.conf"),
    ]
    for file in files:
        parser = configparser.RawConfigParser()
        parser.read(file)
        for section in ("install", "global"):
            if parser.has_option(section, "index-url"):
                return parser.get(section, "index-url")
    return None


def locked_uv() -> dict[str, Any]:
    """What uv.lock says about uv: its version, and the address and sha256 of each wheel."""
    lock = tomllib.loads((ROOT / "uv.lock").read_text())
    return next(package for package in lock["package"] if package["name"] == "uv")


def is_recent(uv: Path) -> bool:
    """True when *uv* runs and is not older than `tool.uv.required-version`."""
    try:
        answer = subprocess.run([uv, "--version"], capture_output=True, text=True, check=True, cwd="/").stdout
    except (OSError, subprocess.CalledProcessError):
        return False
    floor = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["uv"]["required-version"]
    return numbers(answer.split()[1]) >= numbers(floor)


def numbers(version: str) -> list[int]:
    """The integers in a version, for comparing: `>=0.8.4` is [0, 8, 4]."""
    return [int(number) for number in re.findall(r"\d+", version)]


def install_with_pip() -> bool:
    """Installs the locked uv by this Python's pip; False when there is none or it does not succeed."""
    if subprocess.run(
        [sys.executable, "-m", "pip", "--version"], capture_output=True, check=False
    ).returncode:
        return False
    uv = locked_uv()
    hashes = " ".join(f"--hash={wheel['hash']}" for wheel in uv["wheels"])
    with tempfile.TemporaryDirectory() as folder:
        requirement = Path(folder, "uv.txt")
        requirement.write_text(f"uv=={uv['version']} {hashes}\n")
        # `--target` is no installation into the system, so PEP 668 does not forbid it.
        options = ["--quiet", "--no-deps", "--require-hashes", "--only-binary=:all:", "--upgrade"]
        pip = [sys.executable, "-m", "pip", "install", *options, "--target", ROOT / ".uv", "-r", requirement]
        index = mirror()
        env = {**os.environ, "PIP_INDEX_URL": index} if index else None
        done = subprocess.run(pip, stdout=sys.stderr, env=env, check=False)
    return done.returncode == 0 and OWN.exists()


def install_from_wheel() -> None:
    """Downloads the locked wheel for this machine, checks its sha256 and unpacks the one file needed."""
    name, url, sha256 = choose_wheel()
    index = mirror()
    if index:
        url = find_on(index, name)
    wheel = fetch(url)
    if hashlib.sha256(wheel).hexdigest() != sha256:
        sys.exit(f"{name} is not the file that uv.lock names: its sha256 differs, and it was not used")
    with zipfile.ZipFile(io.BytesIO(wheel)) as archive:
        member = next(entry for entry in archive.namelist() if entry.endswith(".data/scripts/uv"))
        binary = archive.read(member)
    OWN.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=OWN.parent, delete=False) as file:
        file.write(binary)
    os.chmod(file.name, 0o755)  # noqa: S103  # a program is for running
    # Renamed into place, so that a second `make` never starts half a file.
    os.replace(file.name, OWN)


def choose_wheel() -> tuple[str, str, str]:
    """The file name, address and sha256 of the locked wheel that runs here."""
    machine = {"amd64": "x86_64", "arm64": "aarch64"}.get(
        platform.machine().lower(), platform.machine().lower()
    )
    libc, version = platform.libc_ver()
    if sys.platform == "darwin":
        system = f"macosx_.*_{machine.replace('aarch64', 'arm64')}"
    elif sys.platform == "linux":
        system = f"{'manylinux' if libc == 'glibc' else 'musllinux'}_(\\d+_\\d+)_{machine}"
    else:
        system = "unknown"
    for wheel in locked_uv()["wheels"]:
        name = urllib.parse.unquote(wheel["url"].rsplit("/", 1)[1])
        match = re.search(system, name)
        # A tag says the oldest glibc it runs on.
        if match and (libc != "glibc" or numbers(match[1].replace("_", ".")) <= numbers(version)):
            return name, wheel["url"], wheel["hash"].removeprefix("sha256:")
    sys.exit(f"no uv is published for {sys.platform} {machine} {libc} {version}; put one on the PATH")


def find_on(index: str, name: str) -> str:
    """The address of the file *name* on a package index (PEP 503)."""
    page = f"{index.rstrip('/')}/uv/"
    for href in re.findall(r'href="([^"]+)"', fetch(page).decode()):
        address = urllib.parse.urljoin(page, html.unescape(href))
        if urllib.parse.unquote(urllib.parse.urlparse(address).path).endswith(f"/{name}"):
            return address
    sys.exit(f"the package index has no {name}; put a uv on the PATH, or name another in UV_DEFAULT_INDEX")


def fetch(url: str) -> bytes:
    """The bytes at *url*; a name and password in it are sent as basic authentication."""
    parts = urllib.parse.urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    request = urllib.request.Request(urllib.parse.urlunsplit(parts._replace(netloc=host)))
    if parts.username:
        pair = f"{urllib.parse.unquote(parts.username)}:{urllib.parse.unquote(parts.password or '')}"
        # Unredirected: another host never sees it.
        request.add_unredirected_header("Authorization", f"Basic {base64.b64encode(pair.encode()).decode()}")
    try:
        return read(request, ssl.create_default_context())
    except urllib.error.URLError as error:
        no_trust = isinstance(error.reason, ssl.SSLCertVerificationError)
        if not no_trust or parts.username:
            sys.exit(f"cannot bring uv from {host}: {error.reason}")
    # A fresh Debian has no certificates to verify with.  What is fetched is used only if its sha256 stands in
    # uv.lock, and nothing secret is sent, so the connection need not be trusted.
    return read(request, ssl._create_unverified_context())  # noqa: S323  # pyright: ignore[reportPrivateUsage]


def read(request: urllib.request.Request, context: ssl.SSLContext) -> bytes:
    """The body of the answer to *request*."""
    with urllib.request.urlopen(request, timeout=120, context=context) as answer:
        return answer.read()


if __name__ == "__main__":
    main()
