"""The interfaces that clients call and providers speak, as dispatch handles them: watched, read, ended."""

from __future__ import annotations

from typing import Protocol

import msgspec

from runtime.wire import sse, unary
from runtime.wire.errors import Dialect, Problem
from runtime.wire.sse import Head
from runtime.wire.unary import Answer
from runtime.wire.usage import Usage

NAMED = ("messages", "responses")
"""Interfaces whose events have names."""

DONE = b"data: [DONE]\n\n"
MESSAGE_STOP = b'event: message_stop\ndata: {"type":"message_stop"}\n\n'


class Watch(Protocol):
    """What a provider's stream has brought so far; `sse.Watch` says what each of these is."""

    head: Head | None
    content_seen: bool
    done_seen: bool
    finish_reason: str | None
    usage: Usage | None
    error: object
    malformed: bool

    @property
    def finished(self) -> bool:
        """Whether the answer is complete."""
        ...

    @property
    def has_begun(self) -> bool:
        """Whether anything of it was a stream of this kind."""
        ...

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes."""
        ...

    def is_everyday(self, chunk: bytes) -> bool:
        """Whether the next bytes change nothing here."""
        ...


def watch(spoken: str, choices: int) -> Watch:
    """Return a watch for a stream of a provider that is asked in this interface."""
    if spoken not in NAMED:
        return sse.Watch(choices)
    # Imported where it is asked for: most plans have only providers that speak chat.
    from runtime.wire.named import MessagesWatch, ResponsesWatch

    return MessagesWatch() if spoken == "messages" else ResponsesWatch()


def read(spoken: str, raw: bytes) -> Answer:
    """Return what a provider's whole answer says of itself."""
    if spoken not in NAMED:
        return unary.read(raw)
    from runtime.wire.named import read_message, read_response

    return read_message(raw) if spoken == "messages" else read_response(raw)


def ending(api: str) -> bytes:
    """Return what ends a client's stream properly when the provider left it out."""
    return MESSAGE_STOP if api == "messages" else b":\n\n" if api == "responses" else DONE


def broken(api: str, head: Head | None, problem: Problem, dialect: Dialect) -> bytes:
    """Return the event that ends a client's stream which broke after it began.

    Args:
        api: What the client speaks.
        head: Of its stream so far.
        problem: What went wrong.
        dialect: Whose error objects it reads.
    """
    if api == "messages":
        return (
            b"event: error\ndata: " + msgspec.json.encode({"type": "error", "error": problem.error(dialect)}) + b"\n\n"
        )
    if api == "responses":
        error = problem.error(dialect)
        # As the interface has it, and as OpenAI's SDK must see it to raise.
        said = {name: error[name] for name in ("code", "message", "param")}
        event = {"type": "error", **said, "sequence_number": 0, "error_type": problem.error_type, "error": error}
        return b"event: error\ndata: " + msgspec.json.encode(event) + b"\n\n"
    return sse.terminal_error(head, problem, dialect)
