"""Rules that never decide are exactly those that decide no request, counted out over generated small policies."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random

import pytest
from counted import wrong
from small import TEXT_POINTS, Point, random_program

from router_dsl.analyse import rules
from router_dsl.analyse.attribute import Attribute
from router_dsl.analyse.regions import regions_of
from router_dsl.analyse.space import NO, YES, Box, Probe, Space
from router_dsl.interpret import decide, holds
from router_dsl.plan import Program, Scalar
from router_dsl.strategies import pools_of, program_of, random_facts, random_policy


def check_seeds(seeds: range, *, texts: bool = False) -> None:
    for seed in seeds:
        for fault in wrong(random_program(seed, texts=texts), texts=texts):
            pytest.fail(f"seed {seed}: {fault}")


@pytest.mark.slow
def test_a_rule_is_found_dead_exactly_when_it_decides_no_request() -> None:
    check_seeds(range(5_000))


@pytest.mark.slow
def test_so_with_questions_about_texts() -> None:
    check_seeds(range(100_000, 101_500), texts=True)


@pytest.mark.long
def test_a_rule_is_found_dead_exactly_when_it_decides_no_request_at_length() -> None:
    check_seeds(range(1_000_000, 1_100_000))
    check_seeds(range(2_000_000, 2_050_000), texts=True)


@pytest.mark.slow
def test_the_boxes_of_a_condition_hold_what_the_condition_does() -> None:
    for seed in range(40):
        program = random_program(seed, texts=True)
        space = regions_of(program).space
        for rule in program.policies[0].rules:
            boxes = space.boxes(rule.when)
            inside = [any(in_box(space, box, point) for box in boxes) for point in TEXT_POINTS]
            assert inside == [holds(rule.when, point) for point in TEXT_POINTS], (seed, rule)


def in_box(space: Space, box: Box, point: Point) -> bool:
    return all(_answers(space.axes[axis], mask, point) for axis, mask in box.items())


def _answers(axis: Attribute | Probe, mask: int, point: Point) -> bool:
    if isinstance(axis, Attribute):
        return bool(mask >> axis.class_of(point[axis.fact]) & 1)
    return bool(mask & (YES if holds(axis.atom, point) else NO))


@pytest.mark.slow
def test_nothing_is_said_of_a_rule_that_some_test_could_contradict() -> None:
    random = Random(7)
    for seed in range(200):
        policy = random_policy(Random(seed), 6, 2)
        program = program_of(policy)
        dead = {found.rule for found in rules.never_deciding(regions_of(program), policy) if found.why != "unknown"}
        pools = pools_of(rule.when for rule in policy.rules if rule.when is not None)
        for _ in range(100):
            facts = random_facts(random, pools)
            assert not (decide(policy, facts) in dead and are_sensible(program, facts)), (seed, facts)


def are_sensible(program: Program, facts: Mapping[str, Scalar | None]) -> bool:
    """Whether a test could give these facts: each of its kind, and tokens that add up."""
    space = regions_of(program).space
    known = [(space.attribute(name), value) for name, value in facts.items() if name in space.number]
    tokens = {"prompt.tokens", "request.tokens"} & facts.keys()
    return not tokens and all(value is None or is_of(axis, value) for axis, value in known)


def is_of(axis: Attribute, value: Scalar) -> bool:
    match axis.domain.kind:
        case "bool":
            return isinstance(value, bool)
        case "text":
            return isinstance(value, str)
        case "number" | "share":
            is_number = isinstance(value, int | float) and not isinstance(value, bool) and value == value
            return is_number and (axis.domain.kind == "number" or 0 <= float(value) <= 1)
        case "one of":
            return value in axis.domain.values
        case _:
            return False
