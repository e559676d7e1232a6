"""The proof that trees decide as their rules do: complete over the classes of values, not sampled.

Three claims make it, each checked for all there is:

1. A rule's condition holds exactly when one of its terms does: each term makes the condition true whatever the
   rest answers, and every way of choosing from its `or`s that makes it true contains a term.
2. Every term stands in a block that is asked: in the shared ones, or, when only certain values of the switched
   fact let it hold, in the case of each of them.
3. Every bit is its term's answer: between two turns of a term its bit never changes, and at a value of each
   stretch, and on the turns themselves, the bit is what the interpreter says. The value goes through a look-up
   written here, not through the engine's.
"""

from __future__ import annotations

import hashlib
import math
import sys
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

from router_dsl.compile.columns import EMPTY, LOWEST_NUMBER, LOWEST_TEXT, MISSING, OTHER, Turns, turns_of
from router_dsl.compile.layout import pinned, split
from router_dsl.compile.terms import Term, atoms_of, facts_of, plain, terms
from router_dsl.interpret import Value, holds
from router_dsl.plan import (
    And,
    Atom,
    Block,
    Certificate,
    Column,
    Cond,
    Not,
    Or,
    Plan,
    PlanError,
    Policy,
    Probe,
    Program,
    Range,
    Rule,
    Scalar,
    Tree,
    blocks_of,
    encode_body,
    unpack_masks,
)  # fmt: skip


class UncertifiedError(PlanError):
    """Trees that do not decide as their rules do."""


@dataclass(slots=True)
class Tally:
    """What was tried so far."""

    classes: int = 0
    terms: int = 0


def certify(program: Program, trees: Mapping[str, Tree]) -> Certificate:
    """Return the certificate of these trees for this program.

    Raises:
        UncertifiedError: A tree decides otherwise than its rules.
    """
    tally = Tally()
    _require(set(trees) == {policy.name for policy in program.policies}, "there are trees for other policies")
    for policy in program.policies:
        _check_tree(policy, trees[policy.name], tally)
    subject = hashlib.sha256(encode_body(program, dict(trees))).hexdigest()
    return Certificate(subject, tally.classes, tally.terms)


def verify(plan: Plan) -> None:
    """Check again everything that the certificate says.

    Raises:
        UncertifiedError: It does not hold of this plan.
    """
    _require(certify(plan.program, plan.trees) == plan.certificate, "its certificate is about other content")


def _require(claim: bool, fault: str) -> None:
    if not claim:
        raise UncertifiedError(f"plan is not certified: {fault}")


# --- terms are the rules, blocks hold the terms -----------------------------------------------------


def _check_tree(policy: Policy, tree: Tree, tally: Tally) -> None:
    found = []
    for index, rule in enumerate(policy.rules):
        own = terms(index, rule)
        _require(_are_the_rule(own, rule), f"`{rule.label}` and its terms differ")
        found += own
    expected = split(found, tree.switch)
    if tree.switch is not None:
        for term in found:
            _check_pins(term, tree.switch)
    _require(set(tree.cases) == set(expected.cases), "its cases are not the values its rules ask for")
    _check_blocks(tree.shared, expected.shared, tally)
    for value, own_terms in expected.cases.items():
        _check_blocks(blocks_of(tree.cases[value]), own_terms, tally)


def _are_the_rule(own: Sequence[Term], rule: Rule) -> bool:
    if rule.when is None:
        return len(own) == 1 and not own[0].factors and not own[0].probes
    cond = plain(rule.when)
    ways = [frozenset(_parts(term)) for term in own]
    return all(_is_absurd(way) or _follows(cond, way) for way in ways) and _covered([cond], frozenset(), ways)


def _parts(term: Term) -> Iterable[Cond]:
    for factor in term.factors.values():
        yield from factor.items if isinstance(factor, And) else (factor,)
    for question, answer in term.probes.items():
        yield question if answer else Not(question)


