"""Batches: held when they are created, settled at batch rates when their results are read, whoever reads them."""

# What an SDK returns depends on unpacked options, which its overloads do not follow.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownLambdaType=false

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import openai
import pytest

from bursar import Budget, BudgetExceeded, StoreError, UnmeteredEndpoint, guard
from bursar.entry import Entry
from bursar.simulator import Simulator
from bursar.store import Where
from bursar.stores.memory import MemoryStore

from .conftest import CHAT, MESSAGE, Stage

RESPONSE = {"model": "gpt-4o", "input": "hello", "max_output_tokens": 50}
EMBEDDING = {"model": "text-embedding-3-small", "input": "hello"}


def lines(*requests: tuple[str, dict[str, Any]]) -> bytes:
    """An input file."""
    return b"\n".join(
        json.dumps({"custom_id": str(index), "method": "POST", "url": url, "body": body}).encode()
        for index, (url, body) in enumerate(requests)
    )


CHATS = lines(*(("/v1/chat/completions", {**CHAT, "max_tokens": 50}) for _ in range(3)))


def create(client: Any, content: bytes = CHATS) -> Any:
    """Upload and create."""
    file = client.files.create(file=("in.jsonl", content), purpose="batch")
    return client.batches.create(
        input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h"
    )


def results(client: Any, batch: Any) -> str:
    """Retrieve, and read the output."""
    return client.files.content(client.batches.retrieve(batch.id).output_file_id).text


