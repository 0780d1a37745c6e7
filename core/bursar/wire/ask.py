"""What a request asks for, so that the most it may cost can be worked out before it is sent."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

NOTHING: Final[Mapping[str, int]] = MappingProxyType({})
"""No server tools, or no pieces."""

SERVER_TOOL_UNITS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "web_search": "web_searches",
        "web_search_preview": "web_search_previews",
        "file_search": "storage_searches",
        "code_interpreter": "code_executions",
    }
)
"""The unit under which a price book lists the fee of a server tool, by the kind that `Ask` and `Receipt` use."""

FREE_SERVER_TOOLS: Final = frozenset(
    {"web_fetch", "mcp", "tool_search", "url_context", "code_execution", "store_search"}
)
"""Server tools that cost their tokens alone.  A kind that is neither here nor above has a fee that is not known."""


class Ask(NamedTuple):
    """
    What one request asks for, read from its body alone.

    Attributes:
        model: The model as the caller named it; empty where the body names none.

        stream: Whether the answer comes as a stream of events.

        background: Whether the provider answers at once and works on, so that the answer states no usage yet.

        input_tokens_most: No fewer tokens than the provider can bill for what the body shows, images, audio and
            documents included.  Cheap to work out: bytes of text plus fixed overheads.

        image_tokens_most: Of these, what images may be.

        audio_tokens_most: Of these, what audio may be.

        input_unseen: Names what of the input is not in the body (`previous_response_id`, `file`, `web_search`, ...).
            Where it is not empty, *input_tokens_most* does not hold; see `input_ceiling`.

        input_rounds_most: How many times the provider may run the model over its input for this one request, as it
            does when it runs tools by itself; 1 without them, None when nothing limits it.

        output_limit: The most output tokens per choice that the request allows, or None.

        choices: How many answers are asked for; each has *output_limit* of its own.

        extra_output_tokens: Tokens of the request that may be billed as output besides (`prediction`).

        generates: Whether there is output at all; embeddings have none.

        cache_write: `"5m"` or `"1h"` where the request asks for a cache write, the longer of those it asks for.

        tier: `"priority"`, `"flex"`, `"batch"`, `"fast"` or `"us_only"` where the request asks for other rates, else
            None.

        server_tools: Tools that the provider runs and may bill for, with the most uses that the request allows
            each, or None where it sets no limit.

        pieces: What is asked for besides tokens, at most, by the unit that a price book lists it under: characters,
            seconds of audio, images.  A model bills by these or by tokens; its price says which.

        also_models: Other models that the provider may run and bill for this request (fallbacks).

        reasoning: Whether reasoning is asked for, or turned off; None where that is left to the model.

        modalities: Kinds of output asked for, such as `("text", "audio")`; empty where the request names none.

        unbounded: Why no bound can be worked out, in words, or None where one can.
    """

    model: str
    input_tokens_most: int
    stream: bool = False
    background: bool = False
    output_limit: int | None = None
    choices: int = 1
    extra_output_tokens: int = 0
    cache_write: Literal["5m", "1h"] | None = None
    tier: str | None = None
    reasoning: bool | None = None
    # From here on whatever is not text, or not bounded by it; see `is_text`.
    image_tokens_most: int = 0
    audio_tokens_most: int = 0
    input_unseen: tuple[str, ...] = ()
    input_rounds_most: int | None = 1
    generates: bool = True
    server_tools: Mapping[str, int | None] = NOTHING
    pieces: Mapping[str, int] = NOTHING
    also_models: tuple[str, ...] = ()
    modalities: tuple[str, ...] = ()
    unbounded: str | None = None

    @property
    def is_text(self) -> bool:
        """Whether its text alone bounds it: it sends nothing else, and one model answers as it usually does."""
        # At once: each field that is asked for by its name is looked up among the class's.
        return self[_FIRST_OF_OTHERS:] == _TEXT_ALONE and self.input_tokens_most > 0

    @property
    def has_images(self) -> bool:
        """Whether the request sends images."""
        return self.image_tokens_most > 0

    @property
    def asks_audio_output(self) -> bool:
        """Whether the answer may be audio, which has a rate of its own."""
        return "audio" in self.modalities

    def input_ceiling(self, context_window: int | None) -> int | None:
        """
        Return the most input tokens that can be billed, given the model's *context_window* in tokens.

        A provider refuses, unbilled, an input that does not fit its model's window, so that the window bounds what
        the body does not show, once for every round.  Where the body shows everything, a later round reads that
        again with the output so far and the definitions of tools that were found.  None means that nothing bounds it.
        """
        if not self.input_unseen and self.input_rounds_most == 1:
            return self.input_tokens_most
        if context_window is None or self.input_rounds_most is None:
            return None
        if self.input_unseen or self.output_limit is None:
            return context_window * self.input_rounds_most
        return min(context_window, 2 * self.input_tokens_most + self.output_limit) * self.input_rounds_most


_FIRST_OF_OTHERS: Final = Ask._fields.index("image_tokens_most")
_TEXT_ALONE: Final = Ask("", 0)[_FIRST_OF_OTHERS:]
