"""A provider's stream while it passes: cut into whole events, watched for content, usage, errors and its end.

Every event is looked at, at the price of a search: a typed decoder that skips all but four fields costs 0.5 µs for an
event of 250 bytes, no more than two regexes over it, and cannot be fooled by what an answer says. Only events that it
finds worth reading are parsed as a whole.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import msgspec

from runtime.wire import usage as wire_usage
from runtime.wire.errors import Dialect, Problem
from runtime.wire.usage import Usage

# 8 MiB: models that answer with pictures send one as base64 in a single event, 2 to 6 MB at today's sizes; beyond that
# a peer is broken or hostile, and memory is the router's.
MAX_EVENT_BYTES = 8 * 1024 * 1024

# A line end, then an empty line; the look-ahead keeps one `\r\n` from counting as both.
_EVENT_END = re.compile(rb"(?:\r\n|\n|\r(?!\n))(?:\r\n|\n|\r)")


class Splitter:
    """Bytes in any cut in, whole events out; holds the unfinished end."""

    __slots__ = ("_tail", "is_overlong")

    def __init__(self) -> None:
        self._tail = bytearray()
        self.is_overlong = False
        """An event was larger than `MAX_EVENT_BYTES`; nothing comes out any more."""

    def feed(self, chunk: bytes) -> bytes:
        """Return all events that are whole by now, as sent; `b""` while there is none."""
        if self.is_overlong:
            return b""
        tail = self._tail
        if not tail and b"\r" not in chunk and chunk.endswith(b"\n\n"):
            return chunk
        # A line end may have begun in the last three bytes that were looked at before.
        scanned = max(0, len(tail) - 3)
        tail += chunk
        end = self._last_end(scanned)
        whole = bytes(tail[:end])
        del tail[:end]
        if len(tail) > MAX_EVENT_BYTES:
            self.is_overlong = True
            tail.clear()
        return whole

    @property
    def is_empty(self) -> bool:
        """Whether no event is unfinished."""
        return not self._tail

    def rest(self) -> bytes:
        """Return what came after the last whole event, and forget it."""
        rest = bytes(self._tail)
        self._tail.clear()
        return rest

    def _last_end(self, start: int) -> int:
        tail = self._tail
        if tail.find(b"\r", start) < 0:
            at = tail.rfind(b"\n\n", start)
            return at + 2 if at >= 0 else 0
        end = 0
        for match in _EVENT_END.finditer(tail, start):
            end = match.end()
        return end


def events(block: bytes) -> list[bytes]:
    """Return the events of a block from `Splitter.feed`, each with its line ends."""
    if b"\r" not in block:
        *whole, rest = block.split(b"\n\n")
        found = [event + b"\n\n" for event in whole]
        if rest:  # an odd line end after the last
            found.append(rest)
        return found
    found, start = [], 0
    for match in _EVENT_END.finditer(block):
        found.append(block[start : match.end()])
        start = match.end()
    if start < len(block):
        found.append(block[start:])
    return found


def data(event: bytes) -> bytes | None:
    """Return the data of one event, its lines joined; None when it has none or only white space."""
    lines = [line[5:] for line in event.splitlines() if line.startswith(b"data:")]
    joined = (lines[0] if len(lines) == 1 else b"\n".join(lines)).strip()
    return joined or None


# --- watching -------------------------------------------------------------------------------------


class _Choice(msgspec.Struct, gc=False):
    finish_reason: Literal[""] | None = None


class _Glance(msgspec.Struct, gc=False):
    """A chunk that has nothing to say once content has been seen, or, when it does not decode, one that may."""

    choices: list[_Choice]
    usage: None = None
    error: None = None
    x_groq: None = None


_GLANCE = msgspec.json.Decoder(_Glance)


@dataclass(frozen=True, slots=True)
class Head:
    """What every chunk of a stream repeats; kept for the chunk that we may have to add."""

    id: str = ""
    kind: str = "chat.completion.chunk"
    created: int = 0
    model: str = ""


class Watch:
    """What an OpenAI-protocol stream, chat or completions, has brought so far. Feed it bytes in any cut.

    Attributes:
        head: Of the first chunk.
        content_seen: A delta had something for the reader: text, reasoning, tool calls, a refusal, a picture. A role or
            an empty text is not content.
        done_seen: `[DONE]` has come.
        finish_reason: Of the first choice, as sent; None until it comes.
        usage: The last that any chunk carried, wherever it stood.
        error: The value of a top-level `error` that is not null, or a stand-in when the provider only says
            `finish_reason: "error"`.
        malformed: An event was not a JSON object, or was larger than `MAX_EVENT_BYTES`.
    """

    __slots__ = (
        "_choices",
        "_finished",
        "_splitter",
        "content_seen",
        "done_seen",
        "error",
        "finish_reason",
        "head",
        "malformed",
        "usage",
    )

    def __init__(self, choices: int = 1) -> None:
        """Start before the first byte; `choices` is how many answers were asked for (`n`)."""
        self._choices = choices
        self._finished: set[int] = set()
        self._splitter = Splitter()
        self.head: Head | None = None
        self.content_seen = False
        self.done_seen = False
        self.finish_reason: str | None = None
        self.usage: Usage | None = None
        self.error: object = None
        self.malformed = False

    @property
    def has_begun(self) -> bool:
        """Whether anything of it was a stream of this kind."""
        return self.done_seen or self.head is not None or self.finish_reason is not None

    @property
    def finished(self) -> bool:
        """Whether the answer is complete: `[DONE]` came, or a finish reason for every choice, and no error.

        Some servers end without `[DONE]`; one that sent neither was cut.
        """
        if self.error is not None:
            return False
        return self.done_seen or len(self._finished) == self._choices

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes."""
        block = self._splitter.feed(chunk)
        if block.find(b"\n\n") == len(block) - 2 and b"\r" not in block:  # one event, as chunks mostly are
            self._event(block)
        else:
            for event in events(block):
                self._event(event)
        if self._splitter.is_overlong:
            self.malformed = True

    def is_everyday(self, chunk: bytes) -> bool:
        """Whether a chunk that follows whole events is whole plain events itself, none of which changes anything here.

        Most chunks of a stream are: deltas after the first content and before a finish reason.
        """
        if not self.content_seen or not chunk.endswith(b"\n\n") or b"\r" in chunk:
            return False
        events = chunk.split(b"\n\n")
        events.pop()
        try:
            for event in events:
                if not event.startswith(b"data: {") or b"\n" in event:
                    return False
                _GLANCE.decode(event[6:])
        except (ValueError, RecursionError):
            return False
        return True

    def end(self) -> None:
        """Take the end of the stream: a last event may lack its empty line."""
        rest = self._splitter.rest()
        if rest.strip():
            self._event(rest)

    def _event(self, event: bytes) -> None:
        if self.content_seen and event.startswith(b"data:"):
            try:
                _GLANCE.decode(event[5:])
            except (ValueError, RecursionError):
                pass
            else:
                return
        found = data(event)
        if found is None:
            return
        if found == b"[DONE]":
            self.done_seen = True
            return
        chunk = decoded(found)
        if chunk is None:
            self.malformed = True
            return
        if chunk.get("error") is None and _ERROR_EVENT.search(event):
            chunk = {"error": chunk}
        self._chunk(chunk)

    def _chunk(self, chunk: Mapping[str, object]) -> None:
        choices = chunk.get("choices")
        if self.head is None:
            self.head = _head(chunk)
        self.usage = wire_usage.read(chunk.get("usage")) or wire_usage.read(_groq(chunk)) or self.usage
        if self.error is None:
            self.error = chunk.get("error")
        if not isinstance(choices, list):
            return
        for choice in choices:
            if isinstance(choice, dict):
                self._choice(choice)

    def _choice(self, choice: Mapping[str, object]) -> None:
        self.content_seen = self.content_seen or has_content(choice)
        reason = choice.get("finish_reason")
        if not isinstance(reason, str) or not reason:
            return
        index = choice.get("index")
        index = index if isinstance(index, int) else 0
        if 0 <= index < self._choices:
            self._finished.add(index)
        if index == 0:
            self.finish_reason = reason
        if reason == "error" and self.error is None:
            said = choice.get("error")
            self.error = {"message": "the provider failed while answering"} if said is None else said


