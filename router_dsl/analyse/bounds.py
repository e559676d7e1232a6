"""The worst of each way through a policy: which targets can have a turn together, and what a request costs there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, product
from math import inf

from router_dsl.analyse import tokens, worst
from router_dsl.analyse.plans import Plans, Slot, Way
from router_dsl.analyse.search import BudgetError
from router_dsl.analyse.space import Box

MOST_SLOTS = 10
MOST_PICKS = 2000
"""Targets of one chain, and choices of endpoints for them, that are looked at."""


@dataclass(frozen=True, slots=True)
class Pick:
    """An endpoint in the place of a target, and for which requests it is there.

    Attributes:
        beside: The endpoints that are tried in its stead or with it, where that does not depend on the client.
    """

    endpoint: int
    asked: Box | None
    beside: frozenset[int] | None = None


@dataclass(frozen=True, slots=True)
class Turn:
    """Targets that have a turn together.

    Attributes:
        slots: Which, by their place.
        attempts: Of all of them; to at least `endpoints` different endpoints.
        endpoints: See there.
    """

    slots: tuple[int, ...]
    attempts: int
    endpoints: int


def turns(plans: Plans, way: Way) -> list[Turn]:
    """Return every set of targets that might have a turn together, that of the most attempts first.

    Raises:
        BudgetError: The chain is too long.
    """
    usable = [place for place, slot in enumerate(way.slots) if next(picks(plans, slot), None) is not None]
    if len(usable) > MOST_SLOTS:
        raise BudgetError
    sets = [chosen for count in range(1, len(usable) + 1) for chosen in combinations(usable, count)]
    found = [
        Turn(
            chosen,
            sum(way.slots[place].attempts for place in chosen),
            sum(_at_least(plans, way, place) for place in chosen),
        )
        for chosen in sets
    ]
    return sorted(found, key=lambda turn: -turn.attempts)


def _at_least(plans: Plans, way: Way, place: int) -> int:
    """Return how many endpoints a target that has a turn tries at least: those that are in the plan together."""
    slot = way.slots[place]
    if plans.is_measured((*slot.wheres, *(guard.require for guard in plans.program.guards))):
        return 1
    earlier = {pick.endpoint for one in way.slots[:place] for pick in picks(plans, one)}
    alike: dict[object, set[int]] = {}
    for pick in picks(plans, slot):
        alike.setdefault(_conditions(plans, pick), set()).add(pick.endpoint)
    return min(max(1, min(slot.attempts, len(endpoints - earlier))) for endpoints in alike.values())


def _conditions(plans: Plans, pick: Pick) -> object:
    """Return what decides whether a pick is in the plan; the same for those that are there together."""
    entry = plans.program.endpoints[pick.endpoint]
    asked = None if pick.asked is None else tuple(sorted(pick.asked.items()))
    return plans.refusing(pick.endpoint), entry.context, tuple(plans.lacking(pick.endpoint)), asked


def picks(plans: Plans, slot: Slot, *, listed: bool = False) -> Iterator[Pick]:
    """Give the endpoints that may stand in the place of a target.

    Args:
        plans: Of the program.
        slot: The target.
        listed: Also those of a model that is not the first that the client names.
    """
    for choice in slot.choices:
        passing = [
            endpoint
            for endpoint in choice.endpoints
            if plans.passes(endpoint, slot.wheres) and not plans.is_barred(endpoint)
        ]
        beside = frozenset(passing) if choice.asked is None else None
        for endpoint in passing:
            yield Pick(endpoint, choice.asked, beside)
            if listed and choice.asked is not None:
                yield Pick(endpoint, None)


def together(plans: Plans, way: Way, turn: Turn, unions: Iterable[list[Box]], *, listed: bool) -> Iterator[Box]:
    """Give parts of the requests for which these targets may have a turn together.

    Each needs an endpoint that no other of them has tried.

    Raises:
        BudgetError, TooWideError: There are too many ways to choose them.
    """
    fixed = list(unions)
    chosen = [_apart(plans, way.slots[place], len(turn.slots), listed=listed) for place in turn.slots]
    for count, some in enumerate(product(*chosen)):
        if count >= MOST_PICKS:
            raise BudgetError
        if len({pick.endpoint for pick in some}) == len(some) and not _is_in_vain(plans, way, turn, some):
            yield from used(plans, way, some, fixed)


def _is_in_vain(plans: Plans, way: Way, turn: Turn, some: Sequence[Pick]) -> bool:
    """Whether an earlier target tries an endpoint that a later one is to have its turn with: it tries all it has."""
    for place, earlier in enumerate(turn.slots):
        slot, tried = way.slots[earlier], some[place].beside
        if tried is None or len(tried) > slot.attempts or plans.is_measured(slot.wheres):
            continue
        if any(pick.endpoint in tried for pick in some[place + 1 :]):
            return True
    return False


def used(plans: Plans, way: Way, some: Iterable[Pick], unions: Iterable[list[Box]]) -> Iterator[Box]:
    """Give parts of the requests for which all of these endpoints are in the plan.

    Raises:
        BudgetError, TooWideError: That could not be found out.
    """
    needed, guards = list(unions), dict[str, None]()
    for pick in some:
        needed.append(plans.admitted(pick.endpoint))
        if pick.asked is not None:
            needed.append([pick.asked])
        guards |= dict.fromkeys(plans.refusing(pick.endpoint))
    yield from plans.left(way, plans.boxes(way, *needed), guards)


def used_if_listed(plans: Plans, way: Way, pick: Pick, unions: Iterable[list[Box]]) -> Iterator[Box]:
    """Give parts of the requests for which an endpoint is in the plan because a client lists its model behind another.

    It is there where the same rules would decide for its model alone, and no guard would exclude it then.

    Raises:
        BudgetError, TooWideError: That could not be found out.
    """
    if pick.asked is None:
        return
    (model,) = pick.asked
    fixed = list(unions)
    for alone in used(plans, way, [pick], []):
        rest = {axis: mask for axis, mask in alone.items() if axis != model}
        yield from plans.left(way, plans.boxes(way, *fixed, [rest]))


def _apart(plans: Plans, slot: Slot, most: int, *, listed: bool) -> list[Pick]:
    """Return endpoints of a target, of those that are alike no more than there are targets."""
    alike: dict[object, list[Pick]] = {}
    for pick in picks(plans, slot, listed=listed):
        alike.setdefault(_conditions(plans, pick), []).append(pick)
    return [pick for same in alike.values() for pick in same[:most]]


# --- the bounds of one way --------------------------------------------------------------------------


def wait_of(plans: Plans, way: Way, turn: Turn) -> float:
    """Return the longest wait for a first token when these targets have a turn, in seconds."""
    assert way.options is not None
    return worst.wait_s(way.options, turn.attempts, turn.endpoints, *_escalation(plans, way))


def total_of(plans: Plans, way: Way, turn: Turn) -> float:
    """Return the longest time to the whole answer when these targets have a turn, in seconds."""
    assert way.options is not None
    return worst.total_s(way.options, turn.attempts, turn.endpoints, *_escalation(plans, way))


def _escalation(plans: Plans, way: Way) -> tuple[int, int]:
    """Return the attempts of an escalation, and to how many endpoints they go at least."""
    slot = way.aside.get("escalate")
    if slot is None or next(picks(plans, slot), None) is None:
        return 0, 0
    return slot.attempts, 1


@dataclass(frozen=True, slots=True)
class Bill:
    """What the requests of a box cost at most, in nano-dollars, and one that does; None where nothing is known.

    Attributes:
        endpoints: Of the plan, of its escalation and of its copy.
        prompt: Tokens of that request's prompt; its limit of the answer is the highest that `amounts` has with it.
    """

    nusd: float | None
    box: Box
    endpoints: tuple[int, ...]
    prompt: float = 0
    amounts: tokens.Amounts | None = None


def bills(
    plans: Plans, way: Way, unions: Iterable[list[Box]], above: float = -1.0, *, listed: bool = False
) -> Iterator[Bill]:
    """Give the cost of requests that go this way, for each choice of endpoints and each part of the space.

    Args:
        plans: Of the program.
        way: The way.
        unions: What the requests are in.
        above: Whatever cannot cost more, in nano-dollars, is left out.
        listed: See `picks`.

    Raises:
        BudgetError, TooWideError: They could not all be looked at.
    """
    fixed = list(unions)
    main = {pick.endpoint: pick for slot in way.slots for pick in picks(plans, slot, listed=listed)}
    # Guards may exclude what runs aside, and the rest goes on without it.
    chosen: list[list[Pick | None]] = [
        [pick for slot in way.slots for pick in picks(plans, slot, listed=listed)],
        *([*picks(plans, slot), None] for slot in way.aside.values()),
    ]
    seen: set[object] = set()
    for combined in product(*chosen):
        some = tuple(pick for pick in combined if pick is not None)
        key = _price_key(plans, way, some)
        if key in seen or (_ceiling(plans, way, some, main) or inf) <= above:
            continue
        seen.add(key)
        if len(seen) > MOST_PICKS:
            raise BudgetError
        for box in used(plans, way, some, fixed):
            bill = _bill(plans, way, some, main, box)
            if bill is not None and (bill.nusd is None or bill.nusd > above):
                yield bill


def _price_key(plans: Plans, way: Way, some: tuple[Pick, ...]) -> object:
    """Return what picks of the same cost under the same conditions have in common."""
    table = plans.program.endpoints
    return tuple(
        (
            table[pick.endpoint].price_in,
            table[pick.endpoint].price_out,
            table[pick.endpoint].output,
            _conditions(plans, pick),
        )
        for pick in some
    )


def _cost(plans: Plans, way: Way, some: tuple[Pick, ...], prompt: float, output: float | None) -> float | None:
    assert way.options is not None
    first, *aside = [[pick.endpoint] for pick in some]
    return worst.request_nusd(plans.program.endpoints, way.options, first, aside, prompt, output)


def _hedged(plans: Plans, way: Way, main: dict[int, Pick], prompt: float) -> float:
    """Return what the loser of a hedge costs at most; `request_nusd` of one endpoint knows none."""
    if way.options is None or way.options.hedge is None or len(main) < 2:
        return 0.0
    return prompt * max(plans.program.endpoints[index].price_in or 0 for index in main) / 1e6


def _ceiling(plans: Plans, way: Way, some: tuple[Pick, ...], main: dict[int, Pick]) -> float | None:
    """Return a bound that looks at no condition of the way."""
    contexts = [plans.program.endpoints[pick.endpoint].context for pick in some]
    context = min((float(size) for size in contexts if size is not None), default=inf)
    if context == inf:
        return inf
    costs = [_cost(plans, way, some, prompt, None) for prompt in (0.0, context)]
    # Between the two ends a limit of the answer bends the line upwards: both ends' worst together bound it.
    if None in costs:
        return None
    return sum(cost for cost in costs if cost is not None) + _hedged(plans, way, main, context)


def _bill(plans: Plans, way: Way, some: tuple[Pick, ...], main: dict[int, Pick], box: Box) -> Bill | None:
    """Return the dearest request of a box."""
    assert way.options is not None
    table, options = plans.program.endpoints, way.options
    entries = [table[pick.endpoint] for pick in some]
    context = min((float(entry.context) for entry in entries if entry.context is not None), default=inf)
    endpoints = tuple(pick.endpoint for pick in some)
    bends = [
        entry.context - worst.answer_limit(entry, options)
        for entry in entries
        if entry.context is not None and worst.answer_limit(entry, options) < inf
    ]
    best: Bill | None = None
    for amounts in tokens.amounts(plans.regions.space, box, context):
        if amounts.prompt[1] == inf and any(entry.price_in for entry in entries):
            return Bill(inf, box, endpoints, amounts.prompt[0], amounts)
        for prompt in amounts.turns(bends):
            try:
                output = amounts.output_with(prompt)
            except ValueError:
                continue
            cost = _cost(plans, way, some, prompt, output)
            if cost is None:
                return Bill(None, box, endpoints)
            cost += _hedged(plans, way, main, prompt)
            if best is None or best.nusd is None or cost > best.nusd:
                best = Bill(cost, box, endpoints, prompt, amounts)
    return best
