"""What keeps a silent stream alive: how often, and which bytes do nothing but pass."""

from __future__ import annotations

import re
from typing import Literal

import msgspec

from runtime.wire.sse import Head

Mode = Literal["comment", "chunk"]

# Below a second it would be traffic, not a sign of life; above ten minutes every client has given up.
LEAST_S = 1.0
MOST_S = 600.0

OFF = ("off", "0", "no", "false")

_TEXT = re.compile(r"(\d{1,6}(?:\.\d{1,3})?)(ms|s|m)?(?:[\s;,]+(?:mode=)?(comment|chunk))?")
_UNIT_S = {"ms": 0.001, "s": 1.0, "m": 60.0, None: 1.0}

COMMENT = b": keep-alive\n\n"
PING = b'event: ping\ndata: {"type":"ping"}\n\n'


class KeepAlive(msgspec.Struct, frozen=True):
    """A wish for signs of life.

    Attributes:
        every_s: The longest silence.
        mode: `comment`: a line that readers of events skip; `chunk`: for those that do not, a chunk that says nothing.
    """

    every_s: float
    mode: Mode = "comment"


def parse(text: str) -> KeepAlive | None:
    """Return the wish that `5s`, `5s chunk` or `off` says; None for off.

    Raises:
        ValueError: It says none of these, or asks for a silence outside of 1 s to 10 min.
    """
    said = text.strip().lower()
    if said in OFF:
        return None
    found = _TEXT.fullmatch(said)
    every_s = float(found[1]) * _UNIT_S[found[2]] if found else 0.0
    if found is None or not LEAST_S <= every_s <= MOST_S:
        raise ValueError("a keep-alive is `off`, or a time from 1s to 10m such as `5s` or `5s chunk`")
    return KeepAlive(every_s, "chunk" if found[3] == "chunk" else "comment")


def beat(keep: KeepAlive, api: str, head: Head) -> bytes:
    """Return one sign of life for a stream of an interface; `head` is what its chunks repeat."""
    if api == "messages":
        return PING  # Anthropic's own, which its clients know
    if keep.mode == "comment" or api not in KIND_OF_API:
        return COMMENT
    said: dict[str, object] = {"text": ""} if api == "completions" else {"delta": {"content": ""}}
    chunk = {
        "id": head.id,
        "object": head.kind,
        "created": head.created,
        "model": head.model,
        "choices": [{"index": 0, **said, "finish_reason": None}],
    }
    return b"data: " + msgspec.json.encode(chunk) + b"\n\n"


KIND_OF_API = {"chat": "chat.completion.chunk", "completions": "text_completion"}
"""What the chunks of an interface call themselves, where a chunk may say nothing."""
