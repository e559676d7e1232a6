"""A small search for requests: values for a few facts under which one condition holds and others do not."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, product

from router_dsl.compile.terms import facts_of, plain, ways
from router_dsl.interpret import Value as FactValue
from router_dsl.interpret import holds
from router_dsl.plan import Cond, Not, Scalar
from router_dsl.suite.values import Given

Facts = Mapping[str, FactValue]

Choice = tuple[bool, Scalar | None]
"""What a fact can be: (False, None) leaves it at the baseline, else (True, its value)."""

Allowed = Mapping[str, Sequence[Choice]]

# What a rule of a real policy needs is found within some hundred tries; beyond, most searches end in nothing.
TRIES = 3000
_MOST_WAYS = 64
_MOST_CHANGES = 12


@dataclass(slots=True)
class Search:
    """Finds requests.

    Attributes:
        facts: Gives all the facts of a request of which these are given.
        values: What to try, by fact.
        tries: How many requests one search may look at.
    """

    facts: Callable[[Given], Facts]
    values: Mapping[str, Sequence[Scalar | None]]
    tries: int = TRIES

    def find(self, goal: Cond | None, avoided: Sequence[Cond], start: Given | None = None) -> Given | None:
        """Return a request, as small as comes easily, for which `goal` holds and none of `avoided` does.

        Args:
            start: Facts to keep where that is possible.
        """
        left = [self.tries]
        for way in islice(ways(plain(goal)), _MOST_WAYS) if goal is not None else [()]:
            allowed = self._allowed(way)
            if allowed is None:
                continue
            first = self._first(allowed, start or {})
            found = self._repaired(first, goal, way, avoided, allowed, left, set())
            if found is not None:
                return self._smallest(found, goal, avoided)
        return None

    def is_one(self, given: Given, goal: Cond | None, avoided: Sequence[Cond]) -> bool:
        """Whether a request is what is looked for."""
        facts = self.facts(given)
        return holds(goal, facts) and not any(holds(condition, facts) for condition in avoided)

    def choices(self, fact: str) -> Iterator[Choice]:
        """Give what a fact can be, the baseline first."""
        yield False, None
        for value in self.values.get(fact, ()):
            yield True, value

    def _allowed(self, way: Sequence[Cond]) -> Allowed | None:
        """Return the choices for each fact under which its parts hold, None when a fact has none."""
        baseline = self.facts({})
        parts: dict[str, list[Cond]] = {}
        for part in way:
            (fact,) = facts_of(part)
            parts.setdefault(fact, []).append(part)
        allowed: dict[str, list[Choice]] = {}
        for fact, conditions in parts.items():
            allowed[fact] = [
                (is_given, value)
                for is_given, value in self.choices(fact)
                if _all_hold(conditions, {fact: value} if is_given else baseline)
            ]
            if not allowed[fact]:
                return None
        return allowed

    def _first(self, allowed: Allowed, start: Given) -> dict[str, Scalar | None]:
        given = dict(start)
        for fact, choices in allowed.items():
            if (fact in given, given.get(fact)) not in choices:
                _set(given, fact, choices[0])
        return given

    def _repaired(
        self,
        given: dict[str, Scalar | None],
        goal: Cond | None,
        way: Sequence[Cond],
        avoided: Sequence[Cond],
        allowed: Allowed,
        left: list[int],
        seen: set[frozenset[tuple[str, object, bool]]],
    ) -> dict[str, Scalar | None] | None:
        """Return the request changed until the goal holds, in that way, and nothing avoided does."""
        key = frozenset((fact, value, isinstance(value, bool)) for fact, value in given.items())
        if key in seen or left[0] <= 0:
            return None
        seen.add(key)
        left[0] -= 1
        facts = self.facts(given)
        wrong = next((condition for condition in avoided if holds(condition, facts)), None)
        if not holds(goal, facts):
            # A fact left at its baseline derives from another that was given since.
            wanted: Iterable[Sequence[Cond]] = [way]
        elif wrong is None:
            return given
        else:
            wanted = islice(ways(plain(Not(wrong))), _MOST_WAYS)
        for parts in wanted:
            for changed in islice(self._changes(given, facts, parts, allowed), _MOST_CHANGES):
                found = self._repaired(changed, goal, way, avoided, allowed, left, seen)
                if found is not None:
                    return found
        return None

    def _changes(
        self, given: dict[str, Scalar | None], facts: Facts, way: Sequence[Cond], allowed: Allowed
    ) -> Iterator[dict[str, Scalar | None]]:
        """Give the request with other values for the facts whose parts do not hold."""
        parts: dict[str, list[Cond]] = {}
        for part in way:
            (fact,) = facts_of(part)
            parts.setdefault(fact, []).append(part)
        wrong = {fact: conditions for fact, conditions in parts.items() if not _all_hold(conditions, facts)}
        baseline = self.facts({})
        choices = [
            [
                (fact, choice)
                for choice in allowed.get(fact) or self.choices(fact)
                if _all_hold(conditions, {fact: choice[1]} if choice[0] else baseline)
            ]
            for fact, conditions in wrong.items()
        ]
        for picked in product(*choices):
            changed = dict(given)
            for fact, choice in picked:
                _set(changed, fact, choice)
            yield changed

    def _smallest(self, given: dict[str, Scalar | None], goal: Cond | None, avoided: Sequence[Cond]) -> Given:
        """Return the request without what it does not need."""
        for fact in list(given):
            fewer = {name: value for name, value in given.items() if name != fact}
            if self.is_one(fewer, goal, avoided):
                given = fewer
        return given


def _all_hold(conditions: Sequence[Cond], facts: Facts) -> bool:
    return all(holds(condition, facts) for condition in conditions)


def _set(given: dict[str, Scalar | None], fact: str, choice: Choice) -> None:
    is_given, value = choice
    if is_given:
        given[fact] = value
    else:
        given.pop(fact, None)
