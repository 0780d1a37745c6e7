"""Answers that are dropped are booked, with or without a thread to do it."""

from __future__ import annotations

import subprocess
import sys

_NO_THREAD = """
import gc, threading
import openai
from bursar import Budget, guard
from bursar.simulator import Simulator
from bursar.stores.memory import MemoryStore

started = threading.Thread.start

def start(thread):
    # As Python 3.12 does at the end of a program, and a system whose limit is reached.
    if thread.name == "bursar-dropped":
        raise RuntimeError("can't create new thread at interpreter shutdown")
    started(thread)

threading.Thread.start = start
ask = dict(model="gpt-4o", messages=[{"role": "user", "content": "hi"}], max_tokens=100, stream=True)
with Simulator() as sim, openai.OpenAI(base_url=sim.openai_base_url, api_key="none") as client:
    client = guard(client, Budget(1, store=MemoryStore()))
    print(len(list(client.chat.completions.create(**ask))) > 0, client.bursar.spent > 0, client.bursar.reserved)
    stream = client.chat.completions.create(**ask)
    next(stream)
    spent = client.bursar.spent
    del stream
    gc.collect()
    print(client.bursar.spent > spent, client.bursar.reserved)
"""


def test_an_answer_is_read_and_booked_where_no_thread_can_be_started() -> None:
    """A stream is read at the end of a program too; one that is dropped then is booked when figures are asked for."""
    done = subprocess.run([sys.executable, "-c", _NO_THREAD], capture_output=True, text=True, check=False)

    assert "True True 0.00\nTrue 0.00\n" == done.stdout, done.stderr
