"""One client's request as serving sees it: what is known so far, for the headers and the log line."""

from __future__ import annotations

import random
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from urllib.parse import quote

from runtime.decision.route import Route
from runtime.dispatch.record import Record
from runtime.dispatch.transport import Headers
from runtime.serve.keys import ANYONE, Key
from runtime.wire.keep_alive import KeepAlive

DIGEST_CHARS = 12
"""Of a plan's digest, in headers and logs: 48 bits tell all policies of one operator apart."""

_PRINTABLE = "".join(map(chr, range(0x20, 0x7F)))

# A longer or stranger id is not repeated: it goes into headers and logs.
MAX_REQUEST_ID_CHARS = 128
_ID_CHARS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.:/+=@")


@dataclass(slots=True)
class Visit:
    """A request being served.

    Attributes:
        request_id: The client's `x-request-id`, or one of our own.
        policy: `name@digest`, first the default's, then that of the policy asked; empty while nothing is loaded.
        began_unix_s, began_s: When it arrived, by the wall clock and by `perf_counter`.
        handed_s: When its body was complete; the time before is the client's.
        head_s: When the head of the answer went out, or None.
        is_answered: Whether the answer got its last byte.
        status: HTTP status sent; 499 when the client left before.
        rule: Label of the rule that decided.
        key: The caller's.
        waited_s: Spent waiting for providers until the head; what is left of the time is ours, the overhead.
        keep_alive: Signs of life that its stream is to have, or None.
        generation: What the answer is called, by OpenRouter's name for it; empty where nothing is generated.
        facts: What the policy asks of it, for the log; None unless the operator wants that.
        end: How it ended: a `Record.end`, `rejected`, `error` or `explained`.
    """

    request_id: str
    policy: str
    method: str
    path: str
    api: str | None = None
    began_unix_s: float = field(default_factory=time.time)
    began_s: float = field(default_factory=time.perf_counter)
    handed_s: float | None = None
    head_s: float | None = None
    is_answered: bool = False
    model: str | None = None
    stream: bool | None = None
    tenant: str | None = None
    route: Route | None = None
    rule: str | None = None
    record: Record | None = None
    status: int = 499
    end: str = "client gone"
    code: str | None = None
    endpoint: str | None = None
    attempts: int = 0
    overhead_s: float | None = None
    explained: bytes | None = None
    waited_s: float = 0.0
    keep_alive: KeepAlive | None = None
    key: Key = ANYONE
    generation: str = ""
    facts: Mapping[str, object] | None = None

    def head(self, status: int) -> Headers:
        """Note that the head of the answer goes out now, and return the headers that say why."""
        self.status = status
        self.head_s = time.perf_counter()
        since_s = self.began_s if self.handed_s is None else self.handed_s
        self.overhead_s = max(0.0, self.head_s - since_s - self.waited_s)
        headers = [(b"x-request-id", self.request_id.encode("ascii"))]
        if self.generation:
            headers.append((b"x-generation-id", self.generation.encode("ascii")))
        if self.api == "messages":  # Anthropic's SDK shows it by this name
            headers.append((b"request-id", self.request_id.encode("ascii")))
        if self.policy:
            headers.append((b"x-pointsman-policy", header_value(self.policy)))
        if self.rule is not None:
            headers.append((b"x-pointsman-rule", header_value(self.rule)))
        if self.endpoint is not None:
            headers.append((b"x-pointsman-endpoint", header_value(self.endpoint)))
        headers.append((b"x-pointsman-attempts", b"%d" % self.attempts))
        headers.append((b"x-pointsman-overhead-ms", b"%.3f" % (self.overhead_s * 1000)))
        if self.explained is not None:
            headers.append((b"x-pointsman-explain", self.explained))
        return tuple(headers)


def policy_name(policy: str, digest: str) -> str:
    """Return `name@digest`, which names what was decided by exactly."""
    return f"{policy}@{digest[:DIGEST_CHARS]}"


@lru_cache(1024)
def header_value(text: str) -> bytes:
    """Return text as a header can carry it: printable ASCII as it is, everything else percent-encoded."""
    if text.isascii() and text.isprintable():
        return text.encode("ascii")
    return quote(text, safe=_PRINTABLE, errors="replace").encode("ascii")


def generation_id(unix_s: float) -> str:
    """Return a name for an answer that began then; nothing rests on its being hard to guess."""
    return f"gen-{int(unix_s)}-{random.getrandbits(80):020x}"


def request_id(headers: Mapping[str, str]) -> str:
    """Return the client's `x-request-id` if it is fit to be repeated, else a new one."""
    said = headers.get("x-request-id", "")
    if 0 < len(said) <= MAX_REQUEST_ID_CHARS and _ID_CHARS.issuperset(said):
        return said
    # Nothing rests on its being hard to guess; asking the kernel would be a system call for each request.
    return f"req_{random.getrandbits(96):024x}"
