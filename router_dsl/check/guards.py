"""Guards and limits: what holds whatever a rule says."""

from __future__ import annotations

from typing import Literal, cast

from router_dsl import ast
from router_dsl.check.conditions import Conditions
from router_dsl.check.quantity import SCALES, number
from router_dsl.check.report import Report, squeezed
from router_dsl.check.scope import Scope
from router_dsl.check.values import enumerated
from router_dsl.plan import Guard, Limit

PERIODS = {"second": 1, "minute": 60, "hour": 3600, "day": 86400}
UNITS = ("requests", "tokens", "$")
Unit = Literal["requests", "tokens", "$"]
_ONE = {"request": "requests", "token": "tokens"}


def guards(scope: Scope, conditions: Conditions) -> tuple[Guard, ...]:
    """Return the guards in the order written."""
    return tuple(
        Guard(
            name=name,
            when=None if node.when is None else conditions.resolve(node.when, "request"),
            require=conditions.resolve(node.require, "endpoint"),
            text=_guard_text(node),
        )
        for name, node in scope.guards.items()
    )


def _guard_text(node: ast.Guard) -> str:
    required = f"require {squeezed(node.require.span)}"
    return required if node.when is None else f"when {squeezed(node.when.span)} {required}"


def limits(scope: Scope, conditions: Conditions) -> tuple[Limit, ...]:
    """Return the limits in the order written."""
    return tuple(_limit(node, scope, conditions) for node in scope.limits.values())


def _limit(node: ast.Limit, scope: Scope, conditions: Conditions) -> Limit:
    report, of = scope.report, f"limit `{node.name.text}`"
    unit = _unit(node, of, report)
    per = PERIODS.get(node.per.text)
    if per is None:
        near = report.near(node.per.text, PERIODS)
        help = f"did you mean `{near}`?" if near else f"it is one of {enumerated(tuple(PERIODS))}"
        report.add("E213", f"unknown period `{node.per.text}`", node.per.span, help)
    amount = None if unit is None else number(node.amount, "money" if unit == "$" else "count", of, report, low=1)
    asked = [conditions.paths.request(path) for path in node.by]
    return Limit(
        name=node.name.text,
        when=None if node.when is None else conditions.resolve(node.when, "request"),
        amount=int(amount or 0),
        unit=unit or "requests",
        per_s=per or 1,
        by=tuple(dict.fromkeys(fact.name for fact in asked if fact is not None)),
        soft=node.soft,
    )


def _unit(node: ast.Limit, of: str, report: Report) -> Unit | None:
    """Return what a limit counts; None after reporting that it does not say, so that its number means nothing."""
    unit, amount = _ONE.get(node.unit.text, node.unit.text), node.amount
    if unit in UNITS:
        return cast("Unit", unit)
    if node.unit.span == amount.span:
        if not report.lost(node, "requests"):
            count = amount.value + (amount.unit if amount.unit in SCALES else "")
            help = f"write `{count} requests`, `tokens`, or dollars: `$5`"
            report.add("E405", f"{of} does not say what it counts", amount.span, help)
        return None
    if not report.lost(node, unit):
        near = report.near(unit, UNITS)
        help = f"did you mean `{near}`?" if near else "it counts `requests`, `tokens` or `$`"
        report.add("E213", f"{of} cannot count `{unit}`", node.unit.span, help)
    return "$" if amount.unit == "$" else "requests"
