"""Processes that share a ledger: started by the tests as a program, told what to do by its arguments."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path

from store_parts import opened

from bursar.account import Account, Amounts, Limits
from bursar.entry import Agent, Entry, Subject
from bursar.ids import new_id
from bursar.reservation import Claim, Grant, Resolution
from bursar.store import Store
from bursar.usage import Usage

TIGHT_NANOUSD = 3_000_000
CHAIN = (
    Account(key="agent", name="the agent", limits=Limits(nanousd=TIGHT_NANOUSD)),
    Account(key="run", name="the run", limits=Limits(nanousd=TIGHT_NANOUSD), warn_at_ppm=(500_000, 900_000)),
)
FIVE = (
    Account(key="agent", name="the agent"),
    Account(key="run", name="the run", limits=Limits(calls=5)),
)


def start(what: str, ledger: str, *arguments: object) -> subprocess.Popen[str]:
    """Start this file in a process of its own."""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, __file__, what, ledger, *map(str, arguments)]
    return subprocess.Popen(
        command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def made_resolution(id_: str, cost: int) -> Resolution:
    """A resolution of *cost* nano-dollars."""
    subject = Subject(
        call_id=id_,
        run_id="run",
        workflow="w",
        agent=Agent(name="agent"),
        provider="p",
        model="m",
        operation="chat",
    )
    entry = Entry(id_, subject, "ok", "priced", 1, "m", cost, cost, Usage(input_tokens=1))
    return Resolution(entry, Amounts(cost, 1, 1, 1))


def take_five(store: Store) -> None:
    """Reserve against five calls until refused, and say how many there were."""
    print("ready", flush=True)
    sys.stdin.readline()
    count = 0
    while isinstance(store.reserve(Claim(new_id(), FIVE, Amounts(1, 1, 1, 1))), Grant):
        count += 1
    print(count, flush=True)


def take_all(store: Store) -> None:
    """Reserve until nothing is left, and say which thresholds were told."""
    print("ready", flush=True)
    sys.stdin.readline()
    told: list[int] = []
    while isinstance(answer := store.reserve(Claim(new_id(), CHAIN, Amounts(30_000, 1, 1, 1))), Grant):
        told.extend(notice.threshold_ppm for notice in answer.notices)
    print(json.dumps(told), flush=True)


def spend_on(store: Store, told: Path, seed: str) -> None:
    """Reserve, dispatch and settle until killed; what is settled is told on disk before going on."""
    rng = random.Random(seed)
    with told.open("a") as lines:
        while True:
            id_, bound = new_id(), rng.randrange(1, 400)
            answer = store.reserve(
                Claim(id_, CHAIN, Amounts(bound, 1, 1, 1), owner=str(os.getpid()), lease_s=0.05)
            )
            if not isinstance(answer, Grant):
                store.expire()
                continue
            if rng.random() < 0.7:
                store.dispatch(id_)
            if rng.random() < 0.9:
                cost = rng.randrange(bound + 1)
                store.resolve(made_resolution(id_, cost))
                lines.write(json.dumps([id_, cost]) + "\n")
                lines.flush()
                os.fsync(lines.fileno())


def main() -> None:
    """Do what the arguments say."""
    what, ledger, *arguments = sys.argv[1:]
    store = opened(ledger, lock_timeout_s=30)
    if what == "five":
        take_five(store)
    elif what == "all":
        take_all(store)
    elif what == "spend":
        spend_on(store, Path(arguments[0]), arguments[1])


if __name__ == "__main__":
    main()
