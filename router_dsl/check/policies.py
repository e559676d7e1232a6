"""Policies: rules with their actions, in order; who calls whom."""

from __future__ import annotations

from router_dsl import ast
from router_dsl.check.conditions import Conditions
from router_dsl.check.memo import Memo
from router_dsl.check.options import ActionOptions
from router_dsl.check.quantity import number
from router_dsl.check.report import Report, squeezed
from router_dsl.check.scope import Scope, usable_name
from router_dsl.check.targets import Targets
from router_dsl.plan import Action, Policy, Reject, Rule, Use
from router_dsl.source import Span

OTHERWISE = "otherwise"

# A decision follows calls one inside the other.
MOST_CALLS = 32


def resolve(
    scope: Scope, conditions: Conditions, targets: Targets, options: ActionOptions, memo: Memo | None = None
) -> tuple[Policy, ...]:
    """Return the policies in the order written, the root file's first."""
    has_policy = any(isinstance(item, ast.Policy) for item in scope.root.items)
    if not has_policy and not scope.report.lost(scope.root, "policy"):
        help = (
            "write `policy NAME { otherwise -> … }`; a file made for `import` is checked with the file that imports it"
        )
        scope.report.add("E403", "there is no policy", _first(scope.root), help)

    def resolved(node: ast.Rule) -> Rule:
        return _rule(node, conditions, targets, options)

    rule_of = resolved if memo is None else memo.remembering(resolved, scope)
    found = tuple(Policy(name, tuple(map(rule_of, node.rules))) for name, node in scope.policies.items())
    for node in scope.policies.values():
        _shape(node, scope.report)
    _calls_end(scope)
    return found


def _first(file: ast.File) -> Span:
    """Return the place of a finding about a whole file: its first character."""
    return Span(file.span.source, 0, 1)


def _rule(rule: ast.Rule, conditions: Conditions, targets: Targets, options: ActionOptions) -> Rule:
    when = None if rule.when is None else conditions.resolve(rule.when, "request")
    return Rule(
        label=rule.label.text,
        when=when,
        action=_action(rule.action, targets, options),
        file=rule.span.source.name,
        line=rule.span.line,
        text=OTHERWISE if rule.when is None else squeezed(rule.when.span),
    )


def _action(action: ast.Action, targets: Targets, options: ActionOptions) -> Action:
    report = targets.scope.report
    if isinstance(action, ast.Reject):
        status = number(action.status, "count", "`reject`", report, low=400, high=599)
        return Reject(int(status or 0), action.message.value if action.message else None)
    for target in action.targets[:-1]:
        if isinstance(target, ast.Call):
            report.add(
                "E407",
                f"nothing can follow `policy {target.policy.text}`",
                target.span,
                "it decides in full: write it last",
            )
    found = [targets.target(target) for target in action.targets]
    return Use(tuple(target for target in found if target is not None), options.resolve(action.options))


def _shape(policy: ast.Policy, report: Report) -> None:
    labels: dict[str, ast.Rule] = {}
    last = next((i for i, rule in enumerate(policy.rules) if rule.when is None), None)
    if last is None and not report.lost(policy, OTHERWISE):
        message = f"policy `{policy.name.text}` has no `otherwise`"
        report.add("E401", message, policy.name.span, "end it with `otherwise -> …`")
    for index, rule in enumerate(policy.rules):
        if last is not None and index > last:
            report.add(
                "E402",
                "nothing can follow `otherwise`",
                rule.label.span,
                "`otherwise` decides every request: write it last",
            )
        usable_name(rule.label.text, rule.label, report)
        first = labels.setdefault(rule.label.text, rule)
        if rule.when is not None and rule.label.text == OTHERWISE:
            report.add("E201", "`otherwise` is the label of the last rule", rule.label.span, "choose another label")
        elif first is not rule and rule.when is not None:
            report.add(
                "E201",
                f"rule `{rule.label.text}` is declared twice",
                rule.label.span,
                f"the first is in line {first.span.line}",
            )


def calls(policy: ast.Policy) -> list[ast.Name]:
    """Return the names of the policies that a policy calls, as written."""
    return [
        target.policy
        for rule in policy.rules
        if isinstance(rule.action, ast.Use)
        for target in rule.action.targets
        if isinstance(target, ast.Call)
    ]


def _calls_end(scope: Scope) -> None:
    """Report calls that lead back to their own policy, and chains of calls that are too long."""
    depths: dict[str, int] = {}
    for start in scope.policies:
        # Depth first without recursion, so that no chain is too long to be looked at.
        stack = [(start, iter(calls(scope.policies[start])))] if start not in depths else []
        path = dict.fromkeys(name for name, _ in stack)
        while stack:
            name, left = stack[-1]
            call = next(left, None)
            if call is None:
                stack.pop()
                del path[name]
                depths[name] = 1 + max((depths.get(c.text, 0) for c in calls(scope.policies[name])), default=0)
                if depths[name] == MOST_CALLS + 1:
                    scope.report.add(
                        "E412",
                        f"a chain of calls has more than {MOST_CALLS} policies",
                        scope.policies[name].name.span,
                        "let one of them decide",
                    )
            elif call.text in path:
                steps = list(path)
                around = [*steps[steps.index(call.text) :], call.text]
                shown = " → ".join(f"`{step}`" for step in around)
                scope.report.add(
                    "E221", f"policies call each other in a circle: {shown}", call.span, "let one of them decide"
                )
            elif call.text in scope.policies and call.text not in depths:
                path[call.text] = None
                stack.append((call.text, iter(calls(scope.policies[call.text]))))
