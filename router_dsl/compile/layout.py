"""Which terms stand together in a block: the switch of a policy, and the order in which a block looks things up."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from router_dsl.compile.columns import EMPTY, MISSING, OTHER, turns_of
from router_dsl.compile.terms import Term, atoms_of
from router_dsl.interpret import holds
from router_dsl.plan import Cond

BLOCK_TERMS = 4096
"""Most terms of a block: masks of 512 bytes. A table of n classes holds n masks, and both grow with the terms; a block
more costs a decision as much again. 2048 was slower on overlapping ranges, and as fast elsewhere
(benchmarks/decision.md).
"""

WIDEST_PIN = 8
"""Most values a term is copied to by a switch; one that asks for more values is shared."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Terms by block, in the order of their rules.

    Attributes:
        switch: The fact that picks one of `cases`, or None.
        shared: Asked whatever its value.
    """

    switch: str | None
    cases: dict[str, list[list[Term]]]
    shared: list[list[Term]]


def layout(terms: Sequence[Term], body_facts: Iterable[str] = ()) -> Layout:
    """Return where each term goes.

    A policy of several blocks is switched on the fact that pins most terms to few values each, when that is the
    better part of them: what is left is one short block of the value's own and the shared ones.

    Args:
        terms: Of the whole policy, in the order of its rules.
        body_facts: The author's facts that are read from anywhere in the body.
    """
    switch = _most_telling(terms, frozenset(body_facts)) if len(terms) > BLOCK_TERMS else None
    return split(terms, switch)


def split(terms: Sequence[Term], switch: str | None) -> Layout:
    """Return where each term goes under this switch: to the cases it is pinned to, else to the shared blocks."""
    cases: defaultdict[str, list[Term]] = defaultdict(list)
    shared = []
    for term in terms:
        values = None if switch is None else pinned(term, switch)
        if values is None:
            shared.append(term)
        else:
            for value in values:
                cases[value].append(term)
    return Layout(switch, {value: _blocks(own) for value, own in sorted(cases.items())}, _blocks(shared))


def _blocks(terms: Sequence[Term]) -> list[list[Term]]:
    return [list(terms[start : start + BLOCK_TERMS]) for start in range(0, len(terms), BLOCK_TERMS)]


def _most_telling(terms: Sequence[Term], body_facts: frozenset[str]) -> str | None:
    pins: Counter[str] = Counter()
    for term in terms:
        for fact in term.factors:
            if cost_of(fact, body_facts) == 0 and pinned(term, fact) is not None:
                pins[fact] += 1
    fact, count = max(pins.items(), key=lambda item: item[1], default=("", 0))
    return fact if count * 2 > len(terms) else None


def pinned(term: Term, fact: str) -> list[str] | None:
    """Return the few texts that the fact must be for the term to hold, None when more than texts would do."""
    factor = term.factors.get(fact)
    if factor is None:
        return None
    turns = turns_of(factor)
    if turns.ordered or turns.counted or turns.bools or len(turns.points) > WIDEST_PIN:
        return None
    if any(holds(factor, {fact: value}) for value in (MISSING, EMPTY, OTHER)):
        return None
    return sorted(point for point in turns.points if holds(factor, {fact: point}))


# --- order ------------------------------------------------------------------------------------------

_COSTS = {
    "turns": 1, "images": 1, "audio": 1, "files": 1, "healthy": 1, "load": 1, "over": 1, "time": 1, "body": 1,
    "prompt.last": 2, "prompt.system": 2, "prompt.text": 2, "prompt.chars": 2,
    "prompt.tokens": 3, "request.tokens": 3, "language": 3, "task": 4,
}  # fmt: skip
"""What finding a fact out takes, in steps of about four: 0 is a look-up, 1 a walk or a call, 2 the prompt put together,
3 a pass over it, 4 several. Facts that cost something are asked only when a rule that could decide needs them."""


def cost_of(fact: str, body_facts: frozenset[str] = frozenset()) -> int:
    """Return the cost class of a fact; `body_facts` are the author's that are read from anywhere in the body."""
    if fact in body_facts:
        return _COSTS["body"]
    kind = fact.partition("(")[0].partition(" ")[0]
    return _COSTS.get(kind, _COSTS["time"] if kind.startswith("time.") else 0)


def cost_of_probe(cond: Cond, fact: str, body_facts: frozenset[str] = frozenset()) -> int:
    """Return the cost class of a question that reads the whole value; a pattern is dearer than a substring."""
    patterns = any(atom.op == "matches" for atom in atoms_of(cond))
    return cost_of(fact, body_facts) + (2 if patterns else 1)
