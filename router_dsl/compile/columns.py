"""One fact's conditions as a table: its values fall into classes on which no condition changes its answer."""

from __future__ import annotations

import math
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

from router_dsl.compile.terms import atoms_of
from router_dsl.interpret import Value, holds
from router_dsl.plan import Atom, Column, Cond, Probe, Range, pack_masks

MISSING: Value = None
EMPTY: Value = ()
OTHER: Value = ("\0",)
"""Values that stand for their class: of the questions a table answers, only `has` tells one set from another."""

LOWEST_NUMBER = -math.inf
LOWEST_TEXT = ""

T = TypeVar("T", str, int | float)


@dataclass(slots=True)
class Turns:
    """Where the answers of conditions on one fact can change.

    Attributes:
        points: Texts asked for by equality.
        starts: First texts of intervals; they matter when `ordered`, when something asks the order of texts.
        numbers: First numbers of intervals; they matter when `counted`, when something asks for a number.
        bools: Whether true or false is asked for.
    """

    points: set[str] = field(default_factory=set)
    starts: set[str] = field(default_factory=set)
    numbers: set[int | float] = field(default_factory=set)
    ordered: bool = False
    counted: bool = False
    bools: bool = False


class Factor(NamedTuple):
    """A condition on the fact, the terms of the block that ask it, and its own turns."""

    cond: Cond
    terms: int
    turns: Turns


def turns_of(cond: Cond) -> Turns:
    """Return the turns of a condition on one fact that is no probe."""
    turns = Turns()
    for atom in atoms_of(cond):
        _add(turns, atom)
    turns.starts.discard(LOWEST_TEXT)
    return turns


def _add(turns: Turns, atom: Atom) -> None:
    match atom.op:
        case "missing":
            pass
        case "has":
            # Zero and the empty text are not there to `has`.
            turns.starts.add(after_text(""))
            turns.numbers |= {0, after_number(0)}
        case "is":
            turns.bools = True
        case "starts":
            turns.ordered = True
            turns.starts |= {str(atom.value), *behind(str(atom.value))}
        case "in" | "not in":
            for item in atom.items:
                if isinstance(item, Range):
                    _add_interval(turns, item.low, item.high)
                else:
                    _add_point(turns, item)
        case "eq" | "ne":
            _add_point(turns, atom.value)
        case _:
            _add_interval(turns, atom.value, atom.value)


def _add_point(turns: Turns, value: Value) -> None:
    if isinstance(value, bool):
        turns.bools = True
    elif isinstance(value, str):
        turns.points.add(value)
        turns.starts |= {value, after_text(value)}
    elif isinstance(value, int | float):
        _add_interval(turns, value, value)


def _add_interval(turns: Turns, low: Value, high: Value) -> None:
    """Add the turns of `low <= value <= high`; those of `<`, `<=`, `>`, `>=` are among them for equal ends."""
    if isinstance(low, str) and isinstance(high, str):
        turns.ordered = True
        turns.starts |= {low, after_text(high)}
    elif isinstance(low, int | float) and isinstance(high, int | float):
        turns.counted = True
        turns.numbers |= {low, after_number(high)}


def after_text(text: str) -> str:
    """Return the text that comes next in order."""
    return text + "\0"


def behind(prefix: str) -> tuple[str, ...]:
    """Return the first text behind all that start with the prefix, nothing when there is none."""
    head = prefix.rstrip(chr(sys.maxunicode))
    if not head:
        return ()
    following = ord(head[-1]) + 1
    # Surrogates are no characters: texts of requests hold none, and a plan could not store one.
    return (head[:-1] + chr(0xE000 if following == 0xD800 else following),)


def after_number(number: int | float) -> int | float:
    """Return a bound that exactly the numbers above `number` reach, whole or not."""
    # From 2**53 on floats are whole, so the next whole number is the next number.
    return math.nextafter(number, math.inf) if abs(number) < 2**53 else int(number) + 1


def column(fact: str, factors: Sequence[Factor], full: int) -> Column:
    """Return the table of a fact.

    Args:
        fact: Its name.
        factors: Conditions on it; no term asks two.
        full: All the terms of the block.
    """
    numbering: dict[int, int] = {}

    def number(mask: int) -> int:
        return numbering.setdefault(mask, len(numbering))

    def at(value: Value) -> int:
        return full & ~sum(factor.terms for factor in factors if not holds(factor.cond, {fact: value}))

    def sweep(lowest: Value, starts: Sequence[T], asked: dict[T, list[Factor]]) -> Iterator[int]:
        mask = at(lowest)
        yield number(mask)
        for start in starts:
            mask = _with(mask, asked[start], fact, start)
            yield number(mask)

    missing, empty, other = at(MISSING), at(EMPTY), at(OTHER)
    classes = number(missing), number(empty), number(other)
    bools = any(factor.turns.bools for factor in factors)
    ordered = any(factor.turns.ordered for factor in factors)
    counted = any(factor.turns.counted for factor in factors)
    by_point = _by_turn(factors, [] if ordered else [factor.turns.points for factor in factors])
    by_start = _by_turn(factors, [factor.turns.starts for factor in factors] if ordered else [])
    by_number = _by_turn(factors, [factor.turns.numbers for factor in factors] if counted else [])
    starts, numbers = sorted(by_start), sorted(by_number)
    return Column(
        fact,
        bools=(number(at(False)), number(at(True))) if bools else (),
        points={
            point: number(_with(other if point else empty, by_point[point], fact, point)) for point in sorted(by_point)
        },
        starts=tuple(starts),
        spans=tuple(sweep(LOWEST_TEXT, starts, by_start)) if ordered else (),
        numbers=tuple(numbers),
        number_spans=tuple(sweep(LOWEST_NUMBER, numbers, by_number)) if counted else (),
        missing=classes[0],
        empty=classes[1],
        other=classes[2],
        masks=pack_masks(list(numbering), full.bit_length()),  # last: the others number the masks
    )


def _by_turn(factors: Sequence[Factor], turns: Iterable[Iterable[T]]) -> dict[T, list[Factor]]:
    asked: defaultdict[T, list[Factor]] = defaultdict(list)
    for factor, own in zip(factors, turns, strict=False):
        for turn in own:
            asked[turn].append(factor)
    return asked


def _with(mask: int, factors: Iterable[Factor], fact: str, value: Value) -> int:
    """Return the mask after these factors were asked again, at another value."""
    for factor in factors:
        mask = mask | factor.terms if holds(factor.cond, {fact: value}) else mask & ~factor.terms
    return mask


def probe(cond: Cond, fact: str, yes: int, no: int, full: int) -> Probe:
    """Return a question for its own sake; `yes` and `no` are the terms that want that answer."""
    return Probe(fact, cond, pack_masks([full & ~yes, full & ~no], full.bit_length()))
