"""What is wrong with findings about a small policy, and with its comparison to an edit, counted out over all points."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from random import Random

import msgspec
from small import POINTS, random_cond, truth

from router_dsl.analyse import rules
from router_dsl.analyse.compare import compared
from router_dsl.analyse.regions import regions_of
from router_dsl.analyse.rules import Dead
from router_dsl.plan import Policy, Program, Reject, Rule


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


def edited(program: Program, random: Random) -> Program:
    """Return a program after an edit: rules moved, left out, rewritten, given another action."""
    policy = program.policies[0]
    kept = list(policy.rules[:-1])
    for _ in range(random.randint(0, 2)):
        what = random.choice(("move", "drop", "condition", "action", "add"))
        place = random.randrange(len(kept)) if kept else 0
        if what == "move" and kept:
            kept.insert(random.randrange(len(kept)), kept.pop(place))
        elif what == "drop" and kept:
            kept.pop(place)
        elif what == "condition" and kept:
            kept[place] = msgspec.structs.replace(kept[place], when=random_cond(random, 1))
        elif what == "action" and kept:
            kept[place] = msgspec.structs.replace(kept[place], action=Reject(random.randint(500, 503), None))
        elif what == "add":
            kept.insert(place, Rule(f"new{len(kept)}", random_cond(random, 1), Reject(510, None), "", 1, ""))
    return msgspec.structs.replace(program, policies=(Policy(policy.name, (*kept, policy.rules[-1])),))


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


def check_changes(before: Program, after: Program, seed: int) -> None:
    comparison = compared(before, after)
    found = {(change.before.steps[0][1], change.after.steps[0][1]) for change in comparison.changes()}
    assert comparison.unknown == [], seed
    assert found == counted(before, after), seed