class TestOpenAI:
    @pytest.mark.parametrize(
        "content",
        [
            CHATS,
            lines(("/v1/responses", RESPONSE), ("/v1/responses", RESPONSE)),
            lines(("/v1/embeddings", EMBEDDING)),
        ],
        ids=["chat", "responses", "embeddings"],
    )
    def test_results_settle_what_was_held(self, stage: Stage, content: bytes) -> None:
        """The bound is held until the results are read, and their cost at batch rates is then what was billed."""
        client = stage.guard(stage.openai)
        batch = create(client, content)
        held = client.bursar.reserved

        assert client.bursar.spent == 0
        assert stage.sim.bill.total <= held
        text = results(client, batch)

        created, read = sorted(stage.entries(), key=lambda entry: entry.reason)
        assert ("ok", "none", 0) == (created.status, created.source, created.cost_nanousd)
        assert ("ok", "priced") == (read.status, read.source)
        assert stage.sim.bill.total_nanousd == read.cost_nanousd != 0
        assert stage.sim.bill.total == client.bursar.spent
        assert client.bursar.reserved == 0
        assert stage.sim.bill.calls == len(text.splitlines())

    def test_batch_rates_are_half(self, stage: Stage) -> None:
        """The same requests sent one by one cost twice as much."""
        client = stage.guard(stage.openai)
        results(client, create(client))
        for _ in range(3):
            client.chat.completions.create(**CHAT, max_tokens=50)

        costs: dict[str, int] = {}
        for entry in stage.entries():
            costs[entry.subject.operation] = costs.get(entry.subject.operation, 0) + (entry.cost_nanousd or 0)
        assert costs["openai.chat"] == 2 * costs["openai.batches"] > 0

    def test_reading_twice_books_once(self, stage: Stage) -> None:
        """Results are billed once, however often and by whichever client they are read."""
        client = stage.guard(stage.openai)
        batch = create(client)
        results(client, batch)
        spent = client.bursar.spent
        results(client, batch)
        with client.files.with_streaming_response.content(
            client.batches.retrieve(batch.id).output_file_id
        ) as response:
            list(response.iter_bytes())
        results(guard(stage.openai, label="other", store=stage.store), batch)

        assert stage.sim.bill.total == spent == client.bursar.spent
        assert len(stage.entries()) == 2

    def test_errors_are_not_billed(self, stage: Stage) -> None:
        """A request that failed costs nothing; the file of errors settles nothing."""
        content = lines(
            ("/v1/chat/completions", {**CHAT, "max_tokens": 50}),
            ("/v1/chat/completions", {**CHAT, "max_tokens": 50, "stream_options": {}}),
        )
        client = stage.guard(stage.openai)
        batch = client.batches.retrieve(create(client, content).id)
        client.files.content(batch.error_file_id)
        assert client.bursar.spent == 0 < client.bursar.reserved
        client.files.content(batch.output_file_id)

        assert stage.sim.bill.total == client.bursar.spent > 0

    def test_an_ended_batch_without_answers_gives_its_hold_back(self, stage: Stage) -> None:
        """Where nothing was answered, nothing is owed."""
        content = lines(("/v1/chat/completions", {**CHAT, "max_tokens": 50, "stream_options": {}}))
        client = stage.guard(stage.openai)
        batch = create(client, content)
        assert client.bursar.reserved > 0
        client.batches.retrieve(batch.id)
        client.batches.list()

        assert client.bursar.reserved == client.bursar.spent == 0

    def test_refused_where_it_does_not_fit(self, stage: Stage) -> None:
        """A batch is not created that the budget could not pay."""
        client = stage.guard(stage.openai, "$0.0001")
        with pytest.raises(BudgetExceeded):
            create(client)

        assert ["/v1/files"] == [one.path for one in stage.sim.requests]

    @pytest.mark.parametrize(
        ("content", "why"),
        [
            (b"not json\n", "no JSON object"),
            (lines(("/v1/chat/completions", {**CHAT, "model": "gpt-99"})), "no price"),
            (lines(("/v1/fine_tuning/jobs", {})), "not metered"),
        ],
    )
    def test_input_that_cannot_be_bounded_is_refused(self, stage: Stage, content: bytes, why: str) -> None:
        """A file that bursar cannot read is not run."""
        with pytest.raises(UnmeteredEndpoint, match=why):
            create(stage.guard(stage.openai), content)

    def test_input_that_was_not_seen_is_refused(self, stage: Stage) -> None:
        """A file that was uploaded past bursar says nothing about what it may cost."""
        file = stage.openai.files.create(file=("in.jsonl", CHATS), purpose="batch")
        with pytest.raises(UnmeteredEndpoint, match="not uploaded by a guarded client"):
            stage.guard(stage.openai).batches.create(
                input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h"
            )
        assert stage.sim.bill.calls == 0

    def test_without_a_limit_an_unseen_batch_is_unknown_until_it_is_read(self, stage: Stage) -> None:
        """It goes through, its creation is entered as unknown, and its results are booked when they are read."""
        file = stage.openai.files.create(file=("in.jsonl", CHATS), purpose="batch")
        client = guard(stage.openai, label="writer", store=stage.store)
        batch = client.batches.create(
            input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h"
        )
        results(client, batch)
        results(client, batch)

        created, read = stage.entries()
        assert (None, "unknown") == (created.cost_nanousd, created.source)
        assert (stage.sim.bill.total_nanousd, "priced") == (read.cost_nanousd, read.source)

    def test_unread_results_are_presumed_spent(self, stage: Stage) -> None:
        """Who never reads is taken to have spent the bound, and is settled late if he reads after all."""
        now = [1_700_000_000.0]
        store = MemoryStore(clock=lambda: now[0])
        client = guard(stage.openai, Budget(10, store=store), label="writer")
        batch = create(client)
        held = client.bursar.reserved
        now[0] += 25 * 3600
        store.expire()
        assert (held, 0) == (client.bursar.reserved, client.bursar.spent)
        now[0] += 2 * 3600
        store.expire()
        assert (0, held) == (client.bursar.reserved, client.bursar.spent)
        results(client, batch)

        assert stage.sim.bill.total == client.bursar.spent
        assert [True] == [entry.is_late for entry in store.entries(Where()) if entry.cost_nanousd]

    def test_results_arrive_though_the_store_does_not_answer(
        self, stage: Stage, caplog: pytest.LogCaptureFixture
    ) -> None:
        """The caller has his results, and is told; reading them again books them."""

        class Moody(MemoryStore):
            is_down = False

            def entries(self, where: Where, *, most: int = 10_000) -> Iterable[Entry]:
                if self.is_down:
                    msg = "the store does not answer"
                    raise StoreError(msg)
                return super().entries(where, most=most)

        store = Moody()
        client = guard(stage.openai, Budget(10, store=store), label="writer")
        batch = create(client)
        held = client.bursar.reserved
        store.is_down = True
        assert 3 == len(results(client, batch).splitlines())
        assert (held, 0) == (client.bursar.reserved, client.bursar.spent)
        assert "not booked" in caplog.text
        store.is_down = False
        results(client, batch)

        assert stage.sim.bill.total == client.bursar.spent

    def test_many_readers_book_once(self, stage: Stage) -> None:
        """Threads that read the same results at once book them once."""
        client = stage.guard(stage.openai)
        batch = create(client)
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda _: results(client, batch), range(16)))

        assert stage.sim.bill.total == client.bursar.spent
        assert client.bursar.reserved == 0

    def test_other_files_are_let_be(self, stage: Stage) -> None:
        """A file that is no batch's output is read as ever, and not entered."""
        client = stage.guard(stage.openai)
        file = client.files.create(file=("a.jsonl", CHATS), purpose="user_data")

        assert CHATS == client.files.content(file.id).content
        assert stage.entries() == []

    def test_async(self, stage: Stage) -> None:
        """The same by a client that awaits."""
        client = stage.guard(stage.async_openai)

        async def main() -> None:
            file = await client.files.create(file=("in.jsonl", CHATS), purpose="batch")
            batch = await client.batches.create(
                input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h"
            )
            batch = await client.batches.retrieve(batch.id)
            await client.files.content(batch.output_file_id)

        stage.run(main())

        assert stage.sim.bill.total == client.bursar.spent > 0


