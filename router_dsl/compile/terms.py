"""Conditions as terms: an `or` over several facts becomes alternatives, each a conjunction of one question a fact.

A *part* is a condition about one fact alone, however it is nested; `plan == trial or plan == pro` is one. A
*term* asks every fact at most one part that tables can answer (a *factor*), and any number of *probes*, which
they cannot.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

from router_dsl.plan import And, Atom, Cond, Named, Not, Or, Rule

MOST_TERMS = 256
"""Alternatives of one rule. Each costs a bit of every mask; what needs more is a rule that nobody can read."""

PROBED = frozenset(("contains", "ends", "matches"))
"""Operators whose answers are no intervals of the value's order."""


class CompileError(ValueError):
    """A rule that the compiler refuses.

    Attributes:
        code: Stable code; `message` and `help` as in a diagnostic.
        file, line: Where the rule stands; `label`: its name.
    """

    def __init__(self, code: str, message: str, help: str, rule: Rule) -> None:
        super().__init__(f"{rule.file}:{rule.line}: {code} {message}")
        self.code = code
        self.message = message
        self.help = help
        self.file = rule.file
        self.line = rule.line
        self.label = rule.label


@dataclass(frozen=True, slots=True)
class Term:
    """One way for a rule to hold: every factor and every probe holds.

    Attributes:
        rule: Index of the rule.
        factors: One condition a fact, by fact.
        probes: What each probe has to answer.
    """

    rule: int
    factors: dict[str, Cond]
    probes: dict[Cond, bool]


def terms(index: int, rule: Rule) -> list[Term]:
    """Return the terms of a rule: its condition holds exactly when one of them does.

    Raises:
        CompileError: It has more than `MOST_TERMS`.
    """
    if rule.when is None:
        return [Term(index, {}, {})]
    check_width(rule)
    cond = plain(rule.when)
    ways_to_hold = {frozenset(parts): parts for parts in ways(cond)}
    found = (_term(index, parts) for parts in ways_to_hold.values())
    return [term for term in found if term is not None]


def check_width(rule: Rule) -> None:
    """Raise `CompileError` when the rule has more than `MOST_TERMS` terms."""
    ways = 1 if rule.when is None else count_ways(plain(rule.when))
    if ways > MOST_TERMS:
        raise CompileError(
            "E601",
            f"`{rule.label}` can hold in {_shown(ways)} different ways, and a rule may have {MOST_TERMS}",
            "each `or` over different facts multiplies them: split the rule, or ask one fact with `in [a, b]`",
            rule,
        )


def _shown(ways: int) -> str:
    return f"{ways:,}" if ways < 10**9 else "more than a billion"


def plain(cond: Cond) -> Cond:
    """Return the condition without names and wording, so that equal questions are equal values."""
    match cond:
        case Atom():
            # 1 == True to Python: the wording is replaced by what tells them apart.
            return Atom(cond.fact, cond.op, cond.value, cond.items, repr((cond.value, cond.items)))
        case Not(item):
            return _negated(plain(item))
        case And(items):
            return And(tuple(plain(item) for item in items))
        case Or(items):
            return Or(tuple(plain(item) for item in items))
        case Named(_, item):
            return plain(item)


def facts_of(cond: Cond) -> frozenset[str]:
    """Return the names of the facts that the condition asks."""
    return frozenset(atom.fact for atom in atoms_of(cond))


def atoms_of(cond: Cond) -> Iterator[Atom]:
    """Give the questions of a condition, in the order written."""
    match cond:
        case Atom():
            yield cond
        case Not(item) | Named(_, item):
            yield from atoms_of(item)
        case And(items) | Or(items):
            for item in items:
                yield from atoms_of(item)


def is_probe(cond: Cond) -> bool:
    """Whether a condition about one fact asks something that no table of its values answers."""
    return any(atom.op in PROBED for atom in atoms_of(cond))


def count_ways(cond: Cond) -> int:
    """Return how many ways `terms` would list, without listing them."""
    alternatives = _branches(cond)
    if alternatives is None:
        return 1
    conjunction, items = alternatives
    counts = [count_ways(item) for item in items]
    if not conjunction:
        return sum(counts)
    ways = 1
    for count in counts:
        ways *= count
    return ways


def _branches(cond: Cond) -> tuple[bool, tuple[Cond, ...]] | None:
    """Return (is it an `and`, its items) for a condition over several facts, None for a part."""
    match cond:
        case And(items):
            return True, items
        case Or(items):
            return None if len(facts_of(cond)) == 1 else (False, items)
        case Not(And(items)):
            return None if len(facts_of(cond)) == 1 else (False, tuple(_negated(item) for item in items))
        case Not(Or(items)):
            return True, tuple(_negated(item) for item in items)
        case _:
            return None


def _negated(cond: Cond) -> Cond:
    return cond.item if isinstance(cond, Not) else Not(cond)


def ways(cond: Cond) -> Iterator[tuple[Cond, ...]]:
    """Give each way to hold as the parts, each about one fact, that must hold together.

    Args:
        cond: Without names, as `plain` gives it.
    """
    alternatives = _branches(cond)
    if alternatives is None:
        yield (cond,)
        return
    conjunction, items = alternatives
    if conjunction:
        for chosen in product(*(tuple(ways(item)) for item in items)):
            yield tuple(part for parts in chosen for part in parts)
    else:
        for item in items:
            yield from ways(item)


def _term(index: int, parts: tuple[Cond, ...]) -> Term | None:
    """Return the term of these parts, None when two of them contradict each other word for word."""
    factors: dict[str, list[Cond]] = {}
    probes: dict[Cond, bool] = {}
    for part in dict.fromkeys(parts):
        if is_probe(part):
            question, answer = (part.item, False) if isinstance(part, Not) else (part, True)
            if probes.setdefault(question, answer) != answer:
                return None
        else:
            (fact,) = facts_of(part)
            factors.setdefault(fact, []).append(part)
    return Term(index, {fact: _all(conds) for fact, conds in factors.items()}, probes)


def _all(conds: Sequence[Cond]) -> Cond:
    return conds[0] if len(conds) == 1 else And(tuple(conds))
