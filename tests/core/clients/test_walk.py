"""
Every method of the SDKs goes to a path that somebody has looked at: metered, free, or refused with a reason.

Run this at the oldest and the newest supported versions of both SDKs: a method that a new version adds fails here until
a rule in `bursar.wire.routes` or `bursar.wire.free_routes` says what it costs.
"""

# A client's options differ from version to version.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

import asyncio
import importlib.util
import inspect
import logging
from collections.abc import Iterator
from functools import cache
from typing import Any

import anthropic
import openai
import pytest

from bursar import Budget, UnmeteredEndpoint, guard
from bursar.stores.memory import MemoryStore
from bursar.wire import Unmetered, endpoint_of
from bursar.wire.routes import matched_part

from .walking import Recorder, Sent, call, is_async, methods, recording, resource_classes, resources

SENDS_NOTHING = {
    "Webhooks.unwrap",
    "Webhooks.verify_signature",
    "Webhooks.parse_unverified",
    "Messages.thread",
    "Messages.tool_runner",
    "Work.worker",
    "Artifacts.for_result",
    "Files.prepare",
    "Files.prepare_directory",
}
"""Methods that need not send anything by themselves: they check a signature, or return what calls other methods."""


HAS_WEBSOCKETS = importlib.util.find_spec("websockets") is not None
"""Without it no SDK opens a connection: then only that guarded ones refuse to is tested."""


def is_socket(name: str) -> bool:
    """Whether a method opens a WebSocket."""
    return name.endswith(".connect")


@pytest.fixture
def recorder() -> Iterator[Recorder]:
    """A server that notes what it is asked."""
    with recording() as recorder:
        yield recorder


def clients(sdk: str, recorder: Recorder) -> tuple[Any, Any]:
    """A sync and an async client for the server."""
    base = f"http://127.0.0.1:{recorder.port}"
    options: dict[str, Any] = {"api_key": "sk-planted", "max_retries": 0, "base_url": base}
    if sdk == "anthropic":
        return anthropic.Anthropic(**options), anthropic.AsyncAnthropic(**options)
    options |= {"base_url": f"{base}/v1", "websocket_base_url": f"ws://127.0.0.1:{recorder.port}/v1"}
    if "admin_api_key" in inspect.signature(openai.OpenAI).parameters:
        options["admin_api_key"] = "sk-planted-too"
    return openai.OpenAI(**options), openai.AsyncOpenAI(**options)


async def walk(
    sdk: str, recorder: Recorder, sync_client: Any, async_client: Any
) -> dict[str, tuple[list[Sent], Any]]:
    """Call everything, and return by method what was sent and which error came back."""
    seen: dict[str, tuple[list[Sent], Any]] = {}
    reached = {**resources(sync_client), **resources(async_client)}
    for resource in resource_classes(sdk):
        # As a user reaches it; a few are reached by no attribute.
        made = reached.get(resource) or resource(async_client if is_async(resource) else sync_client)
        for name in methods(resource):
            recorder.sent.clear()
            error = await call(made, name)
            seen[f"{resource.__module__}:{resource.__qualname__}.{name}"] = (list(recorder.sent), error)
    sync_client.close()
    await async_client.close()
    return seen


@cache
def sent_by(sdk: str) -> dict[str, list[Sent]]:
    """What every method of an SDK sends, by an unguarded client."""
    logging.disable(logging.CRITICAL)
    try:
        with recording() as recorder:
            seen = asyncio.run(walk(sdk, recorder, *clients(sdk, recorder)))
    finally:
        logging.disable(logging.NOTSET)
    return {method: sent for method, (sent, _) in seen.items()}


def is_unmetered(one: Sent) -> bool:
    """Whether a request costs money and is not metered."""
    return isinstance(endpoint_of(one.method, one.path), Unmetered)


def short(method: str) -> str:
    """A method's class and name, the same for its async twin."""
    return method.rpartition(":")[2].removeprefix("Async")


@pytest.mark.parametrize("sdk", ["openai", "anthropic"])
@pytest.mark.filterwarnings("ignore")  # half of what is walked is deprecated
class TestWalk:
    def test_walk_reaches_every_method(self, sdk: str) -> None:
        """Whatever is not known to send nothing sent something, so that no method is left out by a bad argument."""
        silent = {short(method) for method, sent in sent_by(sdk).items() if not sent}

        assert set() == {name for name in silent - SENDS_NOTHING if not is_socket(name) or HAS_WEBSOCKETS}

    def test_walk_is_not_empty(self, sdk: str) -> None:
        """The best-known methods are among those that were walked."""
        known = {"openai": "Images.edit", "anthropic": "Batches.results"}

        assert known[sdk] in {short(method) for method in sent_by(sdk)}
        assert len(sent_by(sdk)) > 70

    def test_every_path_is_classified(self, sdk: str) -> None:
        """No method goes to a path that no rule knows."""
        unknown = {
            f"{method} -> {one.method} {one.path}"
            for method, sent in sent_by(sdk).items()
            for one in sent
            if isinstance(found := endpoint_of(one.method, one.path), Unmetered)
            and "not known" in found.reason
        }

        assert set() == unknown

    def test_every_path_is_named_whole(self, sdk: str) -> None:
        """No method is taken for another that ends alike: files of a vector store are not files."""
        partly = {
            f"{method} -> {one.method} {one.path}"
            for method, sent in sent_by(sdk).items()
            for one in sent
            if one.path.removeprefix("/v1/") != matched_part(one.method, f"/{one.path.lstrip('/')}")
            and one.path.removeprefix("/") != matched_part(one.method, one.path)
        }

        assert set() == partly

    def test_sockets_are_never_free(self, sdk: str) -> None:
        """A connection that asks to become a WebSocket is refused with a reason, whatever else its path may be."""
        opened = {one.path for sent in sent_by(sdk).values() for one in sent if one.is_socket}

        assert all(isinstance(endpoint_of("GET", path), Unmetered) for path in opened)
        assert bool(opened) == (sdk == "openai" and HAS_WEBSOCKETS)

    def test_what_is_not_metered_is_not_sent_under_a_budget(self, sdk: str, recorder: Recorder) -> None:
        """A guarded client with a limit in dollars raises `UnmeteredEndpoint` in place of every unmetered request."""
        budget = Budget(1_000, store=MemoryStore())
        guarded = [guard(client, budget) for client in clients(sdk, recorder)]
        logging.disable(logging.CRITICAL)
        try:
            seen = asyncio.run(walk(sdk, recorder, *guarded))
        finally:
            logging.disable(logging.NOTSET)

        through = {
            f"{method} -> {one.method} {one.path}"
            for method, (sent, _) in seen.items()
            for one in sent
            if is_unmetered(one)
        }
        unrefused = {
            method
            for method, (_, error) in seen.items()
            if (is_socket(method) or any(is_unmetered(one) for one in sent_by(sdk)[method][:1]))
            and not isinstance(error, UnmeteredEndpoint)
        }
        assert set() == through
        assert set() == unrefused
