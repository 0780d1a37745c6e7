"""One call of an LLM of CrewAI's: held before it is sent, and ended once, however it ends."""

# CrewAI's own types differ from version to version.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

import functools
from contextlib import nullcontext
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final

from bursar.dropped import dropped
from bursar.errors import BudgetExceeded
from bursar.meter import Meter, Observer, plan_request, takes_limit
from bursar.meter.around import AtWork, outer_meter
from bursar.meter.failures import failure_of
from bursar.scope import current_meter
from bursar.usage import sum_of
from bursar.wire import Receipt
from bursar_crewai.clones import guarded_client, serving
from bursar_crewai.identity import place_of
from bursar_crewai.payers import payers_of
from bursar_crewai.placing import booking_at
from bursar_crewai.request import limit_fields, named_arguments, request_of
from bursar_crewai.stopping import refusal
from bursar_crewai.usage import text_of, tokens_in

if TYPE_CHECKING:
    from collections.abc import Callable

    from bursar.payer.rooted import RootedPayer
    from bursar.usage import Usage
    from bursar_crewai.identity import Place

_FUNCTIONS: Final = 3
"""Where `BaseLLM.call` takes the tools that it may run."""

current_call: Final[ContextVar[Call | None]] = ContextVar("bursar_crewai_call", default=None)
"""The call that an LLM is making in this context: what it calls of its own methods is paid."""


