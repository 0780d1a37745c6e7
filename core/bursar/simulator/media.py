"""OpenAI's images, audio and videos on the wire, and what each would be billed for."""

from __future__ import annotations

import base64
import io
import wave
from dataclasses import replace
from email.parser import BytesParser
from email.policy import HTTP
from typing import TYPE_CHECKING, Any, Final

from bursar.simulator.errors import WireError, encode
from bursar.simulator.exchange import Charge
from bursar.simulator.sse import Event, named
from bursar.simulator.tokens import count_tokens
from bursar.usage import Usage

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from bursar.simulator.exchange import Plan
    from bursar.simulator.routes import Route
    from bursar.simulator.script import Answer, Request

ENDPOINTS: Final = frozenset(
    {"images", "image_edits", "image_variations", "speech", "transcriptions", "translations", "videos"}
)

_IMAGE_TOKENS: Final = {"low": (272, 408), "medium": (1_056, 1_584), "high": (4_160, 6_240)}
_INPUT_IMAGE_TOKENS: Final = 323
_FIDELITY_TOKENS: Final = 4_096
_PARTIAL_TOKENS: Final = 100
_CHARACTERS_PER_S: Final = 15
_SPEECH_TOKENS_PER_MIN: Final = 1_250
_PCM_RATE: Final = 24_000
_MP3_BYTES_PER_S: Final = 16_000
_UNKNOWN_BYTES_PER_S: Final = 4_000
_HEARD_TOKENS_PER_S: Final = 10
_TEXT: Final = "This is what was said."


def read_multipart(content_type: str, body: bytes) -> dict[str, Any] | None:
    """Return the fields of a multipart form, its files measured and not kept, or None where it is none."""
    if not content_type.startswith("multipart/form-data"):
        return None
    head = f"content-type: {content_type}\r\n\r\n".encode()
    form: dict[str, Any] = {}
    for part in BytesParser(policy=HTTP).parsebytes(head + body).iter_parts():
        name = part.get_param("name", header="content-disposition")
        content = part.get_payload(decode=True)
        assert isinstance(name, str) and isinstance(content, bytes)  # noqa: S101, PT018 (a part of a form has both)
        key = name.removesuffix("[]")
        if part.get_filename() is None:
            form[key] = content.decode()
        else:
            form.setdefault(key, []).append({"bytes": len(content), "seconds": _seconds(content)})
    return form


def check(endpoint: str, body: Mapping[str, Any]) -> None:
    """Refuse what OpenAI refuses of these requests."""
    needs = {"speech": "input", "transcriptions": "file", "translations": "file", "image_variations": "image"}
    name = needs.get(endpoint, "prompt")
    if not body.get(name):
        msg = f"Missing required parameter: '{name}'."
        raise WireError(400, msg, code="missing_required_parameter", param=name)


def plan(base: Plan, route: Route, request: Request, answer: Answer, *, id_: str, with_usage: bool) -> Plan:
    """Return how a request is answered, and what it is billed for."""
    kinds = {"speech": _speech, "transcriptions": _heard, "translations": _heard, "videos": _video}
    made = kinds.get(request.endpoint, _images)
    model = answer.model or request.model
    charge = Charge(usage=Usage(), model=model, provider=route.provider, context={})
    base = replace(base, charge=charge, is_billed_whole=True)
    return made(base, request, answer, id_=id_, with_usage=with_usage)


def _billed(base: Plan, usage: Usage) -> Plan:
    assert base.charge is not None  # noqa: S101 (given by plan())
    return replace(base, charge=replace(base.charge, usage=usage))


def _model(base: Plan) -> str:
    assert base.charge is not None  # noqa: S101 (given by plan())
    return base.charge.model


