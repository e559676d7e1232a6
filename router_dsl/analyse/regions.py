"""A program's regions: the boxes of its rules and guards, and which requests each rule is left with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from router_dsl.analyse import solver
from router_dsl.analyse.search import Budget, BudgetError, Guess, Search, Term, runs
from router_dsl.analyse.space import Box, Space, space_of
from router_dsl.fields import NEEDS
from router_dsl.plan import And, Atom, Cond, Not, Policy, Program, Requested, Split, Use

# A hand-written policy spends some thousand steps, a thousand generated rules some hundred thousand; this is about five
# seconds, after which nobody would wait for more (two shared cores, 2026-11).
STEPS = 10_000_000

# For one question: whoever asks a thousand of them wants the other answers too.
STEPS_EACH = 200_000

MANY = 1000
"""Terms from which the solver is asked before searching, where it is installed."""

UNKNOWN_HELP = "`pip install pointsman[analysis]` brings a solver that looks further"


@dataclass(slots=True)
class Regions:
    """The boxes of one program.

    Attributes:
        program: Whose.
        space: Spanned by all its conditions.
        budget: Of all searches together.
    """

    program: Program
    space: Space
    budget: Budget = field(default_factory=lambda: Budget(STEPS))
    _terms: dict[str, list[Term]] = field(default_factory=dict)
    _guesses: dict[str, Guess] = field(default_factory=dict)
    _firsts: dict[str, list[int]] = field(default_factory=dict)
    _guards: dict[str, list[Box]] = field(default_factory=dict)
    _points: dict[tuple[str, int], Box] = field(default_factory=dict)

    def terms(self, policy: Policy) -> list[Term]:
        """Return the boxes of a policy's rules, in their order; their owners are the rules' indices.

        Raises:
            TooWideError: A rule is more boxes than can be looked at.
        """
        found = self._terms.get(policy.name)
        if found is None:
            found, firsts = [], []
            for index, rule in enumerate(policy.rules):
                firsts.append(len(found))
                found += [Term(box, index) for box in self.space.boxes(rule.when)]
            self._terms[policy.name], self._firsts[policy.name] = found, [*firsts, len(found)]
        return found

    def own(self, policy: Policy, index: int) -> list[Box]:
        """Return the boxes of one rule."""
        terms = self.terms(policy)
        first, behind = self._firsts[policy.name][index : index + 2]
        return [term.box for term in terms[first:behind]]

    def before(self, policy: Policy, index: int) -> int:
        """Return how many boxes the rules before one have."""
        self.terms(policy)
        return self._firsts[policy.name][index]

    def guess(self, policy: Policy) -> Guess:
        """Return the columns of a policy's boxes."""
        found = self._guesses.get(policy.name)
        if found is None:
            found = self._guesses[policy.name] = Guess(self.space, self.terms(policy))
        return found

    def point(self, policy: Policy, index: int, box: Box) -> Box | None:
        """Return a point of a box that no rule before one holds; None without a find. Points found are tried again."""
        known = self._points.get((policy.name, index))
        if known is not None:
            both = self.space.both(known, box)
            if both is not None and self.space.is_possible(both):
                return both
        found = self.guess(policy).point(box, self.before(policy, index))
        if found is not None:
            self._points[policy.name, index] = found
        return found

    def know(self, policy: Policy, index: int, point: Box) -> None:
        """Take a point of all axes that a rule decides; what no rule of the policy asks is left open."""
        asked = self.guess(policy).asked
        self._points[policy.name, index] = {axis: mask for axis, mask in point.items() if axis in asked}

    def taken(self, policy: Policy, index: int, box: Box) -> list[Term]:
        """Return the boxes of the rules before one that meet a box."""
        terms = self.terms(policy)
        alive = self.guess(policy).meeting(box, self.before(policy, index))
        return [terms[place] for low, high in runs(alive) for place in range(low, high)]

    def guard(self, name: str) -> list[Box]:
        """Return where a guard applies.

        Raises:
            TooWideError: Its condition is more boxes than can be looked at.
        """
        found = self._guards.get(name)
        if found is None:
            (guard,) = [guard for guard in self.program.guards if guard.name == name]
            found = self._guards[name] = self.space.boxes(guard.when)
        return found

    def search(self, steps: int = STEPS_EACH) -> Search:
        """Return a search of its own, within what is left of the budget."""
        return Search(self.space, Budget(max(0, min(steps, self.budget.steps))))

    def closed(self, search: Search, steps: int = STEPS_EACH) -> None:
        """Take what a search has spent from the budget."""
        given = max(0, min(steps, self.budget.steps))
        self.budget.steps -= given - max(0, search.budget.steps)

    def cover(self, box: Box, taken: Sequence[Term]) -> list[int | str] | None:
        """Return owners whose boxes cover this one, none of them in vain; None when something is left.

        Raises:
            BudgetError: Neither was found in time.
        """
        search = self.search()
        try:
            if not search.is_covered(box, taken):
                return None
            return search.fewest(box, taken, search.used)
        except BudgetError:
            if not solver.is_there():
                raise
            owners = solver.covered_by(self.space, box, taken)
            return None if owners is None else self._fewer(box, taken, owners)
        finally:
            self.closed(search)

    def _fewer(self, box: Box, taken: Sequence[Term], owners: set[int | str]) -> list[int | str]:
        search = self.search()
        try:
            return search.fewest(box, taken, owners)
        except BudgetError:
            return list(dict.fromkeys(term.owner for term in taken if term.owner in owners))
        finally:
            self.closed(search)


def regions_of(program: Program) -> Regions:
    """Return the regions of a program; its conditions span the space."""
    return Regions(program, space_of(program, conditions_of(program)))


def conditions_of(program: Program) -> list[Cond | None]:
    """Return every condition that decides about a program's requests, and what it depends on where they may go."""
    conds: list[Cond | None] = [rule.when for policy in program.policies for rule in policy.rules]
    conds += [guard.when for guard in program.guards]
    conds += [limit.when for limit in program.limits]
    conds += [claim.when for claim in program.assertions]
    return [*conds, *_of_endpoints(program)]


def _of_endpoints(program: Program) -> Iterator[Cond]:
    """Give the questions of which it depends whether a request may go to an endpoint."""
    for size in sorted({endpoint.context for endpoint in program.endpoints if endpoint.context is not None}):
        yield too_long(size)
    if any(endpoint.supports is not None for endpoint in program.endpoints):
        yield from (needing(fact) for fact, _, _ in NEEDS)
    targets = [
        target
        for policy in program.policies
        for rule in policy.rules
        if isinstance(rule.action, Use)
        for target in rule.action.targets
    ]
    if any(isinstance(arm, Requested) for target in targets for arm in _arms(target)):
        names = tuple(name for model in program.models for name in (model.name, *model.aka))
        yield Atom("model", "in", None, names, "")
    if len(program.policies) > 1:
        yield Atom("model", "in", None, tuple(f"@{policy.name}" for policy in program.policies), "")


def _arms(target: object) -> Sequence[object]:
    return [arm for _, arm in target.shares] if isinstance(target, Split) else [target]


def too_long(context: int) -> Atom:
    """Return the question whether a request does not fit into a context."""
    return Atom("request.tokens", "gt", context, (), "")


def needing(fact: str) -> Cond:
    """Return the question whether a request needs the feature that goes with a fact of `NEEDS`."""
    nothing = next(nothing for name, nothing, _ in NEEDS if name == fact)
    return And((Atom(fact, "ne", nothing, (), ""), Not(Atom(fact, "missing", None, (), ""))))