_ERROR_EVENT = re.compile(rb"(?:^|[\r\n])event: ?error[\r\n]")

CONTENT = (
    "content", "reasoning", "reasoning_content", "reasoning_details", "thinking", "tool_calls", "function_call",
    "refusal", "audio", "images",
)  # fmt: skip
"""Keys of a delta, or of a message, that hold something for the reader, at all providers met so far."""


def has_content(choice: Mapping[str, object]) -> bool:
    """Whether a choice, of a chunk or of a whole answer, has something for the reader."""
    if choice.get("text"):
        return True
    delta = choice.get("delta") or choice.get("message")
    return isinstance(delta, dict) and any(delta.get(key) for key in CONTENT)


def decoded(text: bytes) -> dict[str, object] | None:
    """Return the JSON object that an event's data is, None when it is none."""
    try:
        try:
            found = msgspec.json.decode(text)
        except msgspec.DecodeError:
            # The standard parser takes half an emoji (`"\\ud83d"`), which providers that cut by UTF-16 units send.
            found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _groq(chunk: Mapping[str, object]) -> object:
    """Groq's usage stands in a field of its own."""
    inner = chunk.get("x_groq")
    return inner.get("usage") if isinstance(inner, dict) else None


def _head(chunk: Mapping[str, object]) -> Head | None:
    name, kind, created, model = (chunk.get(key) for key in ("id", "object", "created", "model"))
    if not isinstance(name, str):
        return None
    return Head(
        name,
        kind if isinstance(kind, str) else "chat.completion.chunk",
        int(created) if isinstance(created, int | float) else 0,
        model if isinstance(model, str) else "",
    )


