"""What the agents do."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final

from bursar.clients import guard
from bursar.demo.cast import RESEARCHERS
from bursar.demo.stage import DemoFailed
from bursar.errors import BudgetExceeded
from bursar.ledger.wording import is_other_model
from bursar.store import Where

if TYPE_CHECKING:
    from collections.abc import Callable

    from bursar.demo.cast import Cast
    from bursar.demo.stage import Stage

_TASK: Final = "Is the waste heat of data centres worth piping into homes? Two pages, for the town council."
_QUESTIONS: Final = (
    "How steady is the supply of heat?",
    "What do pipes and heat pumps cost?",
    "How much heat do the homes nearby need?",
    "Who pays, and when is it paid back?",
    "What do law and permits ask for?",
)
_NOTES: Final = (
    "A data centre gives off nearly all the electricity it draws as heat, at 30 to 45 degrees. Homes on a low "
    "temperature network can use it with a heat pump; older ones need 70 degrees. Pipes cost about a thousand per "
    "metre in town, so distance decides. The heat comes all year and is wanted in winter. Operators seldom promise "
    "more than ten years; a network is paid back in twenty. Permits take two years where the road must be opened. "
)
_LOOPS_MOST: Final = 40
_DIGS_MOST: Final = 12
_TRIES_MOST: Final = 3
_EXCERPT: Final = 500


class Story:
    """
    The work of one run, to be played inside it.

    The clients are made inside the run, so the threads of the researchers pay from it without any more ado.

    Args:
        on_done: Told the name of each agent that has come to its end, or to that of its budget.
    """

    def __init__(self, stage: Stage, cast: Cast, *, on_done: Callable[[str], object]) -> None:
        self._stage = stage
        self._cast = cast
        self._on_done = on_done
        base = {"openai": stage.openai, "anthropic": stage.anthropic}
        self._clients: dict[str, Any] = {
            name: guard(base[cast.sellers[name]], agent=name) for name in cast.names
        }
        self._notes = _NOTES * stage.notes_times

    def play(self) -> None:
        """
        Plan, research five questions at once, write, review.

        Raises:
            DemoFailed: A provider did not answer.
        """
        self._act("planner", lambda: self._ask("planner", f"{_TASK} Split it into five questions.", most=800))
        with ThreadPoolExecutor(len(RESEARCHERS)) as pool:
            pairs = zip(RESEARCHERS, _QUESTIONS, strict=True)
            started = [
                pool.submit(self._act, name, self._researcher(name, question)) for name, question in pairs
            ]
        findings = [future.result() for future in started]
        notes = "\n".join(finding[:_EXCERPT] for finding in findings if finding)
        draft = self._act("writer", lambda: self._write(f"{_TASK} Write it from these notes:\n{notes}"))
        self._act(
            "reviewer",
            lambda: self._review(f"Review this in five lines:\n{(draft or notes)[: 4 * _EXCERPT]}"),
        )

    def _act(self, name: str, work: Callable[[], str]) -> str | None:
        """Let one agent work; one that is out of money ends alone, and the others go on without what it found."""
        try:
            return work()
        except BudgetExceeded:
            return None
        except Exception as error:  # An SDK may raise anything; what is not of one is raised again.
            if not _is_of_sdk(error):
                raise
            # Its message may quote a part of the key.
            msg = f"{name} got no answer from {self._cast.sellers[name]}: {type(error).__name__}"
            raise DemoFailed(msg) from None
        finally:
            self._on_done(name)

    def _researcher(self, name: str, question: str) -> Callable[[], str]:
        prompt = f"{question} Answer in JSON with the field finding. Notes: {self._notes}"
        ways = {
            "researcher-2": self._until_json,
            "researcher-3": self._for_ever,
            "researcher-4": self._until_downgraded,
            "researcher-5": self._streamed,
        }
        way = ways.get(name, self._ask)
        return lambda: way(name, prompt)

    def _until_json(self, name: str, prompt: str) -> str:
        """Ask the same again until the answer is JSON: the retry that providers bill."""
        answer = ""
        for _ in range(_TRIES_MOST):
            answer = self._ask(name, prompt)
            if _is_json(answer):
                break
        return answer

    def _for_ever(self, name: str, prompt: str) -> str:
        """Never be content, and ask on and on: only the budget ends this."""
        answer = ""
        for step in range(_LOOPS_MOST):
            answer = self._ask(name, f"{prompt} Search {step + 1}; what is still missing?")
        return answer

    def _until_downgraded(self, name: str, prompt: str) -> str:
        """Dig deeper until a cheaper model stands in."""
        run = self._clients[name].bursar.run
        answer = ""
        for step in range(_DIGS_MOST):
            answer = self._ask(name, f"{prompt} Level of detail: {step + 1}.")
            entries = run.store.entries(Where(run_ids=(run.id,)))
            if any(is_other_model(entry) for entry in entries if entry.subject.agent.name == name):
                break
        return answer

    def _ask(self, name: str, prompt: str, *, most: int | None = None) -> str:
        client, model = self._clients[name], self._cast.models[name]
        most = most or self._stage.answer_tokens
        if self._cast.sellers[name] == "anthropic":
            message = client.messages.create(
                model=model,
                max_tokens=most,
                system=_system(name),
                messages=[{"role": "user", "content": prompt}],
            )
            return "".join(block.text for block in message.content if block.type == "text")
        completion = client.chat.completions.create(
            model=model, max_tokens=most, messages=_messages(name, prompt)
        )
        return completion.choices[0].message.content or ""

    def _streamed(self, name: str, prompt: str) -> str:
        if self._cast.sellers[name] == "anthropic":
            return self._write(prompt, name=name)
        chunks = self._clients[name].chat.completions.create(
            model=self._cast.models[name],
            max_tokens=self._stage.answer_tokens,
            messages=_messages(name, prompt),
            stream=True,
        )
        return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)

    def _write(self, prompt: str, *, name: str = "writer") -> str:
        most = 2 * self._stage.answer_tokens
        if self._cast.sellers[name] == "openai":
            return self._ask(name, prompt, most=most)
        with self._clients[name].messages.stream(
            model=self._cast.models[name],
            max_tokens=most,
            system=_system(name),
            messages=[{"role": "user", "content": prompt}],
        ) as stream:
            text: str = stream.get_final_text()
            return text

    def _review(self, prompt: str) -> str:
        if self._cast.sellers["reviewer"] == "anthropic":
            return self._ask("reviewer", prompt)
        response = self._clients["reviewer"].responses.create(
            model=self._cast.models["reviewer"],
            instructions=_system("reviewer"),
            input=prompt,
            max_output_tokens=self._stage.answer_tokens,
        )
        text: str = response.output_text
        return text


def _system(name: str) -> str:
    return f"You are {name} in a small team that advises a town council."


def _messages(name: str, prompt: str) -> list[dict[str, str]]:
    return [{"role": "system", "content": _system(name)}, {"role": "user", "content": prompt}]


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def _is_of_sdk(error: Exception) -> bool:
    return type(error).__module__.partition(".")[0] in {"openai", "anthropic"}
