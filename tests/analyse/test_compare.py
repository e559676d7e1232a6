"""Policies compared: what changes is exactly what decides otherwise, counted out over generated small policies."""

from __future__ import annotations

from random import Random

import msgspec
import pytest
from small import POINTS, random_cond, random_program, truth

from router_dsl.analyse.compare import compared
from router_dsl.plan import Policy, Program, Reject, Rule


def edited(program: Program, random: Random) -> Program:
    """Return a program after an edit: rules moved, left out, rewritten, given another action."""
    policy = program.policies[0]
    rules = list(policy.rules[:-1])
    for _ in range(random.randint(0, 2)):
        what = random.choice(("move", "drop", "condition", "action", "add"))
        place = random.randrange(len(rules)) if rules else 0
        if what == "move" and rules:
            rules.insert(random.randrange(len(rules)), rules.pop(place))
        elif what == "drop" and rules:
            rules.pop(place)
        elif what == "condition" and rules:
            rules[place] = msgspec.structs.replace(rules[place], when=random_cond(random, 1))
        elif what == "action" and rules:
            rules[place] = msgspec.structs.replace(rules[place], action=Reject(random.randint(500, 503), None))
        elif what == "add":
            rules.insert(place, Rule(f"new{len(rules)}", random_cond(random, 1), Reject(510, None), "", 1, ""))
    return msgspec.structs.replace(program, policies=(Policy(policy.name, (*rules, policy.rules[-1])),))


def counted(before: Program, after: Program) -> set[tuple[int, int]]:
    """Return the rules before and after that decide some point otherwise."""
    found = set()
    older, newer = regions(before), regions(after)
    for one, first in enumerate(older):
        for other, second in enumerate(newer):
            actions = before.policies[0].rules[one].action, after.policies[0].rules[other].action
            if first & second and actions[0] != actions[1]:
                found.add((one, other))
    return found


def regions(program: Program) -> list[int]:
    """Return the points that each rule decides."""
    left, found = (1 << len(POINTS)) - 1, []
    for rule in program.policies[0].rules:
        found.append(left & truth(rule.when))
        left &= ~found[-1]
    return found


def check(before: Program, after: Program, seed: int) -> None:
    comparison = compared(before, after)
    found = {(change.before.steps[0][1], change.after.steps[0][1]) for change in comparison.changes()}
    assert comparison.unknown == [], seed
    assert found == counted(before, after), seed


@pytest.mark.slow
def test_the_changes_of_an_edit_are_those_that_can_be_counted() -> None:
    for seed in range(2_000):
        before = random_program(seed)
        check(before, edited(before, Random(-seed)), seed)


@pytest.mark.slow
def test_the_changes_between_two_policies_are_those_that_can_be_counted() -> None:
    for seed in range(500):
        check(random_program(seed), random_program(seed + 700_000), seed)


@pytest.mark.long
def test_the_changes_of_an_edit_are_those_that_can_be_counted_at_length() -> None:
    for seed in range(10_000, 60_000):
        before = random_program(seed)
        check(before, edited(before, Random(-seed)), seed)
