"""Streams whose events have names, Anthropic's Messages and OpenAI's Responses, watched while they pass."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec

from runtime.wire import unary
from runtime.wire import usage as wire_usage
from runtime.wire.sse import Head, Splitter, data, decoded, events
from runtime.wire.unary import Answer
from runtime.wire.usage import Usage


class _Everyday(msgspec.Struct, gc=False):
    """An event that has nothing to say once content has been seen."""

    type: Literal["content_block_delta", "response.output_text.delta", "response.function_call_arguments.delta"]


_EVERYDAY = msgspec.json.Decoder(_Everyday)


class NamedWatch:
    """What such a stream has brought so far. Feed it bytes in any cut.

    Attributes:
        head: None: nothing that these repeat is needed to end them.
        content_seen, finish_reason, usage, malformed: As in `sse.Watch`.
        done_seen: The event has come that ends the stream.
        error: What the provider said instead of going on, or None.
    """

    def __init__(self) -> None:
        self._splitter = Splitter()
        self.head: Head | None = None
        self.content_seen = False
        self.done_seen = False
        self.finish_reason: str | None = None
        self.usage: Usage | None = None
        self.error: object = None
        self.malformed = False

    @property
    def finished(self) -> bool:
        """Whether the answer is complete, and no error."""
        return self.error is None and self.done_seen

    @property
    def has_begun(self) -> bool:
        """Whether anything of it was a stream of this kind."""
        return self.head is not None

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes."""
        for event in events(self._splitter.feed(chunk)):
            self._event(event)
        if self._splitter.is_overlong:
            self.malformed = True

    def end(self) -> None:
        """Take the end of the stream: a last event may lack its empty line."""
        if (rest := self._splitter.rest()).strip():
            self._event(rest)

    def is_everyday(self, chunk: bytes) -> bool:
        """Whether a chunk that follows whole events is whole events itself, none of which changes anything here."""
        if not self.content_seen or not chunk.endswith(b"\n\n") or b"\r" in chunk:
            return False
        *whole, _ = chunk.split(b"\n\n")
        try:
            for event in whole:
                name, _, line = event.partition(b"\n")
                if not name.startswith(b"event: ") or not line.startswith(b"data: {") or b"\n" in line:
                    return False
                _EVERYDAY.decode(line[6:])
        except (ValueError, RecursionError):
            return False
        return True

    def _event(self, event: bytes) -> None:
        found = data(event)
        if found is None or found == b"[DONE]":  # which some servers add out of habit
            return
        value = decoded(found)
        if value is None:
            self.malformed = True
            return
        self.head = self.head or Head()
        if value.get("type") == "error" or (value.get("type") is None and value.get("error") is not None):
            self.error = value.get("error") or value
        else:
            self._take(value)

    def _take(self, event: Mapping[str, object]) -> None:
        raise NotImplementedError


class MessagesWatch(NamedWatch):
    """A stream of Messages: complete once it has a `stop_reason`, ended by `message_stop`."""

    def __init__(self) -> None:
        super().__init__()
        self._counts: dict[object, object] = {}

    @property
    def finished(self) -> bool:
        """Whether the answer is complete, and no error."""
        return self.error is None and (self.done_seen or self.finish_reason is not None)

    def _take(self, event: Mapping[str, object]) -> None:
        match event.get("type"):
            case "message_start":
                message = event.get("message")
                self._count(message.get("usage") if isinstance(message, dict) else None)
            case "content_block_start":
                block = event.get("content_block")
                self.content_seen = self.content_seen or (isinstance(block, dict) and has_something(block))
            case "content_block_delta":
                delta = event.get("delta")
                self.content_seen = self.content_seen or (isinstance(delta, dict) and any(map(delta.get, _PIECES)))
            case "message_delta":
                delta = event.get("delta")
                reason = delta.get("stop_reason") if isinstance(delta, dict) else None
                self.finish_reason = reason if isinstance(reason, str) and reason else self.finish_reason
                self._count(event.get("usage"))
            case "message_stop":
                self.done_seen = True

    def _count(self, usage: object) -> None:
        """Add counts to those of before: the prompt's come first, the answer's last."""
        if isinstance(usage, dict):
            self._counts.update({name: value for name, value in usage.items() if value is not None})
            self.usage = wire_usage.read(self._counts)


class ResponsesWatch(NamedWatch):
    """A stream of Responses: complete with `response.completed` or `response.incomplete`."""

    def _take(self, event: Mapping[str, object]) -> None:
        kind, response = event.get("type"), event.get("response")
        found = response if isinstance(response, dict) else {}
        match kind:
            case "response.completed" | "response.incomplete":
                self.done_seen = True
                self.finish_reason = _ended(found)
                self.usage = wire_usage.read(found.get("usage"))
            case "response.failed":
                self.error = found.get("error") or {"message": "the provider failed while answering"}
            case str() if kind.endswith(".delta"):
                self.content_seen = self.content_seen or bool(event.get("delta"))
            case "response.output_item.added":
                item = event.get("item")
                self.content_seen = self.content_seen or (isinstance(item, dict) and item.get("type") not in _SAYING)


_SAYING = ("message", "reasoning")
"""Items that say nothing before their first delta."""


def _ended(response: Mapping[object, object]) -> str | None:
    """Return why a response ended, in the words of Responses."""
    details = response.get("incomplete_details")
    reason = details.get("reason") if isinstance(details, dict) else None
    status = response.get("status")
    return reason if isinstance(reason, str) else status if isinstance(status, str) else None


def read_response(raw: bytes) -> Answer:
    """Return what an answer of Responses says of itself; one in the background has nothing to say yet."""
    found = unary.decoded(raw)
    if not isinstance(found, dict):
        return Answer(malformed=True)
    output = found.get("output")
    items = [item for item in output if isinstance(item, dict)] if isinstance(output, list) else []
    parts = [part for item in items if isinstance(listed := item.get("content"), list) for part in listed]
    texts = [text for part in parts if isinstance(part, dict) and isinstance(text := part.get("text"), str)]
    says = any(part.get("text") or part.get("refusal") for part in parts if isinstance(part, dict))
    is_failed = found.get("status") in ("failed", "cancelled")
    return Answer(
        is_empty=not (says or any(item.get("type") not in _SAYING for item in items)),
        finish_reason=_ended(found),
        refused=_ended(found) == "content_filter",
        text="".join(texts),
        usage=wire_usage.read(found.get("usage")),
        error=found.get("error") or ("failed" if is_failed else None),
    )


_PIECES = ("text", "thinking", "partial_json", "citation")


def has_something(block: Mapping[object, object]) -> bool:
    """Whether a content block of Messages has something for the reader; a call has its name."""
    if block.get("type") in ("text", "thinking"):
        return bool(block.get("text") or block.get("thinking"))
    return True


def read_message(raw: bytes) -> Answer:
    """Return what an answer of Anthropic's Messages says of itself."""
    found = unary.decoded(raw)
    if not isinstance(found, dict):
        return Answer(malformed=True)
    listed = found.get("content")
    blocks = [block for block in listed if isinstance(block, dict)] if isinstance(listed, list) else []
    reason = found.get("stop_reason")
    texts = [text for block in blocks if isinstance(text := block.get("text"), str)]
    return Answer(
        is_empty=not any(has_something(block) for block in blocks),
        finish_reason=reason if isinstance(reason, str) and reason else None,
        refused=reason == "refusal",
        text="".join(texts),
        usage=wire_usage.read(found.get("usage")),
        error=found.get("error"),
    )
