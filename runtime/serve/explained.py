"""The decision record with an answer, for clients that ask why: `x-pointsman-explain`."""

from __future__ import annotations

import enum
import json
from collections.abc import Mapping

import msgspec

HEADER = "x-pointsman-explain"

# Servers and proxies refuse heads of 8 to 16 KiB; ours must leave room for the provider's own headers.
MAX_HEADER_BYTES = 4096

# What a record can do without, in the order in which it goes.
_DISPENSABLE = ("skipped", "facts", "wishes", "excluded", "attempts", "candidates", "message")


class Wish(enum.Enum):
    """What a client wants to know: nothing, the record with its answer, or only the record."""

    NOTHING = enum.auto()
    TOO = enum.auto()
    ONLY = enum.auto()


def wish(headers: Mapping[str, str]) -> Wish:
    """Return what the request's headers ask for."""
    said = headers.get(HEADER, "").strip().lower()
    if said == "only":
        return Wish.ONLY
    return Wish.TOO if said in ("1", "true", "yes", "on") else Wish.NOTHING


def as_body(told: Mapping[str, object]) -> bytes:
    """Return the record as a JSON document."""
    return msgspec.json.encode(told)


def as_header(told: Mapping[str, object]) -> bytes | None:
    """Return the record as compact JSON in ASCII, less its longest parts where it would not fit a header."""
    kept = dict(told)
    for part in (None, *_DISPENSABLE):
        if part is not None:
            kept.pop(part, None)
        # The standard library's encoder, because it can keep to ASCII.
        text = json.dumps(kept, ensure_ascii=True, separators=(",", ":"))
        if len(text) <= MAX_HEADER_BYTES:
            return text.encode("ascii")
    return None
