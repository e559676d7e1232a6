"""Deciding a request that never happened: what a policy's own tests run, where it is written and where it serves."""

from __future__ import annotations

from dataclasses import dataclass

from router_dsl.plan import Scalar, Test
from router_dsl.testing import Decided, Result, run
from runtime.decision.book import Book
from runtime.decision.explain import answer_cost_nusd
from runtime.decision.facts import Call, Facts
from runtime.decision.route import Route, route
from runtime.wire.errors import Problem
from runtime.wire.request import decode

# Monday 2026-01-05 12:00 UTC, the documented baseline of requests that never happened.
BASELINE_NOW_S = 1_767_614_400.0
BASELINE_CLIENT_IP = "127.0.0.1"

_BASELINE = b'{"messages": [{"role": "user", "content": "Hello"}], "model": "none"}'


@dataclass(frozen=True, slots=True)
class Scripted:
    """A health snapshot as a test writes it; endpoints are indices."""

    down: frozenset[int] = frozenset()
    full: frozenset[int] = frozenset()
    slow: tuple[tuple[int, float], ...] = ()
    over: frozenset[str] = frozenset()

    def in_service(self, endpoint: int) -> bool:
        """Neither down nor full."""
        return endpoint not in self.down and endpoint not in self.full

    def measured(self, endpoint: int, name: str) -> float | None:
        """The time to first token of slow ones; nothing else is known."""
        return dict(self.slow).get(endpoint) if name.startswith("ttft.") else None

    def load(self, endpoint: int) -> float:
        """1 when full."""
        return 1.0 if endpoint in self.full else 0.0

    def is_stale(self, endpoint: int) -> bool:
        """Never: a test is about what the policy says."""
        return False

    def is_over(self, limit: str) -> bool:
        """Whether the test says so."""
        return limit in self.over


def baseline_call() -> Call:
    """Return a short non-streaming chat by an anonymous key, Monday 12:00 UTC."""
    body = decode("chat", _BASELINE)
    assert not isinstance(body, Problem)
    return Call(
        api="chat",
        path="/v1/chat/completions",
        headers={},
        body=body,
        raw=_BASELINE,
        key={},
        client_ip=BASELINE_CLIENT_IP,
        now_s=BASELINE_NOW_S,
        region=None,
    )


def rehearse(book: Book, test: Test, draw: float) -> tuple[Route, Facts]:
    """Return what the router decides for a test's request, and the facts it rests on."""
    given: dict[str, Scalar | None] = {"model": None, **dict(test.given)}
    given.update({f"over {name}": True for name in test.over})
    state = Scripted(frozenset(test.down), frozenset(test.full), test.slow, frozenset(test.over))
    facts = Facts(baseline_call(), book.program, state, given)
    return route(book, test.policy, facts, state, draw), facts


def decided(book: Book, found: Route, facts: Facts, story: str = "") -> Decided:
    """Return a decision as tests look at it; `story` joins what is said of a test that fails."""
    return Decided(
        rules=tuple(step.rule.label for step in found.steps),
        candidates=tuple(candidate.endpoint for candidate in found.candidates),
        escalation=found.escalation,
        attempts=len(found.attempts),
        status=None if found.why is None else found.status,
        cost_nusd=answer_cost_nusd(book, found, facts),
        story=story,
    )


def failures(book: Book) -> list[Result]:
    """Return those of a plan's own tests that fail here; the book must know every endpoint as configured."""
    results = run(book.program, lambda test, draw: decided(book, *rehearse(book, test, draw)))
    return [result for result in results if not result.passed]
