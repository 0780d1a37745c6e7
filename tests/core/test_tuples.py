"""Named tuples that are made without their constructors have all of their fields."""

from __future__ import annotations

import ast
import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import bursar

if TYPE_CHECKING:
    from collections.abc import Iterator

_ROOT = Path(bursar.__file__).parent


def makings() -> Iterator[tuple[str, int, str, int]]:
    """Yield where a named tuple is made so, of which kind, and with how many fields."""
    for file in sorted(_ROOT.rglob("*.py")):
        text = file.read_text()
        for node in ast.walk(ast.parse(text)) if "from bursar.tuples import make" in text else ():
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "make":
                match node.args:
                    case [ast.Name(id=kind), ast.Tuple(elts=fields)]:
                        starred = sum(isinstance(field, ast.Starred) for field in fields)
                        count = -1 if starred else len(fields)
                        yield str(file.relative_to(_ROOT.parent)), node.lineno, kind, count
                    case _:
                        pytest.fail(f"{file}:{node.lineno}: write make(Kind, (its, fields))")


@pytest.mark.parametrize(("file", "line", "kind", "count"), list(makings()))
def test_every_field_is_given(file: str, line: int, kind: str, count: int) -> None:
    """No field is forgotten; which stands where, the facts about bounds, bills and entries tell."""
    del line
    module = importlib.import_module(file.removesuffix(".py").removesuffix("/__init__").replace("/", "."))
    made: Any = getattr(module, kind)

    assert count in {-1, len(made._fields)}


def test_some_are_made_so() -> None:
    """The search finds what it looks for."""
    assert {"Entry", "Claim", "Ask"} <= {kind for _, _, kind, _ in makings()}