def _is_absurd(parts: frozenset[Cond]) -> bool:
    """Return whether some of the parts rule out another of them, whatever the facts."""
    return any(_follows(part, parts - {part}) is False for part in parts)


def _follows(cond: Cond, known: Collection[Cond]) -> bool | None:
    """Return what the condition is when the parts `known` hold and of the rest nothing is known (Kleene's logic)."""
    if cond in known:
        return True
    if Not(cond) in known:
        return False
    match cond:
        case Not(item):
            answer = _follows(item, known)
            return None if answer is None else not answer
        case And(items):
            answers = [_follows(item, known) for item in items]
            return False if False in answers else None if None in answers else True
        case Or(items):
            answers = [_follows(item, known) for item in items]
            return True if True in answers else None if None in answers else False
        case _:
            return None


def _covered(goals: Sequence[Cond], known: frozenset[Cond], ways: Sequence[frozenset[Cond]]) -> bool:
    """Return whether all goals together hold only where one of the ways does."""
    if _is_absurd(known) or any(way <= known for way in ways):
        return True
    if not goals:
        return False
    goal, rest = goals[0], goals[1:]
    one_fact = len(facts_of(goal)) == 1
    match goal:
        case And(items):
            return _covered([*items, *rest], known, ways)
        case Not(Or(items)):
            return _covered([*(plain(Not(item)) for item in items), *rest], known, ways)
        case Or(items) if not one_fact:
            return all(_covered([item, *rest], known, ways) for item in items)
        case Not(And(items)) if not one_fact:
            return all(_covered([plain(Not(item)), *rest], known, ways) for item in items)
        case _:
            return _covered(rest, known | {goal}, ways)


def _check_pins(term: Term, switch: str) -> None:
    """Check that a term which is in some cases only holds for their values."""
    values = pinned(term, switch)
    if values is None:
        return
    factor = term.factors[switch]
    turns = turns_of(factor)
    texts_alone = not (turns.ordered or turns.counted or turns.bools)
    elsewhere = any(holds(factor, {switch: value}) for value in (MISSING, EMPTY, OTHER))
    reached = all((point in values) == holds(factor, {switch: point}) for point in {*turns.points, *values})
    _require(texts_alone and not elsewhere and reached, f"a term is in other cases than `{switch}` lets it hold in")


# --- bits are answers -------------------------------------------------------------------------------


def _check_blocks(blocks: Sequence[Block], expected: Sequence[Sequence[Term]], tally: Tally) -> None:
    _require(len(blocks) == len(expected), "it has other blocks than its rules need")
    for block, own in zip(blocks, expected, strict=True):
        _require(block.rules == tuple(term.rule for term in own), "a block holds other terms than it should")
        tally.terms += len(own)
        factors: defaultdict[str, defaultdict[Cond, int]] = defaultdict(lambda: defaultdict(int))
        probes: defaultdict[Cond, list[int]] = defaultdict(lambda: [0, 0])
        for number, term in enumerate(own):
            for fact, cond in term.factors.items():
                factors[fact][cond] |= 1 << number
            for question, answer in term.probes.items():
                probes[question][answer] |= 1 << number
        full = (1 << len(own)) - 1
        for table in (*block.columns, *block.lazy):
            if isinstance(table, Column):
                _check_column(table, factors.pop(table.fact, {}), full)
                tally.classes += len(table.points) + len(table.spans) + len(table.number_spans) + len(table.bools) + 3
            else:
                no, yes = probes.pop(table.cond, [0, 0])
                _check_probe(table, no, yes, full)
                tally.classes += 2
        _require(not factors and not probes, "a block does not ask all that its terms do")


def _check_probe(table: Probe, wants_no: int, wants_yes: int, full: int) -> None:
    _require(facts_of(table.cond) == {table.fact}, "a probe asks another fact than it says")
    _require(
        unpack_masks(table.masks, full.bit_length()) == [full & ~wants_yes, full & ~wants_no],
        "a probe keeps the wrong terms",
    )


