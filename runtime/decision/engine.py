"""Plan to decisions: for each policy a function from the facts to the index of the rule that decides."""

from __future__ import annotations

from collections.abc import Callable

from router_dsl.plan import Block, Plan, Tree, blocks_of
from runtime.decision.engine_blocks import Find, finder, limited
from runtime.decision.engine_conditions import Facts, condition

__all__ = ["Decide", "Facts", "condition", "load"]

Decide = Callable[[Facts], int]


def load(plan: Plan) -> dict[str, Decide]:
    """Return the policies of a plan, by name.

    A function asks `facts[name]` for the facts it needs, those that cost something only while a rule that could
    decide needs them. None is a missing fact.
    """
    return {policy.name: of_tree(plan.trees[policy.name]) for policy in plan.program.policies}


def of_tree(tree: Tree) -> Decide:
    """Return the policy that a tree decides."""
    if tree.switch is None and len(tree.shared) == 1:
        (block,) = tree.shared
        find, full = finder(block), _full(block)
        return lambda facts: find(facts, full)
    return _switched(tree)


def _full(block: Block) -> int:
    return (1 << len(block.rules)) - 1


def _switched(tree: Tree) -> Decide:
    switch, cases = tree.switch, tree.cases
    shared = [(block.rules, finder(block), _full(block)) for block in tree.shared]
    open_cases: dict[str, list[tuple[Find, int]]] = {}

    def opened(value: str) -> list[tuple[Find, int]]:
        blocks = blocks_of(cases[value])
        found = open_cases[value] = [(finder(block), _full(block)) for block in blocks]
        return found

    def decide(facts: Facts) -> int:
        rule = -1
        value = None if switch is None else facts[switch]
        if value in cases:
            for find, full in open_cases.get(value) or opened(value):
                rule = find(facts, full)
                if rule >= 0:
                    break
        for rules, find, full in shared:
            alive = full
            if rule >= 0:
                # Only an earlier rule can still overrule the one found.
                if rules[0] > rule:
                    return rule
                if rules[-1] > rule:
                    alive = limited(rules, rule)
            found = find(facts, alive)
            if found >= 0:
                return found
        return rule

    return decide
