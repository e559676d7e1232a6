"""How much of its region each rule is left with, and to which earlier rules it loses the rest."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction

from router_dsl.analyse.regions import Regions
from router_dsl.analyse.search import BudgetError
from router_dsl.analyse.space import Space, TooWideError
from router_dsl.plan import Policy

STEPS = 20_000


@dataclass(frozen=True, slots=True)
class Share:
    """A rule that earlier ones with another action take something from.

    Attributes:
        rule: Its index.
        left: Share of the cases that its condition tells apart, each counting the same; None when that takes too long.
        to: Indices of the rules that take the rest and do something else with it: here the order matters.
    """

    rule: int
    left: float | None
    to: tuple[int, ...]


def shares(regions: Regions, policy: Policy) -> Iterator[Share]:
    """Give the rules of a policy that are partly shadowed by rules that do something else; `otherwise` is left out."""
    for index, rule in enumerate(policy.rules):
        if rule.when is None:
            continue
        try:
            boxes = regions.own(policy, index)
            taken = [term for box in boxes for term in regions.taken(policy, index, box)]
            to = {term.owner for term in taken if isinstance(term.owner, int)}
            others = tuple(sorted(one for one in to if policy.rules[one].action != rule.action))
            if others:
                yield Share(index, _left(regions, policy, index), others)
        except TooWideError:
            return


def _left(regions: Regions, policy: Policy, index: int) -> float | None:
    boxes = regions.own(policy, index)
    if len(boxes) != 1:
        return None  # boxes of one rule may overlap
    search = regions.search(STEPS)
    try:
        left = sum(
            _volume(regions.space, piece) for piece in search.left(boxes[0], regions.taken(policy, index, boxes[0]))
        )
    except BudgetError:
        return None
    finally:
        regions.closed(search, STEPS)
    return float(left / _volume(regions.space, boxes[0]))


def _volume(space: Space, box: Mapping[int, int]) -> Fraction:
    volume = Fraction(1)
    for axis, mask in box.items():
        volume *= Fraction(mask.bit_count(), space.full[axis].bit_count())
    return volume