# --- what the relay does to a stream --------------------------------------------------------------

_ODD = (b"\nid", b"\nretry", b"\nevent", b"\ndata\n", b"\ndata:\n", b"\ndata: \n")


def clean(block: bytes) -> bytes:
    """Return whole events without what ends an OpenAI SDK's stream: `id:`, `retry:`, and events that have no data.

    Found with openai 3.54: it takes such a block for an event with empty data and fails to parse it.
    """
    if _is_plain(block):
        return block
    kept = []
    for event in events(block):
        has_data = data(event) is not None
        wanted = (b"data", b":", b"event") if has_data else (b":",)
        lines = [line for line in event.splitlines() if line.startswith(wanted)]
        if lines:
            kept.append(b"\n".join(lines) + b"\n\n")
    return b"".join(kept)


def _is_plain(block: bytes) -> bool:
    if b"\r" in block or not block.startswith((b"data: {", b":")):
        return False
    return block.count(b"\n") == 2 or not any(mark in block for mark in _ODD)


def is_usage_only(event: bytes) -> bool:
    """Whether an event is the usage chunk, with no choices, that a client gets only when it asked for it."""
    if b'"usage"' not in event:
        return False
    chunk = decoded(data(event) or b"")
    return chunk is not None and chunk.get("choices") == [] and bool(chunk.get("usage")) and not chunk.get("error")


def terminal_error(
    head: Head | None, problem: Problem, dialect: Dialect = "openai", provider: str | None = None
) -> bytes:
    """Return the event that ends a stream which broke after it began: SDKs raise on it, and never on a silent cut.

    Args:
        head: Of the stream so far.
        problem: What went wrong.
        dialect: `openai` or `openrouter`.
        provider: Name of the provider, when clients may know it.
    """
    head = head or Head()
    said: dict[str, object] = {"delta": {"content": ""}}
    if head.kind == "text_completion":
        said = {"text": ""}
    chunk: dict[str, object] = {
        "id": head.id,
        "object": head.kind,
        "created": head.created,
        "model": head.model,
        **({"provider": provider} if provider else {}),
        "error": problem.error(dialect),
        "choices": [{"index": 0, **said, "finish_reason": "error"}],
    }
    return b"data: " + msgspec.json.encode(chunk) + b"\n\n"
