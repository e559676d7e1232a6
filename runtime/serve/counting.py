"""How many tokens a request would be, before it is made: Anthropic's `count_tokens`, by our own estimate."""

from __future__ import annotations

import time
from collections.abc import Mapping

from runtime.decision.facts import Call, Facts
from runtime.decision.state import Calm
from runtime.serve import asking
from runtime.serve.asking import Unread
from runtime.serve.client import Receive, Scope
from runtime.serve.router import Router
from runtime.wire.errors import Problem
from runtime.wire.request import decode


async def count(
    router: Router, scope: Scope, headers: Mapping[str, str], receive: Receive
) -> dict[str, object] | Problem:
    """Return the estimate of `docs/estimators.md` for a body of Messages, or what is wrong with the request.

    Raises:
        asking.ClientLeftError: The client left before its request was complete.
    """
    now_s = time.time()
    key = await asking.admit(router, scope, headers, now_s)
    if isinstance(key, Problem):
        return key
    raw = await asking.body_of(scope, headers, receive, router.settings.body_limit_bytes)
    if isinstance(raw, Unread):
        return raw.problem
    if isinstance(raw, Problem):
        return raw
    body = decode("messages", raw)
    if isinstance(body, Problem):
        return body
    call = Call("messages", str(scope["path"]), headers, body, raw, {}, None, now_s, router.settings.region)
    return {"input_tokens": Facts(call, router.book.program, Calm())["prompt.tokens"]}
