"""`test` blocks and assertions, resolved."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from router_dsl import ast
from router_dsl.check.asked import Asked
from router_dsl.check.conditions import Conditions
from router_dsl.check.policies import calls
from router_dsl.check.quantity import number
from router_dsl.check.report import squeezed
from router_dsl.check.scope import Assertion as AssertionNode
from router_dsl.check.scope import Scope, text_of
from router_dsl.check.targets import Targets
from router_dsl.check.values import value
from router_dsl.plan import Assertion, Expect, Scalar, Test

SHORTEST_S = 0.001


@dataclass(slots=True)
class _Found:
    """What a test block has said so far."""

    given: dict[str, Scalar | None] = field(default_factory=dict)
    down: list[int] = field(default_factory=list)
    slow: dict[int, float] = field(default_factory=dict)
    full: list[int] = field(default_factory=list)
    over: list[str] = field(default_factory=list)
    expect: list[Expect] = field(default_factory=list)


def tests(scope: Scope, conditions: Conditions, targets: Targets) -> tuple[Test, ...]:
    """Return the tests in the order written; what only they refer to does not count as used."""
    used = set(scope.used)
    found = tuple(_test(node, scope, conditions, targets) for node in scope.tests.values())
    scope.used = used
    return found


def _test(node: ast.Test, scope: Scope, conditions: Conditions, targets: Targets) -> Test:
    found, policy = _Found(), _policy(node, scope)
    for step in node.steps:
        match step:
            case ast.Given():
                for path, literal in step.facts:
                    _given(path, literal, found, conditions)
            case ast.Fault():
                _fault(step, found, targets)
            case ast.GivenOver():
                if _known_limit(step.limit, scope) and step.limit.text not in found.over:
                    found.over.append(step.limit.text)
            case ast.UsePolicy():
                pass  # read by `_policy`
            case _:
                expect = _expect(step, policy, scope, targets)
                if expect is not None:
                    found.expect.append(expect)
    if not any(isinstance(step, _EXPECTING) for step in node.steps) and not scope.report.lost(node, "expect"):
        scope.report.add("W509", f"test `{node.name.value}` expects nothing", node.name.span, "write `expect …`")
    return Test(
        name=node.name.value,
        file=node.span.source.name,
        line=node.span.line,
        policy=policy,
        given=tuple(found.given.items()),
        down=tuple(dict.fromkeys(found.down)),
        slow=tuple(found.slow.items()),
        full=tuple(dict.fromkeys(found.full)),
        over=tuple(found.over),
        expect=tuple(found.expect),
    )


_EXPECTING = (ast.ExpectRule, ast.ExpectTarget, ast.ExpectReject, ast.ExpectOrder, ast.ExpectBound)


def _policy(node: ast.Test, scope: Scope) -> str:
    chosen = next(iter(scope.policies), "")
    first: ast.UsePolicy | None = None
    for step in node.steps:
        if not isinstance(step, ast.UsePolicy):
            continue
        if first is not None:
            scope.report.add("E404", "`policy` is said twice", step.span, f"the first is in line {first.span.line}")
            continue
        first = step
        chosen = _known_policy(step.policy.text, step.policy, scope) or chosen
    if first is None:
        for asked in _selected(node):
            chosen = _known_policy(asked.value[1:], asked, scope) or chosen
    return chosen


def _selected(node: ast.Test) -> Iterator[ast.Text]:
    """Give the names with which the test's request selects a policy, as clients do: `model "@NAME"`."""
    for step in node.steps:
        for path, literal in step.facts if isinstance(step, ast.Given) else ():
            if path.text == "model" and isinstance(literal, ast.Text) and literal.value.startswith("@"):
                yield literal


def _known_policy(name: str, node: ast.Node, scope: Scope) -> str | None:
    if name in scope.policies:
        return name
    scope.report.unknown("E208", "policy", name, node.span, scope.policies)
    return None


def _given(path: ast.Path, literal: ast.LiteralValue, found: _Found, conditions: Conditions) -> None:
    scope = conditions.scope
    let = scope.lets.get(path.text)
    if let is not None:
        scope.report.add("E308", f"`{path.text}` is a let, not a fact", path.span, "set the facts that it asks about")
        return
    asked = conditions.paths.request(path)
    if asked is None:
        return
    if asked.name in found.given:
        scope.report.add("E404", f"`{asked.written}` is given twice", path.span)
    is_missing = isinstance(literal, ast.Name) and not literal.quoted and literal.text == "missing"
    found.given[asked.name] = None if is_missing else _value(literal, asked, scope)


