"""The hot path: a request of an inference interface, from its bytes to the last byte of its answer."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from runtime.decision.explain import record as decision_record
from runtime.decision.facts import Call, Facts, report
from runtime.decision.naming import WishError
from runtime.decision.route import Route, UnknownPolicyError, route
from runtime.dispatch.record import Client
from runtime.dispatch.transport import Headers
from runtime.limits.limits import Refusal, Short
from runtime.serve import asking, limited, refusals
from runtime.serve.asking import Unread
from runtime.serve.client import AsgiClient, Receive, Scope
from runtime.serve.explained import Wish, as_body, as_header, wish
from runtime.serve.router import Router
from runtime.serve.visit import Visit, policy_name
from runtime.wire.errors import Dialect, Problem
from runtime.wire.request import decode
from runtime.wire.sse import Head

METADATA = "x-openrouter-metadata"
"""A client that sends it with `enabled` asks how its request was routed, in OpenRouter's words."""

if TYPE_CHECKING:
    from runtime.dispatch.kept import KeptAlive

ASK_AGAIN = ((b"x-should-retry", b"true"),)


async def serve(
    router: Router,
    visit: Visit,
    scope: Scope,
    headers: Mapping[str, str],
    receive: Receive,
    client: AsgiClient,
    dialect: Dialect,
) -> None:
    """Answer one request; everything that can be wrong with it is an answer too.

    Raises:
        asking.ClientLeftError: The client left before its request was complete.
    """
    found = await _read(router, visit, scope, headers, receive, client)
    if isinstance(found, Problem):
        await refuse(client, visit, found, dialect)
        return
    if isinstance(found, Unread):
        limit_bytes = router.settings.body_limit_bytes
        await refuse(client, visit, found.problem, dialect, more=asking.closing(scope), rest_bytes=limit_bytes)
        return
    now_s = router.clock.now_s()
    state = router.health.at(now_s)
    facts = Facts(found, router.book.program, state)
    for name in router.limits.soft:
        facts[f"over {name}"] = router.limits.is_over(name, facts, now_s)
    try:
        way = route(router.book, None, facts, state, router.draw())
    except UnknownPolicyError as error:
        await refuse(client, visit, refusals.unknown_policy(router.book, str(error.args[0])), dialect)
        return
    except WishError as error:
        await refuse(client, visit, error.problem, dialect)
        return
    visit.route, visit.rule, visit.policy = way, way.rule.label, policy_name(way.policy, router.book.plan.digest)
    visit.tenant = _text(facts.look("tenant"))
    if router.settings.log_facts:
        visit.facts = report(facts, router.book.asked)
    named = refusals.models_of(way, found.body.model)
    if (why_not := asking.barred(router, visit.key, way.policy, named)) is not None:
        await refuse(client, visit, why_not, dialect)
        return
    asked = wish(headers)
    told = decision_record(router.book, way, facts) if asked is not Wish.NOTHING else None
    if told is not None:
        visit.explained = as_header(told)
    if told is not None and asked is Wish.ONLY:
        visit.end = "explained"
        await client.answer(200, ((b"content-type", b"application/json"),), as_body(told))
    elif way.why is not None:
        visit.end = "rejected"
        await refuse(client, visit, refusals.no_way(router.book, way, found.body.model), dialect, told)
    else:
        await _within_limits(router, visit, found, way, facts, client, dialect, told)


async def _within_limits(
    router: Router,
    visit: Visit,
    call: Call,
    way: Route,
    facts: Facts,
    client: AsgiClient,
    dialect: Dialect,
    told: Mapping[str, object] | None,
) -> None:
    """Carry a route out if the policy's limits have room for it; they are settled however it ends."""
    held = limited.reserve(router, way, facts)
    if isinstance(held, Short):
        held = await limited.renewed(router, held, way, facts)
    if isinstance(held, Refusal):
        visit.end = "limited"
        router.metrics.refused(held.name)
        await refuse(client, visit, limited.problem(held), dialect, told, limited.told(held, dialect))
        return
    try:
        await _dispatch(router, visit, call, way, client, dialect, told)
    finally:
        limited.settle(router, held, way, facts, visit.record)