def _check_column(table: Column, factors: Mapping[Cond, int], full: int) -> None:
    masks = unpack_masks(table.masks, full.bit_length())
    asked = sum(factors.values())
    _require(all(mask | asked == full for mask in masks), f"`{table.fact}` rules out a term that does not ask it")
    starts: defaultdict[str | int | float, int] = defaultdict(int)
    points: defaultdict[str, int] = defaultdict(int)
    for cond, terms_asking in factors.items():
        turns, answers = _answers(cond, table.fact)
        for start in (*turns.starts, *turns.numbers):
            starts[start] |= terms_asking
        for point in turns.points:
            points[point] |= terms_asking
        for value, answer in answers:
            bits = masks[class_of(table, value)] & terms_asking
            _require(bits == (terms_asking if answer else 0), f"`{table.fact}` has a wrong bit")
    for boundaries, spans in ((table.starts, table.spans), (table.numbers, table.number_spans)):
        _require(len(spans) == (len(boundaries) + 1 if spans else 0), f"`{table.fact}` has gaps")
        _require(all(low < high for low, high in pairwise(boundaries)), f"`{table.fact}` is out of order")  # type: ignore[operator]
        for boundary, (below, above) in zip(boundaries, pairwise(spans), strict=True):
            changed = masks[below] ^ masks[above]
            _require(changed & ~starts[boundary] == 0, f"`{table.fact}` changes where no rule does")
    for point, number in table.points.items():
        changed = masks[number] ^ masks[table.other if point else table.empty]
        _require(changed & ~points[point] == 0, f"`{table.fact}` changes where no rule does")


@lru_cache(maxsize=4096)
def _answers(cond: Cond, fact: str) -> tuple[Turns, list[tuple[Value, bool]]]:
    """Return the turns of a condition, and its answers on them, on each kind of value and in each stretch."""
    turns = turns_of(cond)
    values: list[Value] = [
        MISSING, EMPTY, OTHER, False, True, LOWEST_TEXT, "\0", LOWEST_NUMBER, 0, 1, math.nan,
        *turns.points, *turns.starts, *turns.numbers,
        *(near for atom in atoms_of(cond) for constant in _constants(atom) for near in _near(constant)),
    ]  # fmt: skip
    return turns, [(value, holds(cond, {fact: value})) for value in values]


def _constants(atom: Atom) -> Iterator[Scalar]:
    """Give what a question compares the fact with."""
    if atom.value is not None:
        yield atom.value
    for item in atom.items:
        if isinstance(item, Range):
            yield from (item.low, item.high)
        else:
            yield item


def _near(constant: Scalar) -> tuple[Scalar, ...]:
    """Return the constant and its neighbours: where turns would be missed if `turns_of` were wrong."""
    if isinstance(constant, bool):
        return (constant,)
    if isinstance(constant, str):
        last = ord(constant[-1:] or "\0") + 1
        # No text holds a surrogate.
        after = () if last > sys.maxunicode or 0xD800 <= last < 0xE000 else (constant[:-1] + chr(last),)
        return constant, constant[:-1], constant + "\0", constant + "~", *after
    near = (math.nextafter(constant, -math.inf), math.nextafter(constant, math.inf)) if abs(constant) < 2**53 else ()
    return constant, constant - 1, constant + 1, *near


def class_of(table: Column, value: Value) -> int:
    """Return the class of a value, as the format says it; the engine has its own, faster ways."""
    if value is None:
        return table.missing
    if isinstance(value, bool) and table.bools:
        return table.bools[value]
    if isinstance(value, str) and table.spans:
        return table.spans[bisect_right(table.starts, value)]
    if isinstance(value, str) and value in table.points:
        return table.points[value]
    if isinstance(value, int | float) and not isinstance(value, bool) and value == value and table.number_spans:
        return table.number_spans[bisect_right(table.numbers, value)]
    return table.other if value else table.empty
