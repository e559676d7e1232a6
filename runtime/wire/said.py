"""What a whole answer says to its reader, choice by choice, whether it came at once or as a stream; for judging it."""

from __future__ import annotations

import json
from collections.abc import Iterator

import msgspec

from runtime.wire.sse import CONTENT, data, events


class Said(msgspec.Struct):
    """One choice of an answer.

    Attributes:
        text: What it says; parts of text joined.
        finish_reason: As sent, the last that came.
        refusal: What stands in its `refusal` field.
        arguments: Of its tool calls, in order, as sent.
        is_more: It has something besides text and tool calls: audio, pictures, reasoning.
    """

    text: str = ""
    finish_reason: str | None = None
    refusal: str = ""
    arguments: list[str] = []
    is_more: bool = False


_OTHERS = ("messages", "responses")
"""Interfaces whose answers are read as chat."""


def of_answer(raw: bytes, api: str = "chat") -> list[Said]:
    """Return the choices of a whole answer of an interface."""
    if api in _OTHERS:
        # Imported where it is asked for, as few answers are judged.
        from runtime.wire.translate.translation import answer

        raw = answer("chat", api, raw, 0.0)
    found: dict[int, _Choice] = {}
    for place, choice in enumerate(_choices(raw)):
        _take(found.setdefault(place, _Choice()), choice)
    return [choice.whole() for choice in found.values()]


def of_stream(block: bytes, api: str = "chat") -> list[Said]:
    """Return the choices of a whole stream of events."""
    if api in _OTHERS:
        from runtime.wire.translate.translation import Passage

        passage = Passage("chat", api, 0.0, wants_usage=False)
        block = b"".join(passage.feed(data(event) or b"") for event in events(block)) + passage.end()
    found: dict[int, _Choice] = {}
    for event in events(block):
        for place, choice in enumerate(_choices(data(event) or b"")):
            index = choice.get("index")
            _take(found.setdefault(index if isinstance(index, int) else place, _Choice()), choice)
    return [choice.whole() for _, choice in sorted(found.items())]


class _Choice:
    """A choice while its pieces come."""

    def __init__(self) -> None:
        self.said = Said()
        self.texts: list[str] = []
        self.refusals: list[str] = []
        self.calls: dict[int, list[str]] = {}

    def whole(self) -> Said:
        self.said.text, self.said.refusal = "".join(self.texts), "".join(self.refusals)
        self.said.arguments = ["".join(pieces) for _, pieces in sorted(self.calls.items())]
        return self.said


def _choices(raw: bytes) -> Iterator[dict[str, object]]:
    try:
        try:
            found = msgspec.json.decode(raw)
        except msgspec.DecodeError:
            found = json.loads(raw)  # half an emoji, as elsewhere
    except (ValueError, RecursionError):
        return
    choices = found.get("choices") if isinstance(found, dict) else None
    for choice in choices if isinstance(choices, list) else []:
        if isinstance(choice, dict):
            yield choice


def _take(choice: _Choice, found: dict[str, object]) -> None:
    """Add what one piece, a message or a delta, says."""
    reason = found.get("finish_reason")
    if isinstance(reason, str) and reason:
        choice.said.finish_reason = reason
    message = found.get("message") or found.get("delta")
    if not isinstance(message, dict):
        choice.texts += _texts(found.get("text"))
        return
    choice.texts += _texts(message.get("content"))
    choice.refusals += _texts(message.get("refusal"))
    calls = message.get("tool_calls")
    for place, call in enumerate(calls if isinstance(calls, list) else [{"function": message.get("function_call")}]):
        function = call.get("function") if isinstance(call, dict) else None
        if isinstance(function, dict):
            index = call.get("index")
            pieces = choice.calls.setdefault(index if isinstance(index, int) else place, [])
            pieces += _texts(function.get("arguments"))
    known = ("content", "refusal", "tool_calls", "function_call")
    choice.said.is_more = choice.said.is_more or any(message.get(key) for key in CONTENT if key not in known)


def _texts(found: object) -> list[str]:
    """Return the texts in a content: text, or a list of parts."""
    if isinstance(found, str):
        return [found]
    parts = found if isinstance(found, list) else []
    texts = [part.get("text") for part in parts if isinstance(part, dict)]
    return [text for text in texts if isinstance(text, str)]
