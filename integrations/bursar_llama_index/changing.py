"""What a callback can change of a call: the arguments that it goes on with are those that the event shows."""

# What a model takes is asked of its own class.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from bursar_llama_index.request import is_a

if TYPE_CHECKING:
    from bursar_llama_index.calls import ModelCall

_LIMIT: Final = "max_tokens"


class _Options(dict[str, Any]):
    """A stream's options, which live as long as the stream does; a plain dict cannot be watched."""


def can_change_model(model: Any) -> bool:
    """Whether *model* asks for the model that a call names."""
    return is_a(model, "OpenAI", "Anthropic") and "model" not in (_extra(model) or {})


def can_lower(model: Any) -> bool:
    """Whether *model* keeps to the output limit that a call names: OpenAI's does only where it has none of its own."""
    if _LIMIT in _extra(model):
        return False
    if is_a(model, "Anthropic"):
        return True
    # Reasoning models take another argument, and are told of it only where they have a limit of their own.
    return is_a(model, "OpenAI") and model.max_tokens is None and not _reasons(model)


def changed(arguments: dict[str, Any], call: ModelCall) -> None:
    """Change the *arguments* that a call goes on with to what was granted."""
    if (granted := call.granted_model) is not None:
        arguments["model"] = granted
    if (limit := call.granted_limit) is not None:
        arguments[_LIMIT] = limit


def watched_options(model: Any, arguments: dict[str, Any]) -> dict[str, Any] | None:
    """
    Have a stream of OpenAI's state its usage, and return what lives as long as that stream.

    None where the user said what its options are, or the model is of another kind: a server that only speaks OpenAI's
    format may refuse them.
    """
    is_asked = "stream_options" in arguments or "stream_options" in _extra(model)
    if is_asked or not is_a(model, "OpenAI") or is_a(model, "OpenAILike") or not model.metadata.is_chat_model:
        return None
    options = _Options(include_usage=True)
    arguments["stream_options"] = options
    return options


def _extra(model: Any) -> dict[str, Any]:
    extra = getattr(model, "additional_kwargs", None)
    return extra if isinstance(extra, dict) else {}


def _reasons(model: Any) -> bool:
    name = str(model.model)
    return name.startswith(("o1", "o3", "o4", "gpt-5"))