def _images(base: Plan, request: Request, answer: Answer, *, id_: str, with_usage: bool) -> Plan:
    body = request.body
    many = int(body.get("n") or 1)
    size, quality = str(body.get("size") or "auto"), str(body.get("quality") or "auto")
    if not _model(base).startswith(("gpt-", "chatgpt-")):
        size = "1024x1024" if size == "auto" else size
        usage = Usage(other={f"image {'hd ' if quality == 'hd' else ''}{size}": many})
        return replace(
            _billed(base, usage), body=encode({"created": 0, "data": [_image() for _ in range(many)]})
        )
    each = _IMAGE_TOKENS["medium" if quality == "auto" else quality][size not in {"auto", "1024x1024"}]
    each += _PARTIAL_TOKENS * int(body.get("partial_images") or 0)
    each = each if answer.output_tokens is None else answer.output_tokens
    inputs = sum(len(body.get(key) or ()) for key in ("image", "mask"))
    shown = inputs * (_INPUT_IMAGE_TOKENS + (_FIDELITY_TOKENS if body.get("input_fidelity") == "high" else 0))
    told = count_tokens(str(body.get("prompt") or ""))
    usage = Usage(
        input_tokens=shown + told,
        output_tokens=each * many,
        other={"input_image_tokens": shown, "output_image_tokens": each * many},
    )
    base = _billed(base, usage)
    if str(body.get("stream")).lower() == "true":
        kind = "image_edit" if request.endpoint == "image_edits" else "image_generation"
        return replace(base, events=_image_events(kind, body, each, (shown, told), with_usage=with_usage))
    whole: dict[str, Any] = {"created": 0, "data": [_image() for _ in range(many)], "size": size}
    return replace(base, body=encode(whole | ({"usage": _tokens(usage, shown, told)} if with_usage else {})))


def _image() -> dict[str, str]:
    return {"b64_json": base64.b64encode(b"a picture").decode()}


def _tokens(usage: Usage, shown: int, told: int) -> dict[str, Any]:
    return {
        "input_tokens": usage.input_tokens,
        "input_tokens_details": {"image_tokens": shown, "text_tokens": told},
        "output_tokens": usage.output_tokens,
        "total_tokens": usage.total_tokens,
    }


def _image_events(
    kind: str, body: Mapping[str, Any], each: int, inputs: tuple[int, int], *, with_usage: bool
) -> Iterator[Event]:
    head = {"created_at": 0, "background": "opaque", "output_format": "png", "quality": "medium"}
    head |= {"size": "1024x1024", **_image()}
    for index in range(int(body.get("partial_images") or 0)):
        partial = {"type": f"{kind}.partial_image", **head, "partial_image_index": index}
        yield Event(named(partial), each)
    many = int(body.get("n") or 1)
    for index in range(many):
        # The input is stated once, as it is billed once.
        shown, told = (0, 0) if index else inputs
        usage = _tokens(Usage(input_tokens=shown + told, output_tokens=each), shown, told)
        whole = {"type": f"{kind}.completed", **head} | ({"usage": usage} if with_usage else {})
        yield Event(named(whole), each * (index + 1), ends=index == many - 1)


def _speech(base: Plan, request: Request, answer: Answer, *, id_: str, with_usage: bool) -> Plan:
    del id_
    body = request.body
    text = str(body["input"])
    length_s = len(text) / _CHARACTERS_PER_S
    if _model(base).startswith("tts-"):
        return _spoken(_billed(base, Usage(other={"input_characters": len(text)})), body, length_s)
    out = (
        round(length_s * _SPEECH_TOKENS_PER_MIN / 60)
        if answer.output_tokens is None
        else answer.output_tokens
    )
    told = count_tokens(text) + count_tokens(str(body.get("instructions") or ""))
    base = _billed(base, Usage(input_tokens=told, output_tokens=out))
    if body.get("stream_format") != "sse":
        return _spoken(base, body, length_s)
    usage = {"input_tokens": told, "output_tokens": out, "total_tokens": told + out}

    def events() -> Iterator[Event]:
        yield Event(
            named({"type": "speech.audio.delta", "audio": base64.b64encode(b"\0" * 96).decode()}), out
        )
        last: dict[str, Any] = {"type": "speech.audio.done"} | ({"usage": usage} if with_usage else {})
        yield Event(named(last), out, ends=True)

    return replace(base, events=events())


