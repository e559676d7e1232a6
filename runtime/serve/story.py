"""One request as one event: which rule sent it where, how it ended, how long it took, what it cost."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from functools import lru_cache

from router_dsl.plan import NANO
from runtime.dispatch.record import Attempt, Note, Record, Woken
from runtime.serve.visit import Visit

# A model's name is the client's text: enough to recognise it by.
MAX_MODEL_CHARS = 200


def request_ended(visit: Visit) -> dict[str, object]:
    """Return the event of a request that is over; times in milliseconds, cost in dollars.

    Nothing of prompts, answers, keys and users is in it.
    """
    ended_s = time.perf_counter()
    policy, _, digest = visit.policy.rpartition("@")
    record = visit.record or Record()
    usage = record.usage
    options = visit.route.options if visit.route is not None else None
    return {
        "event": "request",
        "ts": utc(visit.began_unix_s),
        "request_id": visit.request_id,
        "policy": policy,
        "digest": digest,
        "rule": visit.rule,
        "endpoint": visit.endpoint,
        "method": visit.method,
        "path": visit.path,
        "api": visit.api,
        "model": visit.model[:MAX_MODEL_CHARS] if visit.model is not None else None,
        "stream": visit.stream,
        "status": visit.status,
        "end": visit.end,
        "error": visit.code,
        "attempts": [_attempt(attempt) for attempt in record.attempts],
        "ttft_ms": _ms(visit.head_s - visit.began_s) if visit.head_s is not None and visit.endpoint else None,
        "duration_ms": _ms(ended_s - visit.began_s),
        "overhead_ms": _ms(visit.overhead_s) if visit.overhead_s is not None else None,
        "prompt_tokens": usage.prompt if usage else None,
        "completion_tokens": usage.completion if usage else None,
        "cached_tokens": usage.cached if usage else None,
        "reasoning_tokens": usage.reasoning if usage else None,
        "finish_reason": record.finish_reason,
        "cost_usd": _usd(record.cost_nusd),
        "hedge_cost_usd": _usd(record.hedge_cost_nusd),
        "escalated": record.escalated,
        "cache": record.cache,
        "withheld": record.withheld,
        "tag": options.tag if options is not None else None,
        "tenant": visit.tenant,
    }


def utc(unix_s: float) -> str:
    """Return a time as logs have it, in milliseconds: `2026-11-24T04:05:06.789Z`."""
    second = int(unix_s)
    return f"{_second(second)}.{int((unix_s - second) * 1000):03d}Z"


@lru_cache(16)
def _second(unix_s: int) -> str:
    """Return the whole second; requests that end close together share theirs."""
    return datetime.fromtimestamp(unix_s, UTC).isoformat().removesuffix("+00:00")


def _attempt(attempt: Attempt) -> dict[str, object]:
    return {
        "endpoint": attempt.endpoint,
        "role": attempt.role,
        "outcome": attempt.outcome,
        "status": attempt.status,
        "started_ms": _ms(attempt.started_s),
        "first_token_ms": None if attempt.first_token_s is None else _ms(attempt.first_token_s),
        "ended_ms": None if attempt.ended_s is None else _ms(attempt.ended_s),
        "cost_usd": _usd(attempt.cost_nusd),
    }


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
    return round(seconds * 1000, 3)
