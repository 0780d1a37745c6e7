"""No prompt, completion, header or key is stored, logged or shown."""

# What an SDK returns depends on unpacked options, which its overloads do not follow.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownLambdaType=false

from __future__ import annotations

import base64
import json
import logging
import traceback
from pathlib import Path
from typing import Any

import openai
import pytest

from bursar import Budget, guard
from bursar.errors import BursarError
from bursar.simulator import Answer, Fault, Simulator
from bursar.stores.opening import open_store

from .conftest import http_library

KEY, PROMPT, COMPLETION, HEADER, ARGUMENT = (
    f"planted-{what}-7d1f" for what in ("key", "prompt", "completion", "header", "argument")
)
IMAGE = base64.b64encode(b"planted-image-7d1f" * 20).decode()
SECRETS = (KEY, PROMPT, COMPLETION, HEADER, ARGUMENT, IMAGE[:40])

TOOL_CALL = {"id": "1", "type": "function", "function": {"name": "f", "arguments": f'{{"a": "{ARGUMENT}"}}'}}
MESSAGES: list[Any] = [
    {"role": "system", "content": PROMPT},
    {
        "role": "user",
        "content": [
            {"type": "text", "text": PROMPT},
            {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{IMAGE}"}},
        ],
    },
    {"role": "assistant", "content": None, "tool_calls": [TOOL_CALL]},
    {"role": "tool", "tool_call_id": "1", "content": COMPLETION},
]


def all_of(error: BaseException) -> str:
    """Everything that an error shows, its causes included."""
    shown = [
        repr(error),
        str(error),
        *traceback.format_exception(error),
        repr(getattr(error, "__dict__", {})),
    ]
    return "\n".join(shown)


def go_wrong(sim: Simulator, store: Any) -> list[str]:
    """Make calls that succeed, fail, are cut and are refused, and return what their errors show."""
    shown: list[str] = []
    headers = {"x-planted": HEADER}

    def attempt(client: Any, **options: Any) -> None:
        try:
            answer = client.chat.completions.create(
                model=options.pop("model", "gpt-4o"), messages=MESSAGES, extra_headers=headers, **options
            )
            list(answer if options.get("stream") else ())
        except BursarError as error:
            shown.append(all_of(error))
        except (openai.APIError, http_library(openai).HTTPError, json.JSONDecodeError):
            pass  # Those are the SDK's own, and show what it shows.

    with openai.OpenAI(base_url=sim.openai_base_url, api_key=KEY, max_retries=1) as plain:
        client = guard(plain, Budget(5, store=store, attempts=9), label="writer")
        attempt(client)
        attempt(client, stream=True)
        sim.fail_next(Fault.status(500, retry_after_s=0.001, message=PROMPT), Fault.cut(after_events=2))
        attempt(client, stream=True)
        sim.fail_next(Fault.malformed())
        attempt(client)
        attempt(client, model="no-such-model")
        attempt(guard(plain, Budget("$0.000000001", store=store), label="broke"))
        sim.fail_next(*[Fault.status(500, retry_after_s=0.001)] * 9)
        for _ in range(5):
            attempt(client)
        try:
            client.images.generate(prompt=PROMPT, extra_headers=headers)
        except BursarError as error:
            shown.append(all_of(error))
        try:
            client.post(f"http://me:{KEY}@127.0.0.1:9/v1/chat/completions?k={KEY}", cast_to=object, body=[1])
        except BursarError as error:
            shown.append(all_of(error))
        assert KEY not in repr(client.bursar)
    return shown


def test_planted_secrets_stay_where_they_are(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Of what was said and of who signed in, nothing is in the files, the logs or the errors of bursar."""
    caplog.set_level(logging.DEBUG, logger="bursar")
    store = open_store(f"sqlite:///{tmp_path}/ledger.db")
    with Simulator(script={"writer": Answer(text=COMPLETION)}) as sim:
        shown = go_wrong(sim, store)
        files = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    store.close()
    files |= {f"{path.name}, closed": path.read_bytes() for path in tmp_path.iterdir()}
    logs = "\n".join(record.getMessage() for record in caplog.records if record.name.startswith("bursar"))

    assert len(shown) >= 5
    assert any(b"writer" in content for content in files.values())
    for secret in SECRETS:
        assert [name for name, content in files.items() if secret.encode() in content] == []
        assert secret not in logs
        assert [text for text in shown if secret in text] == []
