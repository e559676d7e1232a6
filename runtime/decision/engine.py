"""Plan to decisions: for each policy a function from the facts to the index of the rule that decides."""

from __future__ import annotations

from collections.abc import Callable

from router_dsl.plan import Plan, Policy, Tree, blocks_of
from runtime.decision.engine_blocks import Find, case_finder, finder, limited
from runtime.decision.engine_conditions import Facts, condition
from runtime.decision.engine_rules import is_small, written

__all__ = ["Decide", "Facts", "condition", "load"]

Decide = Callable[[Facts], int]
"""From the facts to the index of the rule that decides."""


def load(plan: Plan) -> dict[str, Decide]:
    """Return the policies of a plan, by name.

    A function asks `facts[name]` for the facts it needs, those that cost something only while a rule that could
    decide needs them. None is a missing fact.
    """
    return {policy.name: of_policy(policy, plan.trees[policy.name]) for policy in plan.program.policies}


def of_policy(policy: Policy, tree: Tree) -> Decide:
    """Return a policy: its rules one by one when they are few, else its tables."""
    if tree.switch is None and len(tree.shared) == 1 and is_small(policy.rules):
        return written(policy.rules, tree.shared[0])
    return of_tree(tree)


def of_tree(tree: Tree) -> Decide:
    """Return the policy that a tree decides."""
    if tree.switch is None and len(tree.shared) == 1:
        return finder(tree.shared[0])
    return _switched(tree)


def _switched(tree: Tree) -> Decide:
    switch, cases = tree.switch, tree.cases
    shared = [(block.rules, block.rules[0], block.rules[-1], finder(block)) for block in tree.shared]
    open_cases: dict[str, list[Find]] = {}

    def opened(value: str) -> list[Find]:
        found = open_cases[value] = [case_finder(block) for block in blocks_of(cases[value])]
        return found

    def decide(facts: Facts) -> int:
        rule = -1
        value = None if switch is None else facts[switch]
        own = open_cases.get(value)  # type: ignore[arg-type]
        if own is None and value in cases:
            own = opened(value)
        for find in own or ():
            rule = find(facts)
            if rule >= 0:
                break
        for rules, first, last, find in shared:
            if rule < 0 or last < rule:
                found = find(facts)
            elif first < rule:
                # Only an earlier rule can still overrule the one found.
                found = find(facts, limited(rules, rule))
            else:
                return rule
            if found >= 0:
                return found
        return rule

    return decide
