"""
The most tokens that a request body can be, by its size alone.

A byte-level tokenizer never makes more tokens than there are bytes, so the UTF-8 length of every text, plus a fixed
overhead for the structure around it, bounds what a provider can count.  The cost is one visit per node and nothing
per character: the length of an ASCII text is known without reading it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from bursar.wire.fields import Json, is_array, is_mapping, object_at, text_at
from bursar.wire.media import audio_tokens_most, document_tokens_most, image_tokens_most

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

# OpenAI's own count is 3 per message and 1 for a name ("How to count tokens with tiktoken", OpenAI cookbook); role,
# type and field names of the envelope are not counted.  Its reasoning models add 2 per message of the assistant's
# (measured), which the bytes of the word "assistant" cover.
_NODE: Final = 4
_ENVELOPE: Final = frozenset({"role", "content", "type", "text"})
# Two quotes, a colon, a comma and up to four characters of white space around each entry of a schema.
_SCHEMA_ENTRY: Final = 8
_SCALAR: Final = 6
_DATA_URL_HEAD: Final = 200
CITATION_PROMPT: Final = 1_024


def text_tokens_most(text: str) -> int:
    """Return the UTF-8 length of *text*, in constant time for ASCII."""
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


def schema_tokens_most(node: object) -> int:
    """Return the most tokens that *node* can be when it is written out as JSON, as tool schemas are."""
    if isinstance(node, str):
        return text_tokens_most(node) + 2
    if is_mapping(node):
        return _NODE + sum(
            len(key) + _SCHEMA_ENTRY + schema_tokens_most(value) for key, value in node.items()
        )
    if is_array(node):
        return _NODE + sum(2 + schema_tokens_most(value) for value in node)
    return _scalar_tokens_most(node)


class Weight:
    """
    What was found in a body so far; `add` visits one more part of it.

    Attributes:
        model: Who will read it: images differ by model.

        tokens: All of it, with images and audio.

        image_tokens: Of these, images.

        audio_tokens: Of these, audio.

        unseen: What is named but not there, in the order found, without repetition.

        cache_ttls: The times that cache writes were asked for.
    """

    image_tokens = 0
    audio_tokens = 0

    def __init__(self, model: str) -> None:
        self.model = model
        self.tokens = 0
        self.unseen: dict[str, None] = {}
        self.cache_ttls: set[str] = set()

    def add(self, node: object) -> None:
        """Count *node*, a part of a prompt, and everything in it."""
        if isinstance(node, str):
            self.tokens += len(node) if node.isascii() else text_tokens_most(node)
        elif is_array(node):
            self.add_all(node)
        elif is_mapping(node):
            self._add_object(node)
        else:
            self.tokens += _scalar_tokens_most(node)

    def add_all(self, nodes: Iterable[object]) -> None:
        """Count *nodes*, which are nearly always messages, or their parts."""
        for node in nodes:
            if type(node) is not dict:
                self.add(node)
                continue
            message: dict[str, Any] = node  # pyright: ignore[reportUnknownVariableType]
            role, text = message.get("role"), message.get("content")
            if (
                type(role) is str
                and type(text) is str
                and len(message) == 2
                and role.isascii()
                and text.isascii()
            ):
                # A message of nothing but text, as `_add_object` would count it.
                self.tokens += _NODE + len(role) + len(text)
            else:
                self._add_object(message)

    def add_schema(self, node: object) -> None:
        """Count *node*, which a provider writes out as JSON, and look for cache marks in it."""
        self.tokens += schema_tokens_most(node)
        if is_array(node):
            for item in node:
                if is_mapping(item):
                    self.note_cache(item)

    def note_cache(self, node: Json) -> None:
        """Remember the cache mark of *node*, if it has one."""
        mark = node.get("cache_control")
        if is_mapping(mark):
            self.cache_ttls.add(text_at(mark, "ttl") or "5m")

    def add_image(self) -> None:
        """Count an image at the model's ceiling."""
        most = image_tokens_most(self.model)
        self.tokens += most
        self.image_tokens += most

    def add_unseen(self, what: str) -> None:
        """Remember that *what* is part of the input but not of the body."""
        self.unseen[what] = None

    def _add_object(self, node: Json) -> None:
        self.tokens += _NODE
        if "cache_control" in node:
            self.note_cache(node)
        kind = node.get("type")
        special = _SPECIAL.get(kind) if isinstance(kind, str) else None
        if special is not None:
            special(self, node)
            return
        for key, value in node.items():
            if key not in _ENVELOPE:
                self.tokens += len(key)
            if isinstance(value, str):
                self.tokens += len(value) if value.isascii() else text_tokens_most(value)
            elif value is not None:
                self.add(value)


def _scalar_tokens_most(node: object) -> int:
    if node is None or isinstance(node, bool):
        return _SCALAR
    if isinstance(node, bytes | bytearray):
        return len(node)
    return text_tokens_most(repr(node))


def _image(weight: Weight, _node: Json) -> None:
    weight.add_image()


def _audio(weight: Weight, node: Json) -> None:
    data = text_at(object_at(node, "input_audio") or node, "data")
    if data is None:
        weight.add_unseen("audio")
        return
    most = audio_tokens_most(data)
    weight.tokens += most
    weight.audio_tokens += most


def _openai_file(weight: Weight, node: Json) -> None:
    file = object_at(node, "file") or node
    weight.add(text_at(file, "filename") or "")
    data = text_at(file, "file_data")
    if data is None:
        weight.add_unseen("file")
        return
    head, _, body = data.partition(",") if data[:5] == "data:" else ("data:application/pdf", "", data)
    _document(weight, body, head[5:_DATA_URL_HEAD].split(";")[0])


def _anthropic_document(weight: Weight, node: Json) -> None:
    source = object_at(node, "source")
    weight.add([text_at(node, "title") or "", text_at(node, "context") or ""])
    kind, data = source.get("type"), text_at(source, "data")
    # With citations on, a document is sent sentence by sentence, each in marks of its own, below an instruction
    # of about 500 tokens (measured): twice its size, and twice that.
    cited = object_at(node, "citations").get("enabled") is True
    before = weight.tokens
    if kind == "text" and data is not None:
        weight.add(data)
    elif kind == "content":
        weight.add(source.get("content"))
    elif kind == "base64" and data is not None:
        _document(weight, data, text_at(source, "media_type") or "")
    else:
        weight.add_unseen("document")
    if cited:
        weight.tokens += CITATION_PROMPT + weight.tokens - before


def _document(weight: Weight, data: str, media_type: str) -> None:
    most = document_tokens_most(data, media_type, weight.model)
    if most is None:
        weight.add_unseen("document")
    else:
        weight.tokens += most


def _unseen(weight: Weight, node: Json) -> None:
    weight.add_unseen(str(node.get("type")))


_SPECIAL: Final[dict[str, Callable[[Weight, Json], None]]] = {
    "image_url": _image,
    "input_image": _image,
    "computer_screenshot": _image,
    "image_generation_call": _image,
    "image": _image,
    "input_audio": _audio,
    "file": _openai_file,
    "input_file": _openai_file,
    "document": _anthropic_document,
    "document_url": _unseen,
    "item_reference": _unseen,
    "video_url": _unseen,
    "input_video": _unseen,
}
