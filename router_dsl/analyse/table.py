"""The worst of each rule: attempts, waits and cost, over all the requests that it decides."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import inf

from router_dsl.analyse import bounds
from router_dsl.analyse.bounds import Turn
from router_dsl.analyse.plans import Plans, Way
from router_dsl.analyse.search import BudgetError
from router_dsl.analyse.space import Box, TooWideError
from router_dsl.plan import NANO, Policy, Rule


@dataclass(frozen=True, slots=True)
class Worst:
    """Of one rule, with the policies that it calls; infinite where nothing bounds it.

    Attributes:
        attempts: Of the plan; `hedges` and `escalations` come on top.
        wait_s: Until the first token, or the error.
        total_s: Until the answer is whole.
        cost_nusd: Of a request, None when an endpoint has no price; `dearest` are the endpoints that cost it.
        decides: Whether it decides any request.
        unknown: Why the bounds are not known; empty when they are.
    """

    policy: Policy
    rule: Rule
    attempts: int = 0
    hedges: int = 0
    escalations: int = 0
    wait_s: float = 0.0
    total_s: float = 0.0
    cost_nusd: float | None = 0.0
    dearest: tuple[str, ...] = ()
    unpriced: tuple[str, ...] = ()
    decides: bool = True
    unknown: str = ""

    def to_json(self) -> dict[str, object]:
        """Return the bounds as `bounds --json` prints them: null where there is none."""
        return {
            "policy": self.policy.name,
            "rule": self.rule.label,
            "file": self.rule.file,
            "line": self.rule.line,
            "decides": self.decides,
            "attempts": self.attempts,
            "hedges": self.hedges,
            "escalations": self.escalations,
            "wait_s": _finite(self.wait_s),
            "total_s": _finite(self.total_s),
            "cost_usd": None if self.cost_nusd is None else _finite(round(self.cost_nusd) / NANO, self.cost_nusd),
            "dearest": list(self.dearest),
            "unpriced": list(self.unpriced),
            "unknown": self.unknown or None,
        }


def _finite(value: float, of: float | None = None) -> float | None:
    return None if inf in (value, of) else value


def worst(plans: Plans) -> Iterator[Worst]:
    """Give the worst of every rule of every policy, asked by those who may ask it."""
    for policy in plans.program.policies:
        for index, rule in enumerate(policy.rules):
            try:
                yield _of(plans, policy, index)
            except BudgetError:
                yield Worst(policy, rule, unknown="there are too many cases")
            except TooWideError:
                yield Worst(policy, rule, unknown="a condition has too many alternatives")


def _of(plans: Plans, policy: Policy, index: int) -> Worst:
    rule, unions = policy.rules[index], [plans.entered(policy)]
    found = Worst(policy, rule, decides=False)
    for way in plans.ways_of(policy, index):
        if _some(plans, plans.left(way, plans.boxes(way, *unions))):
            found = _joined(found, _of_way(plans, policy, rule, way, unions))
    return found


def _of_way(plans: Plans, policy: Policy, rule: Rule, way: Way, unions: list[list[Box]]) -> Worst:
    if way.options is None:
        return Worst(policy, rule)
    table = plans.program.endpoints
    turns = bounds.turns(plans, way)

    def most(value: Callable[[Turn], float]) -> float:
        for turn in sorted(turns, key=value, reverse=True):
            if _some(plans, bounds.together(plans, way, turn, unions, listed=False)):
                return value(turn)
        return 0

    attempts = int(most(lambda turn: turn.attempts))
    bills = list(bounds.bills(plans, way, unions)) if attempts else []
    unpriced = {
        table[endpoint].id for bill in bills if bill.nusd is None for endpoint in bill.endpoints
        if table[endpoint].price_out is None
    }  # fmt: skip
    priced = [bill for bill in bills if bill.nusd is not None]
    dearest = max(priced, key=lambda bill: bill.nusd or 0.0, default=None)
    escalate = way.aside.get("escalate")
    several = len({pick.endpoint for slot in way.slots for pick in bounds.picks(plans, slot)}) > 1
    return Worst(
        policy,
        rule,
        attempts,
        hedges=1 if attempts and several and way.options.hedge is not None else 0,
        escalations=escalate.attempts if escalate is not None and attempts else 0,
        wait_s=most(lambda turn: bounds.wait_of(plans, way, turn)),
        total_s=most(lambda turn: bounds.total_of(plans, way, turn)),
        cost_nusd=None if unpriced else dearest.nusd if dearest is not None else 0.0,
        dearest=tuple(table[endpoint].id for endpoint in dearest.endpoints) if dearest is not None else (),
        unpriced=tuple(sorted(unpriced)),
    )


def _some(plans: Plans, boxes: Iterator[Box]) -> bool:
    """Whether some request over the wire is in one of the boxes."""
    space = plans.regions.space
    return any(real is not None and space.is_possible(real, real=True) for real in map(space.realistic, boxes))


def _joined(one: Worst, other: Worst) -> Worst:
    """Return the worse of both, in each respect."""
    if not one.decides:
        return other
    dearer = other if (other.cost_nusd or 0.0) > (one.cost_nusd or 0.0) else one
    return Worst(
        one.policy,
        one.rule,
        max(one.attempts, other.attempts),
        max(one.hedges, other.hedges),
        max(one.escalations, other.escalations),
        max(one.wait_s, other.wait_s),
        max(one.total_s, other.total_s),
        None if one.cost_nusd is None or other.cost_nusd is None else dearer.cost_nusd,
        dearer.dearest,
        tuple(sorted({*one.unpriced, *other.unpriced})),
    )
