"""The token counts, and other counts that are billed, of one call."""

from __future__ import annotations

from collections import Counter
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_NOTHING: Final[Mapping[str, int]] = MappingProxyType({})


class Usage(NamedTuple):
    """
    What one call used; parts are included in their totals.

    The rarer kinds are in *other*, under the names that genai-prices gives them (`input_audio_tokens`,
    `cache_audio_read_tokens`, `output_audio_tokens`, `input_image_tokens`, `web_searches`, `requests`, ...).
    There, too, a part is included in its total: audio input is in `input_tokens`.

    Usages of several calls must not be added before they are priced: tiers apply to one call.

    Attributes:
        input_tokens: All input, with what was read from or written to a cache.

        cache_read_tokens: Of the input, what was read from a cache.

        cache_write_tokens: Of the input, what was written to a cache, for whatever time.

        cache_write_1h_tokens: Of *cache_write_tokens*, what was written for an hour.

        output_tokens: All output, with reasoning.

        reasoning_tokens: Of the output, what was reasoning.
    """

    input_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    cache_write_1h_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0
    other: Mapping[str, int] = _NOTHING

    @property
    def total_tokens(self) -> int:
        """Input and output together."""
        return self.input_tokens + self.output_tokens

    @property
    def is_consistent(self) -> bool:
        """Whether no part is larger than the whole that it is said to be in."""
        sent, read, written, written_1h, answered, reasoning, _ = self
        return read + written <= sent and written_1h <= written and reasoning <= answered

    def counts(self) -> dict[str, int]:
        """Return every count that is not zero, by name."""
        named = self._asdict()
        rarer = named.pop("other")
        return {name: count for name, count in {**named, **rarer}.items() if count}


def sum_of(usages: Iterable[Usage]) -> Usage:
    """Return all that *usages* come to together: for reading, as what each costs must be known before."""
    total: Counter[str] = Counter()
    for usage in usages:
        total.update(usage.counts())
    named = {name: total.pop(name, 0) for name in Usage._fields if name != "other"}
    return Usage(**named, other=dict(total))
