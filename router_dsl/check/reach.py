"""Targets of which the guards leave no endpoint to any request."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from router_dsl import ast
from router_dsl.check.plainly import Key, Plainly, conjuncts
from router_dsl.check.scope import Scope
from router_dsl.fields import ENDPOINT
from router_dsl.interpret import Value, fixed_facts, holds
from router_dsl.plan import And, Atom, Cond, Endpoints, Guard, Named, Not, Program, Rule, Split, Target, Use

Table = Sequence[Mapping[str, Value]]
"""What the policy states of each endpoint, by its index."""


@dataclass(frozen=True, slots=True)
class _Bar:
    """A guard as endpoints meet it.

    Attributes:
        name: As messages call it.
        when: What identifies the parts that must hold for it to apply; empty when it always does.
        refused: The endpoints it never lets pass, as indices.
    """

    name: str
    when: frozenset[Key]
    refused: frozenset[int]


def warn(program: Program, scope: Scope, plainly: Plainly) -> None:
    """Report targets that no request can reach, and guards that leave no endpoint at all."""
    table = [fixed_facts(program, endpoint) for endpoint in program.endpoints]
    bars = [bar for guard in program.guards if (bar := _guard(guard, table, plainly, scope)).refused]
    for policy, policy_node in zip(program.policies, scope.policies.values(), strict=True):
        for rule, node in zip(policy.rules, policy_node.rules, strict=True):
            if isinstance(rule.action, Use) and isinstance(node.action, ast.Use):
                applying = _applying(bars, rule, plainly)
                for target, target_node in _targets(rule.action, node.action) if applying else ():
                    _report(target, target_node, applying, scope)


def _report(target: Endpoints, node: ast.Node, bars: Sequence[_Bar], scope: Scope) -> None:
    endpoints = frozenset(target.endpoints)
    if not endpoints <= frozenset().union(*(bar.refused for bar in bars)):
        return
    alone = [bar for bar in bars if endpoints <= bar.refused][:1]
    names = [bar.name for bar in alone or bars if bar.refused & endpoints]
    who = f"{' and '.join(names)} {'refuses' if len(names) == 1 else 'refuse'} it"
    scope.report.add("W513", f"no request can reach `{target.text}`: {who}", node.span, "leave the target out")


def _guard(guard: Guard, table: Table, plainly: Plainly, scope: Scope) -> _Bar:
    """Return the guard; one that never lets anything pass is reported once, not at every target."""
    refused = frozenset(index for index, facts in enumerate(table) if _verdict(guard.require, facts) is False)
    if guard.when is None and len(refused) == len(table) > 0:
        if plainly.verdict(guard.require) is not False:  # else it is reported as a condition that cannot hold
            place = scope.guards[guard.name].name.span
            scope.report.add("W513", f"guard `{guard.name}` refuses every endpoint", place, "no endpoint meets it")
        refused = frozenset()
    return _Bar(f"guard `{guard.name}`", _keys(guard.when, plainly), refused)


def _keys(cond: Cond | None, plainly: Plainly) -> frozenset[Key]:
    """Return what identifies the parts that must all hold."""
    return frozenset() if cond is None else frozenset(plainly.key(part) for part in conjuncts(cond))


def _applying(bars: Sequence[_Bar], rule: Rule, plainly: Plainly) -> list[_Bar]:
    """Return the guards that plainly apply whenever the rule decides."""
    if not bars:
        return []
    holding = _keys(rule.when, plainly)
    return [bar for bar in bars if bar.when <= holding]


def _verdict(cond: Cond, facts: Mapping[str, Value]) -> bool | None:
    """Return whether an endpoint meets a condition, None when that depends on what is measured of it (Kleene)."""
    match cond:
        case Atom():
            return None if ENDPOINT[cond.fact].measured else holds(cond, facts)
        case Named():
            return _verdict(cond.item, facts)
        case Not():
            inner = _verdict(cond.item, facts)
            return None if inner is None else not inner
        case _:
            parts = [_verdict(item, facts) for item in cond.items]
            deciding = not isinstance(cond, And)
            return deciding if deciding in parts else None if None in parts else not deciding


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
