"""The providers' error responses."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bursar.simulator.faults import Fault

Dialect = Literal["openai", "anthropic", "google", "aws", "cohere"]
"""Whose wire format a request speaks."""

_OPENAI_TYPES: Final[Mapping[int, tuple[str, str | None, str]]] = {
    401: ("invalid_request_error", "invalid_api_key", "Incorrect API key provided."),
    403: ("invalid_request_error", "unsupported_country_region_territory", "You may not do this."),
    429: ("requests", "rate_limit_exceeded", "Rate limit reached for requests. Please try again later."),
    503: ("server_error", None, "The engine is currently overloaded, please try again later."),
}
_OPENAI_SERVER: Final = (
    "server_error",
    None,
    "The server had an error while processing your request. Sorry about that!",
)

_ANTHROPIC_TYPES: Final[Mapping[int, tuple[str, str]]] = {
    400: ("invalid_request_error", "Invalid request."),
    401: ("authentication_error", "invalid x-api-key"),
    403: ("permission_error", "Your API key does not have permission to use the specified resource."),
    404: ("not_found_error", "Not found."),
    413: ("request_too_large", "Request exceeds the maximum size."),
    429: ("rate_limit_error", "This request would exceed your rate limit."),
    504: ("timeout_error", "Request timed out."),
    529: ("overloaded_error", "Overloaded"),
}


_GOOGLE_TYPES: Final[Mapping[int, tuple[str, str]]] = {
    400: ("INVALID_ARGUMENT", "Request contains an invalid argument."),
    401: ("UNAUTHENTICATED", "API key not valid."),
    403: ("PERMISSION_DENIED", "The caller does not have permission."),
    404: ("NOT_FOUND", "Requested entity was not found."),
    429: ("RESOURCE_EXHAUSTED", "You exceeded your current quota."),
    500: ("INTERNAL", "An internal error has occurred."),
    503: ("UNAVAILABLE", "The model is overloaded. Please try again later."),
    504: ("DEADLINE_EXCEEDED", "The service was unable to finish processing within the deadline."),
}


_AWS_TYPES: Final[Mapping[int, str]] = {
    400: "The provided request is not valid.",
    403: "You don't have access to the model with the specified model ID.",
    429: "Too many requests, please wait before trying again.",
    500: "The system encountered an unexpected error during processing. Try your request again.",
    503: "Bedrock is unable to process your request.",
}


class WireError(Exception):
    """A request is refused with an HTTP status; not billed."""

    def __init__(
        self, status: int, message: str, *, code: str | None = None, param: str | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code
        self.param = param

    def body(self, dialect: Dialect) -> dict[str, Any]:
        """Return the error as the provider writes it."""
        return error_body(dialect, self.status, self.message, code=self.code, param=self.param)


def error_body(
    dialect: Dialect,
    status: int,
    message: str | None = None,
    *,
    code: str | None = None,
    param: str | None = None,
) -> dict[str, Any]:
    """Return the JSON body of an error response; *message* defaults to the provider's usual text."""
    if dialect == "anthropic":
        fallback = ("api_error", "Internal server error") if status >= 500 else _ANTHROPIC_TYPES[400]
        kind, usual = _ANTHROPIC_TYPES.get(status, fallback)
        error = {"type": kind, "message": message or usual}
        return {"type": "error", "error": error, "request_id": "req_simulated"}
    if dialect == "aws":
        return {"message": message or _AWS_TYPES.get(status, _AWS_TYPES[500 if status >= 500 else 400])}
    if dialect == "cohere":
        usual = "internal server error" if status >= 500 else "invalid request"
        return {"id": "simulated", "message": message or usual}
    if dialect == "google":
        kind, usual = _GOOGLE_TYPES.get(status, _GOOGLE_TYPES[500 if status >= 500 else 400])
        return {"error": {"code": status, "message": message or usual, "status": kind}}
    client_error = ("invalid_request_error", None, "Invalid request.")
    kind, usual_code, usual = _OPENAI_TYPES.get(status, _OPENAI_SERVER if status >= 500 else client_error)
    return {"error": {"message": message or usual, "type": kind, "param": param, "code": code or usual_code}}


def fault_headers(fault: Fault) -> list[tuple[str, str]]:
    """Return the headers that tell a client when to come back."""
    if fault.retry_after_s is None:
        return []
    return [
        # Whole seconds are all that HTTP allows here; the SDKs read the milliseconds first.
        ("retry-after", str(-int(-fault.retry_after_s // 1))),
        ("retry-after-ms", f"{fault.retry_after_s * 1000:g}"),
    ]


def encode(body: Mapping[str, Any]) -> bytes:
    """Return *body* as compact JSON."""
    return json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode()
