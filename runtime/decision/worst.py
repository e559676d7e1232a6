"""What a request may use at most, by estimate: what its limits reserve for it before it is sent."""

from __future__ import annotations

from collections.abc import Iterable

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
    prices = ((book.endpoints[each].price_in or 0, book.endpoints[each].price_out or 0) for each in endpoints)
    # Rounded up: a reservation that is too small by a nano-dollar is too small.
    return max((-(-(prompt * price_in + output * price_out) // 1_000_000) for price_in, price_out in prices), default=0)


def _count(value: object) -> int:
    return int(value) if isinstance(value, int | float) else 0
