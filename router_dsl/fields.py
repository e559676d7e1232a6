"""The scheme: every fact a condition may ask about, with its type, unit, origin and doc line.

One table feeds the checker, the fact extraction, completion and the docs, so that none of them can
know a fact that another does not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from router_dsl.plan import Scalar

Type = Literal[
    "text", "one of", "number", "tokens", "bool", "ip", "date",
    "share", "seconds", "price", "set",
]  # fmt: skip
# `share`: written `40%`, held in [0, 1]. `seconds`: written `3s`. `price`: written `$1` (dollars per
# million tokens), held in nano-dollars. `date`: `2026-12-24`, ordered. `set`: asked with `contains`.

EQUALITY = ("==", "!=", "in", "not in")
ORDER = ("<", "<=", ">", ">=")
TEXT = ("contains", "starts with", "ends with", "matches")

OPERATORS: dict[Type, tuple[str, ...]] = {
    "text": (*EQUALITY, *TEXT),
    "one of": (*EQUALITY, *TEXT),
    "number": (*EQUALITY, *ORDER),
    "tokens": (*EQUALITY, *ORDER),
    "bool": ("==", "!="),
    "ip": EQUALITY,
    "date": (*EQUALITY, *ORDER, "starts with"),
    "share": (*EQUALITY, *ORDER),
    "seconds": (*EQUALITY, *ORDER),
    "price": (*EQUALITY, *ORDER),
    "set": ("contains",),
}
"""Comparison operators each type admits; `has` and `missing` ask any fact."""


@dataclass(frozen=True, slots=True)
class Field:
    """One fact of the scheme.

    Attributes:
        name: Canonical name; a family ends in `.*`.
        origin: Where the value comes from, for the docs.
        doc: One line saying what it is.
        values: Of `one of`.
        baseline: Its value in a `test` that does not set it: a short non-streaming chat by an anonymous key,
            Monday 12:00 UTC; None is missing.
        measured: An endpoint fact that is learned from traffic, missing until seen.
    """

    name: str
    type: Type
    origin: str
    doc: str
    values: tuple[str, ...] = ()
    baseline: Scalar | None = None
    measured: bool = False


APIS = ("chat", "completions", "responses", "messages", "embeddings")
JSON_MODES = ("none", "object", "schema")
EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh")
TASKS = ("code", "math", "extract", "summarize", "translate", "write", "vision", "chat")
WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
FEATURES = ("tools", "json", "vision", "audio", "files", "reasoning", "streaming")

REQUEST_FIELDS: tuple[Field, ...] = (
    Field("api", "one of", "path", "the interface called", APIS, "chat"),
    Field("model", "text", "body", "the model the client named, less a variant (`:floor`) and a policy; of `models` the first"),
    Field("stream", "bool", "body", "the answer is to be streamed", baseline=False),
    Field("prompt.text", "text", "body", "all text of the prompt, messages joined by line ends", baseline="Hello"),
    Field("prompt.system", "text", "body", "the system and developer text"),
    Field("prompt.last", "text", "body", "the last user message", baseline="Hello"),
    Field("prompt.tokens", "tokens", "body", "estimate of the prompt's tokens, with a documented error", baseline=8),
    Field("prompt.chars", "number", "body", "characters of `prompt.text`, exact", baseline=5),
    Field("output.tokens", "tokens", "body", "`max_completion_tokens`, `max_tokens` or `max_output_tokens`"),
    Field("request.tokens", "tokens", "derived", "what the context must hold: `prompt.tokens` plus the output limit or 1024", baseline=1032),
    Field("turns", "number", "body", "messages of the conversation, system text not counted", baseline=1),
    Field("tools", "number", "body", "tools offered", baseline=0),
    Field("images", "number", "body", "image parts", baseline=0),
    Field("audio", "number", "body", "audio parts", baseline=0),
    Field("files", "number", "body", "file parts", baseline=0),
    Field("json", "one of", "body", "response format", JSON_MODES, "none"),
    Field("reasoning", "one of", "body", "reasoning effort asked for", EFFORTS),
    Field("temperature", "number", "body", "sampling temperature, as sent"),
    Field("task", "one of", "derived", "built-in classifier; a client's `metadata.task` wins", TASKS, "chat"),
    Field("language", "text", "derived", "script of the last user message: `latin`, `cyrillic`, `han`, …", baseline="latin"),
    Field("user", "text", "body, headers, key", "body `user`, else `metadata.user_id`, header `x-user-id`, key's `user`"),
    Field("session", "text", "body, headers", "body `session_id`, a session header, `metadata.session_id` or `prompt_cache_key`"),
    Field("tenant", "text", "key, headers, body", "key's `tenant`, else header `x-tenant-id`, `metadata.tenant`"),
    Field("key.*", "text", "key", "attribute of the caller's API key"),
    Field("header.*", "text", "headers", "request header, as sent; names are case-insensitive"),
    Field("metadata.*", "text", "body", "entry of the body's `metadata`, as sent"),
    Field("client.ip", "ip", "connection", "peer address, or the trusted forwarding header", baseline="00000000000000000000ffff7f000001"),
    Field("region", "text", "instance", "where this router instance runs"),
    Field("time.hour", "number", "clock", "hour of the day, 0 to 23, UTC or `time.hour@\"Europe/Berlin\"`", baseline=12),
    Field("time.weekday", "one of", "clock", "day of the week, UTC or `@\"Zone\"`", WEEKDAYS, "mon"),
    Field("time.date", "date", "clock", "date as `2026-12-24`, UTC or `@\"Zone\"`", baseline="2026-01-05"),
    Field("attempt", "number", "headers", "1, more when the client's SDK retries (`x-stainless-retry-count`)", baseline=1),
    Field("healthy", "share", "health", "`healthy(POOL)`: share of its endpoints in service", baseline=1.0),
    Field("load", "number", "health", "`load(POOL)`: requests in flight over capacity", baseline=0.0),
)  # fmt: skip
"""What `when` may ask. `over LIMIT` is asked with a keyword of its own."""

ENDPOINT_FIELDS: tuple[Field, ...] = (
    Field("provider", "text", "policy", "name of the provider"),
    Field("model", "text", "policy", "name of the model"),
    Field("region", "text", "policy", "region of the endpoint, else of its provider"),
    Field("tags", "set", "policy", "tags of the provider, the model and the endpoint"),
    Field("quantization", "text", "policy", "`fp8`, `int4`, …"),
    Field("zdr", "bool", "policy", "zero data retention is promised"),
    Field("context", "tokens", "policy", "context size of the endpoint, else of its model"),
    Field("output", "tokens", "policy", "output limit of the model"),
    Field("price.in", "price", "policy", "dollars per million prompt tokens"),
    Field("price.out", "price", "policy", "dollars per million answer tokens"),
    Field("price.cached", "price", "policy", "dollars per million cached prompt tokens"),
    Field("supports", "set", "policy", "features said for it"),
    Field("ttft.p50", "seconds", "measured", "median time to first token", measured=True),
    Field("ttft.p95", "seconds", "measured", "95th percentile of the time to first token", measured=True),
    Field("speed", "number", "measured", "answer tokens per second", measured=True),
    Field("errors", "share", "measured", "share of recent attempts that failed", measured=True),
    Field("inflight", "number", "measured", "attempts in flight from this instance", measured=True),
    Field("queue", "number", "measured", "requests waiting, as the endpoint reports it", measured=True),
)  # fmt: skip
"""What `where` and `require` may ask."""

REQUEST: dict[str, Field] = {field.name: field for field in REQUEST_FIELDS}
ENDPOINT: dict[str, Field] = {field.name: field for field in ENDPOINT_FIELDS}
FAMILIES = ("key", "header", "metadata")
ZONED = ("time.hour", "time.weekday", "time.date")
OF_POOL = ("healthy", "load")

NEEDS: tuple[tuple[str, Scalar, str], ...] = (
    ("tools", 0, "tools"),
    ("json", "none", "json"),
    ("images", 0, "vision"),
    ("audio", 0, "audio"),
    ("files", 0, "files"),
)
"""What a request needs of an endpoint that says what it supports: fact, the value that needs nothing, feature."""

DEFAULT_OUTPUT_TOKENS = 1024
"""What `request.tokens` assumes for an answer whose length the client did not limit."""


def request_field(name: str) -> Field | None:
    """Return the scheme's field for a canonical fact name, or None.

    Families, pools and zones are folded: `header.x-a`, `healthy(fast)` and `time.hour@Asia/Tokyo` give
    `header.*`, `healthy` and `time.hour`.
    """
    family = name.partition(".")[0]
    if family in FAMILIES and family != name:
        return REQUEST[family + ".*"]
    return REQUEST.get(name.partition("@")[0].partition("(")[0])
