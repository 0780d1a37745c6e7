"""A framework's tests run where it is installed: in its own environments (`.ci/environments.py`), and nowhere else."""

from __future__ import annotations

import gc
import warnings
from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from typing import Final

import pytest

PACKAGES: Final = {
    "autogen": "autogen_agentchat",
    "crewai": "crewai",
    "langchain": "langchain_core",
    "llama_index": "llama_index",
    # A plugin of pytest is tested beside the plugins that it must live with.
    "pytest": "xdist",
}

collect_ignore = [name for name, package in PACKAGES.items() if find_spec(package) is None]

with warnings.catch_warnings():
    # What a framework deprecates of others, while it is imported, is no failure of ours.
    warnings.simplefilter("ignore")
    for package in PACKAGES.values():
        if find_spec(package) is not None:
            import_module("llama_index.core" if package == "llama_index" else package)


@pytest.fixture(scope="session", autouse=True)
def nothing_is_left_to_the_end() -> Iterator[None]:
    """
    Collect in the last test what a framework leaves to the garbage collector: connections, coroutines.

    A test ignores what Python says of these, as its framework does; after the last one nothing would.
    """
    yield
    gc.collect()
