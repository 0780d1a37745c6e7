"""
What providers put on the wire: what a request asks for, and what a response used.

One module per format does both sides; `endpoint_of` finds it.  Nothing here knows a price, a store or a client
library, and nothing is kept.

```text
routes            method and path -> Endpoint | Free | Unmetered; metered_routes, free_routes, unmetered_routes
endpoint          the shape of them all
openai_chat       openai_responses     openai_embeddings     anthropic_messages
openai_images     openai_audio         openai_videos         openai_completions     openai_decisions
gemini            gemini_embeddings    cohere                ollama
bedrock_converse  bedrock_invoke
openai_common     google_common        eventstream           uploads                batches
weigh             media                fingerprint
ask               receipt              fields                reasoning
```
"""

from __future__ import annotations

from bursar.wire.ask import FREE_SERVER_TOOLS, SERVER_TOOL_UNITS, Ask
from bursar.wire.endpoint import Endpoint, Free, Unmetered
from bursar.wire.fingerprint import fingerprint
from bursar.wire.metered_routes import (
    ANTHROPIC_MESSAGES,
    BEDROCK_CONVERSE,
    BEDROCK_CONVERSE_STREAM,
    BEDROCK_INVOKE,
    BEDROCK_INVOKE_STREAM,
    COHERE_CHAT,
    COHERE_CHAT_V1,
    COHERE_EMBED,
    COHERE_RERANK,
    ENDPOINTS,
    GEMINI_EMBEDDINGS,
    GEMINI_GENERATE,
    GEMINI_STREAM,
    OLLAMA,
    OLLAMA_EMBED,
    OPENAI_CHAT,
    OPENAI_COMPACTION,
    OPENAI_COMPLETIONS,
    OPENAI_EMBEDDINGS,
    OPENAI_RESPONSES,
    chat_format,
    endpoint_of_answer,
)
from bursar.wire.reasoning import hides_reasoning
from bursar.wire.receipt import Part, Receipt
from bursar.wire.routes import endpoint_of, model_in_path, path_with_model

__all__ = [
    "ANTHROPIC_MESSAGES",
    "BEDROCK_CONVERSE",
    "BEDROCK_CONVERSE_STREAM",
    "BEDROCK_INVOKE",
    "BEDROCK_INVOKE_STREAM",
    "COHERE_CHAT",
    "COHERE_CHAT_V1",
    "COHERE_EMBED",
    "COHERE_RERANK",
    "ENDPOINTS",
    "FREE_SERVER_TOOLS",
    "GEMINI_EMBEDDINGS",
    "GEMINI_GENERATE",
    "GEMINI_STREAM",
    "OLLAMA",
    "OLLAMA_EMBED",
    "OPENAI_CHAT",
    "OPENAI_COMPACTION",
    "OPENAI_COMPLETIONS",
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
    "endpoint_of_answer",
    "fingerprint",
    "hides_reasoning",
    "model_in_path",
    "path_with_model",
]
