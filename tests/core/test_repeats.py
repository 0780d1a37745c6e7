"""The fingerprints that a run remembers: bounded, and each seen once however many threads ask."""

from __future__ import annotations

import threading

from bursar.repeats import Repeats


def test_what_comes_again_is_known() -> None:
    """The first time it is new, and known from then on."""
    repeats = Repeats()

    assert [False, False, True, True] == [repeats.has_seen(mark) for mark in (1, 2, 1, 2)]


def test_the_newest_are_remembered() -> None:
    """A run of any length keeps about four thousand, and those are the newest."""
    repeats = Repeats()
    for mark in range(20_000):
        repeats.has_seen(mark)

    assert 4_096 <= len(repeats) < 4_096 + 256
    assert all(repeats.has_seen(mark) for mark in range(20_000 - 4_096, 20_000))
    assert not repeats.has_seen(0)


def test_of_threads_at_once_one_is_first() -> None:
    """Eight threads that send the same 10,000 requests are told of as many that are new, while the oldest go."""
    repeats = Repeats()
    new: list[int] = []
    errors: list[BaseException] = []
    gate = threading.Barrier(8)

    def ask() -> None:
        try:
            for mark in range(10_000):
                if mark % 100 == 0:
                    gate.wait(30)
                if not repeats.has_seen(mark):
                    new.append(mark)
        except BaseException as error:  # noqa: BLE001 (told below)
            errors.append(error)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [] == errors
    assert list(range(10_000)) == sorted(new)
