"""Targets that no request can reach, and plans that guards can empty."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from router_dsl import ast
from router_dsl.analyse.plans import Plans, Way, never_required
from router_dsl.analyse.regions import needing
from router_dsl.analyse.search import BudgetError
from router_dsl.analyse.space import Box, TooWideError
from router_dsl.check.scope import Scope
from router_dsl.plan import Cond, Endpoints, Guard, Not, Policy, Split, Target, Use


def warn(plans: Plans, scope: Scope, dead: set[tuple[str, int]]) -> None:
    """Report targets that no request can reach, and guards that leave no endpoint at all.

    Args:
        plans: Of the program.
        scope: Its policies stand in the order of the program's.
        dead: Rules that never decide anyway, as policy and index.
    """
    program = plans.program
    blocking = {guard.name for guard in program.guards if _refuses_all(guard, plans)}
    for name in blocking:
        guard = next(guard for guard in program.guards if guard.name == name)
        if not never_required(program, guard):  # else it is reported as a condition that cannot hold
            place = scope.guards[name].name.span
            scope.report.add("W513", f"guard `{name}` refuses every endpoint", place, "no endpoint meets it")
    for policy, policy_node in zip(program.policies, scope.policies.values(), strict=True):
        for index, node in enumerate(policy_node.rules):
            use = policy.rules[index].action
            if (policy.name, index) in dead or not isinstance(use, Use) or not isinstance(node.action, ast.Use):
                continue
            for target, target_node in _targets(use, node.action):
                _report(plans, policy, index, target, target_node, blocking, scope)


def _refuses_all(guard: Guard, plans: Plans) -> bool:
    return (
        guard.when is None
        and bool(plans.fixed)
        and all(guard.name in plans.refusing(index) for index in range(len(plans.fixed)))
    )


def _report(
    plans: Plans, policy: Policy, index: int, target: Endpoints, node: ast.Node, blocking: set[str], scope: Scope
) -> None:
    action = policy.rules[index].action
    assert isinstance(action, Use)
    where = action.options.where
    try:
        reasons = unreachable(plans, policy, index, target.endpoints, where, blocking)
    except (BudgetError, TooWideError):
        return
    if reasons:
        message = f"no request can reach `{target.text}`: {reasons}"
        scope.report.add("W513", message, node.span, "leave the target out")


def unreachable(
    plans: Plans, policy: Policy, index: int, endpoints: Sequence[int], where: Cond | None, ignored: set[str]
) -> str | None:
    """Return why no request that a rule decides may go to any of these endpoints, None when one may.

    Raises:
        BudgetError, TooWideError: That could not be found out.
    """
    refused: list[tuple[list[Box], list[str]]] = []
    lacking: dict[str, None] = {}
    outside = False
    boxes = plans.regions.own(policy, index)
    way = Way(policy, ((policy, index),), (), {}, None)
    for endpoint in endpoints:
        if where is not None and not plans.passes(endpoint, (where,)):
            outside = True
            continue
        refusing = [name for name in plans.refusing(endpoint) if name not in ignored]
        needed = plans.lacking(endpoint)
        if not refusing and not needed:
            return None
        usable = plans.regions.space.meet([boxes, plans.able(endpoint)])
        if not usable or (needed and next(plans.left(way, usable), None) is None):
            lacking |= dict.fromkeys(_asked_for(plans, way, boxes, needed))
        elif next(plans.left(way, usable, refusing), None) is not None:
            return None
        else:
            refused.append((usable, refusing))
    return _reason(_fewest(plans, way, refused), list(lacking), outside=outside)


def _asked_for(plans: Plans, way: Way, boxes: list[Box], lacking: list[str]) -> list[str]:
    """Return which of these features every request asks for; all of them when it is now one, now another."""
    space = plans.regions.space

    def is_needed(fact: str) -> bool:
        return next(plans.left(way, space.meet([boxes, space.boxes(Not(needing(fact)))])), None) is None

    return [fact for fact in lacking if is_needed(fact)] or lacking


def _fewest(plans: Plans, way: Way, refused: list[tuple[list[Box], list[str]]]) -> list[str]:
    """Return guards that refuse all of it: one if one does."""
    guards = [guard.name for guard in plans.program.guards if any(guard.name in names for _, names in refused)]
    for guard in guards:
        if all(guard in names and next(plans.left(way, boxes, [guard]), None) is None for boxes, names in refused):
            return [guard]
    return guards


_FEATURES = {"tools": "tools", "json": "json", "images": "vision", "audio": "audio", "files": "files"}


def _reason(guards: list[str], lacking: list[str], *, outside: bool) -> str | None:
    parts = []
    if guards:
        names = " and ".join(f"guard `{name}`" for name in guards)
        parts.append(f"{names} {'refuses' if len(guards) == 1 else 'refuse'} it")
    if lacking:
        parts.append(f"it does not support {' or '.join(_FEATURES[fact] for fact in lacking)}, which the rule asks for")
    if parts and outside:
        parts.append("`where` leaves the rest out")
    return ", ".join(parts) or None


def _targets(use: Use, node: ast.Use) -> Iterator[tuple[Endpoints, ast.Node]]:
    """Give the targets that stand for the same endpoints whatever the request, arms of splits and options too."""
    for target, target_node in zip(use.targets, node.targets, strict=True):
        arms: list[tuple[Target, ast.Node]] = [(target, target_node)]
        if isinstance(target, Split) and isinstance(target_node, ast.Split):
            shares = zip(target.shares, target_node.shares, strict=True)
            arms = [(arm, share.target) for (_, arm), share in shares]
        for arm, arm_node in arms:
            if isinstance(arm, Endpoints) and arm.endpoints:
                yield arm, arm_node
    for option in node.options:
        if isinstance(option, ast.Escalate) and use.options.escalate is not None:
            yield use.options.escalate.target, option.target
        elif isinstance(option, ast.Shadow) and use.options.shadow is not None:
            yield use.options.shadow.target, option.target
