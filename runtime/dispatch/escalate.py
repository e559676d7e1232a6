"""`escalate to T when …`: the cheap answer is held back and judged; if it will not do, the stronger model is asked."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace

import msgspec

from router_dsl.plan import Escalate
from runtime.dispatch.clock import Clock
from runtime.dispatch.held import Held
from runtime.dispatch.record import Client, Record
from runtime.flow.judgement import Fault, fault
from runtime.wire.said import Said, of_answer, of_stream

Ask = Callable[[Client], Awaitable[Record]]
"""Carries a plan out for a client."""


async def escalated(
    rule: Escalate,
    client: Client,
    cheap: Ask,
    strong: Ask,
    clock: Clock,
    *,
    is_stream: bool,
    wants_json: bool,
    api: str = "chat",
) -> Record:
    """Answer a client with the cheap answer, or with the stronger one where that will not do.

    If the stronger model has no answer, the first is given for what it is worth.

    Args:
        rule: What is judged.
        client: Who waits for the answer.
        cheap: Carries out the plan.
        strong: Asks the stronger model.
        clock: When the second began is told relative to the first.
        is_stream: Whether the answers are streams.
        api: The interface that they are in.
        wants_json: Whether the request asked for JSON.
    """
    held, began_s = Held(client), clock.now_s()
    first = await cheap(held)
    if held.is_passing or first.end == "client gone":
        return first
    found = _fault(rule, first, held, is_stream=is_stream, wants_json=wants_json, api=api)
    if found is None:
        return await _given(first, held)
    better, again_s = Held(client), clock.now_s()
    second = await strong(better)
    record = _joined(first, second, found, again_s - began_s)
    if better.is_passing or second.end == "client gone":
        return record
    if second.end != "complete" and first.end == "complete":
        return await _given(_instead(record, first), held)
    if second.end in ("complete", "cut", "refused"):
        return await _given(record, better)
    return await _given(_instead(record, first), held) if first.end == "cut" else record


def _fault(rule: Escalate, first: Record, held: Held, *, is_stream: bool, wants_json: bool, api: str) -> Fault | None:
    """Return what is wrong with the first answer, or None; a plan that failed otherwise is not judged."""
    match first.end:
        case "complete":
            said = (of_stream if is_stream else of_answer)(bytes(held.body), api)
            return fault(said, rule.when, wants_json=wants_json)
        case "cut":
            return "truncated" if "truncated" in rule.when else None
        case "exhausted" if any(attempt.outcome == "empty" for attempt in first.attempts):
            # An answer without content never reaches a client, not even this one; its finish reason may say why.
            return fault([Said(finish_reason=first.finish_reason)], rule.when, wants_json=wants_json)
    return None


async def _given(record: Record, held: Held) -> Record:
    """Give what was held, if anything was, and return the record with what became of that."""
    if held.status is not None and not await held.give(len(record.attempts), record.waited_s):
        return replace(record, end="client gone")
    return record


def _joined(first: Record, second: Record, found: Fault, later_s: float) -> Record:
    """Return the record of both: all attempts, the cost of both answers, the rest the second's."""
    attempts = [
        *first.attempts,
        *(
            msgspec.structs.replace(
                attempt,
                started_s=attempt.started_s + later_s,
                first_token_s=None if attempt.first_token_s is None else attempt.first_token_s + later_s,
                ended_s=None if attempt.ended_s is None else attempt.ended_s + later_s,
            )
            for attempt in second.attempts
        ),
    ]
    costs = [cost for cost in (first.cost_nusd, second.cost_nusd) if cost is not None]
    waits = [wait for wait in (first.retry_after_s, second.retry_after_s) if wait is not None]
    return replace(
        second,
        attempts=attempts,
        cost_nusd=sum(costs) if costs else None,
        hedge_cost_nusd=first.hedge_cost_nusd,
        withheld=first.withheld + second.withheld,
        waited_s=first.waited_s + second.waited_s,
        retry_after_s=min(waits, default=None),
        escalated=found,
    )


def _instead(record: Record, first: Record) -> Record:
    """Return the record of both when it is the first answer that is given."""
    return replace(
        record,
        end=first.end,
        status=first.status,
        endpoint=first.endpoint,
        usage=first.usage,
        finish_reason=first.finish_reason,
    )
