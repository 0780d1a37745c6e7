"""A fingerprint tells repetitions, and nothing else."""

from __future__ import annotations

from typing import Any, cast

from hypothesis import given
from hypothesis import strategies as st

from bursar.wire import fingerprint

_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


def of(body: dict[str, Any], agent: str = "writer") -> int:
    """Return the fingerprint of *body*."""
    return fingerprint(agent, body)


def test_the_same_request_has_the_same_fingerprint() -> None:
    """Equal bodies look alike, whatever the order of their keys; another agent or value does not."""
    one: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "n": 1}
    two = dict(reversed(one.items()))

    assert of(one) == of(two)
    assert 3 == len({of(one), of(one, agent="planner"), of({**one, "n": 2})})


@given(one=st.dictionaries(st.text(max_size=5), _JSON), two=st.dictionaries(st.text(max_size=5), _JSON))
def test_other_requests_have_other_fingerprints(one: dict[str, Any], two: dict[str, Any]) -> None:
    """Two bodies look alike if and only if they are written alike: structure, kind and content."""
    assert (canonical(one) == canonical(two)) == (of(one) == of(two))


def test_structure_does_not_run_together() -> None:
    """Neighbouring texts, lists and keys are told apart."""
    bodies: list[dict[str, Any]] = [
        {"a": ["bc", ""]},
        {"a": ["b", "c"]},
        {"a": [["b"], "c"]},
        {"a": {"b": "c"}},
        {"ab": ["c"]},
        {"a": 1},
        {"a": "1"},
        {"a": None},
    ]

    assert len(bodies) == len({of(body) for body in bodies})


def test_numbers_that_python_takes_for_the_same_are_told_apart() -> None:
    """To Python 1, 1.0 and True are equal, and the hashes of -1 and -2 are."""
    numbers = [1, 1.0, True, 0, False, -1, -2, -1.0, -2.0, 2**61 - 1]

    assert len(numbers) == len({of({"presence_penalty": number}) for number in numbers})


def test_long_texts_are_told_apart_by_size_ends_and_slices() -> None:
    """A long text is sampled: its length, its ends and slices between still tell it from most others."""
    text = "x" * 200_000
    bodies = [{"p": text}, {"p": text + "x"}, {"p": "y" + text[1:]}, {"p": text[:-1] + "y"}]
    bodies.append({"p": text[:100_000] + "y" * 30_000 + text[130_000:]})

    assert len(bodies) == len({of(body) for body in bodies})


def canonical(node: object) -> str:
    """Write *node* in one way only."""
    if isinstance(node, dict):
        items = sorted(cast("dict[str, object]", node).items())
        return "{" + ",".join(f"{key!r}:{canonical(value)}" for key, value in items) + "}"
    if isinstance(node, list):
        return "[" + ",".join(canonical(value) for value in cast("list[object]", node)) + "]"
    return repr(node)