def paid(plain: Any, llm: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Make a call of *llm*, whose class has *plain* for it, and pay for it; see `BaseLLM.call`."""
    call = _call_of(llm, args, kwargs, is_async=False)
    if call is None:
        return plain(llm, *args, **kwargs)
    try:
        call.meter.reserve()
    except BudgetExceeded as exceeded:
        return call.refused(exceeded)
    with call.serving() as twin:
        try:
            with call.at_work(twin):
                answer = plain(twin, *call.outside(args), **call.outside(kwargs))
        except BaseException as error:  # Booked, and raised again: a call that was cancelled is paid, too.
            call.failed(error)
            raise
    call.answered(answer)
    return answer


async def apaid(plain: Any, llm: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Do as `paid` does; see `BaseLLM.acall`."""
    call = _call_of(llm, args, kwargs, is_async=True)
    if call is None:
        return await plain(llm, *args, **kwargs)
    try:
        await call.meter.areserve()
    except BudgetExceeded as exceeded:
        return call.refused(exceeded)
    with call.serving() as twin:
        try:
            with call.at_work(twin):
                answer = await plain(twin, *call.outside(args), **call.outside(kwargs))
        except BaseException as error:  # Booked, and raised again: a call that was cancelled is paid, too.
            call.failed(error)
            raise
    call.answered(answer)
    return answer


def note_usage(usage: Usage | None) -> None:
    """Take it that CrewAI was told of *usage*, for one request of the call being made."""
    call = current_call.get()
    if call is not None and usage is not None:
        call.usages.append(usage)


class Call:
    """
    Follows one call.

    Attributes:
        arguments: What the LLM is called with, each by the name that CrewAI has for it.

        twin: The LLM that makes it.

        usages: What CrewAI was told of usage, for each request of it.
    """

    def __init__(
        self, llm: Any, arguments: dict[str, Any], place: Place, payers: list[RootedPayer], *, is_async: bool
    ) -> None:
        self.arguments = arguments
        self.twin: Any = llm
        self.usages: list[Usage] = []
        self._llm = llm
        self._place = place
        self._is_async = is_async
        self._request = request_of(llm, arguments)
        self._client = guarded_client(llm, is_async=is_async)
        outer = outer_meter()
        self.meter: Meter | Observer = Meter(self._plan(payers)) if outer is None else Observer(outer)

    def _plan(self, payers: list[RootedPayer]) -> Any:
        request = self._request
        booking = booking_at(self._place, payers)
        return plan_request(
            request.endpoint,
            request.body,
            booking,
            provider=request.provider,
            can_shrink=_limit_of(self._llm)
            if self._client is None
            else functools.partial(takes_limit, request.endpoint, request.body, ""),
            is_sent_at_once=self._client is None,
            is_async=self._is_async,
            is_fitted_below=self._client is not None,
        )

    def serving(self) -> Any:
        """Return the context of the LLM that is called, changed to what was granted."""
        held = self.meter.held if isinstance(self.meter, Meter) else None
        model = limit = None
        if held is not None and self._client is None:
            model = held.bound.model if held.bound.model != self.meter.plan.ask.model else None
            limit = held.output_limit
        if self._client is None:
            self.meter.dispatch()
        if self._client is None and model is None and limit is None:
            return nullcontext(self._llm)
        return serving(self._llm, self._client, is_async=self._is_async, model=model, limit=limit)

    def at_work(self, twin: Any) -> AtWork:
        """Return the block in which *twin* makes the call."""
        self.twin = twin
        return AtWork(self.meter, current_call, self)

    def outside(self, given: Any) -> Any:
        """Return arguments of the call as they were, but for the tools that it may run in the middle of it."""
        if not self.arguments.get("available_functions"):
            return given
        if isinstance(given, dict):
            return {
                name: _tools(value) if name == "available_functions" else value
                for name, value in given.items()
            }
        return [_tools(value) if index == _FUNCTIONS else value for index, value in enumerate(given)]

    def refused(self, exceeded: BudgetExceeded) -> Any:
        """
        Return the answer that stands for a refused call.

        Raises:
            CrewBudgetExceeded: The crew stops.
            BlockedByBudget: CrewAI goes on without memory, knowledge or reasoning.
        """
        is_structured = self.arguments.get("response_model") is not None or _is_structured(self._place.task)
        instead = refusal(exceeded, self._place, self.meter.plan.run, is_structured=is_structured)
        if isinstance(instead, str):
            return instead
        raise instead from exceeded

    def answered(self, answer: Any) -> None:
        """Book what an answer did cost, by the best of what is known."""
        meter = self.meter
        if isinstance(meter, Observer):
            meter.settle(self._told)
            return
        seen = meter.observed
        if seen is not None and (seen.usage is not None or seen.stated_nanousd is not None):
            meter.settle(seen)
        elif self._client is not None and not meter.is_sent and not self.usages:
            # Nothing was sent: a hook of CrewAI's answered in its place.
            meter.release()
        elif self.usages:
            meter.settle(self._told)
        else:
            meter.estimate(Receipt(), tokens_in(meter.plan.ask.model, text_of(answer)))

    @property
    def _told(self) -> Receipt:
        """What CrewAI was told of usage, of all requests together."""
        usages = self.usages
        return Receipt(usages[0] if len(usages) == 1 else sum_of(usages) if usages else None, finished=True)

    def failed(self, error: BaseException) -> None:
        """Book a call that brought no answer."""
        meter = self.meter
        if isinstance(meter, Observer):
            is_billed, reason = failure_of(error)
            meter.fail(reason, is_billed=is_billed)
            return
        seen = meter.observed
        if seen is not None and seen.usage is not None:
            # An answer came, and CrewAI could make nothing of it.
            meter.settle(seen)
        elif self.usages:
            meter.settle(self._told)
        elif not meter.is_sent:
            meter.release()
        elif isinstance(error, Exception):
            is_billed, reason = meter.take_inner_failure() or failure_of(error)
            meter.fail(reason, is_billed=is_billed)
        else:
            meter.abort(Receipt(), None, reason=type(error).__name__)


def _call_of(llm: Any, args: tuple[Any, ...], kwargs: dict[str, Any], *, is_async: bool) -> Call | None:
    """Return the call to follow; None where nobody pays for it, or it is paid already."""
    at_work = current_call.get()
    if at_work is not None and at_work.twin is llm:
        return None
    arguments = named_arguments(args, kwargs)
    place = place_of(llm, arguments.get("from_agent"), arguments.get("from_task"))
    payers = payers_of(place)
    if not payers:
        return None
    dropped.do_all()
    return Call(llm, arguments, place, payers, is_async=is_async)


def _tools(functions: Any) -> Any:
    if not isinstance(functions, dict):
        return functions
    return {name: _as_call_of_its_own(function) for name, function in functions.items()}


def _as_call_of_its_own(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a tool that CrewAI runs in the middle of a call: what it asks of an LLM is a call of its own."""

    @functools.wraps(function)
    def run(*args: Any, **kwargs: Any) -> Any:
        before = current_call.set(None), current_meter.set(None)
        try:
            return function(*args, **kwargs)
        finally:
            current_call.reset(before[0])
            current_meter.reset(before[1])

    return run


def _limit_of(llm: Any) -> Callable[[int], bool]:
    return lambda _: bool(limit_fields(llm))


def _is_structured(task: Any) -> bool:
    names = ("output_pydantic", "output_json", "response_model")
    return any(getattr(task, name, None) is not None for name in names)
