"""Two policies compared: in which regions a request gets another plan, or the proof that none does.

Rules whose region stands in both, in the same order, are *kept*. Where both policies are decided by kept rules they are
decided by the same one: were it another, the earlier of the two would hold in both. So a kept rule is compared with
itself, and only the others with every rule of the other policy.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher

import msgspec

from router_dsl.analyse import solver
from router_dsl.analyse.plans import Plans, Slot, Way, plans_of
from router_dsl.analyse.regions import Regions, conditions_of
from router_dsl.analyse.search import Budget, BudgetError, Guess, Search, Term, runs
from router_dsl.analyse.space import Box, Space, TooWideError, space_of
from router_dsl.compile.terms import facts_of, plain
from router_dsl.plan import (
    And,
    Atom,
    Call,
    Cond,
    Endpoints,
    FactDecl,
    Named,
    Not,
    Options,
    Or,
    Policy,
    Program,
    Reject,
    Requested,
    Split,
    Use,
)  # fmt: skip

STEPS_EACH = 60_000


@dataclass(frozen=True, slots=True)
class Flat:
    """A way through a policy as one rule: its boxes, and what identifies the plan it makes.

    Attributes:
        boxes: Where its rules hold; earlier rules not taken away.
        plan: Equal for ways that make the same plan of every request they decide.
        endpoints: Ids of those it may use.
    """

    way: Way
    boxes: tuple[Box, ...]
    plan: Hashable
    endpoints: frozenset[str]

    @property
    def steps(self) -> tuple[tuple[str, int], ...]:
        """Policy and rule of each decision on the way."""
        return tuple((policy.name, index) for policy, index in self.way.steps)


@dataclass(frozen=True, slots=True)
class Change:
    """A region in which a request gets another plan.

    Attributes:
        policy: Asked.
        before, after: Who decides there.
        boxes: What the region lies in; what earlier rules take is not in it.
        found: A part of the region.
        taken: What the rules before both, and guards, take away.
        endpoint: Id of the one that guards exclude now and did not before, or the other way round, where the rule's
            plan is the same; else None.
    """

    policy: str
    before: Flat
    after: Flat
    boxes: tuple[Box, ...]
    found: Box
    taken: tuple[Term, ...] = ()
    endpoint: str | None = None


@dataclass(slots=True)
class Comparison:
    """Two programs over one space.

    Attributes:
        merged: The newer program, with the facts of both: the older one's that are declared otherwise have ` (before)`
            behind their names.
        unknown: Why some regions could not be compared; empty when all could.
        added, removed: Policies that only one of them has.
    """

    merged: Program
    before: Plans
    after: Plans
    unknown: list[str] = field(default_factory=list)
    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()

    @property
    def space(self) -> Space:
        """Spanned by the conditions of both."""
        return self.after.regions.space

    def changes(self) -> Iterator[Change]:
        """Give the regions that change, policy by policy; what could not be compared is noted in `unknown`."""
        older = {policy.name: policy for policy in self.before.program.policies}
        for number, policy in enumerate(self.after.program.policies):
            # The default policy is asked by whoever names none, whatever it is called.
            other = older.get(policy.name) if number else self.before.program.policies[0]
            if other is not None:
                try:
                    yield from _Pair(self, other, policy).changes()
                except (BudgetError, TooWideError):
                    self.unknown.append(f"policy `{policy.name}` has too many cases")


def compared(before: Program, after: Program) -> Comparison:
    """Return two programs over one space."""
    before = _renamed(before, _redeclared(before, after))
    own = {fact.name for fact in after.facts}
    merged = msgspec.structs.replace(
        after, facts=(*after.facts, *(fact for fact in before.facts if fact.name not in own))
    )
    names = tuple(name for program in (before, after) for m in program.models for name in (m.name, *m.aka))
    conds: list[Cond | None] = [*conditions_of(before), *conditions_of(after)]
    if any("model" in facts_of(cond) for cond in conds if cond is not None):
        conds.append(Atom("model", "in", None, names, ""))
    space = space_of(merged, conds)
    older, newer = ({policy.name for policy in program.policies[1:]} for program in (before, after))
    return Comparison(
        merged,
        plans_of(Regions(before, space)),
        plans_of(Regions(after, space)),
        added=tuple(sorted(newer - older - {before.policies[0].name})),
        removed=tuple(sorted(older - newer - {after.policies[0].name})),
    )


def _redeclared(before: Program, after: Program) -> dict[str, str]:
    """Return new names for facts of the older program that the newer one declares otherwise."""
    newer = {fact.name: fact for fact in after.facts}
    return {fact.name: f"{fact.name} (before)" for fact in before.facts if newer.get(fact.name, fact) != fact}


def _renamed(program: Program, names: dict[str, str]) -> Program:
    """Return a program that asks facts by other names."""
    if not names:
        return program

    def cond(one: Cond | None) -> Cond | None:
        return None if one is None else inner(one)

    def inner(one: Cond) -> Cond:
        match one:
            case Atom():
                return msgspec.structs.replace(one, fact=names.get(one.fact, one.fact))
            case Not(item):
                return Not(inner(item))
            case Named(name, item):
                return Named(name, inner(item))
            case And(items):
                return And(tuple(map(inner, items)))
            case Or(items):
                return Or(tuple(map(inner, items)))

    replace = msgspec.structs.replace
    policies = tuple(
        replace(policy, rules=tuple(replace(rule, when=cond(rule.when)) for rule in policy.rules))
        for policy in program.policies
    )
    facts = tuple(
        FactDecl(names.get(fact.name, fact.name), fact.type, fact.values, fact.source) for fact in program.facts
    )
    guards = tuple(replace(guard, when=cond(guard.when)) for guard in program.guards)
    return replace(program, policies=policies, facts=facts, guards=guards)


# --- one policy -------------------------------------------------------------------------------------


class _Pair:
    """One policy before and after."""

    def __init__(self, comparison: Comparison, before: Policy, after: Policy) -> None:
        self.comparison = comparison
        self.space = comparison.space
        self.name = after.name
        self.split = _split_names(comparison.before, comparison.after)
        self.older = self._flat(comparison.before, before)
        self.newer = self._flat(comparison.after, after)
        terms = [Term(box, index) for index, flat in enumerate(self.older) for box in flat.boxes]
        self.older_count = len(terms)
        terms += [Term(box, index) for index, flat in enumerate(self.newer) for box in flat.boxes]
        self.terms = terms
        self.guess = Guess(self.space, terms)
        self.older_until = _counts(self.older)
        self.newer_until = _counts(self.newer)
        self.guarded = self._reguarded()

    def _flat(self, plans: Plans, policy: Policy) -> list[Flat]:
        found = []
        for way in plans.ways(policy):
            boxes = plans.boxes(way)
            for restricted, key in _variants(plans, way, boxes, self.split):
                found.append(Flat(way, tuple(restricted), key, _ids(plans, way)))
        return found

    def changes(self) -> Iterator[Change]:
        """Give the regions that change.

        Raises:
            BudgetError: So much is different that it cannot be compared.
        """
        kept = self._kept()
        older, newer = set(range(len(self.older))), set(range(len(self.newer)))
        old_new = older - {one for one, _ in kept}, newer - {other for _, other in kept}
        if len(old_new[0]) * len(newer) + len(old_new[1]) * len(older) > _MOST_PAIRS:
            raise BudgetError
        pairs = [*kept, *((one, other) for one in sorted(old_new[0]) for other in sorted(newer))]
        pairs += [(one, other) for one in sorted(older - old_new[0]) for other in sorted(old_new[1])]
        for one, other in pairs:
            if self.older[one].plan != self.newer[other].plan:
                yield from self._change(one, other, None)
            elif self.guarded:
                yield from self._reguarded_changes(one, other)

    def _kept(self) -> list[tuple[int, int]]:
        """Return the rules whose region stands in both, in the same order."""
        numbers: dict[Hashable, int] = {}
        older, newer = (
            [numbers.setdefault(_key(flat.boxes), len(numbers)) for flat in side] for side in (self.older, self.newer)
        )
        blocks = SequenceMatcher(a=older, b=newer, autojunk=False).get_matching_blocks()
        return [(block.a + place, block.b + place) for block in blocks for place in range(block.size)]

    def _change(self, one: int, other: int, endpoint: str | None, extra: Sequence[Box] = ({},),
                away: Sequence[Term] = ()) -> Iterator[Change]:  # fmt: skip
        older, newer = self.older[one], self.newer[other]
        boxes: list[Box] = []
        found: Box | None = None
        for first in older.boxes:
            for second in newer.boxes:
                met = self.space.both(first, second)
                for more in extra if met is not None else ():
                    box = self.space.both(met, more) if met is not None else None
                    if box is None:
                        continue
                    left = self._left(one, other, box, away)
                    if left is not None:
                        boxes.append(box)
                        found = found or left
        if found is not None:
            taken = self.terms[: self.older_until[one]]
            taken += self.terms[self.older_count : self.older_count + self.newer_until[other]]
            yield Change(self.name, older, newer, tuple(boxes), found, (*taken, *away), endpoint)

    def _left(self, one: int, other: int, box: Box, away: Sequence[Term]) -> Box | None:
        """Return a part of a box that both rules decide, None when there is none."""
        older = (1 << self.older_until[one]) - 1
        newer = ((1 << self.newer_until[other]) - 1) << self.older_count
        alive = self.guess.meeting(box, len(self.terms)) & (older | newer)
        if not away:
            point = self.guess.outside(box, alive)
            if point is not None:
                return point
        taken = [self.terms[place] for low, high in runs(alive) for place in range(low, high)] + list(away)
        # The same box stands in both policies, mostly.
        taken = list({_key((term.box,)): term for term in taken}.values())
        try:
            return next(Search(self.space, Budget(STEPS_EACH)).left(box, taken), None)
        except BudgetError:
            if solver.is_there():
                return solver.point(self.space, box, taken)
            label = self.older[one].way.rule.label
            self.comparison.unknown.append(f"rule `{label}` overlaps too many rules")
            return None

    # --- guards -------------------------------------------------------------------------------------

    def _reguarded(self) -> dict[str, tuple[list[Box], list[Box]]]:
        """Return the endpoints that guards exclude elsewhere than before: where they did, where they do."""
        found = {}
        before, after = _excluded(self.comparison.before), _excluded(self.comparison.after)
        for name in before.keys() & after.keys():
            if _key(before[name]) != _key(after[name]):
                found[name] = before[name], after[name]
        return found

    def _reguarded_changes(self, one: int, other: int) -> Iterator[Change]:
        for name, (before, after) in self.guarded.items():
            if name in self.older[one].endpoints:
                for now, then in ((before, after), (after, before)):
                    away = [Term(box, "guard") for box in then]
                    search = Search(self.space, Budget(STEPS_EACH))
                    only = [piece for box in now for piece in search.left(box, away)]
                    yield from self._change(one, other, name, only, away)


_MOST_PAIRS = 4_000_000


def _counts(flats: Sequence[Flat]) -> list[int]:
    """Return how many boxes stand before each rule."""
    counts, count = [], 0
    for flat in flats:
        counts.append(count)
        count += len(flat.boxes)
    return counts


def _key(boxes: Sequence[Box]) -> Hashable:
    return frozenset(frozenset(box.items()) for box in boxes)


def _excluded(plans: Plans) -> dict[str, list[Box]]:
    """Return where guards exclude each endpoint, by its id."""
    return {
        endpoint.id: [box for name in plans.refusing(index) for box in plans.regions.guard(name)]
        for index, endpoint in enumerate(plans.program.endpoints)
    }


# --- what identifies a plan -------------------------------------------------------------------------


def _split_names(before: Plans, after: Plans) -> dict[str, None]:
    """Return the names of models that mean other endpoints than before."""
    older, newer = _meanings(before), _meanings(after)
    return dict.fromkeys(name for name in (*older, *newer) if older.get(name) != newer.get(name))


def _meanings(plans: Plans) -> dict[str, Hashable]:
    found: dict[str, Hashable] = {}
    for model in plans.program.models:
        for name in (model.name, *model.aka):
            found[name] = tuple(_endpoint(plans, index) for index in model.endpoints)
    return found


def _variants(plans: Plans, way: Way, boxes: list[Box], split: dict[str, None]) -> Iterator[tuple[list[Box], Hashable]]:
    """Give the parts of a way in which `requested` means one thing, with what identifies the plan."""
    asks = any(_is_requested(slot) for slot in way.slots)
    space = plans.regions.space
    names = tuple(split)
    if not asks or not names:
        yield boxes, _plan(plans, way, None)
        return
    for name in names:
        inside = space.meet([boxes, space.boxes(Atom("model", "eq", name, (), ""))])
        if inside:
            yield inside, _plan(plans, way, name)
    rest = space.meet([boxes, space.boxes(Atom("model", "not in", None, names, ""))])
    if rest:
        yield rest, _plan(plans, way, None)


def _is_requested(slot: Slot) -> bool:
    return any(choice.asked is not None for choice in slot.choices)


def _plan(plans: Plans, way: Way, name: str | None) -> Hashable:
    """Return what identifies the plans of a way; `name` is the model that `requested` stands for, None for any."""
    last = way.steps[-1][0].rules[way.steps[-1][1]].action
    rejected = (last.status, last.message) if isinstance(last, Reject) else None
    options = None if way.options is None else _options(plans, way.options)
    chain = [
        (_targets(plans, rule.action, name), _options(plans, rule.action.options))
        for rule in way.rules
        if isinstance(rule.action, Use)
    ]
    return tuple(chain), options, rejected if not way.slots else None


def _targets(plans: Plans, use: Use, name: str | None) -> Hashable:
    found: list[Hashable] = []
    for target in use.targets:
        match target:
            case Requested():
                found.append(_meanings(plans).get(name, ()) if name is not None else "requested")
            case Endpoints():
                found.append(_named(plans, target))
            case Split():
                arms = tuple((share, _named(plans, arm)) for share, arm in target.shares)
                found.append(("split", target.by, arms))
            case Call():
                pass  # what a called policy does is on the way
    return tuple(found)


def _named(plans: Plans, target: Endpoints | Requested) -> Hashable:
    if isinstance(target, Requested):
        return "requested"
    return tuple(_endpoint(plans, index) for index in target.endpoints)


def _endpoint(plans: Plans, index: int) -> Hashable:
    endpoint = plans.program.endpoints[index]
    provider = plans.program.providers[endpoint.provider]
    return msgspec.structs.replace(endpoint, provider=0), provider


def _options(plans: Plans, options: Options) -> Hashable:
    """Return what identifies options: what `where` asks, not how; who is asked aside."""
    where = None
    if options.where is not None:
        measured = plain(options.where) if plans.is_measured((options.where,)) else None
        passing = tuple(
            plans.program.endpoints[index].id
            for index in range(len(plans.fixed))
            if plans.passes(index, (options.where,))
        )
        where = passing, measured
    escalate = shadow = None
    if options.escalate is not None:
        escalate = tuple(_endpoint(plans, index) for index in options.escalate.target.endpoints), options.escalate.when
    if options.shadow is not None:
        shadow = tuple(_endpoint(plans, index) for index in options.shadow.target.endpoints), options.shadow.share
    rest = msgspec.structs.replace(options, where=None, where_text=None, escalate=None, shadow=None)
    return rest, where, escalate, shadow


def _ids(plans: Plans, way: Way) -> frozenset[str]:
    return frozenset(
        plans.program.endpoints[endpoint].id
        for _, slot in way.named_slots()
        for choice in slot.choices
        for endpoint in choice.endpoints
    )
