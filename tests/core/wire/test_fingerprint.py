"""A fingerprint tells repetitions, and nothing else."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from bursar.wire import fingerprint

_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


def of(body: dict[str, Any], agent: str = "writer") -> tuple[int, int]:
    """Return the fingerprints of *body*, as one that may be long and as one that is short."""
    return fingerprint(agent, body), fingerprint(agent, body, is_short=True)


def of_long(body: dict[str, Any]) -> int:
    """Return the fingerprint of *body*, which may be long."""
    return fingerprint("writer", body)


def test_the_same_request_has_the_same_fingerprint() -> None:
    """Bodies that are written alike look alike, whatever they are made of; another agent or value does not."""
    one: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "n": 1}
    two = json.loads(json.dumps(one))

    assert of(one) == of(two)
    for kind in (0, 1):
        assert 3 == len({of(one)[kind], of(one, agent="planner")[kind], of({**one, "n": 2})[kind]})


@given(one=st.dictionaries(st.text(max_size=5), _JSON), two=st.dictionaries(st.text(max_size=5), _JSON))
def test_other_requests_have_other_fingerprints(one: dict[str, Any], two: dict[str, Any]) -> None:
    """Two bodies look alike if and only if they are written alike: structure, kind, order and content."""
    for first, second in ((one, two), (one, dict(one))):
        is_alike = repr(first) == repr(second)
        assert [is_alike, is_alike] == [a == b for a, b in zip(of(first), of(second), strict=True)]


def test_a_short_body_may_hold_what_is_no_json() -> None:
    """A client library takes objects of its own: they are written out as Python shows them."""
    one, two = {"metadata": Decimal(1)}, {"metadata": Decimal(2)}

    assert of(one) == of({"metadata": Decimal(1)})
    assert of(one)[1] != of(two)[1]


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

    assert len(bodies) == len({of(body)[0] for body in bodies}) == len({of(body)[1] for body in bodies})


def test_numbers_that_python_takes_for_the_same_are_told_apart() -> None:
    """To Python 1, 1.0 and True are equal, and the hashes of -1 and -2 are."""
    numbers = [1, 1.0, True, 0, False, -1, -2, -1.0, -2.0, 2**61 - 1]

    found = [of({"presence_penalty": number}) for number in numbers]
    assert len(numbers) == len({long for long, _ in found}) == len({short for _, short in found})


def test_long_texts_are_told_apart_by_size_ends_and_slices() -> None:
    """A long text is sampled: its length, its ends and slices between still tell it from most others."""
    text = "x" * 200_000
    bodies = [{"p": text}, {"p": text + "x"}, {"p": "y" + text[1:]}, {"p": text[:-1] + "y"}]
    bodies.append({"p": text[:100_000] + "y" * 30_000 + text[130_000:]})

    assert len(bodies) == len({of_long(body) for body in bodies})
