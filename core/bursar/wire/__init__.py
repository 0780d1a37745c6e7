"""
What providers put on the wire: what a request asks for, and what a response used.

One module per format does both sides; `endpoint_of` finds it.  Nothing here knows a price, a store or a client
library, and nothing is kept.

```text
routes            method and path -> Endpoint | Free | Unmetered
endpoint          the shape of them all
openai_chat       openai_responses     openai_embeddings     anthropic_messages
openai_common     weigh                media                 fingerprint
ask               receipt              fields               reasoning
```
"""

from __future__ import annotations

from bursar.wire.ask import FREE_SERVER_TOOLS, SERVER_TOOL_UNITS, Ask
from bursar.wire.endpoint import Endpoint, Free, Unmetered
from bursar.wire.fingerprint import fingerprint
from bursar.wire.reasoning import hides_reasoning
from bursar.wire.receipt import Part, Receipt
from bursar.wire.routes import (
    ANTHROPIC_MESSAGES,
    ENDPOINTS,
    OPENAI_CHAT,
    OPENAI_EMBEDDINGS,
    OPENAI_RESPONSES,
    chat_format,
    endpoint_of,
)

__all__ = [
    "ANTHROPIC_MESSAGES",
    "ENDPOINTS",
    "FREE_SERVER_TOOLS",
    "OPENAI_CHAT",
    "OPENAI_EMBEDDINGS",
    "OPENAI_RESPONSES",
    "SERVER_TOOL_UNITS",
    "Ask",
    "Endpoint",
    "Free",
    "Part",
    "Receipt",
    "Unmetered",
    "chat_format",
    "endpoint_of",
    "fingerprint",
    "hides_reasoning",
]
