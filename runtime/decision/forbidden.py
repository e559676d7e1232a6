"""What no rule may use for a request: refused by guards, too small for it, or unable to do what it asks."""

from __future__ import annotations

from router_dsl.fields import NEEDS
from runtime.decision import suitable
from runtime.decision.book import Book
from runtime.decision.facts import Facts
from runtime.decision.state import State


def forbidden(book: Book, facts: Facts, state: State) -> dict[int, str]:
    """Return the endpoints that no rule may use for this request, and why."""
    found: dict[int, str] = {}
    for guard in book.guards:
        if not guard.applies(facts):
            continue
        refused = guard.refused if guard.test is None else _refused_now(book, guard.test, state)
        for endpoint in refused:
            found.setdefault(endpoint, f"guard {guard.name}")
    if book.smallest_context is not None:
        _forbid_small(book, facts, found)
    if book.says_features:
        _forbid_unable(book, facts, found)
    return found


def _refused_now(book: Book, test: suitable.Test, state: State) -> list[int]:
    return [
        endpoint
        for endpoint, fixed in enumerate(book.fixed)
        if test(suitable.measured_facts(fixed, endpoint, state)) is False
    ]


def _forbid_small(book: Book, facts: Facts, forbidden: dict[int, str]) -> None:
    smallest = book.smallest_context or 0
    # A body of more bytes than that is beyond the bound anyway, and long to look through for it.
    if len(facts.call.raw) < smallest and facts.request_tokens_at_most() <= smallest:
        return
    tokens = facts["request.tokens"]
    if not isinstance(tokens, int | float) or tokens <= smallest:
        return
    for index, endpoint in enumerate(book.endpoints):
        if endpoint.context is not None and tokens > endpoint.context:
            forbidden.setdefault(index, f"context {endpoint.context} < {tokens:.0f} tokens")


def _forbid_unable(book: Book, facts: Facts, forbidden: dict[int, str]) -> None:
    needed = [feature for fact, nothing, feature in NEEDS if facts[fact] not in (None, nothing)]
    if not needed:
        return
    for index, endpoint in enumerate(book.endpoints):
        if endpoint.supports is not None:
            lacking = [feature for feature in needed if feature not in endpoint.supports]
            if lacking:
                forbidden.setdefault(index, f"supports no {', '.join(lacking)}")
