"""What a request may use at most, by estimate: what its limits reserve for it before it is sent."""

from __future__ import annotations

import math
from collections.abc import Iterable

from router_dsl.fields import DEFAULT_OUTPUT_TOKENS
from runtime.decision.book import Book
from runtime.decision.facts import Facts
from runtime.decision.route import Route


def most(book: Book, route: Route, facts: Facts) -> tuple[int, int]:
    """Return tokens and nano-dollars of the dearest way that a request can go.

    That is one answer with the estimated prompt and the whole output limit (the default one when the client set none),
    at the dearest endpoint of the plan; with `hedge` also the prompt once more, which the loser has read; with
    `escalate` also an answer of the stronger model. Endpoints without prices count as free, as in the bill. Failed
    attempts are not in it: most providers bill none.
    """
    prompt, total = _count(facts["prompt.tokens"]), _count(facts["request.tokens"])
    return _of(book, route, prompt, total)


def bound(book: Book, route: Route, facts: Facts) -> tuple[int, int] | None:
    """Return at least what `most` does, without a look at the prompt; None where that cannot be said.

    Counting tokens costs 80 µs for a kilobyte of prompt, a third of a whole request.
    """
    total = facts.request_tokens_at_most()
    if total == math.inf:
        return None
    output = facts.look("output.tokens")
    prompt = int(total) - (int(output) if isinstance(output, int | float) else DEFAULT_OUTPUT_TOKENS)
    return _of(book, route, max(0, prompt), int(total))


def _of(book: Book, route: Route, prompt: int, total: int) -> tuple[int, int]:
    tokens, cost = total, _dearest(book, route.attempts, prompt, total - prompt)
    options = route.options
    if options is not None and options.hedge is not None and len(route.candidates) > 1:
        tokens += prompt
        cost += _dearest(book, (candidate.endpoint for candidate in route.candidates), prompt, 0)
    if route.escalation:
        tokens += total
        cost += _dearest(book, route.escalation, prompt, total - prompt)
    return tokens, cost


def _dearest(book: Book, endpoints: Iterable[int], prompt: int, output: int) -> int:
    dearest = 0
    for each in endpoints:
        endpoint = book.endpoints[each]
        cost = prompt * (endpoint.price_in or 0) + output * (endpoint.price_out or 0)
        dearest = max(dearest, cost)
    # Rounded up: a reservation that is too small by a nano-dollar is too small.
    return -(-dearest // 1_000_000)


def _count(value: object) -> int:
    return int(value) if isinstance(value, int | float) else 0
