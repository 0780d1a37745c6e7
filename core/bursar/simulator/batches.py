"""
Batches on the wire: files of requests, OpenAI's and Anthropic's, answered and billed at batch rates as they arrive.

A file that is uploaded for anything else is taken, too, and kept.
"""

from __future__ import annotations

import json
import os
from dataclasses import replace
from email.parser import BytesParser
from email.policy import HTTP
from itertools import count
from typing import TYPE_CHECKING, Any, Final

from bursar.simulator import anthropic_messages, embeddings, openai_chat, openai_responses, prompts
from bursar.simulator.errors import WireError, encode
from bursar.simulator.exchange import Plan
from bursar.simulator.generation import generate
from bursar.simulator.routes import find_route
from bursar.simulator.script import Answer
from bursar.usage import Usage

if TYPE_CHECKING:
    from bursar.simulator.provider import Provider
    from bursar.simulator.records import RequestRecord
    from bursar.simulator.routes import Route

_CONTEXT: Final = {"processing": "batch"}


class Batches:
    """Keeps files and batches of one provider; a request that the provider would refuse is a line with an error."""

    def __init__(self, provider: Provider) -> None:
        self._provider = provider
        self._numbers = count(1)
        # As a provider's, these names are like no other's.
        self._mark = os.urandom(4).hex()
        self._files: dict[str, bytes] = {}
        self._batches: dict[str, dict[str, Any]] = {}
        self._results: dict[str, bytes] = {}

    def plan(self, record: RequestRecord, route: Route, body: dict[str, Any] | None, raw: bytes) -> Plan:
        """Return how a request about files and batches is answered."""
        base = Plan(endpoint="batches", dialect=route.dialect)
        parts = record.path.partition("/v1/")[2].split("/")
        match record.method, *parts:
            case "POST", "files":
                whole = self._upload(record, raw)
            case "POST", "batches":
                whole = self._openai(record, body or {})
            case "POST", "messages", "batches":
                whole = self._anthropic(record, body or {})
            case "GET", "files", id_, "content":
                return replace(base, body=self._file(id_), content_type="application/octet-stream")
            case "GET", "messages", "batches", id_, "results":
                return replace(base, body=self._results[id_], content_type="application/x-jsonl")
            case "GET", "batches":
                whole = {"object": "list", "data": list(self._batches.values())}
            case _:
                whole = self._batch(parts[-1])
        return replace(base, body=encode(whole))

    def _upload(self, record: RequestRecord, raw: bytes) -> dict[str, Any]:
        id_ = f"file-{self._mark}{next(self._numbers):08d}"
        head = f"content-type: {record.headers.get('content-type')}\r\n\r\n".encode()
        for part in BytesParser(policy=HTTP).parsebytes(head + raw).iter_parts():
            if part.get_filename() is not None:
                content = part.get_payload(decode=True)
                self._files[id_] = content if isinstance(content, bytes) else b""
        purpose = record.body.get("purpose")
        about = {"id": id_, "object": "file", "bytes": len(self._files[id_]), "created_at": 0}
        return {**about, "filename": "a.jsonl", "purpose": purpose, "status": "processed"}

    def _file(self, id_: str) -> bytes:
        if id_ not in self._files:
            msg = f"No such File object: {id_}"
            raise WireError(404, msg, param="id")
        return self._files[id_]

    def _batch(self, id_: str) -> dict[str, Any]:
        if id_ not in self._batches:
            msg = f"No batch found with id '{id_}'."
            raise WireError(404, msg)
        return self._batches[id_]

    def _openai(self, record: RequestRecord, body: dict[str, Any]) -> dict[str, Any]:
        number = next(self._numbers)
        lines = [
            json.loads(line)
            for line in self._file(str(body.get("input_file_id"))).splitlines()
            if line.strip()
        ]
        answered: list[dict[str, Any]] = []
        failed: list[dict[str, Any]] = []
        for index, line in enumerate(lines):
            id_ = f"batch_req_sim{number:04d}{index:04d}"
            about = {"id": id_, "custom_id": line.get("custom_id")}
            try:
                whole = self._answer(record, str(line.get("url")), line.get("body") or {}, id_)
                response = {"status_code": 200, "request_id": id_, "body": whole}
                answered.append({**about, "response": response, "error": None})
            except WireError as error:
                response = {"status_code": error.status, "request_id": id_, "body": error.body("openai")}
                failed.append({**about, "response": response, "error": None})
        batch: dict[str, Any] = {
            "id": f"batch_{self._mark}{number:08d}",
            "object": "batch",
            "endpoint": body.get("endpoint"),
            "input_file_id": body.get("input_file_id"),
            "completion_window": "24h",
            "created_at": 0,
            "status": "completed",
        }
        for name, found in (("output_file_id", answered), ("error_file_id", failed)):
            if found:
                batch[name] = f"file-{name[:3]}{self._mark}{number:08d}"
                self._files[batch[name]] = b"".join(encode(line) + b"\n" for line in found)
        self._batches[batch["id"]] = batch
        return {**batch, "status": "validating", "output_file_id": None, "error_file_id": None}

    def _anthropic(self, record: RequestRecord, body: dict[str, Any]) -> dict[str, Any]:
        id_ = f"msgbatch_{self._mark}{next(self._numbers):08d}"
        results: list[dict[str, Any]] = []
        for index, one in enumerate(body.get("requests") or []):
            try:
                message = self._answer(record, "/v1/messages", one.get("params") or {}, f"msg_{id_}_{index}")
                result: dict[str, Any] = {"type": "succeeded", "message": message}
            except WireError as error:
                result = {"type": "errored", "error": error.body("anthropic")}
            results.append({"custom_id": one.get("custom_id"), "result": result})
        self._results[id_] = b"".join(encode(line) + b"\n" for line in results)
        counts = {name: 0 for name in ("processing", "succeeded", "errored", "canceled", "expired")}
        for line in results:
            counts[line["result"]["type"]] += 1
        times = dict.fromkeys(("created_at", "expires_at", "ended_at"), "1970-01-01T00:00:00Z")
        self._batches[id_] = {
            "id": id_,
            "type": "message_batch",
            "processing_status": "ended",
            "request_counts": counts,
            "results_url": f"http://{record.headers.get('host', '')}/v1/messages/batches/{id_}/results",
            **times,
        }
        return {**self._batches[id_], "processing_status": "in_progress", "results_url": None}

    def _answer(self, record: RequestRecord, url: str, body: dict[str, Any], id_: str) -> dict[str, Any]:
        """Answer one request, and bill it."""
        provider = self._provider
        route = find_route("POST", url, speaks_anthropic=url.endswith("messages"))
        model = provider.model_of(route, body)
        request = provider.read(replace(record, body=body), route, body, model)
        if route.endpoint == "embeddings":
            inputs = prompts.embedding_inputs(body.get("input"))
            usage = Usage(input_tokens=request.input_tokens)
            whole = embeddings.embeddings(
                model, body, inputs, input_tokens=request.input_tokens, with_usage=True
            )
        else:
            generation = generate(request, Answer(), provider.settings.habits)
            usage = generation.usage
            if route.endpoint == "messages":
                whole = anthropic_messages.message(request, generation, id_=id_)
            elif route.endpoint == "responses":
                whole = openai_responses.response(request, generation, id_=id_, created=0)
            else:
                whole = openai_chat.completion(generation, id_=id_, created=0)
        cost_nanousd = provider.prices.cost_nanousd(
            route.provider, model, usage, at=record.arrived_at, context=_CONTEXT
        )
        provider.bill.add(cost_nanousd=cost_nanousd, usage=usage, model=model, agent="")
        return whole