def _value(literal: ast.LiteralValue, asked: Asked, scope: Scope) -> Scalar | None:
    # A test may hand a number to a text fact: headers and metadata carry digits as text.
    if isinstance(literal, ast.Number) and asked.type == "text" and text_of(literal) is None:
        return literal.span.text
    return value(literal, asked, scope)


def _fault(step: ast.Fault, found: _Found, targets: Targets) -> None:
    subject = targets.subject(step.subject)
    match step.kind:
        case "down":
            found.down += subject
        case "full":
            found.full += subject
        case "slow":
            if step.duration is not None:
                seconds = number(step.duration, "duration", "`slow`", targets.scope.report, low=SHORTEST_S)
                found.slow |= dict.fromkeys(subject, float(seconds or 0))


def _known_limit(limit: ast.Name, scope: Scope) -> bool:
    if limit.text not in scope.limits:
        scope.report.unknown("E209", "limit", limit.text, limit.span, scope.limits)
    return limit.text in scope.limits


def _expect(
    step: ast.ExpectRule | ast.ExpectTarget | ast.ExpectReject | ast.ExpectOrder | ast.ExpectBound,
    policy: str,
    scope: Scope,
    targets: Targets,
) -> Expect | None:
    text, line, report = squeezed(step.span), step.span.line, scope.report
    match step:
        case ast.ExpectRule():
            _known_label(step.label, policy, scope)
            return Expect("rule", step.label.text, (), line, text)
        case ast.ExpectTarget():
            target = targets.ref(step.target)
            return None if target is None else Expect("never" if step.negated else "first", None, (target,), line, text)
        case ast.ExpectReject():
            status = number(step.status, "count", "`expect reject`", report, low=400, high=599)
            return Expect("reject", None if status is None else int(status), (), line, text)
        case ast.ExpectOrder():
            found = [targets.ref(target) for target in step.targets]
            return Expect("order", None, tuple(target for target in found if target is not None), line, text)
        case ast.ExpectBound():
            kind = "money" if step.what == "cost" else "count"
            bound = number(step.limit, kind, f"`{step.what}`", report, low=0)  # type: ignore[arg-type]
            return Expect(step.what, None if bound is None else int(bound), (), line, text)


def _known_label(label: ast.Name, policy: str, scope: Scope) -> None:
    """Report a label that neither the policy under test nor one that it calls has."""
    asked, labels = {policy: None}, set()
    queue = [policy]
    while queue:
        node = scope.policies.get(queue.pop())
        if node is None:
            continue
        labels |= {rule.label.text for rule in node.rules}
        for call in calls(node):
            if call.text not in asked:
                asked[call.text] = None
                queue.append(call.text)
    if label.text in labels or not policy:
        return
    owner = next(
        (p.name.text for p in scope.policies.values() if any(r.label.text == label.text for r in p.rules)), None
    )
    help = f"policy `{owner}` has it: say `policy {owner}` in the test" if owner else None
    if owner:
        scope.report.add("E218", f"policy `{policy}` has no rule `{label.text}`", label.span, help)
    else:
        scope.report.unknown("E218", "rule", label.text, label.span, labels)


def assertions(scope: Scope, conditions: Conditions) -> tuple[Assertion, ...]:
    """Return the assertions in the order written."""
    return tuple(_assertion(node, scope, conditions) for node in scope.assertions)


def _assertion(node: AssertionNode, scope: Scope, conditions: Conditions) -> Assertion:
    file, line, text = node.span.source.name, node.span.line, squeezed(node.span)
    when = None
    match node:
        case ast.AssertNever():
            never = conditions.resolve(node.never, "endpoint")
            when = None if node.when is None else conditions.resolve(node.when, "request")
            return Assertion("never", never, None, None, when, file, line, text)
        case ast.AssertBound():
            when = None if node.when is None else conditions.resolve(node.when, "request")
            return Assertion(node.what, None, _bound(node, scope), None, when, file, line, text)
        case ast.AssertReachable():
            labels = {rule.label.text for policy in scope.policies.values() for rule in policy.rules}
            if node.label.text not in labels:
                scope.report.unknown("E218", "rule", node.label.text, node.label.span, labels)
            return Assertion("reachable", None, None, node.label.text, when, file, line, text)


def _bound(node: ast.AssertBound, scope: Scope) -> float | None:
    match node.what:
        case "attempts":
            bound = number(node.limit, "count", "`attempts`", scope.report, low=0)
        case "cost":
            bound = number(node.limit, "money", "`cost`", scope.report, low=0)
        case "wait":
            bound = number(node.limit, "duration", "`wait`", scope.report, low=SHORTEST_S)
    return None if bound is None else float(bound)
