"""What boxes leave of another: subtraction, the most covering first, within a budget of steps.

A box that sticks out of another along one axis only is cut without a choice; along several, it falls into as many
disjoint pieces. A point that no box holds is guessed first, axis by axis: where there is one, that finds it at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from router_dsl.analyse.attribute import Attribute
from router_dsl.analyse.space import Box, Space

# Pieces of pieces: each is a frame of Python's.
_DEEPEST = 300


class BudgetError(Exception):
    """The search took more steps than it was given."""


@dataclass(slots=True)
class Budget:
    """Steps left: comparisons of two boxes, about half a microsecond each (two shared cores, CPython 3.11, 2026-11)."""

    steps: int

    def spend(self, steps: int) -> None:
        """Take steps.

        Raises:
            BudgetError: There are not that many.
        """
        self.steps -= steps
        if self.steps < 0:
            raise BudgetError


@dataclass(frozen=True, slots=True)
class Term:
    """A box and whose it is: the index of a rule, or the name of something else that takes requests away."""

    box: Box
    owner: int | str


@dataclass(slots=True)
class Search:
    """Subtractions in one space.

    Attributes:
        budget: Spent by every search.
        used: Owners of the boxes that the last searches cut with.
    """

    space: Space
    budget: Budget
    used: set[int | str] = field(default_factory=set)

    def left(self, box: Box, taken: Sequence[Term]) -> Iterator[Box]:
        """Give disjoint boxes that together are what `taken` leaves of a settled box, as far as they are possible.

        Raises:
            BudgetError: It took too many steps.
        """
        for piece in self._left(box, taken, 0):
            if self.space.is_possible(piece):
                yield piece

    def is_covered(self, box: Box, taken: Sequence[Term]) -> bool:
        """Return whether `taken` leaves nothing of a settled box.

        Raises:
            BudgetError: It took too many steps.
        """
        return next(self.left(box, taken), None) is None

    def _left(self, box: Box, taken: Sequence[Term], depth: int) -> Iterator[Box]:
        if depth > _DEEPEST:
            raise BudgetError
        full, settles = self.space.full, self.space.settle
        while True:
            self.budget.spend(len(taken) + 1)
            meeting: list[Term] = []
            best: Term | None = None
            best_cuts: list[int] = []
            fewest = len(full) + 1
            for term in taken:
                cuts = _cuts(box, term.box, full)
                if cuts is None:
                    continue
                if not cuts:
                    self.used.add(term.owner)
                    return
                meeting.append(term)
                if len(cuts) < fewest:
                    best, best_cuts, fewest = term, cuts, len(cuts)
            if best is None:
                yield box
                return
            self.used.add(best.owner)
            taken = [term for term in meeting if term is not best]
            if fewest > 1:
                break
            axis = best_cuts[0]
            box = {**box, axis: box.get(axis, full[axis]) & ~best.box[axis]}
            if not settles(box):
                return
        inner = dict(box)
        for axis in best_cuts:
            mask = inner.get(axis, full[axis])
            piece = {**inner, axis: mask & ~best.box[axis]}
            if settles(piece):
                yield from self._left(piece, taken, depth + 1)
            inner[axis] = mask & best.box[axis]

    def narrowed(self, box: Box, taken: Sequence[Term]) -> Box | None:
        """Return a box less what is taken of it without a choice, along one axis; None when nothing is left."""
        again = True
        while again:
            again = False
            for term in taken:
                cuts = _cuts(box, term.box, self.space.full)
                if cuts is not None and len(cuts) < 2:
                    if not cuts:
                        return None
                    (axis,) = cuts
                    box, again = {**box, axis: box.get(axis, self.space.full[axis]) & ~term.box[axis]}, True
                    if not self.space.settle(box):
                        return None
        return box

    def fewest(self, box: Box, taken: Sequence[Term], owners: set[int | str]) -> list[int | str]:
        """Return what is needed of these owners to cover a box that they cover together."""
        needed = list(dict.fromkeys(term.owner for term in taken if term.owner in owners))
        # The last first: who reads looks for the earliest rules that explain it.
        for owner in reversed(list(needed)):
            others = [one for one in needed if one != owner]
            if self.is_covered(box, [term for term in taken if term.owner in others]):
                needed = others
        return needed


def _cuts(box: Mapping[int, int], other: Mapping[int, int], full: Sequence[int]) -> list[int] | None:
    """Return along which axes a box sticks out of another, None when they do not meet."""
    cuts = []
    for axis, mask in other.items():
        own = box.get(axis)
        if own is None:
            own = full[axis]
        if not own & mask:
            return None
        if own & ~mask:
            cuts.append(axis)
    return cuts


# --- guessing ---------------------------------------------------------------------------------------

_MOST_TRIED = 48
"""Classes of one axis that a guess looks at. Of stretches of numbers there are thousands, of values named a few."""

_SWEEPS = 4
"""Times that a guess goes over the axes, moving one while the others stay."""

_BLOCK = 64
"""Classes whose columns are joined beforehand: a range of thousands is then a few dozen steps."""


class Guess:
    """Points that no earlier term holds, guessed with one bit for each term.

    `columns[axis][class]` are the terms that admit the class; a point is in those whose bit is in all of its columns.
    """

    __slots__ = ("_columns", "_everything", "asked", "space", "terms")

    def __init__(self, space: Space, terms: Sequence[Term]) -> None:
        self.space = space
        self.terms = terms
        self._everything = (1 << len(terms)) - 1
        self.asked = sorted({axis for term in terms for axis in term.box})
        self._columns: dict[int, tuple[list[int], list[int]]] = {}

    def _column(self, axis: int) -> tuple[list[int], list[int]]:
        found = self._columns.get(axis)
        if found is None:
            fact = self.space.axes[axis]
            size = len(fact.values) if isinstance(fact, Attribute) else 2
            column = _column(self.terms, axis, size, self._everything)
            blocks = [_joined(column[start : start + _BLOCK]) for start in range(0, size, _BLOCK)]
            found = self._columns[axis] = column, blocks
        return found

    def meeting(self, box: Mapping[int, int], count: int) -> int:
        """Return which of the first `count` terms meet a box, one bit each."""
        alive = (1 << count) - 1
        for axis, mask in box.items():
            column, blocks = self._column(axis)
            some = 0
            for low, high in runs(mask):
                first, last = -(-low // _BLOCK), high // _BLOCK
                if first < last:
                    some |= _joined(column[low : first * _BLOCK]) | _joined(blocks[first:last])
                    low = last * _BLOCK
                some |= _joined(column[low:high])
            alive &= some
        return alive

    def point(self, box: Box, count: int) -> Box | None:
        """Return one class for each axis, so that none of the first `count` terms holds it; None without a find."""
        return self.outside(box, self.meeting(box, count))

    def outside(self, box: Box, alive: int) -> Box | None:
        """Return a point of a box outside of these terms, one bit each; None without a find."""
        point = dict(box)
        if alive:
            point = self._moved(box, alive)
        if (alive and not point) or not self.space.settle(point) or not self.space.is_possible(point):
            return None
        return point

    def _moved(self, box: Box, alive: int) -> Box:
        """Return a point outside of the terms `alive`, nothing when none was found."""
        order = [*box, *(axis for axis in self.asked if axis not in box)]
        classes = {axis: _some(box.get(axis, self.space.full[axis])) for axis in order}
        chosen: dict[int, int] = {}
        for _ in range(_SWEEPS):
            before = dict(chosen)
            for axis in order:
                rest = alive
                for other, number in chosen.items():
                    if other != axis:
                        rest &= self._column(other)[0][number]
                column = self._column(axis)[0]
                best = chosen[axis] = min(classes[axis], key=lambda number: (rest & column[number]).bit_count())
                if not rest & column[best]:
                    return {**box, **{axis: 1 << number for axis, number in chosen.items()}}
            if chosen == before:
                break
        return {}


def _joined(columns: Sequence[int]) -> int:
    found = 0
    for column in columns:
        found |= column
    return found


def _some(mask: int) -> list[int]:
    """Return classes of a mask, at most about `_MOST_TRIED`, spread over it."""
    stretches = list(runs(mask))
    if len(stretches) > _MOST_TRIED:
        step = len(stretches) / _MOST_TRIED
        stretches = [stretches[int(place * step)] for place in range(_MOST_TRIED)]
    each = max(1, _MOST_TRIED // len(stretches))
    found = []
    for low, high in stretches:
        step = max(1.0, (high - low) / each)
        found += [low + int(place * step) for place in range(min(each, high - low))]
    return found


def _column(terms: Sequence[Term], axis: int, size: int, everything: int) -> list[int]:
    turns = [0] * (size + 1)
    free = everything
    for index, term in enumerate(terms):
        mask = term.box.get(axis)
        if mask is None:
            continue
        bit = 1 << index
        free &= ~bit
        for low, high in runs(mask):
            turns[low] ^= bit
            turns[high] ^= bit
    column, current = [], free
    for number in range(size):
        current ^= turns[number]
        column.append(current)
    return column


def runs(mask: int) -> Iterator[tuple[int, int]]:
    """Give the runs of set bits as (first, behind the last)."""
    place = 0
    while mask:
        skip = (mask & -mask).bit_length() - 1
        mask >>= skip
        place += skip
        length = (~mask & (mask + 1)).bit_length() - 1
        yield place, place + length
        mask >>= length
        place += length
