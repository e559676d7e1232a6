"""Assertions: proved of every plan a policy can make, or refuted by a request."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from math import inf
from typing import Literal

from router_dsl.analyse import bounds, tokens, worst
from router_dsl.analyse.bounds import Bill
from router_dsl.analyse.plans import Plans, Way
from router_dsl.analyse.search import BudgetError
from router_dsl.analyse.space import Box, TooWideError
from router_dsl.analyse.witness import Facts, Oracle, Request, Seen, samples, witness
from router_dsl.compile.terms import facts_of
from router_dsl.fields import ENDPOINT
from router_dsl.interpret import holds
from router_dsl.plan import NANO, Assertion, Cond, Policy


@dataclass(frozen=True, slots=True)
class Judged:
    """What is known of an assertion.

    Attributes:
        claim: Which.
        verdict: Whether it holds.
        why: How it is broken, or why that is not known; empty when it is proved.
        request: That breaks it, or None.
    """

    claim: Assertion
    verdict: Literal["proved", "false", "unknown"]
    why: str = ""
    request: Request | None = None


@dataclass(slots=True)
class _Judge:
    """The work on one assertion."""

    plans: Plans
    claim: Assertion
    oracle: Oracle
    doubt: str = ""

    def shown(self, entry: Policy, boxes: Iterator[Box], claim: Callable[[Seen], bool], doubt: str) -> Request | None:
        """Return a request of these boxes that breaks the assertion; note the doubt when there may be one."""

        def breaks(seen: Seen) -> bool:
            return holds(self.claim.when, seen.facts) and claim(seen)

        found, tried = witness(self.plans.regions.space, boxes, self.oracle.of(entry.name), breaks)
        if tried and found is None:
            self.doubt = self.doubt or doubt
        return found


def judge(plans: Plans, claim: Assertion, oracle: Oracle) -> Judged:
    """Return what is known of an assertion."""
    work = _Judge(plans, claim, oracle)
    try:
        found = _JUDGES[claim.kind](work)
    except BudgetError:
        return Judged(claim, "unknown", "there are too many cases")
    except TooWideError:
        return Judged(claim, "unknown", "a condition has too many alternatives")
    if found is not None:
        return found
    return Judged(claim, "unknown", work.doubt) if work.doubt else Judged(claim, "proved")


_UNMADE = "rule `{}` may break it, but no request that does could be made"


def _ways(work: _Judge) -> Iterator[tuple[Policy, Way, list[list[Box]]]]:
    """Give every way through every policy that clients may ask, and what its requests are in."""
    plans = work.plans
    asked = plans.regions.space.boxes(work.claim.when)
    for entry in plans.program.policies:
        entered = plans.entered(entry)
        for way in plans.ways(entry):
            yield entry, way, [asked, entered]


def _never(work: _Judge) -> Judged | None:
    plans, claim = work.plans, work.claim
    assert claim.never is not None
    table = plans.program.endpoints
    bad = frozenset(index for index in range(len(table)) if plans.verdict(claim.never, index) is not False)
    measured = any(ENDPOINT[fact].measured for fact in facts_of(claim.never))
    listed = plans.lists_matter(claim.when)
    for entry, way, unions in _ways(work) if bad else ():
        for place, slot in way.named_slots():
            for pick in bounds.picks(plans, slot):
                if pick.endpoint not in bad:
                    continue
                doubt = _UNMADE.format(way.rule.label)
                boxes = bounds.used(plans, way, [pick], unions)
                if listed:
                    boxes = chain(boxes, bounds.used_if_listed(plans, way, pick, unions))
                if measured and _is_guarded_by_measure(plans, slot.wheres):
                    work.doubt = work.doubt or "what is measured of an endpoint may exclude it"
                    continue
                request = work.shown(entry, boxes, partial(_meets, pick.endpoint), doubt)
                if request is not None:
                    return Judged(claim, "false", f"{_said(way)} {_PLACES[place]} {table[pick.endpoint].id}", request)
    return None


def _meets(endpoint: int, seen: Seen) -> bool:
    return endpoint in seen.endpoints


_PLACES = {
    "": "may send such a request to",
    "escalate": "may escalate such a request to",
    "shadow": "may copy such a request to",
}


def _said(way: Way) -> str:
    labels = [f"`{rule.label}`" for rule in way.rules]
    called = f", calling {', then '.join(labels[1:])}," if len(labels) > 1 else ""
    return f"rule {labels[0]}{called}"


def _is_guarded_by_measure(plans: Plans, wheres: tuple[Cond, ...]) -> bool:
    return plans.is_measured((*wheres, *(guard.require for guard in plans.program.guards)))


def _attempts(work: _Judge) -> Judged | None:
    limit = int(work.claim.limit or 0)

    def told(count: float) -> str:
        return f"can make {count:.0f} attempts"

    return _by_turns(
        work,
        lambda way, turn: turn.attempts,
        lambda seen: len(seen.attempts),
        limit,
        told,
    )


def _wait(work: _Judge) -> Judged | None:
    def seen_s(seen: Seen) -> float:
        if seen.options is None:
            return 0.0
        first, more = seen.attempts, seen.escalation
        return worst.wait_s(seen.options, len(first), len(set(first)), len(more), len(set(more)))

    def told(wait_s: float) -> str:
        if wait_s == inf:
            return "can keep a client waiting without end: with `escalate` only `within` ends an attempt"
        return f"can keep a client waiting for {duration(wait_s)}"

    return _by_turns(
        work, lambda way, turn: bounds.wait_of(work.plans, way, turn), seen_s, work.claim.limit or 0.0, told
    )


def _by_turns(
    work: _Judge,
    value: Callable[[Way, bounds.Turn], float],
    seen_value: Callable[[Seen], float],
    limit: float,
    told: Callable[[float], str],
) -> Judged | None:
    plans, claim = work.plans, work.claim
    listed = plans.lists_matter(claim.when)
    for entry, way, unions in _ways(work):
        if way.options is None:
            continue
        for turn in bounds.turns(plans, way):
            if value(way, turn) <= limit:
                continue
            worst_seen: list[float] = []

            def breaks(seen: Seen, worst_seen: list[float] = worst_seen) -> bool:
                found = seen_value(seen)
                if found > limit:
                    worst_seen.append(found)
                return found > limit

            boxes = bounds.together(plans, way, turn, unions, listed=listed)
            request = work.shown(entry, boxes, breaks, _UNMADE.format(way.rule.label))
            if request is not None:
                return Judged(claim, "false", f"{_said(way)} {told(worst_seen[-1])}", request)
    return None


def _cost(work: _Judge) -> Judged | None:
    plans, claim = work.plans, work.claim
    limit = claim.limit or 0.0
    table, space = plans.program.endpoints, plans.regions.space
    listed = plans.lists_matter(claim.when)
    for entry, way, unions in _ways(work):
        if way.options is None:
            continue
        for bill in bounds.bills(plans, way, unions, limit, listed=listed):
            if bill.nusd is None:
                unpriced = next(index for index in bill.endpoints if table[index].price_out is None)
                work.doubt = f"{table[unpriced].id} has no price"
                continue

            def breaks(seen: Seen) -> bool:
                return holds(claim.when, seen.facts) and _seen_nusd(plans, seen) > limit

            real = space.realistic(bill.box)
            facts = None if real is None else next(iter(samples(space, real)), None)
            request = None if facts is None else _dear(work, entry, facts, bill, breaks)
            if request is not None:
                told = (
                    "can cost any amount: nothing limits its answer"
                    if bill.nusd == inf
                    else (f"can cost {dollars(bill.nusd)} at {', '.join(table[index].id for index in bill.endpoints)}")
                )
                return Judged(claim, "false", f"{_said(way)} {told}", request)
            if real is not None:
                work.doubt = work.doubt or _UNMADE.format(way.rule.label)
    return None


def _dear(work: _Judge, entry: Policy, facts: Facts, bill: Bill, breaks: Callable[[Seen], bool]) -> Request | None:
    """Return a dear request: with the shortest prompt first, for a limit of the answer is said in a few digits."""
    assert bill.amounts is not None
    # What else the request must have (tools, pictures) makes its prompt longer than the shortest.
    prompts = [bill.prompt, *(max(bill.prompt, tokens.USUAL * 2.0**power) for power in range(9))]
    if bill.nusd == inf:
        prompts += [10.0**power for power in range(3, 7)]
    for prompt in prompts:
        try:
            output = bill.amounts.output_with(prompt)
        except ValueError:
            continue
        limit = None if output is None or output == inf else int(output)
        found: Facts = {**facts, tokens.PROMPT: int(prompt), tokens.OUTPUT: limit}
        found.pop(tokens.WHOLE, None)
        request = work.oracle.of(entry.name)(found, breaks)
        if request is not None:
            return request
    return None


def _seen_nusd(plans: Plans, seen: Seen) -> float:
    if seen.options is None or not seen.attempts:
        return 0.0
    prompt, output = seen.facts[tokens.PROMPT], seen.facts[tokens.OUTPUT]
    assert isinstance(prompt, int | float)
    cost = worst.request_nusd(
        plans.program.endpoints,
        seen.options,
        seen.candidates,
        [some for some in (seen.escalation, seen.shadow) if some],
        prompt,
        output if isinstance(output, int | float) else None,
    )
    return 0.0 if cost is None else cost


def _reachable(work: _Judge) -> Judged | None:
    plans, claim = work.plans, work.claim
    label, known = claim.label, False
    for entry, way, unions in _ways(work):
        wanted = [(policy.name, index) for policy, index in way.steps if policy.rules[index].label == label]
        if not wanted:
            continue
        boxes = plans.left(way, plans.boxes(way, *unions))
        space, ask = plans.regions.space, work.oracle.of(entry.name)
        found, tried = witness(space, boxes, ask, partial(_is_decided, wanted))
        if found is not None:
            return Judged(claim, "proved", request=found)
        known = known or tried
    if known:
        return Judged(claim, "unknown", f"rule `{label}` may decide, but no request that it decides could be made")
    return Judged(claim, "false", f"no request reaches rule `{label}`")


def _is_decided(wanted: Sequence[tuple[str, int]], seen: Seen) -> bool:
    return any(step in seen.rules for step in wanted)


def duration(seconds: float) -> str:
    """Return a time as policies write it: `90s`, `1.5s`, `10m`."""
    for size, unit in ((3600, "h"), (60, "m")):
        if seconds >= 2 * size and seconds % size == 0:
            return f"{seconds / size:g}{unit}"
    return f"{seconds:g}s"


def dollars(nusd: float) -> str:
    """Return an amount as policies write it: `$0.0125`."""
    usd = nusd / NANO
    whole, _, rest = f"{usd:,.6f}".partition(".")
    return f"${whole}.{rest.rstrip('0'):0<2}" if usd < 100 else f"${usd:,.2f}"


_JUDGES: dict[str, Callable[[_Judge], Judged | None]] = {
    "never": _never,
    "attempts": _attempts,
    "wait": _wait,
    "cost": _cost,
    "reachable": _reachable,
}
