"""One request as one event: which rule sent it where, how it ended, how long it took, what it cost."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import cast

import msgspec

from router_dsl.plan import NANO
from runtime.dispatch.record import Attempt, Note, Record, Woken
from runtime.serve.visit import Visit

# A model's name is the client's text: enough to recognise it by.
MAX_MODEL_CHARS = 200


class AttemptTold(msgspec.Struct, frozen=True, gc=False):
    """One attempt of a `RequestTold`; times count from the request's arrival."""

    endpoint: str
    role: str
    outcome: str
    status: int | None
    started_ms: float
    first_token_ms: float | None
    ended_ms: float | None
    cost_usd: float | None


class RequestTold(msgspec.Struct, frozen=True, gc=False):
    """The event of a request that is over; times in milliseconds, cost in dollars.

    Nothing of prompts, answers, keys and users is in it. A struct, since it is written for every request: filled and
    encoded at a third of what a dict of its size costs.
    """

    event: str
    ts: str
    request_id: str
    policy: str
    digest: str
    rule: str | None
    endpoint: str | None
    method: str
    path: str
    api: str | None
    model: str | None
    stream: bool | None
    status: int
    end: str
    error: str | None
    attempts: list[AttemptTold]
    ttft_ms: float | None
    duration_ms: float
    overhead_ms: float | None
    prompt_tokens: int | None
    completion_tokens: int | None
    cached_tokens: int | None
    reasoning_tokens: int | None
    finish_reason: str | None
    cost_usd: float | None
    hedge_cost_usd: float | None
    escalated: str | None
    cache: str | None
    withheld: int
    tag: str | None
    tenant: str | None
    generation_id: str | None
    facts: Mapping[str, object] | msgspec.UnsetType = msgspec.UNSET


Event = Mapping[str, object] | RequestTold
"""What a log is told: plain JSON values by name, the name of the event under `event`."""


def fields_of(event: Event) -> Mapping[str, object]:
    """Return an event as plain values by name."""
    return cast("Mapping[str, object]", msgspec.to_builtins(event)) if isinstance(event, RequestTold) else event


_NOTHING = Record()


def request_ended(visit: Visit) -> RequestTold:
    """Return the event of a request that is over."""
    ended_s = time.perf_counter()
    policy, _, digest = visit.policy.rpartition("@")
    record = visit.record or _NOTHING
    usage = record.usage
    model, way = visit.model, visit.route
    return RequestTold(
        "request",
        utc(visit.began_unix_s),
        visit.request_id,
        policy,
        digest,
        visit.rule,
        visit.endpoint,
        visit.method,
        visit.path,
        visit.api,
        model[:MAX_MODEL_CHARS] if model is not None else None,
        visit.stream,
        visit.status,
        visit.end,
        visit.code,
        [_attempt(attempt) for attempt in record.attempts],
        _ms(visit.head_s - visit.began_s) if visit.head_s is not None and visit.endpoint else None,
        _ms(ended_s - visit.began_s),
        _ms(visit.overhead_s) if visit.overhead_s is not None else None,
        usage.prompt if usage else None,
        usage.completion if usage else None,
        usage.cached if usage else None,
        usage.reasoning if usage else None,
        record.finish_reason,
        _usd(record.cost_nusd),
        _usd(record.hedge_cost_nusd),
        record.escalated,
        record.cache,
        record.withheld,
        way.options.tag if way is not None and way.options is not None else None,
        visit.tenant,
        visit.generation or None,
        msgspec.UNSET if visit.facts is None else visit.facts,
    )


def utc(unix_s: float) -> str:
    """Return a time as logs have it, in milliseconds: `2026-11-24T04:05:06.789Z`."""
    second = int(unix_s)
    return f"{_second(second)}.{int((unix_s - second) * 1000):03d}Z"


@lru_cache(16)
def _second(unix_s: int) -> str:
    """Return the whole second; requests that end close together share theirs."""
    return datetime.fromtimestamp(unix_s, UTC).isoformat().removesuffix("+00:00")


def _attempt(attempt: Attempt) -> AttemptTold:
    first_s, ended_s = attempt.first_token_s, attempt.ended_s
    return AttemptTold(
        attempt.endpoint,
        attempt.role,
        attempt.outcome,
        attempt.status,
        _ms(attempt.started_s),
        None if first_s is None else _ms(first_s),
        None if ended_s is None else _ms(ended_s),
        _usd(attempt.cost_nusd),
    )


def _usd(nusd: int | None) -> float | None:
    return None if nusd is None else nusd / NANO


def besides(note: Note, unix_s: float) -> dict[str, object]:
    """Return the event of something that happened besides requests, and ended at `unix_s`."""
    if isinstance(note, Woken):
        return {"event": "wake", "ts": utc(unix_s), "provider": note.provider, "outcome": note.outcome}
    record, usage = note.record, note.record.usage
    return {
        "event": "shadow",
        "ts": utc(unix_s - note.duration_s),
        "request_id": note.request_id,
        "policy": note.policy,
        "rule": note.rule,
        "endpoint": record.attempts[0].endpoint,
        "status": record.attempts[0].status,
        "end": record.end,
        "attempts": [_attempt(attempt) for attempt in record.attempts],
        "duration_ms": _ms(note.duration_s),
        "prompt_tokens": usage.prompt if usage else None,
        "completion_tokens": usage.completion if usage else None,
        "finish_reason": record.finish_reason,
        "cost_usd": _usd(record.cost_nusd),
    }


def _ms(seconds: float) -> float:
    """Return milliseconds, to the microsecond; `round` would go through text."""
    return int(seconds * 1e6 + 0.5) / 1000
