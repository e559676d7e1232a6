"""The same question put to a SAT solver, for policies too large to search: an optional extra, `pointsman[analysis]`.

Order encoding: the classes of an axis are numbered, and variable k says that the class is k or later; a run of classes
is two literals. One variable for each class took ten times as long (docs/proofs.md).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import Protocol, cast

from router_dsl.analyse.attribute import Attribute
from router_dsl.analyse.search import BudgetError, Term, runs
from router_dsl.analyse.space import Probe, Space

_MOST_MODELS = 200
"""Points asked for before giving up where the tokens of each do not add up."""


class _Sat(Protocol):
    def add_clause(self, clause: Sequence[int]) -> None: ...
    def solve(self, assumptions: Sequence[int] = ()) -> bool: ...
    def get_model(self) -> Sequence[int]: ...
    def get_core(self) -> Sequence[int] | None: ...


def is_there() -> bool:
    """Whether the solver is installed."""
    return find_spec("pysat") is not None


class Solver:
    """Which boxes are covered by those taken so far. A box taken can be named, to learn which ones are needed."""

    def __init__(self, space: Space) -> None:
        """Start with nothing taken; the solver must be installed."""
        self.space = space
        self._sat = cast("_Sat", import_module("pysat.solvers").Solver(name="cadical153"))
        self._names = 0
        self._first = []
        self._sizes = []
        self._outside: dict[tuple[int, int], list[int]] = {}
        self._inside: dict[tuple[int, int], list[int]] = {}
        self._owners: dict[int, int | str] = {}
        for axis, fact in enumerate(space.axes):
            size = len(fact.values) if isinstance(fact, Attribute) else 2
            self._first.append(self._names)
            self._sizes.append(size)
            self._names += size - 1
            for number in range(1, size - 1):
                self._sat.add_clause([-self._from(axis, number + 1), self._from(axis, number)])
        for axis, fact in enumerate(space.axes):
            gaps = ((1 << self._sizes[axis]) - 1) & ~space.full[axis]
            self._forbid(axis, gaps, [])
            if isinstance(fact, Probe):
                yes = self._from(axis, 1)
                self._forbid(fact.fact, fact.yes, [yes])
                self._forbid(fact.fact, fact.no, [-yes])
                for implied in space.implied(axis):
                    self._sat.add_clause([-yes, self._from(implied, 1)])
                for excluded in space.excluded(axis):
                    self._sat.add_clause([-yes, -self._from(excluded, 1)])

    def _from(self, axis: int, number: int) -> int:
        """Return the variable that says: class `number` or later."""
        return self._first[axis] + number

    def _new(self) -> int:
        self._names += 1
        return self._names

    def _beside(self, axis: int, low: int, high: int) -> list[int]:
        """Return literals of which one holds when the class is not in `[low, high)`."""
        below = [-self._from(axis, low)] if low > 0 else []
        return [*below, self._from(axis, high)] if high < self._sizes[axis] else below

    def _forbid(self, axis: int, mask: int, unless: list[int]) -> None:
        for low, high in runs(mask):
            self._sat.add_clause([*unless, *self._beside(axis, low, high)])

    def _not_in(self, axis: int, mask: int) -> list[int]:
        """Return literals of which one may only hold when the class is outside of the mask."""
        found = self._outside.get((axis, mask))
        if found is None:
            found_runs = list(runs(mask))
            if len(found_runs) == 1:
                found = self._beside(axis, *found_runs[0])
            else:
                name = self._new()
                found = [name]
                self._forbid(axis, mask, [-name])
            self._outside[axis, mask] = found
        return found

    def _is_in(self, axis: int, mask: int) -> list[int]:
        """Return literals that together hold only when the class is in the mask."""
        found = self._inside.get((axis, mask))
        if found is None:
            name = self._new()
            found = self._inside[axis, mask] = [name]
            self._forbid(axis, ((1 << self._sizes[axis]) - 1) & ~mask, [-name])
        return found

    def take(self, box: Mapping[int, int], owner: int | str | None = None) -> None:
        """Take a box away for good, or, with an owner, whenever `cover` is asked."""
        clause = [literal for axis, mask in box.items() for literal in self._not_in(axis, mask)]
        if owner is not None:
            name = self._new()
            self._owners[name] = owner
            clause.append(-name)
        self._sat.add_clause(clause)

    def cover(self, box: Mapping[int, int]) -> set[int | str] | None:
        """Return owners whose boxes cover this one together with those taken for good; None when something is left.

        Raises:
            BudgetError: No point was found whose tokens add up, nor that there is none.
        """
        inside = [literal for axis, mask in box.items() for literal in self._is_in(axis, mask)]
        for _ in range(_MOST_MODELS):
            if not self._sat.solve(assumptions=[*inside, *self._owners]):
                core = self._sat.get_core() or ()
                return {self._owners[name] for name in core if name in self._owners}
            tied = self.space.tied_axes
            if len(tied) < 2:
                return None
            point = self._point(tied)
            if self.space.is_possible(point):
                return None
            self._sat.add_clause([literal for axis in tied for literal in self._not_in(axis, point[axis])])
        raise BudgetError

    def point(self) -> dict[int, int]:
        """Return one class of each axis that is left, after `cover` found that something is."""
        return self._point(range(len(self._sizes)))

    def _point(self, axes: Sequence[int]) -> dict[int, int]:
        model, point = self._sat.get_model(), {}
        for axis in axes:
            first = self._first[axis]
            point[axis] = 1 << sum(literal > 0 for literal in model[first : first + self._sizes[axis] - 1])
        return point


def covered_by(space: Space, box: Mapping[int, int], taken: Sequence[Term]) -> set[int | str] | None:
    """Return owners that together cover a box, None when something is left; in one solver of its own."""
    solver = Solver(space)
    for term in taken:
        solver.take(term.box, term.owner)
    return solver.cover(box)


def point(space: Space, box: Mapping[int, int], taken: Sequence[Term]) -> dict[int, int] | None:
    """Return a point of a box that nothing taken holds, None when there is none.

    Raises:
        BudgetError: As `cover`.
    """
    solver = Solver(space)
    for term in taken:
        solver.take(term.box)
    return solver.point() if solver.cover(box) is None else None
