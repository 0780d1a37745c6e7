"""No key is kept, whatever carries it."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.core.simulator.conftest import Stage


def test_no_key_is_kept(stage: Stage) -> None:
    """Keys in headers, in remote tools and in the query are in no record."""
    tool: dict[str, Any] = {
        "type": "mcp",
        "server_label": "x",
        "server_url": "https://x",
        "authorization": "planted-in-tool",
    }
    tool["headers"] = {"X-Key": "planted-in-tool-header"}
    stage.openai.responses.create(model="gpt-4o", input="hello", tools=[tool])
    stage.message(
        extra_headers={"Cookie": "planted-cookie", "x-custom": "planted-custom"},
        extra_query={"key": "planted-query"},
        extra_body={"mcp_servers": [{"name": "x", "authorization_token": "planted-in-server"}]},
    )
    kept = pickle.dumps([(r.headers, r.body, r.path, repr(r)) for r in stage.sim.requests])

    assert b"planted" not in kept
    assert {"content-type", "user-agent"} <= set(stage.sim.requests[0].headers)


def test_functions_keep_their_schemas(stage: Stage) -> None:
    """Only remote tools lose fields: a function that has a parameter of such a name is kept whole."""
    function = {
        "name": "call",
        "parameters": {"type": "object", "properties": {"headers": {"type": "object"}}},
    }
    stage.chat(tools=[{"type": "function", "function": function}])

    assert stage.sim.requests[0].body["tools"][0]["function"] == function
