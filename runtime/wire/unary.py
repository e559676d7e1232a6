"""A provider's whole answer, read for what the router must know of it; the bytes pass as they are."""

from __future__ import annotations

import json

import msgspec

from runtime.wire import usage as wire_usage
from runtime.wire.sse import has_content
from runtime.wire.usage import Usage, Usual


class Answer(msgspec.Struct, frozen=True):
    """What a complete JSON answer says of itself.

    Attributes:
        malformed: It is not a JSON object; everything else is then at its default.
        is_empty: No choice has anything for the reader.
        finish_reason: Of the first choice, as sent.
        refused: The model declined: a `refusal`, or `finish_reason` `content_filter`.
        text: Text of the first choice, for judging it.
        error: Value of a top-level `error` that is not null, which some providers send with status 200.
    """

    malformed: bool = False
    is_empty: bool = True
    finish_reason: str | None = None
    refused: bool = False
    text: str = ""
    usage: Usage | None = None
    error: object = None


class _Message(msgspec.Struct, gc=False):
    content: str
    refusal: None = None


class _Choice(msgspec.Struct, gc=False):
    message: _Message
    finish_reason: str | None = None


class _Usual(msgspec.Struct, gc=False):
    """A chat answer that is text, without an error: what nearly all are."""

    choices: list[_Choice]
    usage: Usual | None = None
    error: None = None


_USUAL = msgspec.json.Decoder(_Usual)


def read(raw: bytes) -> Answer:
    """Return what a chat, completions or embeddings answer says of itself.

    What is usual is decoded for what is asked of it alone, at a tenth of what it costs to take an answer apart.
    """
    try:
        if not raw.isascii():
            raw.decode()  # the decoder checks only what it reads
        found = _USUAL.decode(raw)
    except (ValueError, RecursionError):
        return _take_apart(raw)
    if not found.choices:
        return _take_apart(raw)
    text, reason = found.choices[0].message.content, found.choices[0].finish_reason
    if not text or reason in ("error", "content_filter"):
        return _take_apart(raw)
    usage = found.usage.counts() if found.usage is not None else None
    return Answer(is_empty=False, finish_reason=reason or None, text=text, usage=usage)


def _take_apart(raw: bytes) -> Answer:
    found = decoded(raw)
    if not isinstance(found, dict):
        return Answer(malformed=True)
    usage, error = wire_usage.read(found.get("usage")), found.get("error")
    choices = found.get("choices")
    listed = [choice for choice in choices if isinstance(choice, dict)] if isinstance(choices, list) else []
    if not listed:
        return Answer(is_empty=not (found.get("data") or found.get("output")), usage=usage, error=error)
    first = listed[0]
    message = first.get("message")
    message = message if isinstance(message, dict) else {}
    reason = first.get("finish_reason")
    text = message.get("content") or first.get("text")
    return Answer(
        is_empty=not any(has_content(choice) for choice in listed),
        finish_reason=reason if isinstance(reason, str) and reason else None,
        refused=bool(message.get("refusal")) or reason == "content_filter",
        text=text if isinstance(text, str) else "",
        usage=usage,
        error=error if error is not None or reason != "error" else first.get("error") or "error",
    )


def decoded(raw: bytes) -> object:
    """Return a JSON value, None for what is none."""
    try:
        try:
            return msgspec.json.decode(raw)
        except msgspec.DecodeError:
            # As in streams: half an emoji is no reason to lose an answer.
            return json.loads(raw)
    except (ValueError, RecursionError):
        return None
