"""What AutoGen's answers say that a call has used."""

from __future__ import annotations

from typing import TYPE_CHECKING

from autogen_core.models import RequestUsage

from bursar.tokens import count_tokens
from bursar.wire import Receipt
from bursar.wire.fields import MOST_COUNT
from bursar.wire.receipt import told_receipt

if TYPE_CHECKING:
    from collections.abc import Iterable

    from autogen_core.models import CreateResult

    from bursar.entry import Entry
    from bursar.meter import Meter


def settle(meter: Meter, result: CreateResult) -> Entry | None:
    """Book what a call did cost, by the best of what is known: the provider's words, AutoGen's, an estimate."""
    seen = meter.observed
    if seen is not None and (seen.usage is not None or seen.stated_nanousd is not None):
        return meter.settle(seen)
    into, out = result.usage.prompt_tokens or 0, result.usage.completion_tokens or 0
    if into and (out or not text_of(result)):
        return meter.settle(told_receipt(into, out))
    # Nothing, or half of it, is said where a stream or a server states no usage: unknown is never zero.
    said = out if out <= MOST_COUNT else 0
    return meter.estimate(Receipt(), max(said, output_tokens(meter, [text_of(result)])))


def tell_usage(meter: Meter, result: CreateResult) -> None:
    """Write into *result* what was used, where AutoGen says that it was nothing and the provider has said more."""
    told, seen = result.usage, meter.observed
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
