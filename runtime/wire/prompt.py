"""What a request asks with, in one shape for every interface: text by role, turns, pictures, what else costs tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from msgspec import Raw

from runtime.wire.request import Body, Chat, Completions, Content, Embeddings, Item, Message, Messages, Part, Responses

SYSTEM_ROLES = ("system", "developer")


@dataclass(slots=True)
class Prompt:
    """The prompt of one request; made by `read`, not changed after.

    Attributes:
        texts: Text of each message in order, the system text included.
        system: System and developer text, or None when there is none.
        first: Text of the first message that is not system text.
        last: Text of the last message of the user that is not only a tool's result; None when there is none.
        turns: Messages that are not system text.
        images, audio, files: Parts of that kind, in tool results too.
        structured_bytes: Size of the JSON that goes with messages: tool calls and their arguments.
        token_ids: Tokens that the client sent as numbers.
    """

    texts: list[str]
    system: str | None = None
    first: str = ""
    last: str | None = None
    turns: int = 0
    images: int = 0
    audio: int = 0
    files: int = 0
    structured_bytes: int = 0
    token_ids: int = 0


def read(body: Body) -> Prompt:
    """Return the prompt of a decoded body."""
    prompt = Prompt([])
    match body:
        case Chat():
            _messages(prompt, body.messages)
        case Messages():
            _add(prompt, "system", body.system)
            _messages(prompt, body.messages)
        case Responses():
            _items(prompt, "system", body.instructions)
            _items(prompt, "user", body.input)
        case Completions():
            _plain(prompt, body.prompt)
        case Embeddings():
            _plain(prompt, body.input)
        case _:
            raise AssertionError(body)
    return prompt


def _messages(prompt: Prompt, messages: Sequence[Message]) -> None:
    for message in messages:
        _add(prompt, message.role, message.content)
        prompt.structured_bytes += _size(message.tool_calls) + _size(message.function_call)


def _items(prompt: Prompt, role: str, items: str | Sequence[Item] | None) -> None:
    if items is None or isinstance(items, str):
        _add(prompt, role, items)
        return
    for item in items:
        prompt.structured_bytes += _size(item.arguments)
        if isinstance(item.output, str | list):
            _add(prompt, "tool", item.output)
        elif item.role or item.type == "message":
            _add(prompt, item.role or role, item.content)


def _plain(prompt: Prompt, given: str | Sequence[str | int | Sequence[int]] | None) -> None:
    """A completion's prompt or an embedding's input: texts and token numbers, any number of them, as one turn."""
    given = [given] if isinstance(given, str) else given or []
    texts = [entry for entry in given if isinstance(entry, str)]
    prompt.token_ids = sum(1 if isinstance(entry, int) else len(entry) for entry in given if not isinstance(entry, str))
    _add(prompt, "user", "\n".join(texts))


def _add(prompt: Prompt, role: str, content: Content) -> None:
    if isinstance(content, str):
        text, is_result = content, False
    else:
        parts: list[str] = []
        is_result = bool(content)
        for part in content or ():
            is_result = _part(prompt, part, parts) and is_result
        text = "\n".join(parts)
    if role in SYSTEM_ROLES:
        if text:
            prompt.system = text if prompt.system is None else f"{prompt.system}\n{text}"
            prompt.texts.append(text)
        return
    if prompt.turns == 0:
        prompt.first = text
    prompt.turns += 1
    prompt.texts.append(text)
    if role == "user" and not is_result:
        prompt.last = text


_IMAGES = ("image_url", "input_image", "image")
_AUDIO = ("input_audio", "audio", "audio_url")
_FILES = ("file", "input_file", "document", "container_upload")


def _part(prompt: Prompt, part: Part | str, parts: list[str]) -> bool:
    """Add one content part; say whether it is a tool's result."""
    if isinstance(part, str):
        parts.append(part)
        return False
    if part.text is not None:
        parts.append(part.text)
    kind = part.type
    if kind in _IMAGES:
        prompt.images += 1
    elif kind in _AUDIO:
        prompt.audio += 1
    elif kind in _FILES:
        prompt.files += 1
    prompt.structured_bytes += _size(part.input)
    content = part.content
    if isinstance(content, str):
        parts.append(content)
    elif isinstance(content, list):
        for inner in content:
            _part(prompt, inner, parts)
    return kind.endswith("tool_result")


def _size(raw: Raw) -> int:
    return memoryview(raw).nbytes
