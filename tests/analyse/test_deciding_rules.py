"""Rules that never decide are exactly those that decide no request, counted out over generated small policies."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pytest
from small import TEXT_POINTS, Point, random_program, truth

from router_dsl.analyse import rules
from router_dsl.analyse.attribute import Attribute
from router_dsl.analyse.regions import regions_of
from router_dsl.analyse.rules import Dead
from router_dsl.analyse.space import NO, YES, Box, Probe, Space
from router_dsl.interpret import holds
from router_dsl.plan import Program


def wrong(program: Program, *, texts: bool = False) -> Iterator[str]:
    """Say what is wrong with the findings about a program."""
    policy = program.policies[0]
    found = {dead.rule: dead for dead in rules.never_deciding(regions_of(program), policy)}
    holding = [truth(rule.when, texts=texts) for rule in policy.rules]
    taken = 0
    for index, mask in enumerate(holding):
        left, taken = mask & ~taken, taken | mask
        dead = found.get(index)
        if bool(left) == (dead is not None):
            yield f"rule {index} decides {left.bit_count()} points, found: {dead}"
        elif dead is not None:
            yield from _wrong_cover(dead, holding, truth(None, texts=texts))


def _wrong_cover(dead: Dead, holding: list[int], everything: int) -> Iterator[str]:
    mask = holding[dead.rule]
    if (dead.why == "empty") != (not mask) or dead.why not in ("empty", "covered"):
        yield f"rule {dead.rule}: {dead.why}"
    if dead.why != "covered":
        return
    union = _union(holding, dead.by)
    if mask & ~union:
        yield f"rule {dead.rule} is not covered by {dead.by}"
    for owner in dead.by if not dead.always else ():
        if not mask & ~_union(holding, [other for other in dead.by if other != owner]):
            yield f"rule {dead.rule}: {owner} can be left out of {dead.by}"
    if not dead.always and not mask & ~_union(holding, range(dead.by[0])):
        yield f"rule {dead.rule} would not decide above {dead.by[0]}"
    if dead.always and union != everything:
        yield f"{dead.by} do not always hold"


def _union(holding: list[int], indices: Iterable[int]) -> int:
    union = 0
    for index in indices:
        union |= holding[index]
    return union


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


def test_the_boxes_of_a_condition_hold_what_the_condition_does() -> None:
    for seed in range(200):
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
