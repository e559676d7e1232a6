"""Tests of a policy with the story of each decision, for who writes them: `test`, `explain` and the pytest plugin."""

from __future__ import annotations

from router_dsl.plan import Test
from router_dsl.testing import Decided
from runtime.decision.book import Book
from runtime.decision.explain import record
from runtime.decision.facts import Facts
from runtime.decision.rehearsal import decided, rehearse
from runtime.decision.route import Route


def decide(book: Book, test: Test, draw: float) -> tuple[Decided, Route, Facts]:
    """Return what the router decides for a test's request, with the plan and the facts it rests on."""
    found, facts = rehearse(book, test, draw)
    return decided(book, found, facts, tell(record(book, found, facts))), found, facts


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
