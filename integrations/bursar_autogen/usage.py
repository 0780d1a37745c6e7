"""What AutoGen's answers say that a call has used."""

from __future__ import annotations

from typing import TYPE_CHECKING

from autogen_core.models import RequestUsage

from bursar.meter import Meter
from bursar.tokens import count_tokens
from bursar.usage import Usage
from bursar.wire import Receipt

if TYPE_CHECKING:
    from collections.abc import Iterable

    from autogen_core.models import CreateResult

    from bursar.entry import Entry


class WatchedMeter(Meter):
    """
    A meter that remembers what was seen of its request below AutoGen, which drops most of it.

    Attributes:
        seen: What the provider itself said, cached and reasoning tokens included; None if nothing was seen.

        is_dispatched: Whether a request was sent.
    """

    seen: Receipt | None = None
    is_dispatched = False

    def dispatch(self) -> None:
        """See `Meter.dispatch`."""
        self.is_dispatched = True
        super().dispatch()

    def observe(self, receipt: Receipt) -> None:
        """See `Meter.observe`."""
        self.seen = receipt
        super().observe(receipt)


def settle(meter: WatchedMeter, result: CreateResult) -> Entry | None:
    """Book what a call did cost, by the best of what is known: the provider's words, AutoGen's, an estimate."""
    seen = meter.seen
    if seen is not None and (seen.usage is not None or seen.stated_nanousd is not None):
        return meter.settle(seen)
    into, out = result.usage.prompt_tokens or 0, result.usage.completion_tokens or 0
    text = text_of(result)
    usage = Usage(input_tokens=into, output_tokens=out)
    if into and (out or not text):
        return meter.settle(Receipt(usage=usage, finished=True))
    # Nothing, or half of it, is said where a stream or a server states no usage: unknown is never zero.
    return meter.estimate(Receipt(), max(out, output_tokens(meter, [text])))


def tell_usage(meter: WatchedMeter, result: CreateResult) -> None:
    """Write into *result* what was used, where AutoGen says that it was nothing and the provider has said more."""
    told, seen = result.usage, meter.seen
    if seen is not None and seen.usage is not None and not told.prompt_tokens and not told.completion_tokens:
        result.usage = RequestUsage(
            prompt_tokens=seen.usage.input_tokens, completion_tokens=seen.usage.output_tokens
        )


def output_tokens(meter: Meter, texts: Iterable[str]) -> int:
    """Count the output that was seen, high where no tokenizer is at hand."""
    text = "".join(texts)
    counted = count_tokens(meter.plan.ask.model, text)
    return len(text.encode(errors="surrogatepass")) if counted is None else counted


def text_of(result: CreateResult) -> str:
    """Return all the output that *result* shows, as one text to be counted."""
    content = result.content
    shown = (
        content if isinstance(content, str) else "".join(f"{call.name}{call.arguments}" for call in content)
    )
    return shown + (result.thought or "")