async def _read(
    router: Router,
    visit: Visit,
    scope: Scope,
    headers: Mapping[str, str],
    receive: Receive,
    client: AsgiClient,
) -> Call | Problem | Unread:
    settings = router.settings
    key = await asking.admit(router, scope, headers, visit.began_unix_s)
    if isinstance(key, Problem):
        return key
    visit.key = key
    raw = await asking.body_of(scope, headers, receive, settings.body_limit_bytes, client.take_body)
    visit.handed_s = time.perf_counter()
    if not isinstance(raw, bytes):
        return raw
    assert visit.api is not None
    body = decode(visit.api, raw)
    if isinstance(body, Problem):
        return body
    visit.model, visit.stream = body.model, bool(body.stream)
    if visit.stream:
        keep = asking.keep_alive(headers, key.attributes, settings)
        if isinstance(keep, Problem):
            return keep
        visit.keep_alive = keep
    return Call(
        api=visit.api,
        path=visit.path,
        headers=headers,
        body=body,
        raw=raw,
        key=key.attributes,
        client_ip=asking.client_ip(scope, headers, settings),
        now_s=visit.began_unix_s,
        region=settings.region,
    )


async def _dispatch(
    router: Router,
    visit: Visit,
    call: Call,
    way: Route,
    client: AsgiClient,
    dialect: Dialect,
    told: Mapping[str, object] | None,
) -> None:
    kept = _kept_alive(router, visit, client, dialect) if visit.keep_alive is not None else None
    try:
        whom = _dressed(router, visit, call, way, kept or client, dialect)
        record = await router.dispatcher.answer(call, way, whom, dialect, visit.request_id)
        visit.record, visit.end = record, record.end
        visit.endpoint, visit.attempts, visit.waited_s = record.endpoint, len(record.attempts), record.waited_s
        if record.end != "exhausted":
            return
        found = refusals.exhausted(record)
        if kept is not None and kept.is_begun:
            visit.code = found.code
            with contextlib.suppress(OSError):
                await kept.fail(found)
        else:
            # Elsewhere it may well be answered.
            await refuse(client, visit, found, dialect, told, ASK_AGAIN if record.is_stopped else ())
    finally:
        if kept is not None:
            await kept.aclose()


def _dressed(router: Router, visit: Visit, call: Call, way: Route, client: Client, dialect: Dialect) -> Client:
    """Return the client, behind what adds to its answer if it speaks OpenRouter's dialect or asks how it was routed."""
    has_metadata = METADATA in call.headers and call.headers[METADATA].strip().lower() == "enabled"
    is_skinned = dialect == "openrouter" and call.api != "responses"  # whose answers have a shape of their own
    if not is_skinned and not has_metadata:
        return client
    # Imported where it is asked for: OpenAI's clients get the provider's own bytes.
    from runtime.serve.dressed import Dressed

    return Dressed(
        client, router.book, way, visit.model or "", call.region, visit.generation,
        is_stream=bool(visit.stream), is_skinned=is_skinned, has_metadata=has_metadata,
    )  # fmt: skip


def _kept_alive(router: Router, visit: Visit, client: AsgiClient, dialect: Dialect) -> KeptAlive:
    # Imported where it is asked for: few streams are kept alive.
    from runtime.dispatch.kept import KeptAlive

    assert visit.keep_alive is not None
    assert visit.api is not None
    name = visit.generation if dialect == "openrouter" else visit.request_id
    head = Head(name, created=int(visit.began_unix_s), model=visit.model or "")
    return KeptAlive(client, visit.keep_alive, visit.api, dialect, head, router.clock)


async def refuse(
    client: AsgiClient,
    visit: Visit,
    problem: Problem,
    dialect: Dialect,
    told: Mapping[str, object] | None = None,
    more: Headers = (),
    rest_bytes: int = 0,
) -> None:
    """Answer with an error, in the shape that the client's SDK reads.

    Args:
        client: Whom to answer.
        visit: Its request.
        problem: What is wrong.
        dialect: What the client understands.
        told: Joins the error's metadata.
        more: Joins its headers.
        rest_bytes: Of a body that is still coming, how much more is taken at most.
    """
    if visit.end == "client gone":
        visit.end = "error"
    visit.code = problem.code
    if told is not None:
        problem = replace(problem, metadata={**(problem.metadata or {}), "pointsman": told})
    headers = (*problem.headers(), *more)
    if visit.end == "exhausted" and not any(name == b"x-should-retry" for name, _ in headers):
        # The plan's attempts were the retries; the SDKs' own on top would triple the load.
        headers = (*headers, (b"x-should-retry", b"false"))
    await client.answer(problem.status_in(dialect), headers, problem.to_bytes(dialect, visit.request_id), rest_bytes)


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