READ_ELSEWHERE = """
import sys, openai
from bursar import guard
url, store, batch_id = sys.argv[1:]
client = guard(openai.OpenAI(base_url=url, api_key="k"), label="reader", store=store)
client.files.content(client.batches.retrieve(batch_id).output_file_id)
"""


def test_results_are_settled_in_another_process(tmp_path: Path) -> None:
    """The ledger remembers what is held for which batch, so that whoever reads the results settles it."""
    store = f"sqlite:///{tmp_path}/ledger.db"
    with Simulator() as sim, openai.OpenAI(base_url=sim.openai_base_url, api_key="k") as plain:
        client = guard(plain, Budget(10, store=store), label="writer")
        batch = create(client)
        assert client.bursar.spent == 0
        subprocess.run(
            [sys.executable, "-c", READ_ELSEWHERE, sim.openai_base_url, store, batch.id],
            check=True,
            timeout=60,
        )

        assert sim.bill.total == client.bursar.spent > 0
        assert client.bursar.reserved == 0


REQUESTS: Any = [
    {"custom_id": "a", "params": MESSAGE},
    {"custom_id": "b", "params": {**MESSAGE, "model": "claude-haiku-4-5"}},
]


class TestAnthropic:
    def test_results_settle_what_was_held(self, stage: Stage) -> None:
        """Requests in the body are bounded, each at its model, and billed at batch rates when they are read."""
        client = stage.guard(stage.anthropic)
        batch = client.messages.batches.create(requests=REQUESTS)
        assert stage.sim.bill.total <= client.bursar.reserved
        read = list(client.messages.batches.results(batch.id))

        assert ["a", "b"] == [one.custom_id for one in read]
        assert stage.sim.bill.total == client.bursar.spent > 0
        assert client.bursar.reserved == 0
        assert "claude-sonnet-4-6 + claude-haiku-4-5" in {entry.model for entry in stage.entries()}

    def test_beta_is_the_same(self, stage: Stage) -> None:
        """The beta resource goes the same way."""
        client = stage.guard(stage.anthropic)
        batch = client.beta.messages.batches.create(requests=REQUESTS)
        list(client.beta.messages.batches.results(batch.id))

        assert stage.sim.bill.total == client.bursar.spent > 0

    def test_results_left_halfway_settle_nothing(self, stage: Stage) -> None:
        """Who reads a part knows a part: the bound stays held until all of it was read."""
        client = stage.guard(stage.anthropic)
        batch = client.messages.batches.create(requests=REQUESTS)
        whole = client.messages.batches.results(batch.id)
        next(iter(whole))
        whole.close()
        list(client.messages.batches.results(batch.id))

        assert stage.sim.bill.total == client.bursar.spent > 0

    def test_errors_are_not_billed(self, stage: Stage) -> None:
        """A request that the provider refuses is a result without a cost."""
        odd = {"custom_id": "c", "params": {**MESSAGE, "messages": []}}
        client = stage.guard(stage.anthropic)
        batch = client.messages.batches.create(requests=[*REQUESTS, odd])
        list(client.messages.batches.results(batch.id))

        assert stage.sim.bill.calls == 2
        assert stage.sim.bill.total == client.bursar.spent

    def test_refused_where_it_does_not_fit(self, stage: Stage) -> None:
        """A batch is not created that the budget could not pay."""
        with pytest.raises(BudgetExceeded):
            stage.guard(stage.anthropic, "$0.0001").messages.batches.create(requests=REQUESTS)

        assert stage.sim.arrived == 0

    def test_an_empty_one_is_refused(self, stage: Stage) -> None:
        """A body without requests says nothing about its cost."""
        with pytest.raises(UnmeteredEndpoint, match="cannot be read"):
            stage.guard(stage.anthropic).messages.batches.create(requests=[])

    def test_async(self, stage: Stage) -> None:
        """The same by a client that awaits."""
        client = stage.guard(stage.async_anthropic)

        async def main() -> None:
            batch = await client.messages.batches.create(requests=REQUESTS)
            assert 2 == len([one async for one in await client.messages.batches.results(batch.id)])

        stage.run(main())

        assert stage.sim.bill.total == client.bursar.spent > 0
