"""Why a request went where it went: the decision record of `explain` and of `x-pointsman-explain`."""

from __future__ import annotations

from router_dsl.interpret import why_not
from router_dsl.plan import Use
from runtime.decision.book import Book
from runtime.decision.facts import Facts, report
from runtime.decision.route import Route, Step


def record(book: Book, route: Route, facts: Facts) -> dict[str, object]:
    """Return the decision as plain JSON values, in the documented shape.

    The facts are those that the decision asked for; the text of the prompt is never among them.
    """
    rule = route.rule
    told: dict[str, object] = {"policy": route.policy, "rule": rule.label, "file": rule.file, "line": rule.line}
    if route.why is None:
        told["action"] = "use"
    else:
        told.update(action="reject", status=route.status, message=route.message, reason=route.why)
    if len(route.steps) > 1:
        told["called"] = [
            {"policy": step.policy.name, "rule": step.rule.label, "line": step.rule.line} for step in route.steps[1:]
        ]
    told["candidates"] = [book.endpoints[candidate.endpoint].id for candidate in route.candidates]
    told["excluded"] = [{"endpoint": book.endpoints[e.endpoint].id, "by": e.by} for e in route.excluded]
    told["skipped"] = _skipped(route.steps[0], facts)
    told["attempts_max"] = len(route.attempts)
    told["attempts"] = [book.endpoints[endpoint].id for endpoint in route.attempts]
    if route.explores is not None:
        told["explores"] = book.endpoints[route.explores].id
    if route.escalation:
        told["escalation"] = [book.endpoints[endpoint].id for endpoint in route.escalation]
    if route.shadow:
        told["shadow"] = [book.endpoints[endpoint].id for endpoint in route.shadow]
    if route.wishes is not None:
        told["wishes"] = route.wishes.told(book.program)
    told["facts"] = report(facts)
    return told


def _skipped(step: Step, facts: Facts) -> list[dict[str, object]]:
    """Return the rules before the one that decided, each with the part of its condition that is false."""
    return [
        {"rule": rule.label, "because": why_not(rule.when, facts)}
        for rule in step.policy.rules[: step.index]
        if rule.when is not None
    ]


def answer_cost_nusd(book: Book, route: Route, facts: Facts) -> int | None:
    """Return what one answer costs at the dearest endpoint of the plan, in nano-dollars; None when any is unpriced.

    It takes the estimated prompt and the whole output limit (the default one when the client set none).
    """
    if not isinstance(route.steps[-1].rule.action, Use):
        return 0
    prompt, total = facts["prompt.tokens"], facts["request.tokens"]
    if not isinstance(prompt, int | float) or not isinstance(total, int | float):
        return None
    costs = []
    for endpoint in route.attempts:
        entry = book.endpoints[endpoint]
        if entry.price_in is None or entry.price_out is None:
            return None
        costs.append((prompt * entry.price_in + (total - prompt) * entry.price_out) / 1e6)
    return round(max(costs, default=0.0))
