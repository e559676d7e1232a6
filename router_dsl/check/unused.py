"""Declarations of the root file that nothing refers to; what an imported file offers need not all be taken."""

from __future__ import annotations

from router_dsl import ast
from router_dsl.check.conditions import Conditions
from router_dsl.check.scope import Kind, Scope
from router_dsl.check.targets import Targets


def check_left_over(scope: Scope, conditions: Conditions) -> None:
    """Check the let conditions that nothing has asked for, so that their mistakes are found too."""
    for name, let in scope.lets.items():
        if ("let", name) not in scope.used and not isinstance(let.value, ast.ListOf):
            sides = conditions.sides(let)
            conditions.resolve(let.value, "endpoint" if sides == {"endpoint"} else "request")


def warn(scope: Scope, targets: Targets) -> None:
    """Report what the root file declares in vain."""
    for item in scope.root.items:
        match item:
            case ast.Provider():
                _unused("provider", item.name, "no model is served there", scope)
            case ast.Model():
                # A client may name any model where some rule sends it to `requested`.
                if not targets.requested:
                    _unused("model", item.name, "no rule and no pool names it", scope)
            case ast.Pool():
                _unused("pool", item.name, "no rule names it", scope)
            case ast.Let():
                _unused("let", item.name, "no condition uses it", scope)
            case ast.Fact():
                _unused("fact", item.name, "no condition asks it", scope)
            case ast.Limit():
                if item.soft:
                    _unused("limit", item.name, "it is soft, and no rule asks `over` it", scope)
            case _:
                pass


def _unused(kind: Kind, name: ast.Name, why: str, scope: Scope) -> None:
    if (kind, name.text) not in scope.used:
        scope.report.add("W501", f"{kind} `{name.text}` is unused: {why}", name.span)
