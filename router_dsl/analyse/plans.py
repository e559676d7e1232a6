"""Every plan a policy can make: the ways through its rules and calls, and what of each target a request may use."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from router_dsl.analyse import solver
from router_dsl.analyse.regions import Regions, needing, too_long
from router_dsl.analyse.search import BudgetError, Term
from router_dsl.analyse.space import Box, space_of
from router_dsl.compile.terms import facts_of
from router_dsl.fields import ENDPOINT, NEEDS
from router_dsl.interpret import Value, fixed_facts, holds
from router_dsl.plan import (
    And,
    Atom,
    Call,
    Cond,
    Endpoints,
    Guard,
    Named,
    Not,
    Options,
    Policy,
    Program,
    Reject,
    Requested,
    Rule,
    Split,
)  # fmt: skip

MOST_CALLS = 4096
"""Ways through the policies that a rule calls; more are not looked at."""


def verdict(cond: Cond, facts: Mapping[str, Value]) -> bool | None:
    """Return whether an endpoint meets a condition, None when that depends on what is measured of it (Kleene)."""
    match cond:
        case Atom():
            return None if ENDPOINT[cond.fact].measured else holds(cond, facts)
        case Named():
            return verdict(cond.item, facts)
        case Not():
            inner = verdict(cond.item, facts)
            return None if inner is None else not inner
        case _:
            parts = [verdict(item, facts) for item in cond.items]
            deciding = not isinstance(cond, And)
            return deciding if deciding in parts else None if None in parts else not deciding


@dataclass(frozen=True, slots=True)
class Choice:
    """What a target can stand for: endpoints, and for which requests (`requested`); None for all."""

    endpoints: tuple[int, ...]
    asked: Box | None = None


@dataclass(frozen=True, slots=True)
class Slot:
    """One target of a plan: what it can stand for, the attempts it has, and what its rules require of endpoints."""

    choices: tuple[Choice, ...]
    attempts: int
    wheres: tuple[Cond, ...]


@dataclass(frozen=True, slots=True)
class Way:
    """How a request is decided: by a rule, and by those of the policies that it calls.

    Attributes:
        entry: The policy asked.
        steps: Policy and rule of each decision on the way.
        slots: Targets in order.
        aside: What `escalate` and `shadow` may use besides, by their name.
        options: What holds for the whole request; None for a rejection.
    """

    entry: Policy
    steps: tuple[tuple[Policy, int], ...]
    slots: tuple[Slot, ...]
    aside: Mapping[str, Slot]
    options: Options | None

    @property
    def rule(self) -> Rule:
        """The rule of the policy asked."""
        policy, index = self.steps[0]
        return policy.rules[index]

    @property
    def rules(self) -> Iterator[Rule]:
        """The rules that decide, in order."""
        return (policy.rules[index] for policy, index in self.steps)

    def named_slots(self) -> Iterator[tuple[str, Slot]]:
        """Give the slots of the chain, under no name, then those aside."""
        yield from (("", slot) for slot in self.slots)
        yield from self.aside.items()


@dataclass(slots=True)
class Plans:
    """The plans of a program over its regions."""

    regions: Regions
    fixed: list[dict[str, Value]] = field(default_factory=list)
    _refusing: dict[int, tuple[str, ...]] = field(default_factory=dict)
    _admitted: dict[int, list[Box]] = field(default_factory=dict)
    _named: list[Choice] | None = None

    @property
    def program(self) -> Program:
        """Whose plans they are."""
        return self.regions.program

    def refusing(self, endpoint: int) -> tuple[str, ...]:
        """Return the guards that refuse an endpoint wherever they apply, whatever is measured of it."""
        found = self._refusing.get(endpoint)
        if found is None:
            facts = self.fixed[endpoint]
            guards = [guard.name for guard in self.program.guards if verdict(guard.require, facts) is False]
            found = self._refusing[endpoint] = tuple(guards)
        return found

    def is_barred(self, endpoint: int) -> bool:
        """Whether a guard that always applies refuses an endpoint."""
        always = {guard.name for guard in self.program.guards if guard.when is None}
        return not always.isdisjoint(self.refusing(endpoint))

    def admitted(self, endpoint: int) -> list[Box]:
        """Return for which requests context and features of an endpoint suffice; one empty box for all."""
        found = self._admitted.get(endpoint)
        if found is None:
            context, space = self.program.endpoints[endpoint].context, self.regions.space
            fits = [{}] if context is None else space.boxes(Not(too_long(context)))
            found = self._admitted[endpoint] = space.meet([fits, self.able(endpoint)])
        return found

    def able(self, endpoint: int) -> list[Box]:
        """Return for which requests the features of an endpoint suffice."""
        space = self.regions.space
        return space.meet([space.boxes(Not(needing(fact))) for fact in self.lacking(endpoint)])

    def lacking(self, endpoint: int) -> list[str]:
        """Return the facts whose features an endpoint does not support."""
        supports = self.program.endpoints[endpoint].supports
        return [] if supports is None else [fact for fact, _, feature in NEEDS if feature not in supports]

    def verdict(self, cond: Cond, endpoint: int) -> bool | None:
        """Return whether an endpoint meets a condition, None when that depends on what is measured of it."""
        return verdict(cond, self.fixed[endpoint])

    def is_measured(self, conds: Iterable[Cond]) -> bool:
        """Whether any of these conditions asks what is measured."""
        return any(ENDPOINT[fact].measured for cond in conds for fact in facts_of(cond))

    def passes(self, endpoint: int, wheres: Iterable[Cond]) -> bool:
        """Return whether conditions on endpoints may let this one pass."""
        return all(verdict(where, self.fixed[endpoint]) is not False for where in wheres)

    def requested(self) -> list[Choice]:
        """Return what `requested` can stand for, models with the same endpoints together."""
        if self._named is None:
            space = self.regions.space
            names: dict[tuple[int, ...], list[str]] = {}
            for model in self.program.models:
                names.setdefault(model.endpoints, []).extend((model.name, *model.aka))
            self._named = []
            for endpoints, own in names.items():
                (box,) = space.boxes(Atom("model", "in", None, tuple(own), ""))
                self._named.append(Choice(endpoints, box))
        return self._named

    # --- ways ---------------------------------------------------------------------------------------

    def ways(self, entry: Policy) -> Iterator[Way]:
        """Give every way through a policy, rule by rule."""
        for index in range(len(entry.rules)):
            yield from self.ways_of(entry, index)

    def ways_of(self, entry: Policy, index: int) -> Iterator[Way]:
        """Give the ways that begin with one rule."""
        for count, (steps, slots, lead) in enumerate(self._followed(entry, index, ())):
            if count >= MOST_CALLS:
                raise BudgetError
            options, wheres = lead if lead is not None else (None, ())
            aside = {}
            if options is not None:
                if options.escalate is not None:
                    target = options.escalate.target
                    aside["escalate"] = Slot((Choice(target.endpoints),), options.retry + 1, wheres)
                if options.shadow is not None:
                    aside["shadow"] = Slot((Choice(options.shadow.target.endpoints),), 1, wheres)
            yield Way(entry, steps, slots, aside, options)

    def _followed(
        self, policy: Policy, index: int, outer: tuple[Cond, ...]
    ) -> Iterator[tuple[tuple[tuple[Policy, int], ...], tuple[Slot, ...], tuple[Options, tuple[Cond, ...]] | None]]:
        action = policy.rules[index].action
        here = ((policy, index),)
        if isinstance(action, Reject):
            yield here, (), None
            return
        options = action.options
        wheres = outer if options.where is None else (*outer, options.where)
        slots = tuple(self._slot(target, options, wheres) for target in action.targets if not isinstance(target, Call))
        lead = (options, wheres) if slots else None
        called = next((target.policy for target in action.targets if isinstance(target, Call)), None)
        if called is None:
            yield here, slots, lead
            return
        (further,) = [one for one in self.program.policies if one.name == called]
        for number in range(len(further.rules)):
            for steps, more, inner in self._followed(further, number, wheres):
                yield (*here, *steps), (*slots, *more), lead or inner

    def _slot(self, target: Endpoints | Requested | Split, options: Options, wheres: tuple[Cond, ...]) -> Slot:
        arms = [arm for _, arm in target.shares] if isinstance(target, Split) else [target]
        choices: list[Choice] = []
        for arm in arms:
            choices += self.requested() if isinstance(arm, Requested) else [Choice(arm.endpoints)]
        return Slot(tuple(choices), options.retry + 1, wheres)

    # --- regions of ways ----------------------------------------------------------------------------

    def entered(self, entry: Policy) -> list[Box]:
        """Return which requests may ask a policy: all that do not name another one."""
        others = tuple(f"@{one.name}" for one in self.program.policies if one is not entry)
        return self.regions.space.boxes(Atom("model", "not in", None, others, "")) if others else [{}]

    def lists_matter(self, when: Cond | None) -> bool:
        """Whether a client that lists several models may meet what no client that names one of them meets.

        A listed model is used where the same rule would decide for it alone; only guards, and what is asked of the
        request besides (`when`), look at the first one.
        """
        asked = [guard.when for guard in self.program.guards] + [when]
        return any(cond is not None and "model" in facts_of(cond) for cond in asked)

    def boxes(self, way: Way, *unions: list[Box]) -> list[Box]:
        """Return boxes of the requests that meet every condition on the way, and all of these."""
        own = [self.regions.own(policy, index) for policy, index in way.steps]
        return self.regions.space.meet([*own, *unions])

    def left(self, way: Way, boxes: Iterable[Box], guards: Iterable[str] = ()) -> Iterator[Box]:
        """Give parts of these boxes that are decided this way and that none of the guards applies to.

        Raises:
            BudgetError: Neither were they found in time, nor that there are none.
        """
        away = [Term(box, f"guard {name}") for name in guards for box in self.regions.guard(name)]
        for box in boxes:
            yield from self._left(way.steps, box, away)

    def _left(self, steps: Sequence[tuple[Policy, int]], box: Box, away: list[Term]) -> Iterator[Box]:
        regions = self.regions
        search = regions.search()
        if away:
            narrowed = search.narrowed(box, away)
            if narrowed is None:
                return
            box = narrowed
        if len(steps) == 1:
            ((policy, index),) = steps
            point = regions.point(policy, index, box)
            if point is not None and not any(regions.space.both(point, term.box) for term in away):
                yield point
        taken = [term for policy, index in steps for term in regions.taken(policy, index, box)] + away
        try:
            yield from search.left(box, taken)
        except BudgetError:
            if not solver.is_there():
                raise
            point = solver.point(regions.space, box, taken)
            if point is not None:
                yield point
        finally:
            regions.closed(search)


def plans_of(regions: Regions) -> Plans:
    """Return the plans of a program."""
    program = regions.program
    return Plans(regions, [fixed_facts(program, endpoint) for endpoint in program.endpoints])


def never_required(program: Program, guard: Guard) -> bool:
    """Return whether no endpoint whatever could meet what a guard requires."""
    space = space_of(program, [guard.require], of_endpoints=True)
    return not space.boxes(guard.require)
