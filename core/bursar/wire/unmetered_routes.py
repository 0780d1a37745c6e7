"""Paths that cost money and cannot be bounded before they are called, each with the reason that a user is told."""

from __future__ import annotations

from typing import Final

UNMETERED: Final = (
    (r"images/.*", "this way to make images is not known"),
    (r"audio/.*", "what a voice costs is not stated"),
    (r"videos/.*", "how long a video that is made from another becomes is not in the request"),
    (
        r"(realtime|live)(/.*)?",
        "what a realtime connection will cost is decided by what is said on it, which nothing bounds before",
    ),
    (
        r"(messages/)?batches",
        "what its requests may cost cannot be told from what this client has seen",
    ),
    (
        r"fine_tuning/jobs(/{}/resume)?",
        "training is billed by the token and epoch of files that are not in the request",
    ),
    (r"fine_tuning/alpha/graders/run", "a grader may run a model, and states no usage"),
    (
        r"vector_stores(/{}/(files|file_batches))?",
        "a vector store is billed by the day and gigabyte for as long as it is kept",
    ),
    (r"vector_stores/{}/search", "what a search costs outside of a response is not stated"),
    (r"containers", "a container is billed for as long as it is used"),
    (r"threads/(runs|{}/runs(/{}/submit_tool_outputs)?)", "how often a run asks its model is not limited"),
    (r"evals/{}/runs", "an eval runs models over data that is not in the request"),
    (r"chatkit/sessions", "a session is paid by whoever talks to it, past this client"),
    (r"content_provenance_checks", "what a check costs is not stated"),
    (
        r"agents/(sessions(/{}/events)?|automations(/{}/(invocations|resume))?|environments(/{}/files)?)",
        "an agent that the provider runs works for as long as it likes",
    ),
    (
        r"(sessions(/{}/events)?|deployments(/{}/(run|unpause))?|dreams)",
        "an agent that the provider runs works for as long as it likes",
    ),
    (
        r"model/.+/invoke-with-bidirectional-stream",
        "what speech on Bedrock will cost is decided by what is said",
    ),
    (
        r"publishers/{}/models/{}:(rawPredict|streamRawPredict|predictLongRunning)",
        "this vendor's format on Vertex is not known",
    ),
    (
        r"(models|endpoints)/{}:(predict|predictLongRunning)",
        "what this model on Vertex bills for is not known",
    ),
    (
        r".*:(batchGenerateContent|asyncBatchEmbedContent)",
        "what its requests may cost cannot be told from what this client has seen",
    ),
    (r"complete", "this format states no usage"),
)
SOCKETS: Final = (
    r"realtime(/translations)?",
    r"live/sessions(/{}/(attach|fork))?",
    r"responses",
)
"""What is opened by GET and is no reading: a connection over which a model answers."""
SOCKET: Final = "what a connection will cost is decided by what is sent on it, past this client's requests"
