"""A framework's tests run where it is installed: in its own environments (`.ci/environments.py`), and nowhere else."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Final

PACKAGES: Final = {
    "autogen": "autogen_agentchat",
    "crewai": "crewai",
    "langchain": "langchain_core",
    "llama_index": "llama_index",
}

collect_ignore = [name for name, package in PACKAGES.items() if find_spec(package) is None]
