"""One call of a model: held before it is sent, and ended once, however it ends."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final

from bursar.meter import Meter, Observer, plan_request
from bursar.meter.around import AtWork, outer_meter
from bursar.meter.failures import failure_of
from bursar.wire import Receipt
from bursar_llama_index.usage import receipt_of, text_of, tokens_in

if TYPE_CHECKING:
    from collections.abc import Callable

    from bursar.payer import Booking
    from bursar_llama_index.request import Request

AT_WORK: Final[ContextVar[tuple[int, ...]]] = ContextVar("bursar_llama_index_at_work", default=())
"""The models, by `id`, that are making a call in this context: what one calls of its own methods is paid."""

_EXTEND_EVERY_S: Final = 60.0
_LEASE_S: Final = 600.0


def is_at_work(model: object) -> bool:
    """Whether this code is run by a call of *model* that is paid already."""
    return id(model) in AT_WORK.get()


class ModelCall:
    """
    Follows one call of *model*.

    It ends once: the first of `answered`, `failed` and `left` counts.

    Args:
        booking: What it is booked to and paid from; asked only where nobody pays for it already.

        is_seen_below: Whether a guarded client of the SDK sends it, which says when, and what it did cost.

        is_lazy: Whether it may be that nothing is sent until the answer is read.
    """

    def __init__(
        self,
        model: Any,
        request: Request,
        booking: Callable[[], Booking],
        *,
        is_async: bool,
        can_downgrade: bool = False,
        can_shrink: Callable[[int], bool] | None = None,
        is_seen_below: bool = False,
        is_lazy: bool = False,
        can_wait: bool = True,
        steps: tuple[str, ...] | None = None,
    ) -> None:
        self.model = model
        self.request = request
        self.is_seen_below = is_seen_below
        outer = outer_meter()
        self.meter: Meter | Observer
        if outer is not None:
            self.meter = Observer(outer)
        else:
            paid = booking()
            if steps is not None:
                paid = paid.with_ladder(str(request.body["model"]), steps)
            self.meter = Meter(
                plan_request(
                    request.endpoint,
                    request.body,
                    paid,
                    provider=request.provider,
                    can_downgrade=can_downgrade,
                    can_shrink=can_shrink or _never,
                    is_sent_at_once=not is_lazy,
                    is_async=is_async,
                    can_wait=can_wait,
                    is_fitted_below=is_seen_below,
                )
            )
        self._texts: list[str] = []
        self._last: Any = None
        self._next_extend_s = 0.0

    @property
    def granted_model(self) -> str | None:
        """The model that was granted in place of the one asked for, or None."""
        held = self.meter.held if isinstance(self.meter, Meter) else None
        return (
            held.bound.model if held is not None and held.bound.model != self.meter.plan.ask.model else None
        )

    @property
    def granted_limit(self) -> int | None:
        """The output tokens that the call was lowered to, or None."""
        held = self.meter.held if isinstance(self.meter, Meter) else None
        return None if held is None else held.output_limit

    def at_work(self) -> AtWork:
        """Return a block in which the model does something for it."""
        return AtWork(self.meter, AT_WORK, (*AT_WORK.get(), id(self.model)))

    def sending(self) -> None:
        """Mark that the request may go out from now on, where no client below says when it does."""
        if not self.is_seen_below:
            self.meter.dispatch()

    def piece(self, response: Any) -> None:
        """Take a part of the answer."""
        self._last = response
        delta = getattr(response, "delta", None)
        if delta:
            self._texts.append(delta)
        now_s = self.meter.now_s()
        if now_s > self._next_extend_s:
            if self._next_extend_s:
                self.meter.extend(_LEASE_S)
            self._next_extend_s = now_s + _EXTEND_EVERY_S

    def ended(self) -> None:
        """Book an answer that came in parts."""
        self.answered(self._last)

    def answered(self, response: Any) -> None:
        """Book what *response* did cost, by the best of what is known."""
        meter = self.meter
        if isinstance(meter, Observer):
            meter.settle(receipt_of(response, self.request.endpoint))
            return
        if meter.held is None:
            return
        if self.is_seen_below and not meter.is_sent and meter.observed is None:
            # Nothing was sent: the model answered by itself, as a cache of its own does.
            meter.release()
            return
        seen = meter.observed
        if seen is not None and (seen.usage is not None or seen.stated_nanousd is not None):
            meter.settle(seen)
            return
        receipt = receipt_of(response, self.request.endpoint)
        if receipt.usage is not None:
            meter.settle(receipt)
            return
        text = "" if response is None else text_of(response)
        meter.estimate(receipt, tokens_in(meter.plan.ask.model, (text,)))

    def failed(self, error: BaseException) -> None:
        """Book a call that brought no answer, or only the beginning of one."""
        meter = self.meter
        if self._last is not None:
            # Python ends a generator that is dropped so; to us it is the caller who left.
            reason = "closed" if isinstance(error, GeneratorExit) else type(error).__name__
            meter.abort(receipt_of(self._last, self.request.endpoint), self._seen_tokens(), reason=reason)
        elif isinstance(meter, Meter) and not meter.is_sent:
            meter.release()
        elif isinstance(error, Exception):
            is_billed, reason = failure_of(error)
            meter.fail(reason, is_billed=is_billed)
        else:
            meter.abort(Receipt(), None, reason=type(error).__name__)

    def left(self) -> None:
        """Book an answer that nobody reads any more."""
        if isinstance(self.meter, Meter) and self.meter.is_open:
            self.failed(GeneratorExit())

    def _seen_tokens(self) -> int:
        return self._tokens([*self._texts, *([] if self._texts else [text_of(self._last)])])

    def _tokens(self, texts: list[str]) -> int:
        return tokens_in(self.meter.plan.ask.model, texts)


def _never(tokens: int) -> bool:
    """Tell that the output limit cannot be lowered."""
    del tokens
    return False
