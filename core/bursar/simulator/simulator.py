"""A provider to rehearse against: real wire formats, scripted agents, faults, and a bill."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

from bursar.simulator.billing import Bill, PriceBook
from bursar.simulator.faults import Fault
from bursar.simulator.generation import Habits
from bursar.simulator.http_server import HttpServer
from bursar.simulator.provider import Provider, Settings
from bursar.simulator.script import Answer, Answers, Request, Rule, Script
from bursar.simulator.tokens import warm_up
from bursar.simulator.transport import Library, open_transport

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from types import TracebackType
    from typing import Self

    from bursar.money import Money
    from bursar.simulator.records import RequestRecord


class Simulator:
    """
    A local provider that real SDK clients of OpenAI, Anthropic, Google and AWS can be pointed at.

    It listens on 127.0.0.1 between `start()` and `close()`, best in a `with`; `transport()` works without that.
    It answers chat completions, Responses, embeddings, moderations, Anthropic messages, Gemini's generateContent and
    Bedrock's Converse and invoke (of Claude), streamed or not, and bills them with genai-prices.  A model without a
    price is not found.

    Keys are never kept, and of the headers only a harmless few.  Request bodies are kept, in memory only.

    Args:
        script: Agents and their answers, or rules; see `Rule`. Who is not in it gets a short text.

        output_tokens: Length of every answer that no script decides.

        talkative: Answer exactly as long as the request allows, else as long as the model can.

        latency_s: Seconds before the first byte of a response.

        token_latency_s: Seconds for each token of a stream. Without it a short stream is generated, and billed,
            before a client can leave it.

        tokens_per_event: How many tokens one event of a stream carries.

        faults: What goes wrong with the first requests, one each; `None` lets one pass. SDK retries are requests.

        bill_aborted: What a stream that the client leaves is billed for: the input and the output generated until
            then, or all of it. A whole response that nobody waits for is always billed in full.

        prices: Own prices in dollars per million tokens by model, as `{"acme-7b": {"input": 1, "output": 2}}`;
            `cached` and `cache_write` default to `input`.

        deployments: Azure's names for models.

        ceilings: The longest output by model, before the published ones.

        keep_requests: How many requests `requests` keeps, the newest; the bill counts all.

        clock: Says what time it is, for prices that depend on it.

        port: 0 lets the kernel choose.
    """

    def __init__(
        self,
        *,
        script: Mapping[str, Answers] | Sequence[Rule] | None = None,
        output_tokens: int | None = None,
        talkative: bool = False,
        latency_s: float = 0.0,
        token_latency_s: float = 0.0,
        tokens_per_event: int = 4,
        faults: Iterable[Fault | None] = (),
        bill_aborted: Literal["generated", "all"] = "generated",
        prices: Mapping[str, Mapping[str, Money]] | None = None,
        deployments: Mapping[str, str] | None = None,
        ceilings: Mapping[str, int] | None = None,
        keep_requests: int = 10_000,
        clock: Callable[[], datetime] | None = None,
        port: int = 0,
    ) -> None:
        if tokens_per_event < 1:
            msg = f"tokens_per_event must be at least 1, got {tokens_per_event}"
            raise ValueError(msg)
        if output_tokens is not None and output_tokens < 0:
            msg = f"output_tokens must not be negative, got {output_tokens}"
            raise ValueError(msg)
        habits = Habits(
            output_tokens=output_tokens,
            talkative=talkative,
            tokens_per_event=tokens_per_event,
            ceilings=ceilings or {},
        )
        settings = Settings(
            habits=habits,
            latency_s=latency_s,
            token_latency_s=token_latency_s,
            bill_aborted=bill_aborted,
            deployments=deployments or {},
            clock=clock or (lambda: datetime.now(tz=UTC)),
            keep_requests=keep_requests,
        )
        self._provider = Provider(settings, script=Script(script), faults=faults, prices=PriceBook(prices))
        self._port = port
        self._server: HttpServer | None = None

    def start(self) -> Self:
        """Listen on 127.0.0.1, and load what the first request would wait for."""
        if self._server is None:
            warm_up()
            self._server = HttpServer(self._provider, self._port)
            self._server.start()
        return self

    def close(self) -> None:
        """Stop listening and cut what is open; what is being generated then counts as aborted."""
        if self._server is not None:
            self._server.stop()
            self._server = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close, and raise what a scripted function raised in a request, which its client saw only as a 500."""
        self.close()
        if error is None and self._provider.failures:
            msg = "a request failed inside the simulator or a function of its script"
            raise RuntimeError(msg) from self._provider.failures[0]

    @property
    def url(self) -> str:
        """The root of the server, without a slash at its end; the base URL of Anthropic clients."""
        if self._server is None:
            msg = "the simulator does not listen yet: use it in a `with`, or call start()"
            raise RuntimeError(msg)
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    @property
    def openai_base_url(self) -> str:
        """What `openai.OpenAI(base_url=...)` takes."""
        return f"{self.url}/v1"

    @property
    def anthropic_base_url(self) -> str:
        """What `anthropic.Anthropic(base_url=...)` takes."""
        return self.url

    @property
    def azure_endpoint(self) -> str:
        """What `openai.AzureOpenAI(azure_endpoint=...)` takes."""
        return self.url

    @property
    def bill(self) -> Bill:
        """What was billed so far."""
        return self._provider.bill

    @property
    def requests(self) -> list[RequestRecord]:
        """The requests that arrived, in order, the newest `keep_requests` of them."""
        return self._provider.log.kept()

    @property
    def arrived(self) -> int:
        """How many requests arrived, those no longer kept included."""
        return self._provider.log.arrived

    @property
    def in_flight(self) -> int:
        """How many requests are being answered now."""
        return self._provider.log.in_flight

    @property
    def most_in_flight(self) -> int:
        """The most requests that were ever being answered at once."""
        return self._provider.log.most_in_flight

    def wait_idle(self, timeout_s: float = 5.0) -> bool:
        """
        Wait until no request is in flight, and tell whether that came to be.

        A stream that a client dropped is billed when the server notices, a moment later: wait before comparing.
        """
        return self._provider.log.wait_idle(timeout_s)

    def reset(self) -> None:
        """Forget the requests kept and the bill; the script and the faults stay where they are."""
        self._provider.bill.reset()
        self._provider.log.clear()

    def script(
        self,
        agent: str,
        *answers: str | Answer | Callable[[Request], Answer],
        model: str | None = None,
        system: str | None = None,
        message: str | None = None,
        header: tuple[str, str] | None = None,
        when: Callable[[Request], bool] | None = None,
    ) -> None:
        """
        Add answers for *agent*; rules that were added earlier go first.

        Several answers are given one after the other, and the last one repeats. The criteria are `Rule`'s.

        Raises:
            ValueError: There are no answers, or one of several is a function.
        """
        rule = Rule(
            agent=agent,
            answers=_answers(agent, answers),
            model=model,
            system=system,
            message=message,
            header=header,
            when=when,
        )
        self._provider.script.add(rule)

    def fail_next(self, *faults: Fault | None) -> None:
        """
        Queue *faults* for the next requests, one each; `None` lets one pass.

        Raises:
            TypeError: One of them is no `Fault`.
        """
        for fault in faults:
            if fault is not None and not isinstance(fault, Fault):  # pyright: ignore[reportUnnecessaryIsInstance]
                msg = f"fail_next() takes faults such as Fault.status(500), not {fault!r}"
                raise TypeError(msg)
        self._provider.add_faults(faults)

    def transport(self, library: Library | None = None) -> Any:  # noqa: ANN401 - the library's own BaseTransport
        """
        Return a transport for `httpx2.Client` (or `httpx.Client`) that answers without sockets.

        Args:
            library: Whose client it is for; by default `httpx2` where it is installed, else `httpx`.

        Raises:
            ImportError: The library is not installed.
        """
        return open_transport(self._provider, library, is_async=False)

    def async_transport(self, library: Library | None = None) -> Any:  # noqa: ANN401 - an AsyncBaseTransport
        """Return a transport for `httpx2.AsyncClient` (or `httpx.AsyncClient`) that answers without sockets."""
        return open_transport(self._provider, library, is_async=True)


def _answers(agent: str, answers: tuple[str | Answer | Callable[[Request], Answer], ...]) -> Answers:
    if len(answers) == 1:
        return answers[0]
    if any(callable(answer) for answer in answers):
        msg = f'a function answers every request of agent "{agent}"; give it alone'
        raise ValueError(msg)
    return [
        Answer(text=answer) if isinstance(answer, str) else answer
        for answer in answers
        if not callable(answer)
    ]
