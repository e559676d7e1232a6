"""Rules that never decide: their condition cannot hold, or earlier rules hold whenever it does."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from router_dsl.analyse import solver
from router_dsl.analyse.regions import MANY, Regions
from router_dsl.analyse.search import BudgetError, Term
from router_dsl.analyse.space import Box, TooWideError
from router_dsl.plan import Policy


@dataclass(frozen=True, slots=True)
class Dead:
    """A rule that never decides, or of which that is not known.

    Attributes:
        rule: Its index.
        why: `empty`: its condition cannot hold; `covered`: by the rules `by`, of which none can be left out;
            `unknown`: the search took too long; `wide`: its condition is too wide to be looked at.
        by: Indices of rules before it, in their order. Above the first of them it would decide.
        always: They hold for every request.
    """

    rule: int
    why: Literal["empty", "covered", "unknown", "wide"]
    by: tuple[int, ...] = ()
    always: bool = False


def never_deciding(regions: Regions, policy: Policy) -> Iterator[Dead]:
    """Give the rules of a policy that never decide, in their order."""
    try:
        terms = regions.terms(policy)
    except TooWideError:
        yield Dead(0, "wide")
        return
    solving = solver.Solver(regions.space) if len(terms) > MANY and solver.is_there() else None
    given = 0
    always: tuple[int, ...] = ()
    for index in range(len(policy.rules)):
        boxes = [box for box in regions.own(policy, index) if regions.space.is_possible(box)]
        if not boxes:
            yield Dead(index, "empty")
            continue
        if always:
            yield Dead(index, "covered", always, always=True)
            continue
        doubted = _doubted(regions, policy, index, boxes)
        if doubted and solving is not None:
            while given < regions.before(policy, index):
                solving.take(terms[given].box)
                given += 1
            if any(_is_left(solving, box) for box in doubted):
                regions.know(policy, index, solving.point())
                continue
        found = _judged(regions, policy, index, boxes) if doubted else None
        if found is not None:
            yield found
            always = found.by if found.always else ()


def _doubted(regions: Regions, policy: Policy, index: int, boxes: list[Box]) -> list[Box]:
    """Return the boxes of a rule when no guess shows that one of them is left to it."""
    return [] if any(regions.point(policy, index, box) is not None for box in boxes) else boxes


def _is_left(solving: solver.Solver, box: Box) -> bool:
    try:
        return solving.cover(box) is None
    except BudgetError:
        return False


def _judged(regions: Regions, policy: Policy, index: int, boxes: list[Box]) -> Dead | None:
    try:
        by = _coverers(regions, policy, index, boxes)
        if by is None:
            return None
        # Without the rules from the first of them on, something must be left: else it is none of their doing.
        while (earlier := _coverers(regions, policy, by[0], boxes)) is not None:
            by = earlier
        return Dead(index, "covered", by, always=_hold_always(regions, policy, by))
    except BudgetError:
        return Dead(index, "unknown")


def _coverers(regions: Regions, policy: Policy, until: int, boxes: list[Box]) -> tuple[int, ...] | None:
    """Return rules before `until` that cover the boxes, None when something is left."""
    needed: dict[int | str, None] = {}
    guess, count = regions.guess(policy), regions.before(policy, until)
    for box in boxes:
        if guess.point(box, count) is not None:
            return None
        owners = regions.cover(box, regions.taken(policy, until, box))
        if owners is None:
            return None
        needed |= dict.fromkeys(owners)
    owners = list(needed)
    terms = [term for term in regions.terms(policy) if term.owner in needed] if len(boxes) > 1 else []
    for owner in sorted(needed, reverse=True) if len(boxes) > 1 else ():
        rest = [term for term in terms if term.owner != owner]
        if all(regions.cover(box, rest) is not None for box in boxes):
            terms, owners = rest, [one for one in owners if one != owner]
    return tuple(sorted(owner for owner in owners if isinstance(owner, int)))


def _hold_always(regions: Regions, policy: Policy, by: tuple[int, ...]) -> bool:
    taken = [Term(box, index) for index in by for box in regions.own(policy, index)]
    return regions.cover({}, taken) is not None