def _spoken(base: Plan, body: Mapping[str, Any], length_s: float) -> Plan:
    kind = str(body.get("response_format") or "mp3")
    frames = bytes(2 * int(length_s * _PCM_RATE))
    if kind == "wav":
        file = io.BytesIO()
        with wave.open(file, "wb") as written:
            written.setnchannels(1)
            written.setsampwidth(2)
            written.setframerate(_PCM_RATE)
            written.writeframes(frames)
        content = file.getvalue()
    else:
        content = frames if kind == "pcm" else b"\xff" * (int(length_s * _MP3_BYTES_PER_S) + 1)
    return replace(base, body=content, content_type={"mp3": "audio/mpeg"}.get(kind, f"audio/{kind}"))


def _heard(base: Plan, request: Request, answer: Answer, *, id_: str, with_usage: bool) -> Plan:
    del id_
    body = request.body
    length_s = float(body["file"][0]["seconds"])
    text = _TEXT if answer.text is None else answer.text
    kind = str(body.get("response_format") or "json")
    whole: dict[str, Any] = {"text": text}
    if _model(base).startswith("gpt-4o"):
        heard = -(-int(length_s * 1_000) * _HEARD_TOKENS_PER_S // 1_000)
        told = count_tokens(str(body.get("prompt") or ""))
        out = count_tokens(text) if answer.output_tokens is None else answer.output_tokens
        usage = Usage(input_tokens=heard + told, output_tokens=out, other={"input_audio_tokens": heard})
        stated: dict[str, Any] = {
            "type": "tokens",
            "input_tokens": heard + told,
            "input_token_details": {"audio_tokens": heard, "text_tokens": told},
            "output_tokens": out,
            "total_tokens": heard + told + out,
        }
    else:
        seconds = -int(-length_s // 1)
        usage = Usage(other={"audio_seconds": seconds, "input_audio_seconds": seconds})
        stated = {"type": "duration", "seconds": seconds}
        if kind == "verbose_json":
            whole |= {"duration": length_s, "language": "english", "segments": []}
    base = _billed(base, usage)
    if str(body.get("stream")).lower() == "true":
        return replace(base, events=_heard_events(text, stated if with_usage else None, usage.output_tokens))
    if kind in {"text", "srt", "vtt"}:
        return replace(base, body=text.encode(), content_type="text/plain; charset=utf-8")
    says_usage = with_usage and request.endpoint != "translations"
    return replace(base, body=encode(whole | ({"usage": stated} if says_usage else {})))


def _heard_events(text: str, usage: dict[str, Any] | None, tokens: int) -> Iterator[Event]:
    for word in text.split():
        yield Event(named({"type": "transcript.text.delta", "delta": word}), tokens)
    last: dict[str, Any] = {"type": "transcript.text.done", "text": text}
    yield Event(named(last if usage is None else {**last, "usage": usage}), tokens, ends=True)


def _video(base: Plan, request: Request, answer: Answer, *, id_: str, with_usage: bool) -> Plan:
    del answer, with_usage
    body = request.body
    seconds, size = str(body.get("seconds") or "4"), str(body.get("size") or "720x1280")
    job = {"id": id_, "object": "video", "status": "queued", "progress": 0, "created_at": 0}
    whole = {**job, "model": _model(base), "seconds": seconds, "size": size}
    return replace(_billed(base, Usage(other={f"second of {size}": int(seconds)})), body=encode(whole))


def _seconds(content: bytes) -> float:
    try:
        with wave.open(io.BytesIO(content)) as read:
            frames, rate = int(read.getnframes()), int(read.getframerate())
            return frames / rate
    except (wave.Error, EOFError):
        return len(content) / _UNKNOWN_BYTES_PER_S
