"""Deciding a request that never happened: `test` blocks and `explain` run the code that serves."""

from __future__ import annotations

from dataclasses import dataclass

from handlers.cli.request_file import Written
from router_dsl.plan import Scalar, Test
from router_dsl.testing import Decided
from runtime.decision.book import Book
from runtime.decision.explain import answer_cost_nusd, record
from runtime.decision.facts import Call, Facts
from runtime.decision.route import Route, route


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

    def is_over(self, limit: str) -> bool:
        """Whether the test says so."""
        return limit in self.over


def baseline_call() -> Call:
    """Return a short non-streaming chat by an anonymous key, Monday 12:00 UTC."""
    return Written("").call


def decide(book: Book, test: Test, draw: float) -> tuple[Decided, Route, Facts]:
    """Return what the router decides for a test's request, with the plan and the facts it rests on."""
    given: dict[str, Scalar | None] = {"model": None, **dict(test.given)}
    given.update({f"over {name}": True for name in test.over})
    state = Scripted(frozenset(test.down), frozenset(test.full), test.slow, frozenset(test.over))
    facts = Facts(baseline_call(), book.program, state, given)
    found = route(book, test.policy, facts, state, draw)
    decided = Decided(
        rules=tuple(step.rule.label for step in found.steps),
        candidates=tuple(candidate.endpoint for candidate in found.candidates),
        escalation=found.escalation,
        attempts=len(found.attempts),
        status=None if found.why is None else found.status,
        cost_nusd=answer_cost_nusd(book, found, facts),
        story=tell(record(book, found, facts)),
    )
    return decided, found, facts


def tell(told: dict[str, object]) -> str:
    """Return a decision record as a person would tell it, one indented line for each thing to know."""
    lines = [f"rule {told['rule']} (line {told['line']}) of policy {told['policy']} decides"]
    if told["action"] == "reject":
        lines.append(f"reject {told['status']}: {told['message']}")
    candidates, excluded, skipped = told["candidates"], told["excluded"], told["skipped"]
    assert isinstance(candidates, list)
    assert isinstance(excluded, list)
    assert isinstance(skipped, list)
    if candidates:
        lines.append("order: " + ", ".join(candidates) + f"; at most {told['attempts_max']} attempts")
    for what in ("escalation", "shadow"):
        if (aside := told.get(what)) is not None:
            assert isinstance(aside, list)
            lines.append(f"{what}: {', '.join(aside)}")
    lines += [f"not {item['endpoint']}: {item['by']}" for item in excluded]
    lines += [f"not rule {item['rule']}: {item['because']}" for item in skipped]
    return "\n".join("  " + line for line in lines)
